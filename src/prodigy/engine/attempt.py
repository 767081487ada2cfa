"""One attempt of one item: from a slot to a merged commit, or to a dead letter with the work kept."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from prodigy.engine.beginning import beginning, start_of
from prodigy.engine.captures import Scope
from prodigy.engine.checked_merges import CheckedMerges
from prodigy.engine.conflicts import conflict_failure, resolve
from prodigy.engine.control import Interrupted
from prodigy.engine.fanout_place import FanoutPlace
from prodigy.engine.furnish import furnish
from prodigy.engine.item_failure import fail
from prodigy.engine.item_keys import AttemptKey, completion, drop_refs, keep_boundary, merge_request, trailers
from prodigy.engine.kept_failed import is_kept, keep
from prodigy.engine.lodging import workspace_of
from prodigy.engine.merge_queue import MergeRequest
from prodigy.engine.named import named_branch, named_slot, point_branch
from prodigy.engine.places import fan_out_at
from prodigy.engine.run import Run
from prodigy.engine.second_try import after_attempt
from prodigy.engine.site import Outcome, Site, workspace_env, workspace_names
from prodigy.engine.tamper import TamperCheck
from prodigy.engine.teardown import tear_down
from prodigy.engine.time_limits import TimeLimit, item_limit
from prodigy.engine.verdict import lost
from prodigy.executors.base import ProcessState, Snapshot, Workspace
from prodigy.git.merge import Conflict
from prodigy.plan.identity import Item, item_scope
from prodigy.state import events as ev
from prodigy.state.dead_letter import Failure
from prodigy.state.items import NOT_A_TRY, ItemRow, ItemState
from prodigy.state.retry import Again
from prodigy.store.rows import AttemptRow
from prodigy.workflow.model import MapReduce, Named, Workflow
from prodigy.workflow.model import Workspace as Settings


class Attempt:
    """Runs an item's steps once. Whatever happens is recorded; nothing is left to the caller but the slot."""

    def __init__(
        self, run: Run, place: FanoutPlace, row: ItemRow, tamper: TamperCheck, checked: CheckedMerges | None
    ) -> None:
        self._run = run
        self._checked = checked
        self._names, self._env, self._base = place.names, place.env, place.base
        self._newest = place.mapping
        self._row = row
        self._fanout = place.path
        self._tamper = tamper

    async def execute(self) -> Again | None:
        """Run or continue the item; whether and when it is to run again.

        Raises Stopped when the run drains: the attempt then stays in flight.
        """
        row = self._row
        previous = self._run.store.attempts(self._fanout, row.ordinal)
        if row.state is ItemState.RUNNING:
            key, attempt = self._key(row.attempt), previous[-1]
        else:
            await self._run.control.may_start()
            key = self._key(row.attempt + 1)
            attempt = self._begin(key, previous[-1] if previous else None)
        self._workflow, self._mapping = self._version(attempt)
        workspace, boundary = await self._prepare(key, attempt)
        async with self._tamper.watching(key, workspace.path):
            return await self._execute(key, attempt, workspace, boundary)

    async def _execute(
        self, key: AttemptKey, attempt: AttemptRow, workspace: Workspace, boundary: Snapshot
    ) -> Again | None:
        again = None
        try:
            failure = await furnish(self._run, self._settings, workspace, key.path, boundary)
            if failure is not None:
                outcome = Outcome(boundary, replace(failure, message=f"workspace.setup failed: {failure.message}"))
            else:
                outcome = await self._run_steps(key, attempt, workspace, boundary)
        except Interrupted:
            self._run.store.record(ev.AgentInterrupted(**key.event()))
        else:
            again = await self._conclude(key, attempt, workspace, outcome)
            try:
                await self._tear_down(key, workspace, outcome.boundary)
            finally:
                await self._give_back(key, workspace)
            return again
        await self._give_back(key, workspace)
        return again

    async def _tear_down(self, key: AttemptKey, workspace: Workspace, now: Snapshot) -> None:
        """A worktree that stays as it is prepared for the next item is torn down when the fan-out is over."""
        stays = self._run.executor.lodges_for_long(workspace.slot) and self._settings.keep_ignored
        if self._settings.teardown and not stays:
            await tear_down(self._run, self._settings, workspace, key.path, now, self._environment(key, workspace))

    async def _give_back(self, key: AttemptKey, workspace: Workspace) -> None:
        if self._settings.keep_failed and is_kept(self._run, workspace, key.fanout, key.ordinal):
            await keep(self._run, workspace, key.fanout)
        elif self._named is None:
            self._run.executor.release(workspace.slot, self._run.merges.tip())

    @property
    def _settings(self) -> Settings:
        return workspace_of(self._run.workflow, self._newest)

    @property
    def _named(self) -> Named | None:
        """The named worktree that this item is, if it is one."""
        return self._newest.named[self._row.ordinal - 1] if self._newest.named else None

    def _version(self, attempt: AttemptRow) -> tuple[Workflow, MapReduce]:
        """The workflow that the attempt began with, and its part of it."""
        if attempt.workflow == self._run.workflow_version:
            return self._run.workflow, self._newest
        workflow = self._run.workflow_at(attempt.workflow)
        action = fan_out_at(workflow, self._fanout)
        assert action is not None
        return workflow, action

    def _key(self, number: int) -> AttemptKey:
        return AttemptKey(self._fanout, self._row.ordinal, number, self._row.item_id, self._row.label)

    # Beginning ---------------------------------------------------------------------------------------------

    def _begin(self, key: AttemptKey, previous: AttemptRow | None) -> AttemptRow:
        """Count the attempt before anything of it exists: it can never be started twice unseen."""
        run = self._run
        begins = beginning(run.store, run.options, self._newest, key.fanout, key.ordinal, previous)
        elsewhere = begins.boundary != Snapshot(begins.base, None)
        run.store.record(
            ev.AgentStarted(
                **key.event(),
                agent_id=f"agent-{key.item_id}",
                worktree=named_slot(self._named.name) if self._named else run.executor.reserve(),
                base=begins.base,
                workflow=run.workflow_version,
                continues=begins.continues,
                taken=begins.taken,
                inside=begins.inside,
                head=begins.boundary.head if elsewhere else None,
                snapshot=begins.boundary.commit if elsewhere else None,
            )
        )
        return run.store.attempts(key.fanout, key.ordinal)[-1]

    async def _prepare(self, key: AttemptKey, attempt: AttemptRow) -> tuple[Workspace, Snapshot]:
        """The attempt's workspace, in the state its last finished step left, and that state."""
        run = self._run
        boundary = self._last_boundary(key, attempt)
        if attempt.queued is not None:
            return await self._take_back(key, attempt, Snapshot(attempt.queued, None))
        if run.store.step_was_started(key.path):
            workspace = run.executor.attach(attempt.worktree)
            if workspace is not None:
                return workspace, boundary
            return await self._reopen(key, attempt, boundary), boundary
        workspace = await run.executor.open(attempt.worktree, attempt.base)
        if boundary != Snapshot(attempt.base, None):
            await workspace.restore(boundary)
        return workspace, boundary

    async def _take_back(self, key: AttemptKey, attempt: AttemptRow, work: Snapshot) -> tuple[Workspace, Snapshot]:
        """A workspace for work that waited to be merged and does not merge any more."""
        slot = self._run.executor.reserve()
        self._run.store.record(ev.AgentRequeued(**key.event(), worktree=slot))
        workspace = await self._run.executor.open(slot, attempt.base)
        await workspace.restore(work)
        return workspace, work

    async def _reopen(self, key: AttemptKey, attempt: AttemptRow, boundary: Snapshot) -> Workspace:
        """Another workspace for an attempt whose own is gone, and with it the work of a step that has no end on
        record: that step runs again, however its process ended."""
        run = self._run
        slot = attempt.worktree if self._named or self._settings.name else run.executor.reserve()
        workspace = await run.executor.open(slot, attempt.base)
        if boundary != Snapshot(attempt.base, None):
            await workspace.restore(boundary)
        events: list[ev.Event] = [ev.WorkspaceLost(path=key.path, worktree=slot)]
        for row in run.store.started_steps_of(key.path):
            await end_step(workspace, row.execution)
            directory = workspace.directory(row.execution)
            events.append(lost(row.execution, "lost", row.kind_of_agent, directory, row.reserved_usd))
        run.store.record(*events)
        return workspace

    def _last_boundary(self, key: AttemptKey, attempt: AttemptRow) -> Snapshot:
        """Steps that were taken over say nothing of it once the attempt knows where it began."""
        found = self._run.store.last_boundary(key.path, own=attempt.start_head is not None)
        return Snapshot(*found) if found else start_of(attempt)

    # Running -----------------------------------------------------------------------------------------------

    async def _run_steps(
        self, key: AttemptKey, attempt: AttemptRow, workspace: Workspace, boundary: Snapshot
    ) -> Outcome:
        steps = self._mapping.steps_of(key.ordinal)
        return await self._run.steps.run_list(steps, self._site(key, attempt, workspace), boundary)

    def _site(self, key: AttemptKey, attempt: AttemptRow, workspace: Workspace) -> Site:
        """Where the item's steps run."""
        run = self._run
        data = run.store.item_data(key.fanout, key.ordinal)
        row = run.store.fanout(key.fanout)
        assert row is not None
        item = Item(key.ordinal, key.item_id, data)
        own = {
            **item_scope(item, int(row["total"])),
            **workspace_names(workspace),
            "worker.id": workspace.slot,
            "map.key": key.item_id,
        }

        async def keep(now: Snapshot, _succeeded: bool) -> None:
            await keep_boundary(run, key, attempt.base, now)  # whatever became of the step, its work is kept

        return Site(
            workspace=workspace,
            prefix=key.path,
            scope=Scope({**self._names, **own}),
            env=self._environment(key, workspace),
            keep=keep,
            item=data,
            workflow=self._workflow,
            base={**self._base, **own},
            limit=self._limit(key),
            failed_before=self._failed_before(key, attempt),
        )

    def _failed_before(self, key: AttemptKey, attempt: AttemptRow) -> str | None:
        """What agents are told of the attempt before this one."""
        before = [row for row in self._run.store.attempts(key.fanout, key.ordinal) if row.number < key.number]
        if not before or before[-1].kind in NOT_A_TRY:
            return None
        continues = attempt.start_head is not None
        run = self._run
        return after_attempt(run.store, run.private, key.fanout, key.ordinal, before[-1], continues=continues)

    def _limit(self, key: AttemptKey) -> TimeLimit | None:
        return item_limit(self._mapping.limits, self._mapping.steps_of(key.ordinal), key.path)

    def _environment(self, key: AttemptKey, workspace: Workspace) -> Mapping[str, str]:
        return {
            **self._env,
            **workspace_env(workspace),
            "PRODIGY_ITEM_ID": key.item_id,
        }

    # Ending ------------------------------------------------------------------------------------------------

    async def _conclude(
        self, key: AttemptKey, attempt: AttemptRow, workspace: Workspace, outcome: Outcome
    ) -> Again | None:
        failure = outcome.failure
        boundary = outcome.boundary
        if (tampering := await self._tamper.check(key)) is not None:
            failure = _besides(failure, tampering)
        if failure is None and boundary.unfinished:
            what = f"the steps left {boundary.unfinished} half done, which is not merged"
            failure = Failure(what, kind="worktree_error")
        if failure is None and boundary.commit is not None:
            boundary, failure = await self._leftovers(key, attempt, workspace, boundary)
        if failure is None:
            failure = await self._deliver(key, attempt, workspace, boundary)
        if failure is None:
            return None
        return await fail(self._run, key, attempt, self._newest.errors, boundary, failure, self._limit(key))

    async def _leftovers(
        self, key: AttemptKey, attempt: AttemptRow, workspace: Workspace, boundary: Snapshot
    ) -> tuple[Snapshot, Failure | None]:
        """What becomes of changes that the steps did not commit."""
        match self._mapping.on_uncommitted:
            case "discard":
                return Snapshot(boundary.head, None), None
            case "fail":
                message = "the steps left changes that they did not commit, and on_uncommitted is fail"
                return boundary, Failure(message, kind="commit_validation_failed")
        head = await workspace.commit_leftovers(self._commit_message(key))
        boundary = Snapshot(head, None)
        await keep_boundary(self._run, key, attempt.base, boundary)
        return boundary, None

    def _commit_message(self, key: AttemptKey) -> str:
        return (
            f"{self._run.workflow.name}: {key.label}\n\n"
            f"What the steps of this item left uncommitted.\n\n{trailers(self._run, key)}"
        )

    async def _deliver(
        self, key: AttemptKey, attempt: AttemptRow, workspace: Workspace, boundary: Snapshot
    ) -> Failure | None:
        """Merge the attempt's commits and record its success; a failure when they can't be merged."""
        run = self._run
        if self._named is not None:
            await point_branch(run, named_branch(run, self._named.name), boundary.head)
        if boundary.head == attempt.base:
            await drop_refs(run, key)
            run.store.record(*completion(run.store, key, (), None))
            return None
        missing, added = await asyncio.to_thread(run.private.commits_between, attempt.base, boundary.head)
        if missing:
            return Failure(
                f"the head {boundary.head[:12]} does not descend from the commit the item began at"
                f" ({attempt.base[:12]}): history was rewritten",
                kind="history_rewritten",
            )
        if self._named is not None and not self._named.merge:
            await drop_refs(run, key)  # its branch has all of it
            run.store.record(*completion(run.store, key, added, None))
            return None
        request = merge_request(run, key, attempt, boundary.head, self._newest.merge.strategy)

        async def deliver(wanted: MergeRequest) -> Conflict | None:
            if self._checked is not None:
                return await self._checked.take(key, wanted)
            return await run.merges.merge(wanted, lambda merged: completion(run.store, key, added, merged))

        conflict = await deliver(request)
        if conflict is None:
            return None
        if not self._newest.on_conflict:
            return await asyncio.to_thread(conflict_failure, run.private, run.merges.tip(), conflict)
        site = self._site(key, attempt, workspace)
        return await resolve(run, key, self._newest.on_conflict, site, request, deliver)


def _besides(failure: Failure | None, tampering: str) -> Failure:
    """An attempt that tampered with what all share failed by that, however else it failed."""
    if failure is None:
        return Failure(tampering, kind="tampered")
    return replace(failure, message=f"{tampering}; besides, {failure.message}", kind="tampered")


async def end_step(workspace: Workspace, execution: str) -> None:
    """End what still runs of a step execution; returns when nothing does."""
    if workspace.state(execution) is ProcessState.RUNNING:
        await workspace.stop(execution)
        await workspace.wait(execution)
    await workspace.kill_leftovers(execution)
