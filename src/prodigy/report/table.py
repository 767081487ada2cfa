"""Metrics as rows, for spreadsheets and other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from prodigy.report.facts import Facts
from prodigy.report.letter_table import safe_cell
from prodigy.report.metrics import Metrics, all_items

ITEM_COLUMNS = ("item_id", "label", "state", "attempts", "work_s", "cost_usd")
STEP_COLUMNS = (
    "execution", "step", "doer", "role", "state", "failure", "started", "duration_s", "cost_usd", "tokens", "estimated",
)  # fmt: skip


def as_json(metrics: Metrics) -> dict[str, Any]:
    """The metrics as JSON values: durations in seconds (`_s`), money in dollars (`_usd`), parts from 0 to 1.

    Without what pictures are made of: the timeline and the single items, which `items_csv` has.
    """
    found = asdict(metrics)
    for picture in ("lanes", "throughput", "item_work", "item_cost"):
        del found[picture]
    found["time"] = {f"{name}_s": value for name, value in found["time"].items()}
    return found


def items_csv(facts: Facts) -> str:
    """A row for each item that was worked on."""
    rows = (
        (item.item_id, item.label, item.state, item.attempts, round(item.work_s, 3), item.cost_usd)
        for item in all_items(facts)
    )
    return _csv(ITEM_COLUMNS, rows)


def steps_csv(facts: Facts) -> str:
    """A row for each execution of a step."""
    return _csv(STEP_COLUMNS, _steps(facts))


def _steps(facts: Facts) -> Iterator[tuple[object, ...]]:
    for one in facts.executions:
        yield (
            one.path, one.name, one.doer, one.role, one.state, one.kind, round(one.started, 3), one.duration_s,
            one.cost_usd, one.tokens, one.estimated,
        )  # fmt: skip


def _csv(columns: Iterable[str], rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([safe_cell(value) for value in row] for row in rows)
    return text.getvalue()
