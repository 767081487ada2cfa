"""What may follow what, and what remains to be done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.errors import CorruptState
from prodigy.state import events as ev
from prodigy.state.event_data import from_data
from prodigy.state.items import ItemRow, ItemState, follow, remaining_work

LEFT = (ItemState.RUNNING, ItemState.PENDING, ItemState.FAILED)

rows = st.lists(
    st.builds(
        ItemRow,
        ordinal=st.integers(1, 50),
        item_id=st.sampled_from([f"id{number}" for number in range(30)]),
        state=st.sampled_from(list(ItemState)),
        attempt=st.integers(0, 5),
        tries=st.integers(0, 5),
        has_letter=st.booleans(),
        eligible=st.booleans(),
    )
)


@given(rows)
def test_nothing_that_is_left_is_dropped_and_nothing_is_listed_twice(given_rows: list[ItemRow]) -> None:
    work = remaining_work(given_rows)
    left = [row for row in given_rows if row.state in LEFT]
    done = {row.item_id for row in given_rows if row.state is ItemState.SUCCEEDED}
    running = {row.item_id for row in left if row.state is ItemState.RUNNING}
    assert {row.item_id for row in work.rows} == ({row.item_id for row in left} - done) | running
    begun = [row.item_id for row in work.rows if row.state is not ItemState.RUNNING]
    assert len(set(begun)) == len(begun)
    assert not set(begun) & (done | running)
    assert len(work.rows) + len(work.duplicates) == len(left)


def _place(row: ItemRow) -> str:
    """The place in the order of work that the rules give a row, told as the rules tell it."""
    if row.state is ItemState.RUNNING:
        return "1 in flight"
    if row.state is ItemState.PENDING and not row.has_letter:
        return "1 in flight" if row.attempt else "2 pending"
    return "3 failed" if row.state is ItemState.FAILED else "4 dead"


@given(rows)
def test_in_flight_comes_first_then_pending_then_failed_then_dead_each_in_order(given_rows: list[ItemRow]) -> None:
    work = remaining_work(given_rows, include_dead=True)
    places = [_place(row) for row in work.rows]
    assert places == sorted(places)
    for place in set(places):
        indexes = [next(i for i, row in enumerate(given_rows) if row is listed) for listed in work.rows
                   if _place(listed) == place]  # fmt: skip
        assert indexes == sorted(indexes)


@given(rows)
def test_the_first_of_an_id_in_the_order_of_work_is_kept(given_rows: list[ItemRow]) -> None:
    work = remaining_work(given_rows, include_dead=True)
    done = {row.item_id for row in given_rows if row.state is ItemState.SUCCEEDED}
    kept = {row.item_id: row for row in reversed(work.rows)}
    for duplicate in work.duplicates:
        assert duplicate.item_id in done or _place(kept[duplicate.item_id]) <= _place(duplicate)


@given(rows)
def test_doing_the_work_twice_over_the_same_rows_gives_the_same_order(given_rows: list[ItemRow]) -> None:
    once = remaining_work(given_rows)
    again = remaining_work(once.rows)
    assert again.rows == once.rows
    assert again.duplicates == ()


@given(rows, st.integers(0, 5))
def test_a_limit_of_tries_leaves_out_only_items_that_have_failed(given_rows: list[ItemRow], limit: int) -> None:
    work = remaining_work(given_rows, include_dead=True, max_tries=limit)
    listed = {id(row) for row in (*work.rows, *work.duplicates)}
    for row in given_rows:
        due = row.state in LEFT or (row.state is ItemState.DEAD and row.eligible)
        past = row.state in (ItemState.FAILED, ItemState.DEAD) and row.tries >= limit
        assert (id(row) in listed) == (due and not past)


def test_pending_takes_precedence_over_failed_and_dead() -> None:
    failed = ItemRow(1, "a", ItemState.FAILED, 1, 1)
    dead = ItemRow(2, "a", ItemState.DEAD, 1, 1, has_letter=True)
    pending = ItemRow(3, "a", ItemState.PENDING)
    work = remaining_work([failed, dead, pending], include_dead=True)
    assert work.rows == (pending,)
    assert work.duplicates == (failed, dead)


def test_ineligible_dead_letters_run_only_on_demand() -> None:
    row = ItemRow(1, "a", ItemState.DEAD, 1, 1, has_letter=True, eligible=False)
    assert remaining_work([row], include_dead=True).rows == ()
    assert remaining_work([row], include_dead=True, include_ineligible=True).rows == (row,)


def test_a_hundred_thousand_rows_are_put_in_order_by_looking_at_each_a_bounded_number_of_times() -> None:
    """Counted, not timed: how often an id is looked at."""
    looked = 0

    class Id(str):
        def __hash__(self) -> int:
            nonlocal looked
            looked += 1
            return str.__hash__(self)

    many = [ItemRow(n, Id(f"id{n % 60_000}"), ItemState.PENDING) for n in range(100_000)]
    work = remaining_work(many)
    assert (len(work.rows), len(work.duplicates)) == (60_000, 40_000)
    assert looked <= 2 * len(many)


def test_dead_items_are_left_alone_unless_asked_for() -> None:
    dead = ItemRow(1, "a", ItemState.DEAD, 1, 1)
    assert remaining_work([dead]).rows == ()
    assert remaining_work([dead], include_dead=True).rows == (dead,)


@pytest.mark.parametrize(
    ("state", "event", "after"),
    [
        (ItemState.PENDING, ev.AgentStarted, ItemState.RUNNING),
        (ItemState.FAILED, ev.AgentStarted, ItemState.RUNNING),
        (ItemState.RUNNING, ev.AgentCompleted, ItemState.SUCCEEDED),
        (ItemState.RUNNING, ev.AgentFailed, ItemState.FAILED),
        (ItemState.RUNNING, ev.AgentInterrupted, ItemState.PENDING),
        (ItemState.FAILED, ev.DlqItemAdded, ItemState.DEAD),
        (ItemState.DEAD, ev.DlqItemsReprocessed, ItemState.PENDING),
        (ItemState.FAILED, ev.AgentRetrying, ItemState.FAILED),
        (ItemState.FAILED, ev.AgentSkipped, ItemState.SKIPPED),
        (ItemState.PENDING, ev.ItemsDeduplicated, ItemState.SKIPPED),
    ],
)
def test_moves_that_are_allowed(state: ItemState, event: type[ev.Event], after: ItemState) -> None:
    assert follow(state, event.type) is after


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (ItemState.SUCCEEDED, ev.AgentStarted),
        (ItemState.RUNNING, ev.AgentStarted),
        (ItemState.PENDING, ev.AgentCompleted),
        (ItemState.SUCCEEDED, ev.AgentFailed),
        (ItemState.PENDING, ev.DlqItemAdded),
    ],
)
def test_moves_that_would_lose_or_repeat_work_are_refused(state: ItemState, event: type[ev.Event]) -> None:
    with pytest.raises(CorruptState):
        follow(state, event.type)


def test_every_event_survives_storage(every_event: Callable[[], list[ev.Event]]) -> None:
    for event in every_event():
        assert from_data(event.type, dict(event.data())).data() == event.data()
