"""Files and links of a work tree as a commit has them when nothing converts them. No process, no link followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from prodigy.git import files, objects
from prodigy.git.private import PrivateGit

# Whoever has larger files asks git. Bytes.
_LIMIT = 10_000_000

_ATTRIBUTES = ".gitattributes"


def size_to_keep(path: Path, limit: int) -> int | None:
    """The size of a file or link that a snapshot can hold, in bytes; None when it cannot hold it.

    limit: of a file's size, in bytes.
    """
    try:
        status = path.lstat()
    except (PermissionError, NotADirectoryError):
        return None
    except FileNotFoundError:
        return 0  # gone since git looked: `update-index --remove` takes it for deleted
    if stat.S_ISLNK(status.st_mode):
        return 0
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit or not os.access(path, os.R_OK):
        return None
    return status.st_size


def read(path: Path) -> tuple[str, bytes] | None:
    """Mode and content of a file or link; None for anything else, and for what is too large."""
    try:
        if path.is_symlink():
            return objects.LINK, os.fsencode(path.readlink())
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            content = file.read(_LIMIT + 1) if stat.S_ISREG(mode) else None
    except OSError:
        return None
    if content is None or len(content) > _LIMIT:
        return None
    return objects.PROGRAM if mode & stat.S_IXUSR else objects.FILE, content


def holds(path: Path, entry: objects.Entry | None, oid_length: int) -> bool:
    """Whether there is at `path`, byte for byte, what the entry of a tree says; None says that nothing is there."""
    if entry is None:
        return not files.lexists(path)
    found = read(path)
    return found is not None and entry == objects.Entry(found[0], objects.object_id("blob", found[1], oid_length))


def tree_of(
    private: PrivateGit, work_tree: Path, head: str, written: Collection[str], deleted: Collection[str]
) -> str | None:
    """The tree of `head` with these files as they are in `work_tree`; None when only git knows how.

    To be asked only where no .gitattributes is tracked: they may convert a file.
    """
    if not private.converts_nothing or any(Path(path).name == _ATTRIBUTES for path in written):
        return None
    changes: dict[str, objects.Entry | None] = dict.fromkeys(deleted)
    for path in written:
        found = read(work_tree / path)
        if found is None:
            return None
        mode, content = found
        changes[path] = objects.Entry(mode, objects.write(private.objects, "blob", content, private.oid_length))
    return private.tree_with(head, changes)
