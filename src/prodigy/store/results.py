"""What the database knows of the items of a fan-out once they are done, a page at a time: memory stays flat."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prodigy.state.items import ItemState
from prodigy.state.step_path import attempt_path, execution_path

# A statement and its values, answered with all rows.
Ask = Callable[..., list[sqlite3.Row]]

_PAGE = 500  # items
_ITEMS = (
    "SELECT item.ordinal, item.item_id, item.label, item.data, item.state, item.attempt AS newest, attempt.error,"
    " attempt.duration_s FROM item LEFT JOIN attempt"
    " ON attempt.fanout = item.fanout AND attempt.ordinal = item.ordinal AND attempt.number = item.attempt"
    " WHERE item.fanout = ? AND item.ordinal > ? ORDER BY item.ordinal LIMIT ?"
)
# The item's path is made here again, so that the primary key of the steps finds them; `0` comes after the slash.
_ITEM_PATH = "printf('%s/i%04d', item.fanout, item.ordinal)"
_STEPS = (
    "SELECT item.ordinal, step.path, step.try, step.exit_code, coalesce(step.adapter, step.agent) AS agent,"  # noqa: S608
    " step.reused_from, step.cost_usd,"
    " step.state, step.skipped, step.ended FROM item CROSS JOIN step"
    f" ON step.path >= {_ITEM_PATH} || '/' AND step.path < {_ITEM_PATH} || '0'"
    " WHERE item.fanout = ? AND item.ordinal BETWEEN ? AND ? AND step.state != 'started' ORDER BY step.ended"
)
_COMMITS = (
    "SELECT json_extract(data, '$.ordinal') AS ordinal, json_extract(data, '$.commits') AS commits FROM event"
    " WHERE type = 'agent_completed' AND json_extract(data, '$.fanout') = ? ORDER BY seq"
)
# Steps that only look after another one.
_BESIDE = re.compile(r"/(?:check|repair|on_failure|on_success|exit\d+|conflict|workspace\d*)\b")


@dataclass(frozen=True)
class StepFacts:
    """An execution that an item has. log: the path whose directory has its output."""

    path: str
    log: str
    exit_code: int | None
    agent: str | None


@dataclass(frozen=True)
class ItemFacts:
    """An item, and what its newest attempt left.

    data: JSON. steps: of the newest attempt, without those of checks and handlers, the last one first. cost_usd: of all
    its attempts; 0 where no agent ran, None where none could tell. commits: oldest first.
    """

    ordinal: int
    item_id: str
    data: str
    state: ItemState
    attempts: int
    duration_s: float | None
    error: str | None
    commits: tuple[str, ...]
    cost_usd: float | None
    steps: tuple[StepFacts, ...]


def item_facts(ask: Ask, fanout: str) -> Iterator[list[ItemFacts]]:
    """The items in their order, in pages of at most some hundreds; those that are not done yet are among them."""
    commits = {row["ordinal"]: tuple(json.loads(row["commits"] or "[]")) for row in ask(_COMMITS, fanout)}
    after = 0
    while rows := ask(_ITEMS, fanout, after, _PAGE):
        steps: dict[int, list[sqlite3.Row]] = defaultdict(list)
        for row in ask(_STEPS, fanout, rows[0]["ordinal"], rows[-1]["ordinal"]):
            steps[row["ordinal"]].append(row)
        yield [_facts(row, fanout, commits.get(row["ordinal"], ()), steps[row["ordinal"]]) for row in rows]
        after = rows[-1]["ordinal"]


def _facts(row: sqlite3.Row, fanout: str, commits: tuple[str, ...], steps: list[sqlite3.Row]) -> ItemFacts:
    newest = f"{attempt_path(fanout, row['ordinal'], row['newest'])}/"
    return ItemFacts(
        ordinal=row["ordinal"],
        item_id=row["item_id"],
        data=row["data"],
        state=ItemState(row["state"]),
        attempts=row["newest"],
        duration_s=row["duration_s"],
        error=row["error"],
        commits=commits,
        cost_usd=_cost(steps),
        steps=tuple(_step(step) for step in reversed(steps) if _counts(step, newest)),
    )


def _counts(step: sqlite3.Row, attempt: str) -> bool:
    path: str = step["path"]
    is_of_attempt = path.startswith(attempt) and not _BESIDE.search(path, len(attempt) - 1)
    return is_of_attempt and step["state"] == "finished" and not step["skipped"]


def _step(row: sqlite3.Row) -> StepFacts:
    log = row["reused_from"] or execution_path(row["path"], row["try"])
    return StepFacts(row["path"], log, row["exit_code"], row["agent"])


def _cost(steps: list[sqlite3.Row]) -> float | None:
    paid = [step["cost_usd"] for step in steps if step["agent"] is not None and step["reused_from"] is None]
    known = [cost for cost in paid if cost is not None]
    return None if paid and not known else round(sum(known), 6)
