"""One guarded path of the shared repository as it is at one moment, and putting it back as it was.

Pure file work, no process. Nothing here writes through a link that stands where a directory should be.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prodigy.git import files

LIMIT = 1 << 20  # bytes; of a larger file, these and its size count
ABSENT = "absent"

# Files that git changes under a lock of their own, `<name>.lock`, which becomes the file.
_LOCKED = frozenset({"config", "config.worktree", "shallow", "HEAD"})
# A lock that stays longer was left by a git that was killed, or planted. Seconds.
_LOCK_PATIENCE_S = 1.0
_LOCK_POLL_S = 0.02

Kind = Literal["absent", "file", "link", "directory", "other"]


class CannotPutBack(Exception):
    """A guarded path can't be as it was again. The message says why."""


@dataclass(frozen=True)
class Kept:
    """A guarded path as it was.

    mode: permission bits. size: bytes. data: content, at most LIMIT bytes of it; of a link, its target. digest: equal
    for equal paths.
    """

    kind: Kind
    mode: int
    size: int
    data: bytes
    digest: str

    @property
    def is_whole(self) -> bool:
        """Whether `data` is all of it."""
        return self.kind in ("absent", "link") or (self.kind == "file" and len(self.data) == self.size)


NOTHING = Kept("absent", 0, 0, b"", ABSENT)


def look(path: Path) -> Kept:
    """What is at `path` now; a link is not followed. What can't be read is of the kind `other`."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return NOTHING
    kind: Kind = "other"
    data = b""
    if stat.S_ISLNK(status.st_mode):
        kind, data = "link", os.fsencode(path.readlink())
    elif stat.S_ISDIR(status.st_mode):
        kind = "directory"
    elif stat.S_ISREG(status.st_mode):
        with contextlib.suppress(PermissionError):
            kind, data = "file", files.read_small(path, LIMIT) or b""
    digest = f"{status.st_mode:o} {status.st_size} {hashlib.sha256(data).hexdigest()}"
    return Kept(kind, stat.S_IMODE(status.st_mode), status.st_size, data, digest)


def put_back(common: Path, name: str, was: Kept, found: Kept) -> None:
    """Make `name` below `common` as it was, if it still is as it was found; readers see the one or the other.

    The parents are real directories, or none. Raises CannotPutBack, and nothing was changed then.
    """
    path = common / name
    if not was.is_whole:
        raise CannotPutBack("what was there before is not known whole")
    try:
        if was.kind != "absent":
            path.parent.mkdir(parents=True, exist_ok=True)
        with _room(common, path) as temporary:
            if look(path).digest != found.digest:
                raise CannotPutBack("it changes again and again")
            if was.kind == "absent":
                _remove(path, found)
                return
            if found.kind == "directory":
                path.rmdir()
            _write(temporary, was)
            temporary.replace(path)
    except OSError as error:
        raise CannotPutBack(error.strerror or str(error)) from error


def _remove(path: Path, found: Kept) -> None:
    if found.kind == "directory":
        path.rmdir()  # only an empty one
    else:
        path.unlink(missing_ok=True)


def _write(path: Path, was: Kept) -> None:
    files.remove(path)
    if was.kind == "link":
        path.symlink_to(os.fsdecode(was.data))
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(was.data)
        file.flush()
        os.fchmod(descriptor, was.mode)
        os.fsync(descriptor)


@contextlib.contextmanager
def _room(common: Path, path: Path) -> Iterator[Path]:
    """Where the new file is written before it gets its name: git's own lock where it has one, so that it waits."""
    own = common / f".prodigy-{os.getpid()}"
    lock = path.with_name(f"{path.name}.lock")
    temporary = lock if path.name in _LOCKED and path.parent.is_dir() and _take(lock) else own
    try:
        yield temporary
    finally:
        files.remove(temporary)


def _take(lock: Path) -> bool:
    """Whether the lock is ours; a stale one keeps nothing from being put back."""
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOCK_POLL_S)
        else:
            return True
