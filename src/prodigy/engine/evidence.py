"""What was found where somebody had tampered with the shared repository: a directory that people look at.

`tampering.json` says what was found; `files/` has the files as they were found, never executable. It is whole and on
disk before anything is put back.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prodigy.git import files
from prodigy.git.guarded import CannotPutBack, Kept
from prodigy.store.database import now

FOLDER = "tampering"
_RECORD = "tampering.json"
_FILES = "files"
_COPY_LIMIT = 64 << 20  # bytes of one file
_MOST_FILES = 1000
_TEXT_SHOWN = 2000  # characters of a file that the record has itself


@dataclass
class Evidence:
    """The directory of one find. earlier: what is on record in it, in words, also by a coordinator that was killed."""

    directory: Path
    earlier: tuple[str, ...] = ()
    _entries: list[dict[str, object]] = field(default_factory=list)

    @classmethod
    def at(cls, directory: Path) -> Evidence:
        """The evidence in `directory`, which need not be there."""
        try:
            record = json.loads((directory / _RECORD).read_text())
            return cls(directory, tuple(map(str, record["found"])), list(record["files"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return cls(directory)  # killed before it was whole: then nothing was put back

    def keep(self, name: str, was: Kept | None, found: Kept, path: Path) -> None:
        """Keep what is at `path`. A directory is moved here. was: what was there before, as far as it is known.

        Raises CannotPutBack when there is no room for it; then it must stay where it is.
        """
        if len(self._entries) >= _MOST_FILES:
            raise CannotPutBack("too many files were planted")
        copy = self._free_name(name)
        target = self.directory / copy
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            kept = _copy(path, found, target)
        except OSError as error:
            raise CannotPutBack(f"it can't be copied: {error.strerror or error}") from error
        self._entries.append(
            {
                "name": name,
                "before": None if was is None else _described(was),
                "after": _described(found),
                "file": copy if kept else None,
            }
        )

    def _free_name(self, name: str) -> str:
        """A name below the directory that is not taken, not even by a coordinator that was killed."""
        number, safe = len(self._entries) + 1, re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-80:]
        while files.lexists(self.directory / (copy := f"{_FILES}/{number:04d}-{safe}")):
            number += 1
        return copy

    def record(self, found: Sequence[str], not_put_back: Sequence[str] = ()) -> tuple[str, ...]:
        """Write what was found, in words, with what an earlier coordinator had found; all of it is returned."""
        words = self.earlier = tuple(dict.fromkeys((*self.earlier, *found)))
        record = {"format": 1, "at": now(), "found": words, "files": self._entries, "not_put_back": list(not_put_back)}
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.directory / _RECORD
        files.replace(path, json.dumps(record, indent=1).encode())
        path.chmod(0o600)
        for directory in (self.directory / _FILES, self.directory, self.directory.parent):
            _sync(directory)
        return words


def _copy(path: Path, found: Kept, target: Path) -> bool:
    """Whether there was anything to copy."""
    if found.kind == "directory":
        path.rename(target)
        for directory, _, names in os.walk(target):
            for name in names:
                if not Path(directory, name).is_symlink():
                    Path(directory, name).chmod(0o600)
        return True
    if found.kind != "file":
        return False  # what a link names is in the record; a pipe has nothing
    if found.size > _COPY_LIMIT:
        raise CannotPutBack(f"it is larger than {_COPY_LIMIT >> 20} MiB")
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as copy:
        if found.is_whole:
            copy.write(found.data)
        else:
            with path.open("rb") as source:
                shutil.copyfileobj(source, copy)
        copy.flush()
        os.fsync(descriptor)
    return True


def _described(one: Kept) -> dict[str, object]:
    facts: dict[str, object] = {"kind": one.kind, "mode": f"{one.mode:04o}", "size": one.size}
    if one.kind in ("file", "link"):
        facts["text"] = one.data.decode(errors="replace")[:_TEXT_SHOWN]
    return facts


def _sync(directory: Path) -> None:
    if directory.is_dir():
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
