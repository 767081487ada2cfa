"""Uncommitted work: what of it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prodigy.git import contents

# Larger leftovers are named to the user instead of kept. Bytes.
MAX_FILE_BYTES = 10_000_000
MAX_TOTAL_BYTES = 200_000_000


@dataclass(frozen=True)
class Leftovers:
    """Uncommitted work.

    written: new or changed files; deleted: tracked ones that are gone; left_out: too large, or no files.
    """

    written: tuple[str, ...]
    deleted: tuple[str, ...]
    left_out: tuple[str, ...]


def to_keep(work_tree: Path, differing: Iterable[tuple[str, str]]) -> Leftovers:
    """What to keep of the paths that differ, as (two letters of `git status`, path)."""
    written, deleted, left_out = [], [], []
    total = 0
    for state, path in differing:
        if state[1] == "D":
            deleted.append(path)
            continue
        size = contents.size_to_keep(work_tree / path, MAX_FILE_BYTES)
        if size is None or total + size > MAX_TOTAL_BYTES:
            left_out.append(path)
        else:
            written.append(path)
            total += size
    return Leftovers(tuple(written), tuple(deleted), tuple(left_out))
