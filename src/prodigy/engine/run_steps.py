"""The run's own workspace: setup, input commands and reduce run here, one step after another."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prodigy.engine import refs
from prodigy.engine.attempt import end_step
from prodigy.engine.captures import Scope
from prodigy.engine.early_merge import early_merge
from prodigy.engine.furnish import furnish, is_ready
from prodigy.engine.merge_queue import MergeRequest
from prodigy.engine.run import Run
from prodigy.engine.site import Outcome, Site, workspace_env, workspace_names
from prodigy.engine.teardown import end_abandoned, tear_down
from prodigy.engine.time_limits import TimeLimit, phase_limit
from prodigy.engine.verdict import lost
from prodigy.errors import ProdigyError
from prodigy.executors.base import RUN_SLOT, Snapshot, Workspace
from prodigy.git.repo import ANY, RefChange
from prodigy.state import events as ev
from prodigy.state.dead_letter import Failure
from prodigy.state.step_path import is_of_the_run
from prodigy.workflow.model import Step


def see_output(run_id: str, step: str) -> str:
    """The way on after a step outside the items failed."""
    return f"See its output: prodigy logs {run_id} --step {step}. Mend it, then: prodigy resume {run_id}"


class StepFailed(ProdigyError):
    """A step outside the items failed, which stops the run. path: the step's."""

    def __init__(
        self, what: str, *, path: str | None = None, where: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.path = path


@dataclass(frozen=True)
class Past:
    """What became of the run before this process.

    failed_step: a step outside the items failed it; what the step left is taken back, because it is tried again.
    """

    failed_step: bool


class RunWorkspace:
    """A detached worktree that follows the run branch; its commits get there through the merge queue alone."""

    def __init__(self, run: Run, workspace: Workspace) -> None:
        self._run = run
        self._workspace = workspace

    @classmethod
    async def open(cls, run: Run, past: Past) -> RunWorkspace:
        """The workspace as the last coordinator left it, or its last boundary again when it is gone."""
        row = run.store.run()
        boundary = Snapshot(row.head or row.base, row.snapshot)
        if row.slot is not None:
            workspace = run.executor.attach(row.slot)
            if workspace is not None:
                if past.failed_step:
                    await workspace.restore(boundary)
                    run.store.record(ev.WorktreeCreated(worktree=row.slot))
                return cls(run, workspace)
            run.store.record(ev.WorkspaceLost(path="run", worktree=None))
        if (moved := early_merge(run.store)) is not None:
            await run.merges.take_back(*moved)
        undecided = run.store.unsettled_boundary()
        if undecided is not None:
            boundary = Snapshot(*undecided)
        workspace = await run.executor.open(RUN_SLOT, boundary.head)
        place = cls(run, workspace)
        if boundary.commit is not None:
            await workspace.restore(boundary)
        if undecided is None and run.merges.tip() != boundary.head:
            await place._follow()  # everything tracked was committed before others moved the branch
        gone: list[ev.Event] = []
        for step in run.store.started_steps():
            if is_of_the_run(step.path):  # its work was in the worktree that is gone
                await end_step(workspace, step.execution)
                directory = workspace.directory(step.execution)
                gone.append(lost(step.execution, "lost", step.kind_of_agent, directory, step.reserved_usd))
        run.store.record(ev.WorktreeCreated(worktree=RUN_SLOT), *gone)
        return place

    async def _furnish(self) -> None:
        """Prepare the worktree, if it is new. Raises StepFailed."""
        settings = self._run.workflow.workspace
        failure = await furnish(self._run, settings, self._workspace, "run", self._boundary())
        if failure is not None:
            raise StepFailed(
                f"workspace.setup failed: {failure.message}",
                path="run",
                hint=f"Its output is in {self._run.directory / (failure.log or '')}. Mend it, then resume the run.",
            )

    async def tear_down(self) -> None:
        """Give the worktree up: the run is over."""
        run, settings = self._run, self._run.workflow.workspace
        if settings.teardown and is_ready(self._workspace, settings):
            await end_abandoned(run, "run")
            await tear_down(run, settings, self._workspace, "run", self._boundary(), run.env)

    @property
    def path(self) -> Path:
        return self._workspace.path

    async def run_steps(
        self,
        steps: Sequence[Step],
        prefix: str,
        names: Mapping[str, object],
        env: Mapping[str, str],
        first: int = 1,
        base: Mapping[str, object] | None = None,
        limit: TimeLimit | None = None,
    ) -> Outcome:
        """Run steps of the path `prefix/<number>`; their commits are in the run branch when this returns.

        names: what they may name, of which every step may name `base`. env: what their environment has beside the
        run's. limit: on their time, beside the phase's. Raises StepFailed when the worktree can't be prepared for them.
        """
        run = self._run
        if not all(run.store.is_done(f"{prefix}/{number}") for number, _ in enumerate(steps, first)):
            await self._furnish()

        async def keep(now: Snapshot, succeeded: bool) -> Failure | None:
            return await self._keep(prefix, now, succeeded)

        own = workspace_names(self._workspace)
        site = Site(
            workspace=self._workspace,
            prefix=prefix,
            scope=Scope({**names, **own}),
            env={**run.env, **env, **workspace_env(self._workspace)},
            keep=keep,
            workflow=run.workflow,
            base={**(base or {}), **own},
            limit=phase_limit(run.workflow, steps[0], prefix, limit) if steps else limit,
        )
        return await run.steps.run_list(steps, site, self._boundary(), first)

    def _boundary(self) -> Snapshot:
        row = self._run.store.run()
        return Snapshot(row.head or row.base, row.snapshot)

    async def _keep(self, path: str, now: Snapshot, succeeded: bool) -> Failure | None:
        """Bring a step's commits into the run branch. Those of a step that will be tried again are set aside."""
        run = self._run
        tip = run.merges.tip()
        for commit in now.abandoned:
            await self._set_ref(refs.kept_ref(run.id, commit), commit)
        if succeeded and await asyncio.to_thread(run.private.is_ancestor, tip, now.head):
            await self._keep_snapshot(now)
            await run.merges.advance(path, now.head)
            return None
        for commit in {now.head, now.commit or now.head}:
            await self._set_ref(refs.kept_ref(run.id, commit), commit)
        if not succeeded:
            return None
        return Failure(
            f"it moved the run's worktree to {now.head[:12]}, which does not descend from the run branch; that commit"
            f" is kept at {refs.kept_ref(run.id, now.head)}",
            kind="history_rewritten",
        )

    async def _keep_snapshot(self, now: Snapshot) -> None:
        if now.commit is not None:
            await self._set_ref(refs.snapshot_ref(self._run.id, "run"), now.commit)

    async def _set_ref(self, name: str, commit: str) -> None:
        await asyncio.to_thread(self._run.repo.update_refs, [RefChange(name, ANY, commit)])

    async def begin_phase(self, phase: str, path: str, *, leave_untracked: bool = False, last: bool = False) -> None:
        """Commit what the steps before left uncommitted, and stand on the run branch's tip.

        leave_untracked: the untracked files of now stay visible and are never committed. A phase that has
        begun and that nothing has overtaken is left alone: its steps' uncommitted work is still going on. last: it has
        no steps, and others may have run again before it.
        """
        run = self._run
        boundary = self._boundary()
        goes_on = not last and run.store.phase_was_started(path, phase)
        if goes_on and (run.merges.tip() == boundary.head or run.store.step_outside_items_is_underway()):
            return
        await self._require_nothing_half_done(phase)
        leftovers = frozenset(run.store.setup_leftovers())
        if leave_untracked:
            leftovers = await self._workspace.untracked()
        message = f"{run.workflow.name}: before {phase}\n\nProdigy-Run: {run.id}\n"
        head = await self._workspace.commit_leftovers(message, leave=leftovers)
        if head != boundary.head:
            await self._bring(path, boundary.head, head)
        await self._follow()
        now = await self._workspace.snapshot()
        await self._keep_snapshot(now)
        started = ev.PhaseStarted(phase=phase, path=path, head=now.head, snapshot=now.commit)
        run.store.keep_setup_leftovers(leftovers if leave_untracked else (), started)

    async def _require_nothing_half_done(self, phase: str) -> None:
        """What a step left in the middle of a merge or the like is not to be committed. Raises StepFailed, on every
        resume until a person has put it right: nothing is known of it but that the worktree is as it was then."""
        last = self._run.store.last_outside_items()
        if last is None or last.unfinished is None:
            return
        now = await self._workspace.snapshot()
        if now.unfinished is None and not await self._workspace.is_same(now, Snapshot(last.head or "", last.snapshot)):
            return
        raise StepFailed(
            f"the steps before {phase} left {last.unfinished} half done",
            where=str(self.path),
            hint=f"Finish it there (see `git status`), then `prodigy resume {self._run.id}`.",
        )

    async def _bring(self, path: str, base: str, head: str) -> None:
        run = self._run
        if await asyncio.to_thread(run.private.is_ancestor, run.merges.tip(), head):
            await run.merges.advance(path, head)
            return
        request = MergeRequest(path, head, base, f"Merge the run's worktree\n\nProdigy-Run: {run.id}\n")
        if conflict := await run.merges.merge(request, lambda _: ()):
            raise StepFailed(
                "what the steps of the run left conflicts with merged items: " + ", ".join(conflict.paths[:5]),
                where=path,
            )

    async def _follow(self) -> None:
        run = self._run
        aside = run.directory / "displaced"
        displaced = await self._workspace.advance(run.merges.tip(), aside)
        if displaced:
            names = ", ".join(displaced[:5])
            run.store.record(
                ev.Warned(
                    message=f"merged items brought files that setup had left untracked ({names});"
                    f" {aside} has the untracked ones"
                )
            )
