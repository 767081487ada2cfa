"""What `git read-tree` and `git clean` do not see in a work tree."""

from __future__ import annotations

import stat
from pathlib import Path

from prodigy.git import files, index


def sweep(work_tree: Path, data: bytes, oid_length: int, *, purge: bool) -> bool:
    """Whether every tracked directory is there; data: of the index, oid_length: of its object ids, in bytes.

    A tracked directory that was moved away, with a link left in its place, looks unchanged to `read-tree`; then
    `clean` removes the link. purge: remove what `clean` leaves, repositories inside tracked directories and the
    contents of submodules.
    """
    complete = True
    for name in index.directories(data, oid_length):
        path = work_tree / name
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            complete = False
            continue
        if not stat.S_ISDIR(mode):
            files.remove(path)
            complete = False
        elif purge and files.lexists(path / ".git"):
            files.remove(path / ".git")
    for name in index.gitlinks(data, oid_length) if purge else ():
        files.remove(work_tree / name)
        if complete:
            (work_tree / name).mkdir()
    return complete
