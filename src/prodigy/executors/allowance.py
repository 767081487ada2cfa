"""How many worktrees for items a run may have: what the workflow allows, what all runs of this home have already."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from prodigy.errors import EnvironmentProblem
from prodigy.executors.furnishing import Lodging

MOST_IN_ALL = 200
_BLOCK = 512  # bytes, the unit of st_blocks


def disk_usage(path: Path) -> int:
    """Bytes that the files under `path` take on the disk; what goes away meanwhile counts nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in (*names, "."):
            try:
                total += Path(folder, name).lstat().st_blocks * _BLOCK
            except OSError:
                continue  # a live run works here
    return total


def allowed(
    folder: Path, lodging: Lodging, wanted: int, ours: Collection[Path], measured: Path
) -> tuple[int, list[str]]:
    """(worktrees that the fan-out may have, why fewer than `wanted`).

    folder: with the worktrees of this repository; those of others stand beside it. ours: those that are there already
    for the fan-out to use. measured: a worktree of the run, which tells how large one is. Raises EnvironmentProblem
    when there is no room for any.
    """
    reasons = []
    most = wanted
    if lodging.per_run is not None and lodging.per_run < most:
        most = lodging.per_run
    total = lodging.total or MOST_IN_ALL
    others = count_all(folder.parent) - sum(path.is_dir() for path in ours)
    if total - others < most:
        most = total - others
        if most < 1:
            raise too_many(others, total, folder)
        reasons.append(
            f"{wanted:,} worktrees for items were asked for; there are {others:,} already and {total:,} may be in all,"
            f" so the run gets {most:,}; see `prodigy worktree clean` and `workspace: {{limits: {{total: N}}}}`"
        )
    if lodging.max_disk_mb is not None:
        each = max(1, disk_usage(measured))
        fit = max(1, (lodging.max_disk_mb << 20) // each - 1)  # one is the run's own
        if fit < most:
            reasons.append(
                f"{most:,} worktrees for items were asked for; a worktree takes {each >> 20:,} MB, and max_disk_mb is"
                f" {lodging.max_disk_mb:,}, so the run gets {fit:,}"
            )
            most = fit
    return most, reasons


def require_one(folder: Path, total: int | None) -> None:
    """Raise EnvironmentProblem when there are as many worktrees as may be."""
    there, most = count_all(folder.parent), total or MOST_IN_ALL
    if there >= most:
        raise too_many(there, most, folder)


def count_all(worktrees: Path) -> int:
    """The worktrees of all repositories of this home."""
    found = 0
    for folder in _folders(worktrees):
        found += sum(1 for _ in _folders(folder))
    return found


def too_many(there: int, most: int, folder: Path) -> EnvironmentProblem:
    full = max(_folders(folder.parent), key=lambda path: sum(1 for _ in _folders(path)), default=folder)
    return EnvironmentProblem(
        f"there are {there:,} worktrees already, and {most:,} may be in all",
        where=str(full),
        hint="Most of them are there: remove those of ended runs with `prodigy worktree clean` in that repository,"
        " or raise `workspace: {limits: {total: N}}`; then resume.",
    )


def _folders(path: Path) -> list[Path]:
    try:
        return [entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
