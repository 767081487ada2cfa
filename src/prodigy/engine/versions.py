"""An edited workflow for a run that has begun: what has finished must not have changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prodigy.engine.places import MERGE, step_inside
from prodigy.errors import UsageError
from prodigy.state import events as ev
from prodigy.state.step_path import INPUT, iteration_path, step_in_list
from prodigy.store.rows import StepRow
from prodigy.store.store import Store
from prodigy.workflow.model import Foreach, Group, MapReduce, Step, Workflow
from prodigy.workflow.walk import fingerprint

_OTHER_ITEMS = "has other items"


@dataclass(frozen=True)
class Edited:
    """A workflow that the user gave for a run that has begun, and its file.

    words: the options that gave it, as they are written on a command line.
    """

    workflow: Workflow
    file: Path
    words: tuple[str, ...] = ()


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
    _compare_lists(store, old.steps, edited.workflow.steps, iteration, edited, retired)
    _compare_lists(store, old.merge, edited.workflow.merge, f"{iteration}/{MERGE}", edited, retired)


def _compare_lists(
    store: Store, old: Sequence[Step], new: Sequence[Step], prefix: str, edited: Edited, retired: frozenset[str]
) -> None:
    for number, before in enumerate(old, 1):
        path = f"{prefix}/{number}"
        after = new[number - 1] if number <= len(new) else None
        if store.fanout(path) is not None:
            _compare_fan_out(store, before, after, path, edited, retired)
            continue
        if isinstance(before.action, Group) and store.has_steps_below(path):
            if after is None or not isinstance(after.action, Group) or before.when != after.when:
                raise _refusal(before, after, edited)
            _compare_lists(store, before.action.do, after.action.do, f"{path}/do", edited, retired)
            continue
        if isinstance(before.action, Foreach) and not store.is_done(path):
            _compare_inside(store, before, before.action, after, path, edited)
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
    if not isinstance(new, MapReduce) or _items_of(old) != _items_of(new):
        raise _refusal(before, after, edited, _OTHER_ITEMS)
    _compare_lists(store, old.reduce, new.reduce, path, edited, retired)


def _items_of(mapping: MapReduce) -> object:
    """What decides which items there are."""
    return mapping.input, mapping.json_path, mapping.select, [named.name for named in mapping.named]


def _compare_inside(store: Store, before: Step, action: Foreach, after: Step | None, path: str, edited: Edited) -> None:
    """Of a loop that stands in the middle, the values and what has run can't change."""
    if not store.has_steps_below(path):
        return
    now = after.action if after is not None else None
    if not isinstance(now, Foreach) or before.when != (after.when if after else None):
        raise _refusal(before, after, edited)
    if (now.input, now.max_items) != (action.input, action.max_items):
        raise _refusal(before, after, edited, "goes over other values")
    for row in store.finished_below(path):
        if not row.settled or (inside := step_in_list(row.path)) in (None, path):
            continue
        segments = inside.removeprefix(f"{path}/").split("/")
        old, new = step_inside(before, segments), step_inside(after, segments) if after else None
        if old is not None and (new is None or fingerprint(old) != fingerprint(new)):
            raise _refusal(old, new, edited)


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
