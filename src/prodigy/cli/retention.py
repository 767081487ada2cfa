"""What the user's configuration lets go when it is old: taken when a run begins, and told line by line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prodigy.cli.words import counted, printable
from prodigy.engine import clean_parts as parts

if TYPE_CHECKING:
    from prodigy.workflow.configuration import Configuration

_PARTS = {
    "runs": (parts.RUNS, "run"),
    "worktrees": (parts.WORKTREES, "worktree"),
    "dead_letters": (parts.DLQ, "dead letter"),
    "logs": (parts.LOGS, "step output"),
    "events": (parts.EVENTS, "event"),
}


def prune(configured: Configuration, where: Path) -> None:
    """Take what `retention` says from the runs of the repository around `where`, as `prodigy clean --yes` does: nothing
    that could go on, and no work that no branch of the user's has. What stays is not told, for it stays every time."""
    if not configured.retention:
        return
    from prodigy.engine.run_cleaning import clean
    from prodigy.git.context import common_dir_around

    common_dir = common_dir_around(where)
    for name, age_s in configured.retention:
        part, noun = _PARTS[name]
        for one in clean(parts.Wanted((part,), age_s), common_dir):
            if one.kept is None:
                what = one.what if part == parts.WORKTREES else f"{counted(one.count, noun)} of run {one.run_id}"
                click.echo(printable(f"retention: removed {what}, older than {_days(age_s)}"), err=True)
            elif one.failed:
                click.echo(printable(f"Warning: retention: {one.run_id}: {one.kept}"), err=True)


def _days(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"
