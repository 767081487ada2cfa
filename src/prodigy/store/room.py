"""Whether there is room on a disk: an agent that is started without it costs money and can keep nothing."""

from __future__ import annotations

import os
from pathlib import Path

from prodigy.errors import EnvironmentProblem

# Less than this and nothing is started: what a few commits, their checkout and the run's records need.
BYTES_NEEDED = 16 << 20
FILES_NEEDED = 200
UNLIMITED = 1 << 62
HINT = "Make room there, for example with `prodigy worktree clean`, then resume the run; nothing is lost."


def check_room(*places: Path, hint: str = HINT, needed: int = BYTES_NEEDED) -> None:
    """Raise EnvironmentProblem when one of the directories is on a disk with too little room to start anything.

    needed: bytes that must be free.
    """
    for place in places:
        free, files = room(place)
        if free < needed:
            raise EnvironmentProblem(
                f"the disk is full: {free >> 20} MB are free, {needed >> 20} MB are needed to start anything",
                where=str(place),
                hint=hint,
            )
        if files is not None and files < FILES_NEEDED:
            raise EnvironmentProblem(
                f"the disk is full: there is room for {files} more files, {FILES_NEEDED} are needed to start anything",
                where=str(place),
                hint=hint,
            )


def room(place: Path) -> tuple[int, int | None]:
    """(bytes, files) that we may still write where the directory is or will be; None for no limit of files."""
    while not place.exists() and place != place.parent:
        place = place.parent
    facts = os.statvfs(place)
    if not facts.f_blocks:  # it does not say: a tmpfs without a limit, many a FUSE
        return UNLIMITED, facts.f_favail if facts.f_files else None
    blocks = facts.f_bfree if os.geteuid() == 0 else facts.f_bavail  # a reserve is there for root
    return blocks * facts.f_frsize, facts.f_favail if facts.f_files else None
