"""Where an attempt begins: at its first step on the newest base, or where an earlier attempt of the item stood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prodigy.engine.run import BY_OUTCOME, Options
from prodigy.executors.base import Snapshot
from prodigy.state.items import NOT_A_TRY
from prodigy.state.step_path import attempt_path, step_in_list
from prodigy.store.rows import AttemptRow
from prodigy.store.store import Store
from prodigy.workflow.model import Foreach, Group, MapReduce, Step
from prodigy.workflow.walk import fingerprint


@dataclass(frozen=True)
class Beginning:
    """base: the commit of the run branch that the attempt's commits descend from. continues: the earlier attempt whose
    steps `taken`, by number, count as finished, None without one. inside: executions in a loop that it stood in, which
    count as finished too, by their paths in the attempt. boundary: the state in which the attempt starts."""

    base: str
    boundary: Snapshot
    continues: int | None = None
    taken: tuple[int, ...] = ()
    inside: tuple[str, ...] = ()


def beginning(
    store: Store, options: Options, mapping: MapReduce, fanout: str, ordinal: int, previous: AttemptRow | None
) -> Beginning:
    """Where the attempt after `previous` begins. options: the run's.

    An attempt that ended through no fault of the item's is continued; after a failure, so is one whose finished steps
    the user wants kept. Steps that the workflow has changed since are not taken over, nor any behind them.
    """
    tip = store.run().tip
    afresh = Beginning(tip, Snapshot(tip, None))
    if previous is None:
        return afresh
    wish = options.items_from if previous.started_at < options.items_since else BY_OUTCOME
    if wish == "start":
        return afresh
    blameless = previous.state == "interrupted" or previous.kind in NOT_A_TRY
    if not blameless and wish != "failed_step":
        return afresh
    path = attempt_path(fanout, ordinal, previous.number)
    steps = mapping.steps_of(ordinal)
    finished = _unchanged_steps(store, steps, path, settled=True)
    start = start_of(previous)
    taken, inside = finished, tuple[str, ...]()
    if blameless and _goes_on_inside(store, steps, path, finished):
        if previous.state == "interrupted":
            taken = (*finished, len(finished) + 1)
        else:
            inside = _blameless_inside(store, path, len(finished) + 1)
        found = store.last_boundary(path)
    else:
        done = _done_inside(store, steps, path, finished)
        if not finished and not done:
            return afresh
        inside = tuple(execution for executions in done.values() for execution in executions)
        found = store.boundary_after([f"{path}/{step}" for step in (*taken, *done)])
    boundary = Snapshot(*found) if found else start
    if not taken and not inside and boundary == start and start.head == previous.base:
        return afresh
    return Beginning(previous.base, boundary, previous.number, taken, inside)


def start_of(attempt: AttemptRow) -> Snapshot:
    """The state in which an attempt started."""
    return Snapshot(attempt.start_head or attempt.base, attempt.start_snapshot)


def _unchanged_steps(store: Store, steps: Sequence[Step], path: str, *, settled: bool) -> tuple[int, ...]:
    """The numbers of the leading steps that the attempt has finished and that are in the workflow as they were."""
    numbers = []
    for number, step in enumerate(steps, 1):
        rows = store.executions(f"{path}/{number}")
        if not rows or rows[-1].settled is not settled or rows[-1].fingerprint != fingerprint(step):
            break
        numbers.append(number)
    return tuple(numbers)


def _blameless_inside(store: Store, path: str, number: int) -> tuple[str, ...]:
    """The executions of the step that the attempt stood at which count: all but those that ended through no fault of
    their own, and what handled these."""
    rows = store.finished_below(f"{path}/{number}")
    again = {row.path for row in rows if row.kind in NOT_A_TRY}
    return tuple(
        row.execution.removeprefix(f"{path}/")
        for row in rows
        if row.path not in again and not any(_handles(row.path, other) for other in again)
    )


def _handles(path: str, other: str) -> bool:
    return path.startswith((f"{other}/on_", f"{other}/exit"))


def _done_inside(
    store: Store, steps: Sequence[Step], path: str, finished: tuple[int, ...]
) -> dict[str, tuple[str, ...]]:
    """Of the loop, or the other workflow's steps, that the attempt stood in, the steps that are done, each with its
    executions, checks and handlers included; all by their paths in the attempt."""
    number = len(finished) + 1
    if number > len(steps) or not isinstance(steps[number - 1].action, Foreach | Group):
        return {}
    if not _goes_on_inside(store, steps, path, finished):
        return {}
    done: dict[str, tuple[str, ...]] = {}
    for row in store.finished_below(f"{path}/{number}"):
        step = step_in_list(row.path)
        if step is not None and step != f"{path}/{number}" and store.is_done(step):
            key = step.removeprefix(f"{path}/")
            done[key] = (*done.get(key, ()), row.execution.removeprefix(f"{path}/"))
    return done


def _goes_on_inside(store: Store, steps: Sequence[Step], path: str, finished: tuple[int, ...]) -> bool:
    """Whether the step that the attempt stood at, if it had begun, is in the workflow as it was."""
    number = len(finished) + 1
    rows = store.executions(f"{path}/{number}")
    if number > len(steps):
        return not rows
    return not rows or rows[-1].fingerprint == fingerprint(steps[number - 1])
