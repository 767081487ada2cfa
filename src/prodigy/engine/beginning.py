"""Where an attempt begins: at its first step on the newest base, or where an earlier attempt of the item stood."""

from __future__ import annotations

from dataclasses import dataclass

from prodigy.engine.run import BY_OUTCOME, Run
from prodigy.executors.base import Snapshot
from prodigy.state.items import NOT_A_TRY
from prodigy.state.step_path import attempt_path
from prodigy.store.rows import AttemptRow
from prodigy.store.store import Store
from prodigy.workflow.model import MapReduce, fingerprint


@dataclass(frozen=True)
class Beginning:
    """base: the commit of the run branch that the attempt's commits descend from. continues: the earlier attempt whose
    steps `taken`, by number, count as finished, None without one. boundary: the state in which the attempt starts."""

    base: str
    boundary: Snapshot
    continues: int | None = None
    taken: tuple[int, ...] = ()


def beginning(run: Run, mapping: MapReduce, fanout: str, ordinal: int, previous: AttemptRow | None) -> Beginning:
    """Where the attempt after `previous` begins.

    An attempt that ended through no fault of the item's is continued; after a failure, so is one whose finished steps
    the user wants kept. Steps that the workflow has changed since are not taken over, nor any behind them.
    """
    afresh = Beginning(run.merges.tip(), Snapshot(run.merges.tip(), None))
    if previous is None:
        return afresh
    wish = run.options.items_from if previous.started_at < run.options.items_since else BY_OUTCOME
    if wish == "start":
        return afresh
    blameless = previous.state == "interrupted" or previous.kind in NOT_A_TRY
    if not blameless and wish != "failed_step":
        return afresh
    path = attempt_path(fanout, ordinal, previous.number)
    finished = _unchanged_steps(run.store, mapping, path, settled=True)
    start = start_of(previous)
    if blameless and _goes_on_inside(run.store, mapping, path, finished):
        taken = (*finished, len(finished) + 1) if previous.state == "interrupted" else finished
        found = run.store.last_boundary(path)
    elif not finished:
        return afresh
    else:
        taken = finished
        found = run.store.boundary_after([f"{path}/{number}" for number in taken])
    boundary = Snapshot(*found) if found else start
    if not taken and boundary == start and start.head == previous.base:
        return afresh
    return Beginning(previous.base, boundary, previous.number, taken)


def start_of(attempt: AttemptRow) -> Snapshot:
    """The state in which an attempt started."""
    return Snapshot(attempt.start_head or attempt.base, attempt.start_snapshot)


def _unchanged_steps(store: Store, mapping: MapReduce, path: str, *, settled: bool) -> tuple[int, ...]:
    """The numbers of the leading steps that the attempt has finished and that are in the workflow as they were."""
    numbers = []
    for number, step in enumerate(mapping.template, 1):
        rows = store.executions(f"{path}/{number}")
        if not rows or rows[-1].settled is not settled or rows[-1].fingerprint != fingerprint(step):
            break
        numbers.append(number)
    return tuple(numbers)


def _goes_on_inside(store: Store, mapping: MapReduce, path: str, finished: tuple[int, ...]) -> bool:
    """Whether the step that the attempt stood at, if it had begun, is in the workflow as it was."""
    number = len(finished) + 1
    rows = store.executions(f"{path}/{number}")
    if number > len(mapping.template):
        return not rows
    return not rows or rows[-1].fingerprint == fingerprint(mapping.template[number - 1])
