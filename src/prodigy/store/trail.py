"""The events of a run as an audit trail: what may go when the run is over, since the tables say all that counts."""

from __future__ import annotations

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
