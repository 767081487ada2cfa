"""The three ways to drive a run: run, resume, dlq retry. They differ in what they do before the same walk."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace

from prodigy.engine.control import Control, Interrupted, Stopped
from prodigy.engine.final_merge import Confirm
from prodigy.engine.merge_queue import MergeRequest
from prodigy.engine.opening import Listener, opened_run, settle_merge
from prodigy.engine.run import Options, Run
from prodigy.engine.run_steps import Past, StepFailed
from prodigy.engine.runner import drive
from prodigy.engine.summary import summarise
from prodigy.errors import EnvironmentProblem, ProdigyError, UsageError
from prodigy.state import events as ev
from prodigy.state.items import ItemState
from prodigy.store import index
from prodigy.store.store import Store

FINISHED = frozenset({"completed", "completed_with_failures", "failed"})
# After SIGTERM, seconds: how long running steps may still finish before they are left to their wardens.
LEAVING_DRAIN_S = 5.0
REQUEST_POLL_S = 0.5


@dataclass(frozen=True)
class Caller:
    """Who drives a run: where events go as they happen, who answers the merge question, what stops it."""

    on_event: Listener
    confirm: Confirm
    control: Control
    command: str


@dataclass(frozen=True)
class Choices:
    """What this call changes of the run's stored options; None keeps the stored choice."""

    merge: str | None = None
    max_parallel: int | None = None

    def applied(self, stored: Options) -> Options:
        return replace(
            stored,
            merge=self.merge or stored.merge,
            max_parallel=self.max_parallel or stored.max_parallel,
        )


@dataclass(frozen=True)
class Ended:
    """The summary of a run, and the error that stopped it, if one did."""

    summary: dict[str, object]
    error: ProdigyError | None = None


async def run(run_id: str, caller: Caller) -> Ended:
    """Drive a run that was just created."""
    return await _drive(run_id, caller, Choices(), _nothing_before)


async def resume(run_id: str, caller: Caller, choices: Choices) -> Ended:
    """Go on with a run wherever it stands; a run that has ended is offered its final merge again."""

    async def before(opened: Run) -> None:
        opened.store.record(*_resumed(opened, caller))

    return await _drive(run_id, caller, choices, before)


async def retry(run_id: str, caller: Caller, choices: Choices, *, item_ids: frozenset[str], every: bool) -> Ended:
    """Run dead items once more, on top of what the target has become, and offer the final merge again.

    item_ids: only these; empty means all. every: also those that can't succeed by themselves.
    Raises UsageError for a run that has not ended, or an id without a dead letter.
    """

    async def before(opened: Run) -> None:
        reprocessed = _chosen(opened.store, run_id, item_ids, every=every)
        await _sync_target(opened)
        retried = sum(len(event.ordinals) for event in reprocessed)
        opened.store.record(*_resumed(opened, caller, retried), *reprocessed)

    return await _drive(run_id, caller, choices, before)


async def cancel(run_id: str, caller: Caller) -> Ended:
    """End what still runs of a run that nobody drives."""

    async def before(_: Run) -> None:
        caller.control.status = "cancelled"
        caller.control.end()

    return await _drive(run_id, caller, Choices(), before)


async def _nothing_before(_: Run) -> None:
    """A new run needs no preparation."""


def _resumed(opened: Run, caller: Caller, retried: int = 0) -> list[ev.Event]:
    """A run that a step outside the items failed is tried again from that step; everything else is kept."""
    counts = opened.store.counts()
    total = sum(counts.values())
    left = counts[ItemState.PENDING] + counts[ItemState.RUNNING] + retried
    events: list[ev.Event] = [
        ev.JobResumed(command=caller.command, options=opened.options.to_json(), total=total, done=total - left)
    ]
    failed = opened.store.run().failed_path
    if failed is not None:
        events += [ev.StepRetired(path=row.execution) for row in opened.store.finished_below(failed)]
    return events


def _chosen(store: Store, run_id: str, item_ids: frozenset[str], *, every: bool) -> list[ev.DlqItemsReprocessed]:
    if store.run().status not in FINISHED:
        raise UsageError(f"run {run_id} has not ended yet", hint=f"`prodigy resume {run_id}`, then retry.")
    if unknown := sorted(item_ids - {str(letter["item_id"]) for letter in store.dead_letters()}):
        raise UsageError(f"no dead letter for {', '.join(unknown)}", hint=f"`prodigy dlq list {run_id}` names them.")
    chosen = []
    for row in store.fanouts():
        dead = store.dead_items(row["path"], eligible_only=not every)
        ordinals = tuple(item.ordinal for item in dead if not item_ids or item.item_id in item_ids)
        if ordinals:
            chosen.append(ev.DlqItemsReprocessed(fanout=row["path"], ordinals=ordinals))
    return chosen


async def _sync_target(opened: Run) -> None:
    """Bring what the target has become into the run branch, so that the items start on it."""
    target = opened.store.run().target
    theirs = opened.repo.read_ref(target) if target else None
    if target is None or theirs is None:
        return
    ours = opened.merges.tip()
    if await asyncio.to_thread(opened.private.is_ancestor, theirs, ours):
        return
    if await asyncio.to_thread(opened.private.is_ancestor, ours, theirs):
        await opened.merges.advance("sync", theirs)
        return
    name = target.removeprefix("refs/heads/")
    request = MergeRequest("sync", theirs, "", f"Merge {name}\n\nProdigy-Run: {opened.id}\n")
    if conflict := await opened.merges.merge(request, lambda _: ()):
        names = ", ".join(conflict.paths[:5])
        opened.store.record(
            ev.Warned(message=f"{name} conflicts with the run branch in {names}: the items run without it")
        )


async def _drive(run_id: str, caller: Caller, choices: Choices, before: Callable[[Run], Awaitable[None]]) -> Ended:
    started = time.monotonic()
    error: ProdigyError | None = None
    async with opened_run(run_id, caller.control, caller.on_event, choices.applied) as opened:
        store = opened.store
        past = Past(failed_step=store.run().failed_path is not None)
        await settle_merge(opened)
        await before(opened)
        index.note(store.run())
        watch = asyncio.create_task(_obey_requests(store, caller.control))
        try:
            await _leave_when_told(drive(opened, caller.confirm, past), caller.control)
        except (Stopped, Interrupted):
            if caller.control.ending:  # also what an earlier coordinator left and no slot has watched yet
                await opened.executor.end([step.execution for step in store.started_steps()])
            store.record(ev.JobPaused(status=caller.control.status, stop_reason="user"))
        except StepFailed as failed:
            error = failed
            store.record(ev.JobFailed(error=str(failed), path=failed.path))
        except (ProdigyError, OSError, sqlite3.Error) as trouble:
            error = _as_prodigy_error(trouble)
            store.record(ev.JobPaused(status="interrupted", stop_reason=None, error=str(error)))
        finally:
            watch.cancel()
            index.note(store.run())
        duration = time.monotonic() - started
        return Ended(summarise(store, opened.steps.counters, duration, driving=True), error)


def _as_prodigy_error(error: Exception) -> ProdigyError:
    if isinstance(error, ProdigyError):
        return error
    where = str(error.filename) if isinstance(error, OSError) and error.filename else None
    return EnvironmentProblem(
        f"the machine let us down: {error}", where=where, hint="Mend it, then resume; nothing is lost."
    )


async def _leave_when_told(driving: Coroutine[object, object, None], control: Control) -> None:
    """Await `driving`; when told to leave, give it a moment, then let go. Running steps live on."""
    task = asyncio.ensure_future(driving)
    leaving = asyncio.ensure_future(control.wait_for_leave())
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=0.0 if control.handed_over else LEAVING_DRAIN_S)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if task.cancelled():
            raise Stopped
        task.result()
    finally:
        leaving.cancel()


async def _obey_requests(store: Store, control: Control) -> None:
    """Do what other processes ask of this run: `cancel` ends it, `detach` makes us let go of it."""
    while True:
        for request in store.take_requests():
            if request == "cancel":
                control.status = "cancelled"
                control.end()
            elif request == "detach":
                control.hand_over()
        await asyncio.sleep(REQUEST_POLL_S)
