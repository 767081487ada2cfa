"""An edited workflow for a run that has begun: what has finished must not have changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import UsageError
from prodigy.state import events as ev
from prodigy.state.step_path import iteration_path
from prodigy.store.rows import StepRow
from prodigy.store.store import Store
from prodigy.workflow.model import MapReduce, Step, Workflow, fingerprint


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
        elif path not in retired and _counts(store.executions(path), after):
            raise _refusal(before, after, edited)


def _compare_fan_out(
    store: Store, before: Step, after: Step | None, path: str, edited: Edited, retired: frozenset[str]
) -> None:
    """The items are fixed once they are planned, so where they come from can't change; how they are run may."""
    old = before.action
    new = after.action if after is not None else None
    assert isinstance(old, MapReduce)
    if not isinstance(new, MapReduce) or (old.input, old.json_path) != (new.input, new.json_path):
        raise _refusal(before, after, edited)
    for number, step in enumerate(old.reduce, 1):
        below = f"{path}/{number}"
        now = new.reduce[number - 1] if number <= len(new.reduce) else None
        if below not in retired and _counts(store.executions(below), now):
            raise _refusal(step, now, edited)


def _counts(executions: list[StepRow], now: Step | None) -> bool:
    """Whether something that was done, or is being done, is another thing now."""
    last = executions[-1] if executions else None
    if last is None or not (last.settled or last.state == "started"):
        return False
    return now is None or last.fingerprint != fingerprint(now)


def _refusal(before: Step, after: Step | None, edited: Edited) -> UsageError:
    what = "has other items" if isinstance(before.action, MapReduce) else "does something else"
    return UsageError(
        f"the step `{before.label}` has run already, and in this file it {what if after is not None else 'is gone'}",
        where=f"{edited.file}:{after.line}" if after is not None else str(edited.file),
        hint="Take that change back to go on with this run, or start a new one with `prodigy run`.",
    )
