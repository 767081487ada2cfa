"""The one summary object that `run`, `resume`, `dlq retry` and `status` show."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from prodigy.engine.queue_told import queue_told
from prodigy.state.items import ItemState
from prodigy.store.lock import is_held
from prodigy.store.rows import GateRow
from prodigy.store.spending import totals
from prodigy.store.store import Store


@dataclass
class Counters:
    """What this call did."""

    steps_run: int = 0
    steps_reused: int = 0


EXIT_CODES = {"completed": 0, "completed_with_failures": 3, "failed": 1, "paused": 6}


def summarise(
    store: Store,
    counters: Counters | None = None,
    duration_s: float | None = None,
    *,
    driving: bool = False,
) -> dict[str, object]:
    """Items and cost are the whole run's; duration_s, steps_run and steps_reused those of this call.

    cost_usd: dollars, None when agents ran and none of them could tell. spend: of that, what was spent on work that
    failed or was repeated, what is an estimate, and of how many executions the cost is not known; tokens by kind.
    gates: the accounts that let no agent start now. merge_queue: what waits to be merged, which counts as running; see
    `queue_told`. held: who paused a run that goes on, and since when. changed: whether there is anything to merge.

    The five parts of `items` add up to its total; `failed` counts dead items too.
    """
    row = store.run()
    counts = store.counts()
    spend = totals(store)
    cost_usd = None if spend["cost_usd"] is None and spend["executions"] else round(spend["cost_usd"] or 0.0, 6)
    status = row.status
    if status in ("new", "running") and not driving and not is_held(store.directory):
        status = "interrupted"  # its process is gone without a word
    stop_reason, held = row.stop_reason, None
    if row.held_by is not None and row.status in ("new", "running"):
        status, stop_reason, held = "paused", "user", {"by": row.held_by, "since": row.held_at}
    branch = row.branch.removeprefix("refs/heads/")
    return {
        "run_id": row.id,
        "workflow": row.workflow,
        "status": status,
        "stop_reason": stop_reason,
        "held": held,
        "phase": row.phase,
        "items": {
            "total": sum(counts.values()),
            "successful": counts[ItemState.SUCCEEDED],
            "failed": counts[ItemState.FAILED] + counts[ItemState.DEAD],
            "skipped": counts[ItemState.SKIPPED],
            "running": counts[ItemState.RUNNING],
            "pending": counts[ItemState.PENDING],
        },
        "dead_letters": store.dead_letter_count(),
        "duplicates": store.duplicates(),
        "cost_usd": cost_usd,
        "tokens": spend["tokens"],
        "spend": _spending(spend),
        "gates": [_gate(gate) for gate in store.gates()],
        "merge_queue": queue_told(store),
        "duration_s": round(duration_s, 3) if duration_s is not None else None,
        "branch": branch,
        "target": row.target.removeprefix("refs/heads/") if row.target else None,
        "changed": row.tip != row.base,
        "merged": row.merged is not None,
        "merge_problem": row.merge_problem,
        "steps_run": counters.steps_run if counters else None,
        "steps_reused": counters.steps_reused if counters else None,
        "error": row.error,
        "created_at": row.created_at,
    }


def exit_code(summary: dict[str, object]) -> int:
    """The process's exit status for a run that ended by itself."""
    code = EXIT_CODES.get(str(summary["status"]), 130)
    return 3 if code == 0 and summary["merge_problem"] else code


def _spending(spend: dict[str, Any]) -> dict[str, object]:
    """What is known of the cost beside its sum."""
    return {
        "wasted_usd": round(spend["wasted_usd"], 6),
        "estimated_usd": round(spend["estimated_usd"], 6),
        "of_unknown_cost": spend["unknown"],
        "input_tokens": spend["input"],
        "output_tokens": spend["output"],
        "cache_read_tokens": spend["cache_read"],
        "cache_write_tokens": spend["cache_write"],
    }


def _gate(gate: GateRow) -> dict[str, object]:
    """An account that lets no agent start, and until when."""
    return {
        "account": gate.account,
        "agent": gate.agent,
        "cause": gate.cause,
        "until": dt.datetime.fromtimestamp(gate.until, dt.UTC).isoformat(timespec="seconds"),
        "told": gate.told,
        "message": gate.message,
    }
