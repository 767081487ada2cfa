"""The events of a run as an audit trail: what they say of its life, and which of them may go when it is over, since the
tables say all that counts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prodigy.store.questions import Questions

# What is still asked for of a run that is over: how long it took, where it was taken, which commits its items made.
_ASKED_FOR = (
    "job_started", "job_resumed", "job_completed", "job_failed", "job_paused", "job_exported", "job_imported",
    "workflow_changed", "items_planned", "agent_completed", "run_cleaned",
)  # fmt: skip
SPARE = f"type NOT IN ({', '.join(repr(name) for name in _ASKED_FOR)})"


def spare(store: Questions) -> tuple[int, int]:
    """(number, bytes) of the events that may go once the run is over."""
    (row,) = store.ask(
        "SELECT count(*) AS n, coalesce(sum(length(id) + length(at) + length(type) + length(data)), 0) AS size"  # noqa: S608
        f" FROM event WHERE {SPARE}"
    )
    return int(row["n"]), int(row["size"])


def last_active(store: Questions) -> str:
    """When something happened to the run last, RFC 3339 in UTC. That it was tidied up does not count."""
    (row,) = store.ask("SELECT max(at) AS at FROM event WHERE type NOT IN ('run_cleaned', 'dlq_item_removed')")
    return str(row["at"] or store.run().created_at)


def merged_commits(store: Questions) -> list[str]:
    """The last commit of every attempt whose work was merged, in whatever form, as the attempt made it."""
    rows = store.ask(
        "SELECT json_extract(data, '$.commits[#-1]') AS oid FROM event WHERE type = 'agent_completed'"
        " AND json_extract(data, '$.merged') IS NOT NULL"
    )
    return [str(row["oid"]) for row in rows if row["oid"]]


def condition(
    store: Questions, types: Collection[str], since: str | None, item: str | None
) -> tuple[str, list[object]]:
    """(SQL condition, its values); what the condition is made of is ours, what the user said is a value."""
    conditions, values = ["1"], list[object]()
    if types:
        conditions.append(f"type IN ({', '.join('?' * len(types))})")
        values += types
    if since is not None:
        conditions.append("at >= ?")
        values.append(since)
    if item is not None:
        own = ["json_extract(data, '$.item_id') = ?"]
        values.append(item)
        for row in store.ask("SELECT fanout, ordinal FROM item WHERE item_id = ?", item):
            prefix = f"{row['fanout']}/i{row['ordinal']:04d}/"
            own.append("substr(json_extract(data, '$.path'), 1, ?) = ?")
            values += [len(prefix), prefix]
        conditions.append(f"({' OR '.join(own)})")
    return " AND ".join(conditions), values


def record(row: sqlite3.Row, run_id: str) -> dict[str, object]:
    """An event as it is told: {seq, id, timestamp, correlation_id, event: {event_type, ...}}."""
    return {
        "seq": row["seq"],
        "id": row["id"],
        "timestamp": row["at"],
        "correlation_id": run_id,
        "event": {"event_type": row["type"], **json.loads(row["data"])},
    }
