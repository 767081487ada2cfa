"""What is said of everything that `prodigy clean` meets, and how it is told what to take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WORKTREES, DLQ, RUNS, LOGS, EVENTS = "worktrees", "dlq", "runs", "logs", "events"
ALL = (WORKTREES, DLQ, RUNS, LOGS, EVENTS)  # in this order: what goes with a run as a whole need not go before it


@dataclass(frozen=True)
class Wanted:
    """parts: of `ALL`. older_than_s: only what nothing has happened to for so long. force: also of runs that could go
    on, and with work that nothing else holds, which is kept in a ref first. items_only: of the worktrees only those of
    items. archive: the directory where events are written before they go; None: nowhere."""

    parts: tuple[str, ...]
    older_than_s: float | None = None
    force: bool = False
    dry_run: bool = False
    items_only: bool = False
    archive: Path | None = None


@dataclass(frozen=True)
class Finding:
    """Something that went or, in a dry run, would go; or stays.

    what: in words, for people. count: how many of it. size_bytes: on disk; of events about as many. kept: why it stays,
    None when it goes. refs: what keeps work that nothing else holds. failed: the exit code when it could not be removed
    though it was to go. archived: the file that has it now.
    """

    part: str
    run_id: str
    what: str
    count: int = 1
    size_bytes: int = 0
    kept: str | None = None
    refs: tuple[str, ...] = ()
    failed: int = 0
    archived: str | None = None
