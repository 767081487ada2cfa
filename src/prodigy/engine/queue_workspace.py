"""The workspace in which merges are checked. It goes from one merge to the next with all that git ignores, so that what
a build has made stays."""

from __future__ import annotations

from collections.abc import Sequence

from prodigy.engine.captures import Scope
from prodigy.engine.fanout_place import FanoutPlace
from prodigy.engine.furnish import furnish, is_ready
from prodigy.engine.lodging import workspace_of
from prodigy.engine.run import Run
from prodigy.engine.site import Site, workspace_env, workspace_names
from prodigy.engine.teardown import tear_down
from prodigy.engine.verdict import lost
from prodigy.executors.base import QUEUE_SLOT, Snapshot, Workspace
from prodigy.git.command import GitError
from prodigy.state.dead_letter import Failure
from prodigy.state.step_path import merges_path
from prodigy.workflow.model import Step


class NotReady(Exception):
    """The workspace can't be prepared, so nothing can be checked. The failure says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class QueueWorkspace:
    """Made when the first check needs it, or taken over from an earlier coordinator."""

    def __init__(self, run: Run, here: FanoutPlace) -> None:
        self._run = run
        self._here = here
        self._settings = workspace_of(run.workflow, here.mapping)
        self._owner = merges_path(here.path)
        self._workspace: Workspace | None = None

    async def run(self, steps: Sequence[Step], path: str, commit: str, scope: Scope) -> Failure | None:
        """Run the steps of the path `path/<number>` on `commit`; the failure of the one that failed.

        Raises NotReady, Stopped when the run drains, Interrupted when a running step was ended.
        """
        run, start = self._run, Snapshot(commit, None)
        workspace = self._workspace = await self._opened(path, start)
        failure = await furnish(run, self._settings, workspace, self._owner, start)
        if failure is not None:
            raise NotReady(failure)

        async def keep(_now: Snapshot, _succeeded: bool) -> None:
            """Nothing that a check commits is part of the result."""

        own = workspace_names(workspace)
        site = Site(
            workspace=workspace,
            prefix=path,
            scope=scope.with_names(own),
            env={**self._here.env, **workspace_env(workspace)},
            keep=keep,
            workflow=run.workflow,
            inner=True,
            base={**self._here.base, **own},
        )
        return (await run.steps.run_list(steps, site, start)).failure

    async def _opened(self, path: str, start: Snapshot) -> Workspace:
        executor = self._run.executor
        known = self._workspace or executor.attach(QUEUE_SLOT)
        if known is None:
            await self.give_up_steps(path)
        elif self._run.store.step_was_started(path):
            return known  # the check goes on where it stands
        else:
            try:
                await known.restore(start)
            except (GitError, OSError):
                known = None  # past repair: a check did this
        return known or await executor.open(QUEUE_SLOT, start.head)

    async def give_up_steps(self, path: str) -> None:
        """The worktree is gone, and with it what steps of this check were at."""
        run = self._run
        gone = run.store.started_steps_of(path)
        await run.executor.end([step.execution for step in gone])
        for step in gone:
            directory = run.directory / "steps" / step.execution
            run.store.record(lost(step.execution, "lost", step.kind_of_agent, directory, step.reserved_usd))

    async def tear_down(self) -> None:
        """Give the workspace up: the fan-out is over."""
        workspace, settings = self._workspace, self._settings
        if workspace is not None and settings.teardown and is_ready(workspace, settings):
            run = self._run
            await tear_down(run, settings, workspace, self._owner, Snapshot(run.merges.tip(), None), run.env)
