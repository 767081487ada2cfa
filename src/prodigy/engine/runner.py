"""A whole run, from its first step to the final merge. Starting and resuming are the same walk over the tree:
what is finished in the store is taken from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prodigy.engine import fanout, results
from prodigy.engine.captures import Scope
from prodigy.engine.composite import group_scope
from prodigy.engine.fanout_place import FanoutPlace
from prodigy.engine.final_merge import Confirm, offer_final_merge, recover_final_merge
from prodigy.engine.merge_phase import merge_names
from prodigy.engine.named import worktree_names
from prodigy.engine.places import MERGE
from prodigy.engine.run import Run
from prodigy.engine.run_steps import Past, RunWorkspace, StepFailed, see_output
from prodigy.engine.time_limits import TimeLimit, part_limit
from prodigy.state import events as ev
from prodigy.state.items import ItemState
from prodigy.state.step_path import execution_path, iteration_path
from prodigy.workflow.expression import compile_expression
from prodigy.workflow.model import Group, MapReduce, Step
from prodigy.workflow.walk import fingerprint


async def drive(run: Run, confirm: Confirm, past: Past) -> None:
    """Run whatever is left and record how the run ended.

    Raises Stopped when the run drains, Interrupted when a running step was ended, StepFailed when a step
    outside the items failed, other ProdigyErrors when the run can't go on.
    """
    await recover_final_merge(run)
    place = await RunWorkspace.open(run, past)
    walk, last = _Walk(run, place, {}, {}), ""
    for number, inputs in enumerate(run.options.iterations(), 1):
        last = iteration_path(number)
        walk = _Walk(run, place, run.names(number, inputs), run.inputs(inputs))
        await walk.iteration(run.workflow.steps, number)
    run.control.check()  # whoever asked to stop does not want the merge now
    if run.workflow.merge:
        await place.begin_phase("merge", f"{last}/{MERGE}")
        await walk.merge_steps(f"{last}/{MERGE}")
    await place.begin_phase("merge", last, last=True)
    await offer_final_merge(run, confirm)
    await place.tear_down()
    counts = run.store.counts()
    failed = counts[ItemState.FAILED] + counts[ItemState.DEAD]
    run.store.record(ev.JobCompleted(status="completed_with_failures" if failed else "completed"))


class _Walk:
    """One walk over steps outside the items. base: what every step may name. names: what the next one may; it grows
    from step to step. env: what the environment of every step has beside the run's."""

    def __init__(self, run: Run, place: RunWorkspace, base: Mapping[str, object], env: Mapping[str, str]) -> None:
        self._run = run
        self._place = place
        self._base = base
        self._names = dict(base)
        self._env = env
        self._changed = results.changed_by(run.private)
        self._has_mapped = False
        self._limit: TimeLimit | None = None

    async def iteration(self, steps: Sequence[Step], number: int) -> None:
        path = iteration_path(number)
        store, phase, first = self._run.store, steps[0].phase or "steps", f"{path}/1"
        if number > 1 and not store.is_done(first) and store.fanout(first) is None:
            await self._place.begin_phase(phase, path)
        elif not isinstance(steps[0].action, MapReduce) and not store.phase_was_started(path, phase):
            store.record(ev.PhaseStarted(phase=phase, path=path))
        await self._list(steps, path)

    async def merge_steps(self, prefix: str) -> None:
        """Run what the workflow has under `merge`."""
        self._names |= merge_names(self._run, self._place.path)
        await self._list(self._run.workflow.merge, prefix)

    async def _list(self, steps: Sequence[Step], prefix: str) -> None:
        """Run the steps of the path `prefix/<number>`. Raises StepFailed when one fails."""
        behind = ""  # the fan-out that the next step stands behind, or what contains it
        for number, step in enumerate(steps, 1):
            path = f"{prefix}/{number}"
            if isinstance(step.action, MapReduce):
                await self._fan_out(path, step, step.action, nothing_behind=number == len(steps))
                behind = path
                continue
            if behind and not self._run.store.is_done(path):
                await self._place.begin_phase("steps", behind)
            if isinstance(step.action, Group):
                await self._group(path, step, step.action)
                behind = path
                continue
            await self._step(step, prefix, number)

    # Fan-outs ----------------------------------------------------------------------------------------------

    async def _fan_out(self, path: str, step: Step, mapping: MapReduce, *, nothing_behind: bool) -> None:
        is_setup = not self._has_mapped if step.phase == "map" else step.phase == "setup"
        self._has_mapped = self._has_mapped or step.phase == "map"
        if self._skips(path, step):
            if is_setup and not self._run.store.phase_was_started(path, "map"):
                await self._place.begin_phase("map", path, leave_untracked=True)
            self._remember_fan_out(mapping, results.names_of_skipped(mapping, step.id))
            return
        run = self._run
        here = FanoutPlace(path, mapping, self._names, {**run.env, **self._env}, self._env, self._base)
        if run.store.fanout(path) is None:
            await self._place.begin_phase("map", path, leave_untracked=is_setup)
            await fanout.plan(run, here, step, self._place)
        row = run.store.fanout(path)
        if row is not None and row["total"] and not row["finished"]:
            results.results_path(run.directory, path).unlink(missing_ok=True)  # of the time before these items
            await fanout.run_items(run, here)
        self._remember_fan_out(mapping, results.names_behind(run.store, path, mapping, step.id, self._changed))
        self._env = {**self._env, **results.environment(run.directory, path)}
        if mapping.named:
            self._names |= worktree_names(run, path, mapping)
        if mapping.reduce or not nothing_behind or run.workflow.merge:
            results.results_file(run.store, path, self._changed)  # PRODIGY_RESULTS_FILE names it
        if row is None or row["total"] == 0:
            return
        if not all(run.store.is_done(f"{path}/{number}") for number, _ in enumerate(mapping.reduce, 1)):
            await self._place.begin_phase("reduce", path)
        await self._list(mapping.reduce, path)

    def _remember_fan_out(self, mapping: MapReduce, names: Mapping[str, object]) -> None:
        """`${map...}` is the nearest fan-out before; named worktrees are no map for those who read on."""
        hidden = ("map", "result") if mapping.named else ()
        self._names |= {name: value for name, value in names.items() if name not in hidden}

    def _skips(self, path: str, step: Step) -> bool:
        """Whether the condition of a fan-out or a group does not hold; the answer is recorded and stays."""
        store = self._run.store
        if step.when is None or store.fanout(path) is not None:
            return False
        if rows := store.executions(path):
            return rows[-1].skipped
        if (
            store.finished_below(path)
            or store.started_steps_of(path)
            or compile_expression(step.when).holds(Scope(self._names).find)
        ):
            return False
        self._run.control.check()
        execution = execution_path(path, store.next_try(path))
        skipped = ev.StepSkipped(path=execution, fingerprint=fingerprint(step), reason=step.when)
        store.record(skipped)
        return True

    # The steps of another workflow -------------------------------------------------------------------------

    async def _group(self, path: str, step: Step, group: Group) -> None:
        if self._skips(path, step):
            self._names |= dict.fromkeys(group.outputs)
            return
        inner = _Walk(self._run, self._place, self._base, self._env)
        inner._names = dict(group_scope(group, Scope(self._names), self._base))
        inner._has_mapped = self._has_mapped
        inner._limit = part_limit(step, f"{path}/do", self._limit)
        problem = None
        try:
            await inner._list(group.do, f"{path}/do")
        except StepFailed as failed:
            if not any(handler.on == "failure" and not handler.fatal for handler in step.handlers):
                raise
            problem = failed
        self._has_mapped = inner._has_mapped
        self._settle_group(path, step, problem)
        outputs = {name: value for name, value in inner._names.items() if name.partition(".")[0] in group.outputs}
        self._names |= dict.fromkeys(group.outputs) | outputs
        if step.id:
            self._names |= {f"{step.id}.{name}": value for name, value in outputs.items()}

    def _settle_group(self, path: str, step: Step, problem: StepFailed | None) -> None:
        store = self._run.store
        if store.is_done(path):
            return
        row, execution = store.run(), execution_path(path, store.next_try(path))
        head, snapshot = row.head or row.base, row.snapshot
        events: list[ev.Event] = [
            ev.StepStarted(path=execution, fingerprint=fingerprint(step), label=step.label),
            ev.StepFinished(
                path=execution,
                kind="command_failed" if problem else None,
                message=str(problem) if problem else None,
                exit_code=None,
                duration_s=0.0,
                head=head,
                snapshot=snapshot,
                moves_run=False,
            ),
        ]
        if problem is not None:
            settled = ev.StepSettled(path=execution, head=head, snapshot=snapshot, recovered=True, moves_run=False)
            events += [settled, ev.Warned(message=f"{step.label}: {problem.what}; the workflow goes on all the same")]
        store.record(*events)

    # Single steps ------------------------------------------------------------------------------------------

    async def _step(self, step: Step, prefix: str, number: int) -> None:
        """Run a step outside the items; raises StepFailed, which names the step's place in the workflow."""
        run = self._run
        outcome = await self._place.run_steps((step,), prefix, self._names, self._env, number, self._base, self._limit)
        self._names |= outcome.names or {}
        failure = outcome.failure
        if failure is None:
            return
        label = step.name or step.id or step.phase or "step"
        raise StepFailed(
            f"{label}: {failure.message}",
            where=f"{step.file or run.workflow.source}:{step.line}",
            hint=see_output(run.id, f"{prefix}/{number}"),
            path=f"{prefix}/{number}",
        )
