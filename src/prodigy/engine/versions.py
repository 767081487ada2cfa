"""An edited workflow for a run that has begun: what has finished must not have changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import UsageError
from prodigy.state import events as ev
from prodigy.state.step_path import INPUT, iteration_path
from prodigy.store.rows import StepRow
from prodigy.store.store import Store
from prodigy.workflow.model import MapReduce, Step, Workflow, fingerprint

_OTHER_ITEMS = "has other items"


@dataclass(frozen=True)
class Edited:
    """A workflow that the user gave for a run that has begun, and its file."""

    workflow: Workflow
    file: Path


def adopt(store: Store, edited: Edited, iterations: int, retired: frozenset[str]) -> None:
    """Make an edited workflow the run's newest version; one that is as the newest changes nothing.

    retired: paths of steps whose results are not to count any more. Raises UsageError, naming the first step that has
    finished, or runs, and is another one now.
    """
    version, text = store.workflow()
    newest = Workflow.model_validate_json(text)
    if _same(newest, edited.workflow):
        return
    for number in range(1, iterations + 1):
        _compare(store, newest, edited, iteration_path(number), retired)
    changed = ev.WorkflowChanged(version=version + 1, file=str(edited.file.absolute()))
    store.change_workflow(edited.workflow.model_dump_json(), changed)


def _same(one: Workflow, other: Workflow) -> bool:
    return one.model_copy(update={"source": ""}) == other.model_copy(update={"source": ""})


def _compare(store: Store, old: Workflow, edited: Edited, iteration: str, retired: frozenset[str]) -> None:
    new = edited.workflow.steps
    for number, before in enumerate(old.steps, 1):
        path = f"{iteration}/{number}"
        after = new[number - 1] if number <= len(new) else None
        if store.fanout(path) is not None:
            _compare_fan_out(store, before, after, path, edited, retired)
            continue
        asked = f"{path}/{INPUT}"
        if asked not in retired and _has_other_input(store, before, after, asked):
            raise _refusal(before, after, edited, _OTHER_ITEMS)
        executions = store.executions(path)
        if path not in retired and _counts(executions, after):
            raise _refusal(before, after, edited, done="was skipped" if executions[-1].skipped else "has run")


def _compare_fan_out(
    store: Store, before: Step, after: Step | None, path: str, edited: Edited, retired: frozenset[str]
) -> None:
    """The items are fixed once they are planned, so where they come from can't change; how they are run may."""
    old = before.action
    new = after.action if after is not None else None
    assert isinstance(old, MapReduce)
    if not isinstance(new, MapReduce) or (old.input, old.json_path) != (new.input, new.json_path):
        raise _refusal(before, after, edited, _OTHER_ITEMS)
    for number, step in enumerate(old.reduce, 1):
        below = f"{path}/{number}"
        now = new.reduce[number - 1] if number <= len(new.reduce) else None
        if below not in retired and _counts(store.executions(below), now):
            raise _refusal(step, now, edited)


def _has_other_input(store: Store, before: Step, after: Step | None, path: str) -> bool:
    """Whether the command that tells a fan-out's items has run, or runs, and is another one now."""
    executions = store.executions(path)
    if not executions or not (executions[-1].settled or executions[-1].state == "started"):
        return False
    old, new = before.action, after.action if after is not None else None
    return not (isinstance(old, MapReduce) and isinstance(new, MapReduce) and old.input == new.input)


def _counts(executions: list[StepRow], now: Step | None) -> bool:
    """Whether something that was done, or is being done, is another thing now."""
    last = executions[-1] if executions else None
    if last is None or last.state == "lost":
        return False
    has_failed = last.state == "finished" and last.kind is not None and not last.settled
    return not has_failed and (now is None or last.fingerprint != fingerprint(now))


def _refusal(
    before: Step, after: Step | None, edited: Edited, differs: str = "does something else", *, done: str = "has run"
) -> UsageError:
    return UsageError(
        f"the step `{before.label}` {done} already, and in this file it {differs if after is not None else 'is gone'}",
        where=f"{edited.file}:{after.line}" if after is not None else str(edited.file),
        hint="Take that change back to go on with this run, or start a new one with `prodigy run`.",
    )
