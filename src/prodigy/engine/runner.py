"""A whole run, from its first step to the final merge. Starting and resuming are the same walk over the tree:
what is finished in the store is taken from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prodigy.engine import fanout
from prodigy.engine.final_merge import Confirm, offer_final_merge, recover_final_merge
from prodigy.engine.run import Run
from prodigy.engine.run_steps import Past, RunWorkspace, StepFailed
from prodigy.state import events as ev
from prodigy.state.step_path import ITERATION, split_try
from prodigy.workflow.model import MapReduce, Step


async def drive(run: Run, confirm: Confirm, past: Past) -> None:
    """Run whatever is left and record how the run ended.

    Raises Stopped when the run drains, Interrupted when a running step was ended, StepFailed when a step
    outside the items failed, other ProdigyErrors when the run can't go on.
    """
    await recover_final_merge(run)
    place = await RunWorkspace.open(run, past)
    scope: dict[str, object] = {}
    last_fanout = ""
    for number, step in enumerate(run.workflow.steps, 1):
        path = f"{ITERATION}/{number}"
        if isinstance(step.action, MapReduce):
            await _run_fanout(run, place, path, step, step.action)
            scope, last_fanout = {"map": fanout.tally(run, path).variables()}, path
            continue
        if last_fanout and not run.store.is_finished(path):
            await place.begin_phase("steps", last_fanout)
        elif number == 1 and not run.store.phase_was_started(ITERATION, step.phase or "steps"):
            run.store.record(ev.PhaseStarted(phase=step.phase or "steps", path=ITERATION))
        await _run_steps(run, place, (step,), ITERATION, scope, first=number)
    run.control.check()  # whoever asked to stop does not want the merge now
    await place.begin_phase("merge", ITERATION)
    await offer_final_merge(run, confirm)
    dead = run.store.dead_letter_count()
    run.store.record(ev.JobCompleted(status="completed_with_failures" if dead else "completed"))


async def _run_fanout(run: Run, place: RunWorkspace, path: str, step: Step, mapping: MapReduce) -> None:
    if run.store.fanout(path) is None:
        await place.begin_phase("map", path, leave_untracked=True)
        await fanout.plan(run, path, step, mapping, place)
    row = run.store.fanout(path)
    if row is None or row["total"] == 0:
        return
    if not row["finished"]:
        await fanout.run_items(run, path, mapping)
    if all(run.store.is_finished(f"{path}/{number}") for number, _ in enumerate(mapping.reduce, 1)):
        run.steps.counters.steps_reused += len(mapping.reduce)
        return
    await place.begin_phase("reduce", path)
    await _run_steps(run, place, mapping.reduce, path, {"map": fanout.tally(run, path).variables()})


async def _run_steps(
    run: Run, place: RunWorkspace, steps: Sequence[Step], prefix: str, scope: Mapping[str, object], first: int = 1
) -> None:
    """Run steps outside the items; raises StepFailed, which names the step's place in the workflow."""
    outcome = await place.run_steps(steps, prefix, scope, first)
    failure = outcome.failure
    if failure is None:
        return
    assert failure.step is not None
    number = int(split_try(failure.step)[0].rpartition("/")[2])
    step = steps[number - first]
    label = step.name or step.id or step.phase or "step"
    raise StepFailed(
        f"{label}: {failure.message}",
        where=f"{run.workflow.source}:{step.line}",
        hint=f"Its output is in {run.directory / (failure.log or '')}. Mend it, then `prodigy resume {run.id}`.",
    )
