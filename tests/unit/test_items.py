"""What may follow what, and what remains to be done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.errors import CorruptState
from prodigy.state import events as ev
from prodigy.state.items import ItemRow, ItemState, follow, remaining_work

rows = st.lists(
    st.builds(
        ItemRow,
        ordinal=st.integers(1, 50),
        item_id=st.sampled_from([f"id{number}" for number in range(30)]),
        state=st.sampled_from(list(ItemState)),
        attempt=st.integers(0, 5),
        tries=st.integers(0, 5),
    )
)


@given(rows)
def test_nothing_that_is_left_is_dropped_and_nothing_is_listed_twice(given_rows: list[ItemRow]) -> None:
    work = remaining_work(given_rows)
    left = [row for row in given_rows if row.state in (ItemState.RUNNING, ItemState.PENDING, ItemState.FAILED)]
    assert {row.item_id for row in work.rows} == {row.item_id for row in left}
    assert len({row.item_id for row in work.rows}) == len(work.rows)
    assert work.duplicates == len(left) - len(work.rows)


@given(rows)
def test_in_flight_comes_first_then_pending_then_failed_each_in_order(given_rows: list[ItemRow]) -> None:
    work = remaining_work(given_rows, include_dead=True)
    rank = [ItemState.RUNNING, ItemState.PENDING, ItemState.FAILED, ItemState.DEAD]
    ranks = [rank.index(row.state) for row in work.rows]
    assert ranks == sorted(ranks)
    for state in rank:
        places = [given_rows.index(row) for row in work.rows if row.state is state]
        assert places == sorted(places)


@given(rows, st.integers(0, 5))
def test_a_limit_of_tries_leaves_out_only_items_that_have_failed(given_rows: list[ItemRow], limit: int) -> None:
    work = remaining_work(given_rows, include_dead=True, max_tries=limit)
    for row in work.rows:
        assert row.state in (ItemState.RUNNING, ItemState.PENDING) or row.tries < limit


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
        assert ev.from_data(event.type, dict(event.data())).data() == event.data()
