"""A whole run, from its first step to the final merge. Starting and resuming are the same walk over the tree:
what is finished in the store is taken from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prodigy.engine import fanout
from prodigy.engine.attempt import FanoutPlace
from prodigy.engine.captures import Scope, captured
from prodigy.engine.final_merge import Confirm, offer_final_merge, recover_final_merge
from prodigy.engine.run import Run
from prodigy.engine.run_steps import Past, RunWorkspace, StepFailed
from prodigy.state import events as ev
from prodigy.state.items import ItemState
from prodigy.state.step_path import execution_path, iteration_path
from prodigy.workflow.expression import compile_expression
from prodigy.workflow.model import MapReduce, Step, fingerprint


async def drive(run: Run, confirm: Confirm, past: Past) -> None:
    """Run whatever is left and record how the run ended.

    Raises Stopped when the run drains, Interrupted when a running step was ended, StepFailed when a step
    outside the items failed, other ProdigyErrors when the run can't go on.
    """
    await recover_final_merge(run)
    place = await RunWorkspace.open(run, past)
    last = ""
    for number, inputs in enumerate(run.options.iterations(), 1):
        last = await _Iteration(run, place, number, inputs).run()
    run.control.check()  # whoever asked to stop does not want the merge now
    await place.begin_phase("merge", last)
    await offer_final_merge(run, confirm)
    counts = run.store.counts()
    failed = counts[ItemState.FAILED] + counts[ItemState.DEAD]
    run.store.record(ev.JobCompleted(status="completed_with_failures" if failed else "completed"))


class _Iteration:
    """One walk over the workflow's steps. names: what the next step may name; it grows from step to step."""

    def __init__(self, run: Run, place: RunWorkspace, number: int, inputs: Mapping[str, str]) -> None:
        self._run = run
        self._place = place
        self._number = number
        self._path = iteration_path(number)
        self._names = run.names(number, inputs)
        self._env = inputs

    async def run(self) -> str:
        """Run the steps; the path of the iteration."""
        behind = ""  # the fan-out that the next step stands behind
        for number, step in enumerate(self._run.workflow.steps, 1):
            path = f"{self._path}/{number}"
            if number == 1:
                await self._begin(step)
            if isinstance(step.action, MapReduce):
                await self._fan_out(path, step, step.action, leave_untracked=not behind)
                behind = path
                continue
            if behind and not self._run.store.is_done(path):
                await self._place.begin_phase("steps", behind)
            await self._steps((step,), self._path, first=number)
        return self._path

    async def _begin(self, step: Step) -> None:
        store, phase, first = self._run.store, step.phase or "steps", f"{self._path}/1"
        if self._number > 1 and not store.is_done(first) and store.fanout(first) is None:
            await self._place.begin_phase(phase, self._path)
        elif not isinstance(step.action, MapReduce) and not store.phase_was_started(self._path, phase):
            store.record(ev.PhaseStarted(phase=phase, path=self._path))

    async def _fan_out(self, path: str, step: Step, mapping: MapReduce, *, leave_untracked: bool) -> None:
        """leave_untracked: whether the steps before are setup, whose untracked files are not part of the result."""
        if self._skips(path, step):
            if leave_untracked and not self._run.store.phase_was_started(path, "map"):
                await self._place.begin_phase("map", path, leave_untracked=True)
            nothing = dict.fromkeys(fanout.Tally(0, 0, 0).variables())
            self._names |= {"map": nothing} | ({step.id: nothing} if step.id else {})
            return
        run = self._run
        here = FanoutPlace(path, mapping, self._names, {**run.env, **self._env}, self._env)
        if run.store.fanout(path) is None:
            await self._place.begin_phase("map", path, leave_untracked=leave_untracked)
            await fanout.plan(run, here, step, self._place)
        row = run.store.fanout(path)
        if row is not None and row["total"] and not row["finished"]:
            await fanout.run_items(run, here)
        variables = fanout.tally(run, path).variables()
        self._names |= {"map": variables} | ({step.id: variables} if step.id else {})
        if row is None or row["total"] == 0:
            return
        if all(run.store.is_done(f"{path}/{number}") for number, _ in enumerate(mapping.reduce, 1)):
            run.steps.counters.steps_reused += len(mapping.reduce)
            self._remember(mapping.reduce, path)
            return
        await self._place.begin_phase("reduce", path)
        await self._steps(mapping.reduce, path)

    def _skips(self, path: str, step: Step) -> bool:
        """Whether the fan-out's condition does not hold; the answer is recorded and stays."""
        store = self._run.store
        if step.when is None or store.fanout(path) is not None:
            return False
        if store.executions(path):
            return True
        if compile_expression(step.when).holds(Scope(self._names).find):
            return False
        self._run.control.check()
        skipped = ev.StepSkipped(path=execution_path(path, 1), fingerprint=fingerprint(step), reason=step.when)
        store.record(skipped)
        return True

    def _remember(self, steps: Sequence[Step], prefix: str) -> None:
        """Take up the names that finished steps give."""
        store = self._run.store
        for number, step in enumerate(steps, 1):
            rows = store.executions(f"{prefix}/{number}")
            if rows:
                self._names |= captured(step, rows[-1], store.directory / "steps" / rows[-1].log)

    async def _steps(self, steps: Sequence[Step], prefix: str, first: int = 1) -> None:
        """Run steps outside the items; raises StepFailed, which names the step's place in the workflow."""
        run = self._run
        outcome = await self._place.run_steps(steps, prefix, self._names, self._env, first)
        self._names |= outcome.names or {}
        failure = outcome.failure
        if failure is None:
            return
        assert failure.step is not None
        number = int(failure.step.removeprefix(f"{prefix}/").split("/")[0])
        step = steps[number - first]
        label = step.name or step.id or step.phase or "step"
        raise StepFailed(
            f"{label}: {failure.message}",
            where=f"{run.workflow.source}:{step.line}",
            hint=f"Its output is in {run.directory / (failure.log or '')}. Mend it, then `prodigy resume {run.id}`.",
            path=f"{prefix}/{number}",
        )
