"""A fan-out: plan its items once, run what remains of them in parallel, tell how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from prodigy.engine import results
from prodigy.engine.attempt import Attempt
from prodigy.engine.budget_clock import within_time
from prodigy.engine.captures import Scope
from prodigy.engine.checked_merges import CheckedMerges
from prodigy.engine.control import Interrupted, Stopped
from prodigy.engine.fanout_gate import FanoutGate
from prodigy.engine.fanout_place import FanoutPlace
from prodigy.engine.item_failure import park
from prodigy.engine.item_keys import AttemptKey, seconds_since
from prodigy.engine.item_queue import ItemQueue
from prodigy.engine.kept_failed import keep_newest
from prodigy.engine.lodging import has_room, slots_for_items
from prodigy.engine.run import Run
from prodigy.engine.run_steps import RunWorkspace, StepFailed, see_output
from prodigy.engine.slots import Going, Slots
from prodigy.engine.specials import Specials
from prodigy.engine.tamper import TamperCheck
from prodigy.engine.teardown import end_abandoned, tear_down_pool
from prodigy.errors import UsageError
from prodigy.plan import item_source
from prodigy.plan.bulk import bulk
from prodigy.plan.identity import InvalidItemsError, identify, label
from prodigy.plan.priority import weigher
from prodigy.plan.sources import (
    Found,
    InputError,
    items_of_file,
    items_of_glob,
    items_of_output,
    items_of_values,
    locate,
    values_of,
)
from prodigy.state import events as ev
from prodigy.state.items import ItemRow, ItemState, remaining_work
from prodigy.state.step_path import INPUT
from prodigy.store import merges
from prodigy.store.store import Store
from prodigy.workflow.interpolate import Unresolved, fill_json, interpolate_text
from prodigy.workflow.model import Policy, Shell, Step

Tally = results.Tally


class InputUnusable(StepFailed):
    """The items of a fan-out can't be had. On resume its input is taken anew."""

    exit_code = UsageError.exit_code


async def plan(run: Run, here: FanoutPlace, step: Step, place: RunWorkspace) -> None:
    """Find the fan-out's items and store them, once: a resume works on the same list whatever the input becomes."""
    path = here.path
    try:
        read = await _input(run, here, step, place)
        with bulk():
            store_items(run.store, path, read(), here.mapping.priority)
    except (InputError, InvalidItemsError, Unresolved) as error:
        taken_by = f"{path}/{INPUT}" if here.mapping.input.kind in ("command", "source") else None
        raise InputUnusable(str(error), path=taken_by) from error


def store_items(store: Store, path: str, found: Found, priority: str | None = None) -> None:
    """Give the values ids and store them as the items of the fan-out `path`. priority: an expression over an item.
    Raises InvalidItemsError."""
    identified = identify(found.values)
    for warning in (*found.warnings, *identified.warnings):
        store.record(ev.Warned(message=warning))
    weight = weigher(priority)
    rows = [(item.ordinal, item.id, label(item), item.text, weight(item.data)) for item in identified.items]
    store.plan_items(path, rows, ev.ItemsPlanned(fanout=path, total=len(rows), duplicates=identified.duplicates))


async def _input(run: Run, here: FanoutPlace, step: Step, place: RunWorkspace) -> Callable[[], Found]:
    """What reads the input, once all that takes waiting is done. Raises StepFailed for a command that fails."""
    path, mapping = here.path, here.mapping
    if mapping.input.kind == "glob":
        return partial(items_of_glob, mapping.input.text, place.path, mapping.select)
    if mapping.input.kind == "values":
        scope = Scope(here.names).with_specials(Specials(place.path))
        values = values_of(mapping.input, lambda text: interpolate_text(text, scope))
        return partial(items_of_values, values, mapping.select)
    if mapping.input.kind == "file":
        user_dir = Path(run.options.started_in)
        file = locate(mapping.input.text, place.path, user_dir)
        return partial(items_of_file, file, mapping.json_path, mapping.select)
    action, env, what = Shell(text=mapping.input.text, options=mapping.input.options), here.inputs, "input command"
    if mapping.input.kind == "source":
        scope = Scope(here.names).with_specials(Specials(place.path))
        asked = fill_json(mapping.input.values[0], lambda text: interpolate_text(text, scope))
        env = {**here.inputs, **item_source.environment(mapping.input.text, asked)}
        action, what = Shell(text=item_source.SCRIPT), "item source"
    command = Step(action=action, policy=Policy(), line=step.line)
    outcome = await place.run_steps((command,), path, here.names, env, first=INPUT)
    if outcome.failure is not None:
        raise StepFailed(
            f"the {what} failed: {outcome.failure.message}", where=mapping.input.text,
            hint=see_output(run.id, f"{path}/{INPUT}"), path=f"{path}/{INPUT}",
        )  # fmt: skip
    execution = run.store.executions(f"{path}/{INPUT}")[-1].execution
    output = (run.directory / "steps" / execution / "stdout").read_bytes()
    return partial(items_of_output, output, mapping.json_path, mapping.select)


async def run_items(run: Run, here: FanoutPlace) -> None:
    """Run every item that remains, at most `max_parallel` at a time. Raises Stopped when the run drains."""
    path, mapping = here.path, here.mapping
    rows, checked_already = _work(run, here)
    gate = FanoutGate(run, path, mapping.errors, len(rows) + checked_already)
    queue = _queue(run, path, rows, gate)
    checked = CheckedMerges(run, here, queue.put) if mapping.merge.check or checked_already else None
    if checked is not None:
        queue.more_may_come = lambda: checked.busy
    tamper = TamperCheck(run, path)
    await tamper.start()
    await end_abandoned(run, path)
    wanted = slots_for_items(run, mapping, len(rows))
    try:
        budget = within_time(run.store, run.control, mapping.budget, "the map", path)
        with gate.listening():
            async with budget, asyncio.TaskGroup() as group:
                if checked is not None:
                    group.create_task(checked.work())
                slots = Slots(group, lambda: _worker(run, here, queue, tamper, gate, checked, slots.one_too_many))
                slots.resize(wanted)
                run.going[path] = _going(run, here, queue, slots, len(rows))
                await slots.all_ended()
                del run.going[path]
                if checked is not None:
                    checked.close()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors  # the first worker's error stopped the others
    finally:
        run.going.pop(path, None)
    await tamper.finish()
    gate.tell(ended=True)
    counts = run.store.counts(path)
    if any(counts[state] for state in (ItemState.PENDING, ItemState.RUNNING, ItemState.FAILED)):
        raise Stopped
    run.control.check()  # a policy that stops the run does so after its last item too
    await keep_newest(run, path)
    await end_abandoned(run, "run")
    await tear_down_pool(run, mapping)
    run.store.record(ev.FanoutFinished(fanout=path))


def _going(run: Run, here: FanoutPlace, queue: ItemQueue, slots: Slots, items: int) -> Going:
    def resize() -> None:
        slots.resize(slots_for_items(run, here.mapping, items))
        queue.look()

    def again(row: ItemRow) -> None:
        queue.put(row, 0.0)
        slots.refill()

    return Going(resize, again)


def _work(run: Run, here: FanoutPlace) -> tuple[tuple[ItemRow, ...], int]:
    """What is to be run, in order, and how many items wait to be merged. What is not to be run, though it is not done,
    is settled here and now: items whose tries are used up go to the dead letter queue, and duplicates are left out."""
    path, errors = here.path, here.mapping.errors
    limits = [run.max_tries] if run.max_tries is not None else []
    if errors.on_item_failure == "retry":
        limits.append(errors.retry.attempts)
    limit = None if run.past_limit else min(limits, default=None)
    rows = run.store.items(path)
    work = remaining_work(rows, max_tries=limit)
    if work.duplicates:
        run.store.record(
            ev.ItemsDeduplicated(fanout=path, ordinals=tuple(row.ordinal for row in work.duplicates)),
            ev.Warned(message=f"duplicates left out, because their ids are listed already: {len(work.duplicates)}"),
        )
    going = {row.ordinal for row in (*work.rows, *work.duplicates)}
    for row in rows:
        if row.state is ItemState.FAILED and row.ordinal not in going:
            key = AttemptKey(path, row.ordinal, row.attempt, row.item_id, row.label)
            park(run, key, run.store.attempts(path, row.ordinal)[-1])
    merging = {one.member.ordinal for one in merges.waiting(run.store, path)}
    return tuple(row for row in work.rows if row.ordinal not in merging), len(merging)


def _queue(run: Run, path: str, rows: tuple[ItemRow, ...], gate: FanoutGate) -> ItemQueue:
    """The rows in line; those that failed wait for what is left of their pause."""
    queue = ItemQueue((row for row in rows if row.state is not ItemState.FAILED), run.control, gate.pause_s)
    for row in rows:
        if row.state is ItemState.FAILED:
            last = run.store.attempts(path, row.ordinal)[-1]
            since = seconds_since(last.ended_at) if last.ended_at else 0.0
            queue.put(row, max(0.0, (last.retry_delay_s or 0.0) - since))
    return queue


async def _worker(
    run: Run,
    here: FanoutPlace,
    queue: ItemQueue,
    tamper: TamperCheck,
    gate: FanoutGate,
    checked: CheckedMerges | None,
    unwanted: Callable[[], bool],
) -> None:
    """One slot: takes item after item until none is left, the run drains, or there are more slots than wanted."""
    while row := await queue.take(unwanted):
        # What was in flight goes on: its worktree is there, and its process may run.
        if row.state is not ItemState.RUNNING and not has_room(run, here.mapping):
            return
        try:
            again = await Attempt(run, here, row, tamper, checked).execute()
        except (Stopped, Interrupted):
            return
        gate.tell()
        if again is not None:
            queue.put(run.store.item(here.path, row.ordinal), again.delay_s)
        queue.done()


def tally(run: Run, path: str) -> Tally:
    return results.tally(run.store, path)
