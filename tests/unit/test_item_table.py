"""The table of items: the same as a plain filter and sort over all of them, whatever is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.errors import UsageError
from prodigy.report import item_table
from prodigy.report.item_table import ItemCache, ItemFilter, ItemLine, neighbours, page
from prodigy.state import events as ev
from prodigy.store.rows import RunRow
from prodigy.store.store import Store

NAMES = ["plain", "50%", "under_score", "back\\slash", "quo'te", '"', "<script>", "ünï", "a" * 200, "50x"]
STATES = ["pending", "running", "succeeded", "failed", "dead", "skipped"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Sixty items in two maps, in all states, written as the engine writes them."""
    row = RunRow(
        id="r", workflow="w", file=None, repo="/r", common_dir="/r/.git", base="0" * 40, branch="refs/heads/b",
        target=None, options="{}", created_at="2026-01-01T00:00:00.000Z", tip="0" * 40,
    )  # fmt: skip
    made = Store.create(tmp_path_factory.mktemp("table") / "r", row, "{}")
    with closing(made):
        for fanout, count in (("it1/1", 47), ("it1/2", 13)):
            items = [
                (n, f"id-{fanout}-{n}", f"{NAMES[n % len(NAMES)]} {n}", json.dumps({"n": n, "even": n % 2 == 0}), n % 3)
                for n in range(1, count + 1)
            ]
            made.plan_items(fanout, items, ev.ItemsPlanned(fanout=fanout, total=count, duplicates=0))
            for n, item_id, label, _, _ in items:
                _work(made, fanout, n, item_id, label)
        yield made


def _work(store: Store, fanout: str, n: int, item_id: str, label: str) -> None:
    """What becomes of an item, by its number."""
    for number in range(1, 1 + n % 4):
        key: dict[str, Any] = {
            "fanout": fanout, "ordinal": n, "attempt": number, "item_id": item_id, "label": label,
        }  # fmt: skip
        path = f"{fanout}/i{n:04d}/a{number}/1/t1"
        started = ev.AgentStarted(**key, agent_id="a", worktree=f"/w/{n}", base="0" * 40, workflow=1, continues=None)
        store.record(started, ev.StepStarted(path=path, fingerprint="f", agent="claude"))
        if n % 7 == 0 and number == n % 4:
            return  # it goes on
        ended = ev.StepFinished(
            path=path, kind=None, message=None, exit_code=0, duration_s=1.0, head="0" * 40, snapshot=None,
            cost_usd=None if n % 5 == 0 else n / 100, tokens=n * 10,
        )  # fmt: skip
        if number < n % 4 or n % 3 == 0:
            failed = ev.AgentFailed(**key, kind="timeout" if n % 2 else "unknown", error=f"no {n}", retry_eligible=True)
            store.record(ended, failed)
            if number < n % 4:
                store.record(ev.AgentRetrying(**key, delay_s=1.0))
            elif n % 2:
                store.record(
                    ev.DlqItemAdded(
                        **key, error_signature=f"s{n % 2}", reprocess_eligible=n % 9 != 0, manual_review_required=False,
                        branch=None, worktree_path=None,
                    )
                )  # fmt: skip
        else:
            store.record(ended, ev.AgentCompleted(**key, duration_s=1.0, commits=(), merged=None))


def everything(store: Store) -> list[ItemLine]:
    return list(page(store, size=1000).lines)


FILTERS: dict[str, Callable[[ItemLine], bool]] = {
    "item.n > 20 && item.even": lambda line: int(line.label.split()[-1]) > 20 and int(line.label.split()[-1]) % 2 == 0,
    "state == 'dead' || row.attempts == 3": lambda line: line.state == "dead" or line.attempts == 3,
    "cost_usd > 0.1": lambda line: line.cost_usd is not None and line.cost_usd > 0.1,
    "error_type == 'timeout' && tries > 1": lambda line: line.kind == "timeout" and line.tries > 1,
    "eligible == true": lambda line: line.eligible is True,
    "error_signature == 's1'": lambda line: line.eligible is not None,
    "row.nothing == 1": lambda _: False,
}
KEYS: dict[str, Any] = {
    "order": lambda _: 0,
    "label": lambda line: "".join(c.lower() if c.isascii() else c for c in line.label),
    "state": lambda line: line.state,
    "attempts": lambda line: line.attempts,
    "priority": lambda line: line.priority,
    "cost": lambda line: (line.cost_usd is not None, line.cost_usd or 0.0),
    "tokens": lambda line: line.tokens,
    "kind": lambda line: (line.kind is not None, line.kind or ""),
}


@given(
    wanted=st.none() | st.sampled_from(sorted(FILTERS)),
    states=st.sets(st.sampled_from(STATES), max_size=2),
    search=st.sampled_from(["", "50%", "_", "\\", "UNDER", "<script>", "id-it1/2", "nothing"]),
    sort=st.sampled_from(sorted(KEYS)),
    descending=st.booleans(),
    size=st.integers(1, 30),
)
def test_pages_are_the_parts_of_a_plain_filter_and_sort(
    store: Store, wanted: str | None, states: set[str], search: str, sort: str, descending: bool, size: int
) -> None:
    expected = [
        line for line in everything(store)
        if (wanted is None or FILTERS[wanted](line)) and (not states or line.state in states)
        and any(search.lower() in text.lower() for text in (line.label, line.item_id))
    ]  # fmt: skip
    expected.sort(key=lambda line: (line.fanout, line.ordinal))
    if sort == "order" and descending:
        expected.sort(key=lambda line: line.ordinal, reverse=True)
        expected.sort(key=lambda line: line.fanout, reverse=True)
    else:
        if descending:
            expected.sort(key=lambda line: (line.fanout, -line.ordinal))
        expected.sort(key=KEYS[sort], reverse=descending)
    found: list[ItemLine] = []
    cache = ItemCache()
    number, pages = 1, 1
    while number <= pages:
        part = page(
            store, wanted=ItemFilter(wanted) if wanted else None, states=states, search=search, sort=sort,
            descending=descending, number=number, size=size, cache=cache,
        )  # fmt: skip
        assert part.total == len(expected)
        assert part.number == number
        found += part.lines
        number, pages = number + 1, part.pages
    assert [(line.fanout, line.ordinal) for line in found] == [(line.fanout, line.ordinal) for line in expected]


def test_a_page_past_the_end_is_the_last_one(store: Store) -> None:
    assert page(store, number=99, size=7).number == page(store, size=7).pages == 9


def test_a_list_that_was_kept_is_made_anew_when_something_happened(store: Store) -> None:
    cache, dearer = ItemCache(), ItemFilter("state == 'running'")
    before = page(store, wanted=dearer, cache=cache).total
    assert before > 0
    kept = cache._kept
    assert len(kept) == 1
    key: dict[str, Any] = {"fanout": "it1/2", "ordinal": 7, "attempt": 3, "item_id": "id-it1/2-7", "label": "50x 7"}
    store.record(ev.AgentInterrupted(**key))
    for name, value in kept.items():  # as if the time in which it may be a little old were over
        kept[name] = type(value)(value.keys, value.newest, 0.0, value.is_final)
    assert page(store, wanted=dearer, cache=cache).total == before - 1


def test_a_filter_that_is_none_says_where_and_one_that_names_nothing_says_what(store: Store) -> None:
    with pytest.raises(UsageError, match="filter, column 9") as refused:
        ItemFilter("item.n >")
    assert "\n    item.n >\n" in str(refused.value)
    assert ItemFilter("item.m > 1 && state == ded").unknown(store) == ["item.m", "ded"]
    assert ItemFilter("item.n > 1 && row.cost_usd > 0").unknown(store) == []


def test_neighbours_are_those_of_the_same_map(store: Store) -> None:
    assert neighbours(store, ("it1/1", 1)) == (None, 2)
    assert neighbours(store, ("it1/1", 47)) == (46, None)
    assert item_table.find(store, ("it1/1", 48)) is None


def test_an_item_with_everything_is_told_whole(store: Store) -> None:
    line = item_table.find(store, ("it1/1", 3))
    assert line is not None
    assert (line.state, line.attempts, line.kind, line.error) == ("dead", 3, "timeout", "no 3")
    assert line.cost_usd == pytest.approx(0.09)
    assert (line.tokens, line.agent, line.eligible, line.has_letter) == (90, "claude", True, True)


def test_the_paths_of_steps_are_those_of_their_items_only(store: Store, tmp_path: Path) -> None:
    """Item 4 is no beginning of item 40's path."""
    four = item_table.find(store, ("it1/1", 4))
    assert four is not None
    assert four.tokens == 0  # it never began, and 40 did
