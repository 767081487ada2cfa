"""A fan-out: plan its items once, run what remains of them in parallel, tell how it went."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from prodigy.engine.attempt import Attempt, FanoutPlace
from prodigy.engine.control import Interrupted, Stopped
from prodigy.engine.run import Run
from prodigy.engine.run_steps import RunWorkspace, StepFailed
from prodigy.engine.tamper import TamperCheck
from prodigy.errors import UsageError
from prodigy.executors.capacity import AGENT_STEP_MB, SHELL_STEP_MB, capacity
from prodigy.plan.identity import InvalidItemsError, identify, label
from prodigy.plan.sources import Found, InputError, items_of_file, items_of_glob, items_of_output, locate
from prodigy.state import events as ev
from prodigy.state.items import ItemRow, ItemState, remaining_work
from prodigy.workflow.model import Agent, Policy, Shell, Step

# The number of a fan-out's input command among its steps.
INPUT = 0


class InputUnusable(StepFailed):
    """The items of a fan-out can't be had. On resume its input is taken anew."""

    exit_code = UsageError.exit_code


@dataclass(frozen=True)
class Tally:
    """How many items a fan-out has, and in which end: total = successful + failed + not done yet."""

    total: int
    successful: int
    failed: int

    def variables(self) -> dict[str, object]:
        """What `${map...}` names. success_rate: in percent, of all items."""
        rate = round(100 * self.successful / self.total, 2) if self.total else 0.0
        return {
            "total": self.total,
            "successful": self.successful,
            "success_count": self.successful,
            "failed": self.failed,
            "success_rate": rate,
        }


async def plan(run: Run, here: FanoutPlace, step: Step, place: RunWorkspace) -> None:
    """Find the fan-out's items and store them, once: a resume works on the same list whatever the input becomes."""
    path = here.path
    try:
        found = identify(await _values(run, here, step, place))
    except (InputError, InvalidItemsError) as error:
        taken_by = f"{path}/{INPUT}" if here.mapping.input.kind == "command" else None
        raise InputUnusable(str(error), path=taken_by) from error
    for warning in found.warnings:
        run.store.record(ev.Warned(message=warning))
    rows = [(item.ordinal, item.id, label(item), json.dumps(item.data, ensure_ascii=False)) for item in found.items]
    run.store.plan_items(path, rows, ev.ItemsPlanned(fanout=path, total=len(rows), duplicates=found.duplicates))


async def _values(run: Run, here: FanoutPlace, step: Step, place: RunWorkspace) -> tuple[object, ...]:
    path, mapping = here.path, here.mapping
    if mapping.input.kind == "glob":
        return _told(run, items_of_glob(mapping.input.text, place.path))
    if mapping.input.kind == "file":
        user_dir = Path(run.options.started_in)
        file = locate(mapping.input.text, place.path, user_dir)
        return _told(run, items_of_file(file, mapping.json_path))
    action = Shell(text=mapping.input.text, options=mapping.input.options)
    command = Step(action=action, policy=Policy(), line=step.line)
    outcome = await place.run_steps((command,), path, here.names, here.inputs, first=INPUT)
    if outcome.failure is not None:
        raise StepFailed(
            f"the input command failed: {outcome.failure.message}", where=mapping.input.text,
            hint=f"Its output is in {run.directory / (outcome.failure.log or '')}", path=f"{path}/{INPUT}",
        )  # fmt: skip
    execution = run.store.executions(f"{path}/{INPUT}")[-1].execution
    output = (run.directory / "steps" / execution / "stdout").read_bytes()
    return _told(run, items_of_output(output, mapping.json_path))


def _told(run: Run, found: Found) -> tuple[object, ...]:
    for warning in found.warnings:
        run.store.record(ev.Warned(message=warning))
    return found.values


async def run_items(run: Run, here: FanoutPlace) -> None:
    """Run every item that remains, at most `max_parallel` at a time. Raises Stopped when the run drains."""
    path, mapping = here.path, here.mapping
    work = remaining_work(run.store.items(path))
    if work.duplicates:
        run.store.record(ev.Warned(message=f"{work.duplicates} items were listed twice and run once"))
    queue = deque(work.rows)
    tamper = TamperCheck(run)
    await tamper.start()
    wanted = max(1, min(run.options.max_parallel or mapping.max_parallel, len(queue)))
    room = capacity(wanted, AGENT_STEP_MB if any(map(_runs_agent, mapping.template)) else SHELL_STEP_MB)
    for reason in room.reasons:
        run.store.record(ev.Warned(message=reason))
    run.executor.expect(room.slots, len(queue))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(room.slots):
                group.create_task(_worker(run, here, queue, tamper))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors  # the first worker's error stopped the others
    counts = run.store.counts(path)
    if counts[ItemState.PENDING] or counts[ItemState.RUNNING]:
        raise Stopped
    run.store.record(ev.FanoutFinished(fanout=path))


def _runs_agent(step: Step) -> bool:
    return isinstance(step.action, Agent)


async def _worker(run: Run, here: FanoutPlace, queue: deque[ItemRow], tamper: TamperCheck) -> None:
    """One slot: takes item after item until none is left or the run drains."""
    while queue and not run.control.draining:
        try:
            await Attempt(run, here, queue.popleft(), tamper).execute()
        except (Stopped, Interrupted):
            return


def tally(run: Run, path: str) -> Tally:
    counts = run.store.counts(path)
    failed = counts[ItemState.FAILED] + counts[ItemState.DEAD]
    return Tally(sum(counts.values()), counts[ItemState.SUCCEEDED], failed)
