"""The items of a run as a table: a page at a time, sorted and filtered by the database as far as it can.

A page of a hundred thousand items reads what is shown. What has to look at all of them, a filter by an expression or
an order by cost, gives a list of keys that `ItemCache` keeps: while the run goes on it may be a little old, the older
the longer it takes to make.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prodigy.report import filters
from prodigy.report.facts import seconds
from prodigy.store.store import Store
from prodigy.workflow.expression import MISSING, Find, item_finder

SIZE = 50  # items on a page
KEPT = 8  # lists of keys
SHARE = 20.0  # what took a second to make is not made again within so many
_MESSAGE = 300  # characters of an error
_CHUNK = 2000  # items read at a time

Key = tuple[str, int]  # fan-out, ordinal

_PATH = "printf('%s/i%04d', item.fanout, item.ordinal)"
_STEPS = (
    f"FROM step WHERE path >= {_PATH} || '/' AND path < {_PATH} || '0' AND reused_from IS NULL AND agent IS NOT NULL"
    " AND state != 'started'"
)
_ATTEMPTS = "FROM attempt WHERE attempt.fanout = item.fanout AND attempt.ordinal = item.ordinal"
_LAST_FAILED = f"{_ATTEMPTS} AND attempt.state = 'failed' ORDER BY number DESC LIMIT 1"
_DURATION = "sum((julianday(coalesce(ended_at, 'now')) - julianday(started_at)) * 86400)"
_LETTER = "FROM dead_letter AS letter WHERE letter.fanout = item.fanout AND letter.ordinal = item.ordinal"
# What is known of an item beside its own row. Each is asked for alone: of a page for its items, else where it is used.
_FACTS = {
    "duration_s": f"(SELECT {_DURATION} {_ATTEMPTS})",
    "cost_usd": f"(SELECT sum(cost_usd) {_STEPS})",
    "tokens": f"(SELECT coalesce(sum(tokens), 0) {_STEPS})",
    "agent": f"(SELECT agent {_STEPS.replace(' AND state != ', ' AND skipped = 0 AND state != ')} ORDER BY ended DESC)",
    "error_type": f"(SELECT kind {_LAST_FAILED})",
    "error_message": f"(SELECT error {_LAST_FAILED})",
    "started": f"(SELECT max(started_at) {_ATTEMPTS})",
    "ended": f"(SELECT ended_at {_ATTEMPTS} ORDER BY number DESC LIMIT 1)",
    "queued": f"EXISTS (SELECT 1 {_ATTEMPTS} AND queued IS NOT NULL)",
    "error_signature": f"(SELECT error_signature {_LETTER})",
    "eligible": f"(SELECT reprocess_eligible {_LETTER})",
}  # fmt: skip
_OWN = {
    "fanout": "item.fanout", "ordinal": "item.ordinal", "item_id": "item_id", "label": "label", "state": "item.state",
    "attempts": "item.attempt", "tries": "tries", "priority": "priority",
}  # fmt: skip
NAMES = (*_OWN, *_FACTS)
# Column to sort by -> what the database sorts by.
SORTS = {
    "order": "item.fanout", "label": "label COLLATE NOCASE", "state": "item.state", "attempts": "item.attempt",
    "priority": "priority", "duration": _FACTS["duration_s"], "cost": _FACTS["cost_usd"], "tokens": _FACTS["tokens"],
    "started": _FACTS["started"], "kind": _FACTS["error_type"],
}  # fmt: skip
_QUICK = ("order", "label", "state", "attempts", "priority")


@dataclass(frozen=True)
class ItemLine:
    """One item. started, ended: of its newest attempt, seconds since the epoch. duration_s: of all its attempts.
    cost_usd: None where no agent ran or none could tell. kind, error: of its last failure. queued: its work waits to be
    merged. eligible: whether a retry can help; None without a dead letter."""

    fanout: str
    ordinal: int
    item_id: str
    label: str
    state: str
    attempts: int
    tries: int
    priority: float
    started: float | None
    ended: float | None
    duration_s: float | None
    cost_usd: float | None
    tokens: int
    agent: str | None
    kind: str | None
    error: str
    queued: bool
    eligible: bool | None

    @property
    def has_letter(self) -> bool:
        return self.eligible is not None


@dataclass(frozen=True)
class ItemPage:
    """A part of the table. total: items that fit. counts: state -> items of the run."""

    lines: tuple[ItemLine, ...]
    total: int
    number: int
    pages: int
    counts: Mapping[str, int]


class ItemFilter:
    """A filter by an expression. A name is the item's own (`priority`, `item.priority`), or else the row's (see NAMES);
    `row.NAME` is the row's in any case. It never fails at an item. Raises UsageError for a text that is none."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.expression = filters.compiled(text, "filter")
        named = {path.removeprefix("row.") for path in self.expression.paths}
        self.facts = tuple(name for name in _FACTS if name in named)

    @property
    def is_of_the_items(self) -> bool:
        """Whether it asks for nothing that changes: what it chooses is chosen for good."""
        return all(path.startswith(("item.", "item[")) for path in self.expression.paths)

    def unknown(self, store: Store) -> list[str]:
        """The names in it that neither an item nor a row has, of those items that were looked at."""
        rows = _rows(store, self.facts, "", ())
        return filters.unknown(self.expression, (_finder(row) for row, _ in zip(rows, range(_CHUNK), strict=False)))


@dataclass(frozen=True)
class _Kept:
    keys: list[Key]
    newest: int  # number of the newest event then
    due: float
    is_final: bool


class ItemCache:
    """Lists of keys of one run, for several threads."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], _Kept] = {}
        self._lock = threading.Lock()

    def keys(
        self, store: Store, name: tuple[object, ...], make: Callable[[], list[Key]], *, is_final: bool
    ) -> list[Key]:
        """The list with this name, made when it is not known or too old. is_final: it stays as it is."""
        (row,) = store.ask("SELECT coalesce(max(seq), 0) AS newest FROM event")
        started = time.monotonic()
        with self._lock:
            known = self._kept.get(name)
        if known is not None and (known.is_final or known.newest == row["newest"] or started < known.due):
            return known.keys
        keys = make()
        ended = time.monotonic()
        with self._lock:
            self._kept.pop(name, None)
            self._kept[name] = _Kept(keys, row["newest"], ended + SHARE * (ended - started), is_final)
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return keys


def page(
    store: Store,
    *,
    wanted: ItemFilter | None = None,
    states: Collection[str] = (),
    search: str = "",
    sort: str = "order",
    descending: bool = False,
    number: int = 1,
    size: int = SIZE,
    cache: ItemCache | None = None,
) -> ItemPage:
    """A page of the items that fit; one past the end is the last. search: a part of the label or the id, in any case.
    sort: one of SORTS; those that are equal stay in order. states: only items in one of them."""
    counts = {state.value: count for state, count in store.counts().items()}
    where, values = _where(states, search)
    order = f"{SORTS[sort]}{' DESC' if descending else ''}, item.fanout, item.ordinal{' DESC' if descending else ''}"
    if wanted is None and sort in _QUICK:
        (row,) = store.ask(f"SELECT count(*) AS n FROM item{where}", *values)  # noqa: S608 - our own texts
        total = int(row["n"])
        number, pages = _bounded(number, total, size)
        found = store.ask(
            f"SELECT fanout, ordinal FROM item{where} ORDER BY {order} LIMIT ? OFFSET ?",  # noqa: S608
            *values, size, (number - 1) * size,
        )  # fmt: skip
        keys = [(row["fanout"], row["ordinal"]) for row in found]
    else:
        planned = sum(counts.values())  # other maps may plan more
        name = (wanted.text if wanted else None, tuple(sorted(states)), search, sort, descending, planned)
        is_final = wanted is not None and wanted.is_of_the_items and not states and sort in ("order", "label")
        all_keys = (cache or ItemCache()).keys(
            store, name, lambda: _keys(store, wanted, where, values, order), is_final=is_final
        )
        total = len(all_keys)
        number, pages = _bounded(number, total, size)
        keys = all_keys[(number - 1) * size : number * size]
    return ItemPage(tuple(line for key in keys if (line := find(store, key))), total, number, pages, counts)


def find(store: Store, key: Key) -> ItemLine | None:
    """One item, None when there is none."""
    rows = list(_rows(store, tuple(_FACTS), " WHERE item.fanout = ? AND item.ordinal = ?", key))
    return _line(rows[0]) if rows else None


def neighbours(store: Store, key: Key) -> tuple[int | None, int | None]:
    """The ordinals before and after an item in its fan-out."""
    (row,) = store.ask(
        "SELECT (SELECT max(ordinal) FROM item WHERE fanout = ? AND ordinal < ?) AS before,"
        " (SELECT min(ordinal) FROM item WHERE fanout = ? AND ordinal > ?) AS after",
        *key, *key,
    )  # fmt: skip
    return row["before"], row["after"]


def _bounded(number: int, total: int, size: int) -> tuple[int, int]:
    pages = max(1, -(-total // size))
    return min(max(1, number), pages), pages


def _where(states: Collection[str], search: str) -> tuple[str, tuple[object, ...]]:
    parts, values = [], list[object]()
    if states:
        parts.append(f"item.state IN ({', '.join('?' * len(states))})")
        values += sorted(states)
    if search.strip():
        part = search.strip().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        parts.append("(label LIKE ? ESCAPE '\\' OR item_id LIKE ? ESCAPE '\\')")
        values += [f"%{part}%"] * 2
    return f" WHERE {' AND '.join(parts)}" if parts else "", tuple(values)


def _keys(store: Store, wanted: ItemFilter | None, where: str, values: tuple[object, ...], order: str) -> list[Key]:
    if wanted is None:
        found = store.ask(f"SELECT fanout, ordinal FROM item{where} ORDER BY {order}", *values)  # noqa: S608
        return [(row["fanout"], row["ordinal"]) for row in found]
    rows = _rows(store, wanted.facts, f"{where} ORDER BY {order}", values)
    return [(row["fanout"], row["ordinal"]) for row in rows if wanted.expression.holds(_finder(row))]


def _rows(store: Store, facts: Collection[str], rest: str, values: tuple[object, ...]) -> Iterator[sqlite3.Row]:
    """Items with these facts, a chunk in memory at a time."""
    asked = {**_OWN, **{name: _FACTS[name] for name in facts}}
    columns = ", ".join(f"{text} AS {name}" for name, text in asked.items())
    yield from store.each(f"SELECT {columns}, data FROM item{rest}", *values)  # noqa: S608 - our own texts


def _finder(row: sqlite3.Row) -> Find:
    in_item = item_finder(json.loads(row["data"]))
    names = {name: row[name] for name in row.keys() if name != "data"}  # noqa: SIM118 - it is no mapping
    for name in ("queued", "eligible"):
        if names.get(name) is not None:
            names[name] = bool(names[name])
    in_row = item_finder({**names, "row": names})

    def find(path: str) -> object:
        found = in_item(path)
        # `item.x` is the item's and nobody else's.
        return in_row(path) if found is MISSING and not path.startswith(("item.", "item[")) else found

    return find


def _line(row: Any) -> ItemLine:
    error = (row["error_message"] or "").strip()
    return ItemLine(
        fanout=row["fanout"],
        ordinal=row["ordinal"],
        item_id=row["item_id"],
        label=row["label"],
        state=row["state"],
        attempts=row["attempts"],
        tries=row["tries"],
        priority=row["priority"],
        started=seconds(row["started"]) if row["started"] else None,
        ended=seconds(row["ended"]) if row["ended"] else None,
        duration_s=row["duration_s"],
        cost_usd=row["cost_usd"],
        tokens=row["tokens"],
        agent=row["agent"],
        kind=row["error_type"],
        error=error if len(error) <= _MESSAGE else f"{error[: _MESSAGE - 1]}…",
        queued=bool(row["queued"]),
        eligible=None if row["eligible"] is None else bool(row["eligible"]),
    )
