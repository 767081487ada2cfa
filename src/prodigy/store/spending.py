"""What agents have cost: by place, by step, by model, and by day over all runs."""

from __future__ import annotations

import datetime as dt
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from prodigy.store import index
from prodigy.store.database import transaction
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.questions import Questions

_PAID = "reused_from IS NULL AND agent IS NOT NULL AND state != 'started'"


def spent_below(store: Questions, prefix: str) -> tuple[float, int]:
    """(dollars, tokens) of all executions whose path begins with `prefix`; "": of all."""
    (row,) = store.ask(
        f"SELECT coalesce(sum(cost_usd), 0) AS usd, coalesce(sum(tokens), 0) AS tokens FROM step WHERE {_PAID}"  # noqa: S608
        " AND (? = '' OR (path >= ? AND path < ? || char(1114111)))",
        prefix,
        prefix,
        prefix,
    )
    return float(row["usd"]), int(row["tokens"])


def dearest(store: Questions, fingerprint: str) -> tuple[float | None, int | None]:
    """(dollars, tokens): the most that a finished execution of a step has used."""
    (row,) = store.ask(
        f"SELECT max(cost_usd) AS usd, max(tokens) AS tokens FROM step WHERE {_PAID}"  # noqa: S608
        " AND state = 'finished' AND fingerprint = ?",
        fingerprint,
    )
    return row["usd"], row["tokens"]


@dataclass
class DayBook:
    """What this run adds to the spending of the day, and what all runs of this home have spent today.

    The index holds it; trouble with the index is no reason to stop, but raises sqlite3.Error to who asks for the sum.
    """

    run_id: str

    def spend(self, usd: float) -> None:
        self._add(usd, 0.0)

    def reserve(self, usd: float) -> None:
        """Set aside so much, or, if negative, set it free."""
        self._add(0.0, usd)

    def today(self) -> tuple[float, float]:
        """(spent, reserved) dollars of all runs. What was set aside by a run that nobody drives counts no more."""
        with closing(index.opened()) as db:
            rows = db.execute("SELECT run_id, spent, reserved FROM spending WHERE day = ?", (_today(),)).fetchall()
        spent = sum(float(row["spent"]) for row in rows)
        held = [row for row in rows if row["reserved"] > 0 and is_held(run_directory(row["run_id"]))]
        return spent, sum(float(row["reserved"]) for row in held)

    def forget_reserved(self) -> None:
        """An earlier process of this run has left something set aside."""
        self._write("UPDATE spending SET reserved = 0 WHERE run_id = ?", (self.run_id,))

    def _add(self, spent: float, reserved: float) -> None:
        self._write(
            "INSERT INTO spending VALUES (?, ?, ?, ?) ON CONFLICT (day, run_id)"
            " DO UPDATE SET spent = spent + excluded.spent, reserved = reserved + excluded.reserved",
            (_today(), self.run_id, spent, reserved),
        )

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            with closing(index.opened()) as db, transaction(db):
                db.execute(statement, values)
        except sqlite3.Error as error:
            index.discard_damaged(error)


def _today() -> str:
    return dt.datetime.now().astimezone().date().isoformat()


_BEGINS, _ENDS = ("job_started", "job_resumed"), ("job_completed", "job_failed", "job_paused")


def driven_s(store: Questions, fanout: str | None = None) -> float:
    """For how many seconds processes have driven the run, or the run since the items of a fan-out were planned, until
    now. A process that was killed drove it until its last event."""
    (first,) = store.ask(
        "SELECT coalesce(min(seq), 0) AS seq FROM event WHERE type = 'items_planned'"
        " AND json_extract(data, '$.fanout') = ?",
        fanout,
    )
    since = int(first["seq"]) if fanout is not None else 0
    marks = store.ask(
        "SELECT seq, at, type FROM event WHERE seq >= ? AND (type IN (?, ?, ?, ?, ?) OR seq = ?) ORDER BY seq",
        since, *_BEGINS, *_ENDS, since,
    )  # fmt: skip
    total_s, begun = 0.0, None
    for mark in marks:
        at = dt.datetime.fromisoformat(mark["at"])
        if mark["type"] in _ENDS:
            total_s += (at - begun).total_seconds() if begun else 0.0
            begun = None
            continue
        if begun is not None and mark["type"] in _BEGINS:  # the process before it was killed
            (last,) = store.ask("SELECT max(at) AS at FROM event WHERE seq < ?", mark["seq"])
            total_s += max(0.0, (dt.datetime.fromisoformat(last["at"]) - begun).total_seconds())
        begun = at
    return total_s + ((dt.datetime.now(dt.UTC) - begun).total_seconds() if begun else 0.0)


# Reports -----------------------------------------------------------------------------------------------------


def by_model(store: Questions) -> list[dict[str, object]]:
    """Tokens and dollars by agent and model, the dearest first."""
    rows = store.ask(
        "SELECT step.agent, usage.model, sum(input) AS input, sum(output) AS output, sum(cache_read) AS cache_read,"
        " sum(cache_write) AS cache_write, sum(usage.cost_usd) AS cost_usd FROM usage JOIN step USING (path, try)"
        " WHERE step.reused_from IS NULL GROUP BY step.agent, usage.model ORDER BY sum(usage.cost_usd) DESC, model"
    )
    return [dict(row) for row in rows]


# Of attempts that failed, what their agents had finished, unless a later attempt has taken it over.
_IN_VAIN = f"""
    SELECT coalesce(sum(step.cost_usd), 0) AS usd FROM attempt CROSS JOIN step
    ON step.path >= printf('%s/i%04d/a%d/', attempt.fanout, attempt.ordinal, attempt.number)
    AND step.path < printf('%s/i%04d/a%d0', attempt.fanout, attempt.ordinal, attempt.number)
    WHERE attempt.state = 'failed' AND {_PAID.replace("state", "step.state")}
    AND step.state = 'finished' AND step.kind IS NULL
    AND NOT EXISTS (SELECT 1 FROM step AS later WHERE later.reused_from = step.path || '/t' || step.try)
"""  # noqa: S608 - our own text


def totals(store: Questions) -> dict[str, Any]:
    """cost_usd, wasted_usd (failed or repeated work), estimated_usd (not the agents' own word), unknown (executions of
    which the cost is not known), tokens by kind."""
    (row,) = store.ask(
        "SELECT sum(cost_usd) AS cost_usd, coalesce(sum(tokens), 0) AS tokens,"  # noqa: S608 - our own text
        " coalesce(sum(CASE WHEN estimated THEN cost_usd END), 0) AS estimated_usd,"
        " sum(cost_usd IS NULL) AS unknown, count(*) AS executions,"
        " coalesce(sum(CASE WHEN state IN ('lost', 'retired') OR kind IS NOT NULL THEN cost_usd END), 0) AS wasted_usd"
        f" FROM step WHERE {_PAID}"
    )
    (in_vain,) = store.ask(_IN_VAIN)
    (kinds,) = store.ask(
        "SELECT coalesce(sum(input), 0) AS input, coalesce(sum(output), 0) AS output,"
        " coalesce(sum(cache_read), 0) AS cache_read, coalesce(sum(cache_write), 0) AS cache_write"
        " FROM usage JOIN step USING (path, try) WHERE step.reused_from IS NULL"
    )
    wasted_usd = row["wasted_usd"] + in_vain["usd"]
    return {**dict(row), "wasted_usd": wasted_usd, "unknown": row["unknown"] or 0, **dict(kinds)}


def by_step(store: Questions) -> list[dict[str, object]]:
    """Every execution of an agent: path, agent, state, kind, duration_s, dollars, tokens; the dearest first."""
    rows = store.ask(
        "SELECT path || '/t' || try AS execution, agent, state, kind, duration_s, cost_usd, tokens, estimated"  # noqa: S608
        f" FROM step WHERE {_PAID} ORDER BY cost_usd DESC, path, try"
    )
    return [dict(row) for row in rows]


def by_item(store: Questions) -> list[dict[str, object]]:
    """Items with what their agents have cost over all attempts, the dearest first."""
    rows = store.ask(
        "SELECT item.fanout, item.item_id, item.label, item.state, item.attempt AS attempts, sum(step.cost_usd) AS"  # noqa: S608
        " cost_usd, coalesce(sum(step.tokens), 0) AS tokens FROM item CROSS JOIN step ON step.path >="
        " printf('%s/i%04d/', item.fanout, item.ordinal) AND step.path < printf('%s/i%04d0', item.fanout, item.ordinal)"
        f" WHERE {_PAID.replace('state', 'step.state')} GROUP BY item.fanout, item.ordinal"
        " ORDER BY sum(step.cost_usd) DESC, item.fanout, item.ordinal"
    )
    return [dict(row) for row in rows]
