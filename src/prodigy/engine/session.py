"""The three ways to drive a run: run, resume, dlq retry. They differ in what they do before the same walk."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace

from prodigy.engine.budget_clock import within_time
from prodigy.engine.choices import NO_CHOICES, Choices, Listener
from prodigy.engine.control import Control, Interrupted, Stopped
from prodigy.engine.driver import driver
from prodigy.engine.final_merge import Confirm
from prodigy.engine.merge_queue import MergeRequest
from prodigy.engine.obeying import obey
from prodigy.engine.opening import find_agents, opened_run, settle_merge
from prodigy.engine.places import MERGE
from prodigy.engine.run import Run
from prodigy.engine.run_steps import Past, StepFailed
from prodigy.engine.runner import drive
from prodigy.engine.summary import summarise
from prodigy.engine.transfer import exported_to
from prodigy.errors import EnvironmentProblem, ProdigyError, UsageError
from prodigy.executors.room import blaming_full_disk
from prodigy.git.merge import UnrelatedHistories
from prodigy.state import events as ev
from prodigy.state.items import ItemRow, ItemState, remaining_work
from prodigy.state.step_path import INPUT, is_in_an_item, iteration_path, step_in_list
from prodigy.store import index
from prodigy.store.rows import FINISHED
from prodigy.store.store import Store

# After SIGTERM, seconds: how long running steps may still finish before they are left to their wardens.
LEAVING_DRAIN_S = 5.0

# Whether a dead item, of the fan-out with this path, is to run again.
Chosen = Callable[[str, ItemRow], bool]


@dataclass(frozen=True)
class Caller:
    """Who drives a run: where events go as they happen, who answers the merge question, what stops it. still_held:
    whether a run that its user holds stays so, because another process only hands it on."""

    on_event: Listener
    confirm: Confirm
    control: Control
    command: str
    still_held: bool = False


@dataclass(frozen=True)
class Ended:
    """The summary of a run, and the error that stopped it, if one did."""

    summary: dict[str, object]
    error: ProdigyError | None = None


async def run(run_id: str, caller: Caller) -> Ended:
    """Drive a run that was just created."""
    return await _drive(run_id, caller, NO_CHOICES, _nothing_before)


async def resume(run_id: str, caller: Caller, choices: Choices, *, include_dead: bool = False) -> Ended:
    """Go on with a run wherever it stands; a run that has ended is offered its final merge again.

    include_dead: dead letters that may succeed run again too, after everything else.
    """

    async def before(opened: Run) -> None:
        reprocessed = _reprocessed(opened, _any_row) if include_dead else []
        if reprocessed and opened.store.step_outside_items_is_underway():
            reprocessed = []
            note = "dead letters are left alone, for a step outside the items is going on; resume once more for them"
            opened.store.record(ev.Warned(message=note))
        if reprocessed and opened.store.run().status in FINISHED:
            await opened.environment.prepare(opened.workflow.environment)
            await _sync_target(opened)
        opened.store.record(*_resumed(opened, caller, reprocessed))

    return await _drive(run_id, caller, choices, before)


async def retry(run_id: str, caller: Caller, choices: Choices, *, chosen: Chosen, every: bool) -> Ended:
    """Run dead items once more, on top of what the target has become, and offer the final merge again.

    chosen: which of them. every: also those that can't succeed by themselves. Raises UsageError for a run that has not
    ended.
    """

    async def before(opened: Run) -> None:
        find_agents(opened.workflow, opened.options.agent)
        await opened.environment.prepare(opened.workflow.environment)
        reprocessed = _reprocessed(opened, chosen, every=every)
        await _sync_target(opened)
        again = _reduce_again(opened.store) if choices.reduce else []
        opened.store.record(*_resumed(opened, caller, reprocessed), *again)

    return await _drive(run_id, caller, replace(choices, ended_only=True), before)


async def cancel(run_id: str, caller: Caller) -> Ended:
    """End what still runs of a run that nobody drives."""

    async def before(_: Run) -> None:
        caller.control.status = "cancelled"
        caller.control.end()

    return await _drive(run_id, caller, NO_CHOICES, before)


async def _nothing_before(_: Run) -> None:
    """A new run needs no preparation."""


def _resumed(opened: Run, caller: Caller, reprocessed: list[ev.DlqItemsReprocessed]) -> list[ev.Event]:
    """A run that a step outside the items failed is tried again from that step; everything else is kept."""
    counts = opened.store.counts()
    total = sum(counts.values())
    left = counts[ItemState.PENDING] + counts[ItemState.RUNNING] + counts[ItemState.FAILED]
    again = sum(len(event.ordinals) for event in reprocessed)
    done, failed = total - left - again, counts[ItemState.DEAD] - again
    choices = opened.options.to_json()
    events: list[ev.Event] = [
        ev.JobResumed(
            command=caller.command,
            options=choices,
            total=total,
            done=done,
            failed=failed,
            still_held=caller.still_held,
            **driver(),
        ),
        *reprocessed,
    ]
    if (file := exported_to(opened.store)) is not None:
        message = f"the run was exported to {file}: if it goes on there as well, steps run and are paid twice"
        events.append(ev.Warned(message=message))
    if reprocessed:  # what is prepared for the final merge is prepared anew
        events += [
            ev.StepRetired(path=row.execution)
            for number, _ in enumerate(opened.options.iterations(), 1)
            for row in opened.store.finished_below(f"{iteration_path(number)}/{MERGE}")
        ]
    failed_path = opened.store.run().failed_path
    if failed_path is not None:
        events += [
            ev.StepRetired(path=row.execution)
            for row in opened.store.finished_below(failed_path)
            if (step := step_in_list(row.path) or failed_path) == failed_path or not opened.store.is_done(step)
        ]
    return events


def _reprocessed(opened: Run, chosen: Chosen, *, every: bool = False) -> list[ev.DlqItemsReprocessed]:
    """The events that make the chosen dead items pending again. every: also those that are not eligible."""
    events = []
    for fanout in opened.store.fanouts():
        work = remaining_work(
            opened.store.items(fanout["path"]),
            include_dead=True,
            include_ineligible=every,
            max_tries=None if opened.past_limit else opened.max_tries,
        )
        listed = (*work.rows, *work.duplicates)  # a dead duplicate is left out, and told, with the others
        dead = [row for row in listed if row.state is ItemState.DEAD and row.has_letter]
        ordinals = tuple(row.ordinal for row in dead if chosen(fanout["path"], row))
        if ordinals:
            events.append(ev.DlqItemsReprocessed(fanout=fanout["path"], ordinals=ordinals))
    return events


def _any_row(_fanout: str, _row: ItemRow) -> bool:
    return True


def _reduce_again(store: Store) -> list[ev.StepRetired]:
    """The events by which the results of reduce do not count any more, so that its steps run as their next try.

    Raises UsageError when reduce has fan-outs of its own: their items are planned and done for good.
    """
    paths = [str(fanout["path"]) for fanout in store.fanouts()]
    if inside := [path for path in paths if any(path.startswith(f"{other}/") for other in paths)]:
        raise UsageError(
            f"reduce can't run again: it fans out itself ({', '.join(inside[:3])})",
            hint="Retry without --reduce, or start a new run for the reduce.",
        )
    return [
        ev.StepRetired(path=row.execution)
        for fanout in store.fanouts()
        for row in store.finished_below(fanout["path"])  # also what an edited workflow does not have any more
        if not is_in_an_item(row.path) and row.path != f"{fanout['path']}/{INPUT}"
    ]


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
    try:
        conflict = await opened.merges.merge(request, lambda _: ())
    except UnrelatedHistories:
        problem = f"{name} was replaced and has no commit in common with the run"
    else:
        problem = f"{name} conflicts with the run branch in {', '.join(conflict.paths[:5])}" if conflict else ""
    if problem:
        opened.store.record(ev.Warned(message=f"{problem}: the items run without it"))


async def _drive(run_id: str, caller: Caller, choices: Choices, before: Callable[[Run], Awaitable[None]]) -> Ended:
    started = time.monotonic()
    error: ProdigyError | None = None
    async with opened_run(run_id, caller.control, caller.on_event, choices) as opened:
        store = opened.store
        past = Past(failed_step=store.run().failed_path is not None)
        places = (opened.directory, opened.repo.common_dir)
        with blaming_full_disk(*places):
            await settle_merge(opened)
            await before(opened)
        index.note(store.run())
        if store.run().held_by is not None:
            caller.control.hold()
        watch = asyncio.create_task(obey(opened))
        try:
            budget = opened.steps.admissions.budgets.run_budget
            with blaming_full_disk(*places):
                async with within_time(store, caller.control, budget, "the run"):
                    await _leave_when_told(drive(opened, caller.confirm, past), caller.control)
        except (Stopped, Interrupted):
            if caller.control.ending:  # also what an earlier coordinator left and no slot has watched yet
                await opened.executor.end([step.execution for step in store.started_steps()])
            control = caller.control
            store.record(
                ev.JobPaused(status=control.status, stop_reason=control.stop_reason, error=control.error, by=control.by)
            )
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
