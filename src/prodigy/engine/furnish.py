"""The steps that prepare a worktree before its first use, such as installing what the project depends on."""

from __future__ import annotations

from prodigy.engine.captures import Scope
from prodigy.engine.run import Run
from prodigy.engine.site import Site
from prodigy.executors.base import Snapshot, Workspace
from prodigy.state.dead_letter import Failure


async def furnish(run: Run, workspace: Workspace, prefix: str, boundary: Snapshot) -> Failure | None:
    """Run the workflow's `workspace.setup` in a worktree that has not seen it; None when it is ready.

    prefix: the path of what it is needed for. boundary: the state in which the worktree is handed over: of what the
    steps leave, only files that git ignores stay. They run again in every worktree that is made anew.
    """
    steps = run.workflow.workspace.setup
    if not steps or workspace.is_furnished():
        return None
    generation = 1  # of the worktree: what ran in one before has nothing to say about this one
    while run.store.is_done(f"{prefix}/workspace{generation}/{len(steps)}"):
        generation += 1

    async def keep(_now: Snapshot, _succeeded: bool) -> None:
        """Nothing that these steps commit is part of a result."""

    site = Site(
        workspace=workspace,
        prefix=f"{prefix}/workspace{generation}",
        scope=Scope(run.names(1, {})),
        env={**run.env, "PRODIGY_WORKTREE": str(workspace.path)},
        keep=keep,
        inner=True,
    )
    outcome = await run.steps.run_list(steps, site, boundary)
    if outcome.failure is None:
        await workspace.restore(boundary)
        workspace.mark_furnished()
    return outcome.failure
