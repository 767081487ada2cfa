"""What in a directory is in the way of moving it from one commit to another without losing anything.

Pure, no git.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from prodigy.git.command import GitError
from prodigy.git.private import Change


class PathsInTheWay(GitError):
    """Moving a work tree would overwrite these paths, so nothing was touched."""

    def __init__(self, paths: Iterable[str], where: Path) -> None:
        self.paths = tuple(sorted(set(paths)))
        names = ", ".join(self.paths[:5]) + (f" and {len(self.paths) - 5} more" if len(self.paths) > 5 else "")
        super().__init__(f"local changes are in the way: {names}", where=str(where), hint="commit, move or delete them")


def untracked_in_the_way(root: Path, changes: Iterable[Change]) -> list[str]:
    """Paths at `root`, ignored or not, that stand where the changes would create a file.

    Files that the changes delete make room by themselves; whether they were edited is for git to check.
    """
    changes = list(changes)
    return in_the_way(root, [change.path for change in changes if change.status == "A"], changes)


def in_the_way(root: Path, paths: Iterable[str], changes: Iterable[Change]) -> list[str]:
    """What has to go before files can be written at `paths`, apart from files that the changes delete.

    A directory in the place of a file is told by its files; a file or link in the place of a directory by its path.
    """
    leaving = {change.path for change in changes if change.status == "D"}
    modes: dict[str, int | None] = {}
    found: set[str] = set()
    for path in paths:
        found.update(_blockers(root, path, leaving, modes))
    return sorted(found)


def _blockers(root: Path, path: str, leaving: set[str], modes: dict[str, int | None]) -> Iterator[str]:
    parts = path.split("/")
    for depth in range(1, len(parts)):
        parent = "/".join(parts[:depth])
        if parent not in modes:
            modes[parent] = _mode(root / parent)
        mode = modes[parent]
        if mode is None:
            return
        if not stat.S_ISDIR(mode):
            if parent not in leaving:
                yield parent
            return
    mode = _mode(root / path)
    if mode is None:
        return
    if not stat.S_ISDIR(mode):
        yield path
        return
    for directory, names, leaves in os.walk(root / path):
        links = [name for name in names if Path(directory, name).is_symlink()]
        for name in (*leaves, *links):
            inside = Path(directory, name).relative_to(root).as_posix()
            if inside not in leaving:
                yield inside


def _mode(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
