"""All runs as a table, quick also when there are thousands: what is shown is read, and what is over is read once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from prodigy.engine.summary import summarise
from prodigy.errors import ProdigyError
from prodigy.store import index
from prodigy.store.index import IndexRow
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

PAGE = 50
SHARE = 20.0  # a summary that took a second to make is not made again within so many
GOING = ("new", "running", "paused", "interrupted")
STATES = ("running", "paused", "interrupted", "cancelled", "failed", "completed_with_failures", "completed", "new")


@dataclass(frozen=True)
class RunLine:
    """A run in the list. summary: see `engine.summary`; None when it can't be read, then `problem` says why."""

    id: str
    workflow: str
    repository: str
    created_at: str
    summary: Mapping[str, Any] | None
    problem: str | None = None


@dataclass(frozen=True)
class RunPage:
    """A part of the list. states: state -> runs, of all that the search fits."""

    lines: tuple[RunLine, ...]
    total: int
    number: int
    pages: int
    states: Mapping[str, int]
    all: int


@dataclass(frozen=True)
class _Known:
    summary: Mapping[str, Any]
    mark: tuple[object, ...]
    due: float


class RunList:
    """The list, for several threads at once."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def page(self, *, search: str = "", state: str = "", repository: str = "", number: int = 1) -> RunPage:
        """Runs, newest first. search: a part of the workflow's name, the run's id or the repository, in any case."""
        rows = index.runs()
        wanted = search.casefold().strip()
        found = [row for row in rows if not repository or repository_of(row) == repository]
        found = [row for row in found if wanted in f"{row.workflow}\n{row.id}\n{repository_of(row)}".casefold()]
        states = {row.id: self._state(row) for row in found}
        chosen = [row for row in found if not state or states[row.id] == state]
        pages = max(1, -(-len(chosen) // PAGE))
        number = min(max(1, number), pages)
        lines = tuple(self._line(row) for row in chosen[(number - 1) * PAGE : number * PAGE])
        return RunPage(lines, len(chosen), number, pages, Counter(states.values()), len(rows))

    def going(self, most: int) -> Iterator[Mapping[str, Any]]:
        """The summaries of the newest runs that are not over."""
        rows = [row for row in index.runs() if row.status in GOING]
        for row in rows[:most]:
            with suppress(ProdigyError):  # the list tells of it
                summary = self.summary(row.id)
                if summary["status"] in GOING:
                    yield summary

    def summary(self, run_id: str) -> Mapping[str, Any]:
        """How a run stands. Raises as `Store.open` does."""
        known, now = self._known.get(run_id), time.monotonic()
        marked = mark(run_id)
        if known is not None and (known.mark == marked or now < known.due):
            return known.summary
        with closing(Store.open(run_directory(run_id))) as store:
            summary = summarise(store)
        ended = time.monotonic()
        with self._lock:
            self._known[run_id] = _Known(summary, marked, ended + SHARE * (ended - now))
        return summary

    def _state(self, row: IndexRow) -> str:
        """The state of a run: on record for those that are over, and looked up for those that may go on."""
        if row.status not in ("new", "running"):
            return row.status
        try:
            return str(self.summary(row.id)["status"])
        except ProdigyError:
            return row.status

    def _line(self, row: IndexRow) -> RunLine:
        facts = (row.id, row.workflow, repository_of(row), row.created_at)
        try:
            return RunLine(*facts, self.summary(row.id))
        except ProdigyError as error:
            return RunLine(*facts, None, str(error))


def repository_of(row: IndexRow) -> str:
    """The repository's directory, for people."""
    return row.common_dir.removesuffix("/.git")


def mark(run_id: str) -> tuple[object, ...]:
    """Changes when the run does: the sizes and times of its files, and whether a process drives it."""
    directory = run_directory(run_id)
    found: list[object] = [is_held(directory)]
    for name in ("run.db", "run.db-wal"):
        try:
            status = (directory / name).stat()
        except OSError:
            found.append(None)
        else:  # an empty log of changes is left by who only reads
            found.append((status.st_size, status.st_mtime_ns) if status.st_size else None)
    return tuple(found)
