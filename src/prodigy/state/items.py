"""What an item may be, what may follow what, and what remains to be done. The only place with these rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from prodigy.errors import CorruptState
from prodigy.state import events as ev
from prodigy.state.step_path import attempt_path

# Outcomes that do not count against an item's limits: the item is not to blame.
NOT_A_TRY = frozenset({"rate_limited", "interrupted", "lost", "budget_exceeded"})


class ItemState(StrEnum):
    """pending -> running -> succeeded, or failed (tries are left) or dead (it has a dead letter)."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DEAD = "dead"
    SKIPPED = "skipped"


_MAY_FOLLOW: dict[str, tuple[frozenset[ItemState], ItemState]] = {
    ev.AgentStarted.type: (frozenset({ItemState.PENDING, ItemState.FAILED}), ItemState.RUNNING),
    ev.AgentQueued.type: (frozenset({ItemState.RUNNING}), ItemState.RUNNING),
    ev.AgentRequeued.type: (frozenset({ItemState.RUNNING}), ItemState.RUNNING),
    ev.AgentCompleted.type: (frozenset({ItemState.RUNNING}), ItemState.SUCCEEDED),
    ev.AgentFailed.type: (frozenset({ItemState.RUNNING}), ItemState.FAILED),
    ev.AgentInterrupted.type: (frozenset({ItemState.RUNNING}), ItemState.PENDING),
    ev.AgentRetrying.type: (frozenset({ItemState.FAILED}), ItemState.FAILED),
    ev.AgentSkipped.type: (frozenset({ItemState.FAILED}), ItemState.SKIPPED),
    ev.DlqItemAdded.type: (frozenset({ItemState.FAILED}), ItemState.DEAD),
    ev.DlqItemsReprocessed.type: (frozenset({ItemState.DEAD}), ItemState.PENDING),
    ev.ItemsDeduplicated.type: (
        frozenset({ItemState.PENDING, ItemState.FAILED, ItemState.DEAD}),
        ItemState.SKIPPED,
    ),
}


def follow(state: ItemState, event_type: str) -> ItemState:
    """The state after an event of this type; raises CorruptState when the event may not happen in `state`."""
    allowed, after = _MAY_FOLLOW[event_type]
    if state not in allowed:
        raise CorruptState(f"an item that is {state} cannot see the event {event_type}")
    return after


@dataclass(frozen=True)
class ItemRow:
    """One item of a fan-out as the store knows it.

    attempt: the newest attempt's number, 0 before any. tries: attempts that count against limits. has_letter: whether
    it is in the dead letter queue, where it stays until it succeeds. eligible: whether running it again may help.
    priority: items with a higher one come first.
    """

    ordinal: int
    item_id: str
    state: ItemState
    attempt: int = 0
    tries: int = 0
    label: str = ""
    has_letter: bool = False
    eligible: bool = True
    priority: float = 0.0


@dataclass(frozen=True)
class Work:
    """What is to be run, in order; `duplicates` are rows with the id of one that was listed before."""

    rows: tuple[ItemRow, ...]
    duplicates: tuple[ItemRow, ...]


def remaining_work(
    rows: Iterable[ItemRow],
    *,
    include_dead: bool = False,
    include_ineligible: bool = False,
    max_tries: int | None = None,
) -> Work:
    """In flight first (running, or interrupted by the user), then pending, then failed, then dead letters.

    Dead letters are those that a retry has begun with and, with include_dead, the others that are eligible.
    max_tries: items that have failed so often are left out; None: no limit. Each group keeps the order of `rows`. An id
    that comes again, or has succeeded, is a duplicate, unless it runs already and is paid for. O(n).
    """
    groups: tuple[list[ItemRow], ...] = ([], [], [], [])
    first: dict[str, ItemRow] = {}
    for row in rows:
        if row.state in (ItemState.SUCCEEDED, ItemState.RUNNING):  # whatever comes before them in the order
            first.setdefault(row.item_id, row)
        group = _group(row)
        left_alone = row.state is ItemState.DEAD and not (include_dead and (row.eligible or include_ineligible))
        if group is None or left_alone:
            continue
        if row.state in _HAVE_FAILED and max_tries is not None and row.tries >= max_tries:
            continue
        groups[group].append(row)
    work, duplicates = list[ItemRow](), list[ItemRow]()
    for row in (row for group in groups for row in group):
        is_first = first.setdefault(row.item_id, row) is row
        (work if is_first or row.state is ItemState.RUNNING else duplicates).append(row)
    return Work(tuple(work), tuple(duplicates))


_HAVE_FAILED = frozenset({ItemState.FAILED, ItemState.DEAD})


def _group(row: ItemRow) -> int | None:
    """The place of a row in the order of work; None when nothing is left to do."""
    match row.state:
        case ItemState.RUNNING:
            return 0
        case ItemState.PENDING if row.has_letter:
            return 3
        case ItemState.PENDING:
            return 0 if row.attempt else 1
        case ItemState.FAILED:
            return 2
        case ItemState.DEAD:
            return 3
    return None


@dataclass
class Folded:
    """What the events alone say; a test holds it equal to the tables."""

    items: dict[tuple[str, int], tuple[ItemState, int, int]] = field(default_factory=dict)
    steps: dict[str, str] = field(default_factory=dict)
    dead: set[tuple[str, int]] = field(default_factory=set)
    queued: set[tuple[str, int]] = field(default_factory=set)
    checks: dict[tuple[str, int], str] = field(default_factory=dict)
    status: str = "new"
    held_by: str | None = None
    merging: str | None = None
    merged: bool = False


def fold(folded: Folded, event: ev.Event) -> Folded:
    """Apply one event; changes and returns `folded`."""
    match event:
        case ev.ItemsPlanned(fanout=fanout, total=total):
            for ordinal in range(1, total + 1):
                folded.items[fanout, ordinal] = (ItemState.PENDING, 0, 0)
        case (
            ev.DlqItemsReprocessed(fanout=fanout, ordinals=ordinals)
            | ev.ItemsDeduplicated(fanout=fanout, ordinals=ordinals)
        ):
            for ordinal in ordinals:
                state, attempt, tries = folded.items[fanout, ordinal]
                folded.items[fanout, ordinal] = (follow(state, event.type), attempt, tries)
        case ev.DlqItemRemoved(fanout=fanout, ordinal=ordinal):
            folded.dead.discard((fanout, ordinal))
        case ev.ItemEvent(fanout=fanout, ordinal=ordinal, attempt=attempt):
            state, _, tries = folded.items[fanout, ordinal]
            counted = isinstance(event, ev.AgentCompleted) or (
                isinstance(event, ev.AgentFailed) and event.kind not in NOT_A_TRY
            )
            folded.items[fanout, ordinal] = (follow(state, event.type), attempt, tries + counted)
            if isinstance(event, ev.DlqItemAdded):
                folded.dead.add((fanout, ordinal))
            folded.queued.discard((fanout, ordinal))
            if isinstance(event, ev.AgentQueued):
                folded.queued.add((fanout, ordinal))
            if isinstance(event, ev.AgentStarted):
                _take_over(folded, event)
        case ev.StepStarted(path=path):
            folded.steps[path] = "started"
        case ev.StepFinished(path=path) | ev.StepSkipped(path=path):
            folded.steps[path] = "finished"
        case ev.StepLost(path=path):
            folded.steps[path] = "lost"
        case ev.StepRetired(path=path):
            folded.steps[path] = "retired"
        case ev.MergeCheckStarted(fanout=fanout, number=number):
            folded.checks[fanout, number] = "running"
        case ev.MergeCheckFinished(fanout=fanout, number=number, passed=passed):
            folded.checks[fanout, number] = ev.CHECKED[passed]
        case ev.Merging(path=path):
            folded.merging = path
        case ev.WorktreeMerged():
            folded.merging = None
            folded.merged = False  # the target does not have this yet
        case ev.JobImported():
            folded.merged = False
        case ev.JobStarted():
            folded.status = "running"
        case ev.JobResumed(still_held=still_held):
            folded.status = "running"
            folded.held_by = folded.held_by if still_held else None
        case ev.JobHeld(by=by):
            folded.held_by = by
        case ev.JobReleased():
            folded.held_by = None
        case ev.JobCompleted(status=status) | ev.JobPaused(status=status):
            folded.status = status
        case ev.JobFailed():
            folded.status = "failed"
        case ev.FinalMergeFinished():
            folded.merged = True
    return folded


def _take_over(folded: Folded, event: ev.AgentStarted) -> None:
    """What the earlier attempt had finished of the steps that are taken is finished in this one too."""
    for step in event.taken if event.continues is not None else ():
        old = f"{attempt_path(event.fanout, event.ordinal, event.continues or 0)}/{step}/"
        new = f"{attempt_path(event.fanout, event.ordinal, event.attempt)}/{step}/"
        done = [path for path, state in folded.steps.items() if path.startswith(old) and state == "finished"]
        folded.steps |= {new + path.removeprefix(old): "finished" for path in done}
    for path in event.inside:
        folded.steps[f"{attempt_path(event.fanout, event.ordinal, event.attempt)}/{path}"] = "finished"
