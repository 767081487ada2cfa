"""The steps that prepare a worktree before its first use, such as installing what the project depends on."""

from __future__ import annotations

from prodigy.engine.captures import Scope
from prodigy.engine.run import Run
from prodigy.engine.site import Site
from prodigy.executors.base import Snapshot, Workspace
from prodigy.executors.furnishing import READY
from prodigy.state.dead_letter import Failure
from prodigy.workflow.canonical import canonical_json, short_hash
from prodigy.workflow.model import fingerprint


async def furnish(run: Run, workspace: Workspace, owner: str, boundary: Snapshot) -> Failure | None:
    """Run the workflow's `workspace.setup` in a worktree that has not seen it; None when it is ready.

    owner: the path of what it is needed for. boundary: the state in which the worktree is handed over: of what the
    steps leave, only files that git ignores stay. The worktree's mark names the path of its setup, so that a resume
    goes on with it, and a worktree that was made anew begins its own.
    """
    steps = run.workflow.workspace.setup
    ready = f"{READY} {short_hash(canonical_json([fingerprint(step) for step in steps]), 16)}"
    mark = workspace.mark() or ""
    if not steps or mark == ready:
        return None
    prefix = _unused(run, owner) if not mark or mark.startswith(READY) else mark
    workspace.set_mark(prefix)

    async def keep(_now: Snapshot, _succeeded: bool) -> None:
        """Nothing that these steps commit is part of a result."""

    site = Site(
        workspace=workspace,
        prefix=prefix,
        scope=Scope(run.names(1, {})),
        env={**run.env, "PRODIGY_WORKTREE": str(workspace.path)},
        keep=keep,
        workflow=run.workflow,
        inner=True,
    )
    outcome = await run.steps.run_list(steps, site, boundary)
    if outcome.failure is not None:
        workspace.set_mark("")  # whoever comes next tries all of it again
        return outcome.failure
    await workspace.restore(boundary)
    workspace.set_mark(ready)
    return None


def _unused(run: Run, owner: str) -> str:
    number = 1
    while run.store.has_steps_below(f"{owner}/workspace{number}"):
        number += 1
    return f"{owner}/workspace{number}"
