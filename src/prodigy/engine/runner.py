"""A whole run, from its first step to the final merge. Starting and resuming are the same walk over the tree:
what is finished in the store is taken from there."""

from __future__ import annotations

from prodigy.engine import fanout
from prodigy.engine.final_merge import Confirm, offer_final_merge, recover_final_merge
from prodigy.engine.run import Run
from prodigy.engine.run_steps import Past, RunWorkspace, StepFailed
from prodigy.state import events as ev
from prodigy.state.items import ItemState
from prodigy.state.step_path import ITERATION
from prodigy.workflow.model import MapReduce, Step


async def drive(run: Run, confirm: Confirm, past: Past) -> None:
    """Run whatever is left and record how the run ended.

    Raises Stopped when the run drains, Interrupted when a running step was ended, StepFailed when a step
    outside the items failed, other ProdigyErrors when the run can't go on.
    """
    await recover_final_merge(run)
    place = await RunWorkspace.open(run, past)
    for number, step in enumerate(run.workflow.steps, 1):
        path = f"{ITERATION}/{number}"
        if isinstance(step.action, MapReduce):
            await _run_fanout(run, place, path, step, step.action)
        else:
            await _run_step(run, place, number, step)
    await place.begin_phase("merge", ITERATION)
    await offer_final_merge(run, confirm)
    dead = run.store.dead_letter_count()
    run.store.record(ev.JobCompleted(status="completed_with_failures" if dead else "completed"))


async def _run_step(run: Run, place: RunWorkspace, number: int, step: Step) -> None:
    if number == 1 and not run.store.phase_was_started(ITERATION, step.phase or "steps"):
        run.store.record(ev.PhaseStarted(phase=step.phase or "steps", path=ITERATION))
    outcome = await place.run_steps((step,), ITERATION, first=number)
    if outcome.failure is not None:
        raise _step_failed(run, step, outcome.failure.message, outcome.failure.log)


async def _run_fanout(run: Run, place: RunWorkspace, path: str, step: Step, mapping: MapReduce) -> None:
    await place.begin_phase("map", path, leave_untracked=True)
    await fanout.plan(run, path, step, mapping, place)
    row = run.store.fanout(path)
    if row is None or row["total"] == 0:
        return
    if not row["finished"]:
        await fanout.run_items(run, path, mapping)
    if not all(run.store.is_finished(f"{path}/{number}") for number, _ in enumerate(mapping.reduce, 1)):
        await place.begin_phase("reduce", path)
    scope = {"map": fanout.tally(run, path).variables()}
    outcome = await place.run_steps(mapping.reduce, path, scope)
    if outcome.failure is not None:
        raise _step_failed(run, step, outcome.failure.message, outcome.failure.log)


def _step_failed(run: Run, step: Step, message: str, log: str | None) -> StepFailed:
    label = step.name or step.id or step.phase or "step"
    return StepFailed(
        f"{label}: {message}",
        where=f"{run.workflow.source}:{step.line}",
        hint=f"Its output is in {run.directory / (log or '')}. Mend it, then `prodigy resume {run.id}`.",
    )


def not_done(run: Run) -> int:
    """Items that nobody has finished."""
    counts = run.store.counts()
    return counts[ItemState.PENDING] + counts[ItemState.RUNNING]
