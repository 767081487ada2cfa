"""The steps that run in a worktree before it is given up, such as stopping what its setup started."""

from __future__ import annotations

from collections.abc import Mapping

from prodigy.engine.furnish import is_ready, steps_in
from prodigy.engine.lodging import workspace_of
from prodigy.engine.run import Run
from prodigy.engine.verdict import lost
from prodigy.executors.base import Snapshot, Workspace
from prodigy.state import events as ev
from prodigy.state.step_path import parse_attempt
from prodigy.workflow.model import MapReduce
from prodigy.workflow.model import Workspace as Settings


async def tear_down(
    run: Run, settings: Settings, workspace: Workspace, owner: str, boundary: Snapshot, env: Mapping[str, str]
) -> None:
    """Run `workspace.teardown` in a worktree; what fails is warned of. Its setup runs again before its next use.

    owner: the path of what it was used for. Raises Stopped when the run drains, Interrupted when a step was ended.
    """
    if not settings.teardown:
        return
    outcome = await steps_in(run, workspace, settings.teardown, owner, boundary, env)
    workspace.set_mark("")
    if outcome.failure is not None:
        message = f"workspace.teardown failed in {workspace.path}: {outcome.failure.message}"
        run.store.record(ev.Warned(message=message))


async def tear_down_pool(run: Run, mapping: MapReduce) -> None:
    """The same for the worktrees that stay between items, when their fan-out is over."""
    settings = workspace_of(run.workflow, mapping)
    if not settings.teardown:
        return
    tip = run.merges.tip()
    for slot in run.executor.used():
        if not run.executor.lodges_for_long(slot) or not run.executor.place(slot).is_dir():
            continue
        workspace = await run.executor.open(slot, tip)
        try:
            if is_ready(workspace, settings):
                await tear_down(run, settings, workspace, "run", Snapshot(tip, None), run.env)
        finally:
            run.executor.release(slot, tip)


async def end_abandoned(run: Run, prefix: str) -> None:
    """End the steps below `prefix` that a coordinator which was killed had begun for a worktree after its attempt."""
    abandoned = [step for step in run.store.started_steps_of(prefix) if _is_abandoned(run, step.path)]
    await run.executor.end([step.execution for step in abandoned])
    for step in abandoned:
        directory = run.directory / "steps" / step.execution
        run.store.record(lost(step.execution, "lost", step.kind_of_agent, directory, step.reserved_usd))


def _is_abandoned(run: Run, path: str) -> bool:
    owner, looks_after_a_worktree, _ = path.partition("/workspace")
    attempt = parse_attempt(owner)
    if not looks_after_a_worktree or attempt is None:
        return bool(looks_after_a_worktree)
    rows = run.store.attempts(attempt.fanout, attempt.ordinal)
    return not any(row.number == attempt.attempt and row.state == "running" for row in rows)
