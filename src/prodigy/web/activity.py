"""What happened in a run, as sentences: what people did to it, what ended, what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from prodigy.state import events as ev
from prodigy.state.event_data import from_data
from prodigy.store.store import Store

KEPT = 40
TELLING = (
    "job_started", "job_resumed", "job_held", "job_released", "job_steered", "job_paused", "job_failed",
    "job_completed", "workflow_changed", "phase_started", "items_planned", "agent_failed", "agent_requeued",
    "dlq_items_reprocessed", "dlq_item_added", "dlq_item_removed", "agent_gate_closed", "agent_gate_opened",
    "breaker_opened", "breaker_closed", "merge_check_finished", "warned", "final_merge_finished",
    "final_merge_refused", "agent_completed",
)  # fmt: skip


def told(store: Store, after: int) -> list[Mapping[str, Any]]:
    """The newest events after that number, newest first: {number, at (RFC 3339), text, by, tone, place}. by: who wanted
    it, None where nobody did; place: the item's (fan-out, ordinal), or None."""
    found: list[Mapping[str, Any]] = []
    for record in store.events(after, types=TELLING, limit=KEPT):
        data = dict(cast("dict[str, object]", record["event"]))
        event = from_data(str(data.pop("event_type")), data)
        told_of = _words(event)
        if told_of is None:
            continue
        text, by, tone = told_of
        place = (event.fanout, event.ordinal) if isinstance(event, ev.ItemEvent) else None
        found.append(
            {
                "number": record["seq"],
                "at": record["timestamp"],
                "text": text,
                "by": by,
                "tone": tone,
                "place": place,
            }
        )
    return found[::-1]


def _words(event: ev.Event) -> tuple[str, str | None, str] | None:
    """(what happened, who wanted it, tone)."""
    return _of_the_run(event) or _of_an_item(event)


def _of_the_run(event: ev.Event) -> tuple[str, str | None, str] | None:
    match event:
        case ev.JobStarted(user=user, host=host):
            return "The run was started", _who(user, host), "calm"
        case ev.JobResumed(command=command, user=user, host=host):
            return f"The run goes on ({command})", _who(user, host), "calm"
        case ev.JobHeld(by=by):
            return "Paused: nothing new starts", by, "wait"
        case ev.JobReleased(by=by):
            return "Goes on: things start again", by, "live"
        case ev.JobSteered(what=what, by=by):
            return f"From now on {what}", by, "live"
        case ev.JobPaused(status=status, stop_reason=reason, error=error, by=by):
            why = f" ({reason.replace('_', ' ')})" if reason and reason != "user" else ""
            return f"The run was {status}{why}{': ' + error if error else ''}", by or None, "wait"
        case ev.JobFailed(error=error):
            return f"The run failed: {error}", None, "bad"
        case ev.JobCompleted(status=status):
            return f"The run {status.replace('_', ' ')}", None, "good" if status == "completed" else "bad"
        case ev.WorkflowChanged(version=version):
            return f"The workflow was changed: version {version}", None, "calm"
        case ev.PhaseStarted(phase=phase):
            return f"Phase {phase} began", None, "calm"
        case ev.ItemsPlanned(total=total):
            return f"{total:,} items were planned", None, "calm"
        case ev.DlqItemsReprocessed(ordinals=ordinals, by=by):
            many = "1 dead item runs" if len(ordinals) == 1 else f"{len(ordinals):,} dead items run"
            return f"{many} again", by or None, "live"
        case ev.AgentGateClosed(agent=agent, cause=cause, message=message):
            why = "is at its limit" if cause == "rate_limit" else "does not answer"
            return f"{agent} {why}: no agent of it starts{': ' + message if message else ''}", None, "wait"
        case ev.AgentGateOpened(account=account):
            return f"{account} answers again", None, "good"
        case ev.BreakerOpened(failures=failures, pause_s=pause_s):
            return f"{failures} attempts failed one after another: nothing starts for {pause_s:g} s", None, "wait"
        case ev.BreakerClosed():
            return "What was tried after the pause succeeded: going on as before", None, "good"
        case ev.MergeCheckFinished(passed=False, message=message):
            return f"A check of merges did not pass: {message}", None, "bad"
        case ev.Warned(message=message):
            return message, None, "wait"
        case ev.FinalMergeRefused(problem=message):
            return f"Not merged: {message}", None, "bad"
        case ev.FinalMergeFinished(target=target):
            return f"Merged into {target.removeprefix('refs/heads/')}", None, "good"
    return None


def _of_an_item(event: ev.Event) -> tuple[str, str | None, str] | None:
    match event:
        case ev.AgentCompleted(label=label, merged=merged):
            return f"{label} succeeded{'' if merged else ', nothing to merge'}", None, "good"
        case ev.AgentFailed(label=label, kind=kind, error=error):
            return f"{label} failed ({kind.replace('_', ' ')}): {error}", None, "bad"
        case ev.AgentRequeued(label=label):
            return f"{label} conflicts with what was merged meanwhile and goes on", None, "wait"
        case ev.DlqItemAdded(label=label):
            return f"{label} is in the dead letter queue", None, "bad"
        case ev.DlqItemRemoved(item_id=item_id, reason="purged"):
            return f"The dead letter of {item_id} was purged", None, "calm"
    return None


def _who(user: str, host: str) -> str | None:
    return f"{user}@{host}" if user else None
