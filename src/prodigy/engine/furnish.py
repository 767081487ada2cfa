"""The steps that prepare a worktree before its first use, such as installing what the project depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prodigy.engine.captures import Scope
from prodigy.engine.run import Run
from prodigy.engine.site import Outcome, Site
from prodigy.executors.base import Snapshot, Workspace
from prodigy.executors.furnishing import READY
from prodigy.state.dead_letter import Failure
from prodigy.workflow.canonical import canonical_json, short_hash
from prodigy.workflow.model import Step
from prodigy.workflow.model import Workspace as Settings
from prodigy.workflow.walk import fingerprint


async def furnish(run: Run, settings: Settings, workspace: Workspace, owner: str, boundary: Snapshot) -> Failure | None:
    """Run `workspace.setup` in a worktree that has not seen it; None when it is ready.

    owner: the path of what it is needed for. boundary: the state in which the worktree is handed over: of what the
    steps leave, only files that git ignores stay. The worktree's mark names the path of its setup, so that a resume
    goes on with it, and a worktree that was made anew begins its own.
    """
    if not (settings.setup or settings.teardown) or is_ready(workspace, settings):
        return None
    mark = workspace.mark() or ""
    prefix = _unused(run, owner) if not mark or mark.startswith(READY) else mark
    workspace.set_mark(prefix)
    outcome = await _run(run, workspace, settings.setup, prefix, boundary, run.env)
    if outcome.failure is not None:
        workspace.set_mark("")  # whoever comes next tries all of it again
        return outcome.failure
    if settings.setup:
        await workspace.restore(boundary)
    workspace.set_mark(_ready(settings))
    return None


def is_ready(workspace: Workspace, settings: Settings) -> bool:
    """Whether the worktree's setup has run, and nothing was torn down since."""
    return workspace.mark() == _ready(settings)


def _ready(settings: Settings) -> str:
    """The mark of a worktree that these settings have prepared: what is kept in it is a part of that."""
    what = [[fingerprint(step) for step in settings.setup], list(settings.keep_ignored)]
    return f"{READY} {short_hash(canonical_json(what), 16)}"


async def steps_in(
    run: Run, workspace: Workspace, steps: Sequence[Step], owner: str, boundary: Snapshot, env: Mapping[str, str]
) -> Outcome:
    """Run steps that look after a worktree, for the first time. env: theirs."""
    return await _run(run, workspace, steps, _unused(run, owner), boundary, env)


async def _run(
    run: Run, workspace: Workspace, steps: Sequence[Step], prefix: str, boundary: Snapshot, env: Mapping[str, str]
) -> Outcome:
    async def keep(_now: Snapshot, _succeeded: bool) -> None:
        """Nothing that these steps commit is part of a result."""

    site = Site(
        workspace=workspace,
        prefix=prefix,
        scope=Scope(run.names(1, {})),
        env={**env, "PRODIGY_WORKTREE": str(workspace.path)},
        keep=keep,
        workflow=run.workflow,
        inner=True,
    )
    return await run.steps.run_list(steps, site, boundary)


def _unused(run: Run, owner: str) -> str:
    number = 1
    while run.store.has_steps_below(f"{owner}/workspace{number}"):
        number += 1
    return f"{owner}/workspace{number}"
