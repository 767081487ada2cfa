"""Cost and performance of a run: the body of its report, made again while it goes on, beside those before it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from prodigy.errors import ProdigyError, UsageError
from prodigy.report import plots
from prodigy.report.facts import read
from prodigy.report.letter_analysis import analyse
from prodigy.report.metrics import Metrics, measure
from prodigy.report.page import body
from prodigy.store import index
from prodigy.store.paths import run_directory
from prodigy.store.spending import by_model
from prodigy.store.store import Store
from prodigy.web.runs_list import RunList, mark

SHARE = 20.0  # what took a second to make is not made again within so many
EARLIER = 12  # runs that are compared


@dataclass(frozen=True)
class Compared:
    """One run among those of the same workflow. usd_an_item, items_an_hour: None when they can't be told."""

    run_id: str
    created_at: str
    summary: Mapping[str, Any]
    metrics: Metrics
    usd_an_item: float | None


@dataclass(frozen=True)
class _Made:
    value: Any
    mark: tuple[object, ...]
    due: float


class Performance:
    """Made in several threads, one at a time: the library for pictures has one set of settings."""

    def __init__(self, known: RunList) -> None:
        self._known = known
        self._made: dict[tuple[str, str], _Made] = {}
        self._lock = threading.Lock()

    def report(self, run_id: str) -> Markup:
        """The body of the report. Raises as `Store.open` does."""
        with self._lock:
            return Markup(self._kept(run_id, "report", _report))  # noqa: S704 - it has escaped what it shows

    def compared(self, run_id: str) -> list[Compared]:
        """The run and the newest ones of the same workflow in the same repository, newest first; those that can't be
        read are left out."""
        rows = index.runs()
        this = next((row for row in rows if row.id == run_id), None)
        if this is None:
            return []
        same = [row for row in rows if (row.workflow, row.common_dir) == (this.workflow, this.common_dir)]
        earlier = [row for row in same if row.created_at <= this.created_at]
        found = []
        for row in earlier[:EARLIER]:
            try:
                summary = self._known.summary(row.id)
                with self._lock:
                    metrics = self._kept(row.id, "metrics", _metrics)
            except ProdigyError:
                continue
            done = summary["items"]["successful"]
            each = summary["cost_usd"] / done if summary["cost_usd"] and done else None
            found.append(Compared(row.id, row.created_at, summary, metrics, each))
        return found

    def _kept(self, run_id: str, what: str, make: Any) -> Any:
        known, started, now_mark = self._made.get((run_id, what)), time.monotonic(), mark(run_id)
        if known is not None and (known.mark == now_mark or started < known.due):
            return known.value
        with closing(Store.open(run_directory(run_id))) as store:
            value = make(store)
        ended = time.monotonic()
        self._made[run_id, what] = _Made(value, now_mark, ended + SHARE * (ended - started))
        return value


def pictures_problem() -> str | None:
    """Why there are no pictures, None when there are."""
    try:
        plots.require()
    except UsageError as error:
        return f"{error}. {error.hint}"
    return None


def _report(store: Store) -> str:
    groups = analyse(store.dead_letters())["pattern_groups"]
    return "\n".join(body(_metrics(store), groups, by_model(store), pictures=pictures_problem() is None))


def _metrics(store: Store) -> Metrics:
    return measure(read(store, time.time()))
