"""The view of a run that has had very many events: what is frequent is read from the tables, which tell the same.

Not told by them, and so not shown until the next event of its kind: a pause before a step is tried again, a step that
waits for its agent's account. Of how many items ran at once at the most, the number of slots in use is told.
"""

from __future__ import annotations

import datetime as dt
import time

from prodigy.report.facts import seconds
from prodigy.report.item_story import Labels
from prodigy.report.view import KEPT_FAILURES, Line, RunView, StepNow, owner_of
from prodigy.state.items import ItemState
from prodigy.state.step_path import attempt_path, is_of_the_run, parse_attempt, split_try
from prodigy.store import merges
from prodigy.store.store import Store

# Of items and steps: as many as there is work. All others are few, and are told one by one.
FREQUENT = (
    "agent_started", "agent_completed", "agent_queued", "agent_requeued", "agent_failed", "agent_interrupted",
    "agent_retrying", "agent_skipped", "dlq_item_added", "dlq_item_removed", "step_started", "step_adopted",
    "step_lost", "step_retired", "step_skipped", "step_retrying", "step_finished", "step_settled", "worktree_created",
    "workspace_lost", "merging", "worktree_merged", "merge_check_started", "merge_check_finished",
    "dlq_items_reprocessed",
)  # fmt: skip


def take_in(view: RunView, store: Store) -> None:
    """Bring a view that knows all rare events to where the tables are."""
    _count(view, store)
    _failures(view, store)
    (row,) = store.ask(
        "SELECT sum(cost_usd) AS usd, sum(tokens) AS tokens FROM step WHERE reused_from IS NULL AND state != 'started'"
    )
    view.cost_usd, view.tokens = row["usd"], row["tokens"]
    view.queued = {(one.fanout, one.member.ordinal): one.label for one in merges.waiting(store)}
    running = [one.check for one in merges.checks(store) if one.ended_at is None]
    if running:
        labels = {key[1]: label for key, label in view.queued.items()}
        view.checking = tuple(labels.get(one.ordinal, f"item {one.ordinal}") for one in running[-1].members)
    if view.state not in ("completed", "completed_with_failures", "failed"):
        _lines(view, store)


def _count(view: RunView, store: Store) -> None:
    (merged,) = store.ask(
        "SELECT (SELECT count(*) FROM attempt WHERE merged IS NOT NULL AND queued_at IS NOT NULL) + (SELECT count(*)"
        " FROM event WHERE type = 'worktree_merged' AND json_extract(data, '$.path') NOT GLOB 'merges/*') AS n"
    )
    view.merges = merged["n"]
    batch = view.batch
    if batch is None:
        return
    fanout = batch.fanout or None
    counts = store.counts(fanout)
    batch.failed = counts[ItemState.DEAD]
    batch.done = counts[ItemState.SUCCEEDED] + counts[ItemState.SKIPPED] + batch.failed
    (times,) = store.ask(
        "SELECT count(duration_s) AS n, coalesce(sum(duration_s), 0) AS s, count(DISTINCT worktree) AS slots"
        " FROM attempt WHERE fanout = coalesce(?, fanout) AND state IN ('succeeded', 'failed') AND ended_at >= ?",
        fanout,
        dt.datetime.fromtimestamp((view.started_at or 0.0) - _offset(), dt.UTC).isoformat(timespec="milliseconds"),
    )
    batch.timed, batch.timed_s = times["n"], times["s"]
    batch.peak = min(times["slots"], view.max_parallel or times["slots"])
    now = time.time()
    for row in store.ask(
        "SELECT item.fanout, item.ordinal, ended_at, retry_delay_s FROM item JOIN attempt ON attempt.fanout ="
        " item.fanout AND attempt.ordinal = item.ordinal AND number = item.attempt"
        " WHERE item.state = 'failed' AND retry_delay_s IS NOT NULL AND ended_at IS NOT NULL"
    ):
        begins = seconds(row["ended_at"]) + row["retry_delay_s"]
        if begins > now:
            view.waits_until((row["fanout"], row["ordinal"]), begins + _offset())


def _failures(view: RunView, store: Store) -> None:
    """The attempts that failed, and the steps of the run itself."""
    (row,) = store.ask("SELECT count(*) AS n FROM attempt WHERE state = 'failed'")
    newest = store.ask(
        "SELECT ended_at AS at, label AS name, kind, error, item_id FROM attempt JOIN item USING (fanout, ordinal)"
        " WHERE attempt.state = 'failed' ORDER BY ended_at DESC LIMIT ?",
        KEPT_FAILURES,
    )
    steps = [
        step
        for step in store.ask(
            "SELECT finished_at AS at, path || '/t' || try AS name, kind, message AS error, '' AS item_id FROM step"
            " WHERE kind IS NOT NULL AND state IN ('finished', 'retired') AND path NOT GLOB '*/i[0-9]*/a[0-9]*'"
        )
        if is_of_the_run(step["name"])
    ]
    view.failure_count = row["n"] + len(steps)
    for one in sorted([*newest, *steps], key=lambda one: one["at"])[-KEPT_FAILURES:]:
        name = one["name"] if one["item_id"] else f"step {one['name']}"
        view.note_failure(name, one["kind"] or "unknown", one["error"] or "", one["item_id"])


def _lines(view: RunView, store: Store) -> None:
    """What runs, the oldest first."""
    offset = _offset()
    for row in store.ask(
        "SELECT attempt.fanout, attempt.ordinal, number, label, started_at FROM item JOIN attempt ON attempt.fanout ="
        " item.fanout AND attempt.ordinal = item.ordinal AND number = item.attempt"
        " WHERE item.state = 'running' AND queued IS NULL ORDER BY started_at"
    ):
        path = attempt_path(row["fanout"], row["ordinal"], row["number"])
        line = Line(row["label"], row["number"], seconds(row["started_at"]) + offset)
        (spent,) = store.ask(
            "SELECT count(*) AS n, sum(cost_usd) AS usd, sum(tokens) AS tokens FROM step WHERE path >= ? AND path < ?"
            " AND reused_from IS NULL",
            f"{path}/", f"{path}0",
        )  # fmt: skip
        line.begun, line.cost_usd, line.tokens = spent["n"] > 0, spent["usd"], spent["tokens"]
        view.lines[path] = line
    labels = Labels(store)
    for row in store.ask("SELECT path, try, fingerprint, agent, adapter, started_at FROM step WHERE state = 'started'"):
        execution = f"{row['path']}/t{row['try']}"
        since = seconds(row["started_at"]) + offset
        label = labels.of(row["fingerprint"]) or f"step {split_try(execution)[0].rpartition('/')[2]}"
        step = StepNow(execution, label, row["agent"], since, row["adapter"] or row["agent"])
        owner = owner_of(execution)
        if owner not in view.lines:
            if parse_attempt(owner):
                continue  # its attempt has ended; nobody has said so of the step
            name = (view.phase or "run") if is_of_the_run(owner) else "check of merges"
            view.lines[owner] = Line(name, 0, since)
        view.lines[owner].step = step
    if (intent := store.merge_intent()) is not None and intent.path in view.lines:
        view.lines[intent.path].merging = True


def _offset() -> float:
    """From the time of day to the monotonic clock."""
    return time.monotonic() - dt.datetime.now(dt.UTC).timestamp()
