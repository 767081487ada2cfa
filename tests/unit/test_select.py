"""Which values become items, in which order, and what a filter sees of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodigy.plan.select import select
from prodigy.plan.sources import items_of_values, read_items
from prodigy.workflow.selection import Selection


def selected(values: list[Any], **parts: Any) -> list[Any]:
    return list(select(values, Selection(**parts), []))


ROWS = [{"n": 3, "k": "a"}, {"n": 1, "k": "b"}, {"n": 2, "k": "a"}, {"n": 5, "k": "c"}, {"n": 4, "k": "b"}]


@pytest.mark.parametrize(
    ("parts", "numbers"),
    [
        ({}, [3, 1, 2, 5, 4]),
        ({"filter": "n >= 2"}, [3, 2, 5, 4]),
        ({"filter": "item.k in ['a', 'b'] && !(n == 2)"}, [3, 1, 4]),
        ({"sort_by": "n"}, [1, 2, 3, 4, 5]),
        ({"sort_by": "item.k DESC, -n"}, [5, 4, 1, 3, 2]),
        ({"distinct": "k"}, [3, 1, 5]),
        ({"sort_by": "n", "distinct": "item.k"}, [1, 2, 5]),
        ({"offset": 1}, [1, 2, 5, 4]),
        ({"offset": 9}, []),
        ({"max_items": 2}, [3, 1]),
        ({"max_items": 0}, []),
        # All of them, in their order: the offset counts what distinct has left, not what the input has.
        ({"filter": "n > 1", "sort_by": "-n", "distinct": "k", "offset": 1, "max_items": 1}, [4]),
    ],
)
def test_filter_sort_distinct_offset_and_max_items_follow_one_another(
    parts: dict[str, Any], numbers: list[int]
) -> None:
    assert [row["n"] for row in selected(ROWS, **parts)] == numbers


def test_distinct_compares_as_json_and_keeps_the_first() -> None:
    rows = [{"a": {"x": [1], "y": 2}}, {"a": {"y": 2, "x": [1]}}, {"a": None, "n": 1}, {"n": 2}, {"a": 1}, {"a": "1"}]
    assert selected(rows, distinct="a") == [rows[0], rows[2], rows[4], rows[5]]


@pytest.mark.parametrize(
    "text",
    [
        "item == 'src/a.py'", "item.item == 'src/a.py'", "item.value == 'src/a.py'", "value == 'src/a.py'",
        "item.path == 'src/a.py'", "path == 'src/a.py'", "item.name == 'a.py'", "name == 'a.py'",
        "${item} ends_with '.py' && contains(item, 'src')", "is_string(item) && length(item, 8)",
    ],
)  # fmt: skip
def test_a_filter_names_a_plain_line_as_placeholders_do(text: str) -> None:
    assert selected(["src/a.py", "docs/b.md"], filter=text) == ["src/a.py"]


def test_an_item_that_has_a_field_item_answers_to_both() -> None:
    rows = [{"item": "x", "n": 1}, {"item": {"n": 2}}, {"n": 3}]
    assert selected(rows, filter="item == 'x' || item.item == 'x'") == [rows[0]]
    assert selected(rows, filter="item.n >= 1") == rows
    assert selected(rows, filter="item.item.n == 2") == [rows[1]]


def test_a_filter_knows_the_place_and_the_value_of_what_it_looks_at() -> None:
    assert selected(["a", "b", "c"], filter="_index >= 1 && _value != 'c' && is_null(_key)") == ["b"]
    assert selected([{"_index": 7}, {}], filter="_index == 7") == [{"_index": 7}]


def test_a_bare_word_that_no_item_has_is_the_text_it_was_in_the_earlier_system() -> None:
    warnings: list[str] = []
    rows = [{"status": "open"}, {"status": "done"}]
    condition = Selection(filter="status == open || status in [new]")
    assert list(select(rows, condition, warnings)) == [rows[0]]
    assert warnings == [
        "`filter`: no item has new, so it is read as a text; write 'new'",
        "`filter`: no item has open, so it is read as a text; write 'open'",
    ]
    pairs = [{"a": 1, "b": 1}, {"a": 1, "b": 2}]
    warnings.clear()
    assert list(select(pairs, Selection(filter="a == b"), warnings)) == [pairs[0]]
    assert warnings == []


def test_no_more_is_taken_than_is_asked_for() -> None:
    def endless() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    wanted = Selection(filter="item > 10", distinct="item", offset=1, max_items=2)
    assert list(select(endless(), wanted, [])) == [12, 13]


def test_a_selection_that_leaves_nothing_is_told_apart_from_an_empty_input() -> None:
    found = items_of_values(["a"], Selection(filter="item == 'b'", max_items=3))
    assert found.warnings == ("`input`: none of its values is selected; see `filter`, `max_items` under `map`",)
    found = read_items("file", b"[]", None, where="x.json", selection=Selection(filter="a == 1"))
    assert found.warnings == ("x.json: no items",)


scalars = st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "a", "b", 0.5, -0.0])
rows = st.lists(st.dictionaries(st.sampled_from("ab"), scalars | st.lists(scalars, max_size=2)), max_size=6)


@given(rows, st.sampled_from(["a", "-a, b", "b desc nulls first", "a asc nulls first, -b"]), st.data())
@settings(max_examples=150, deadline=None)
def test_sorting_is_total_and_stable_for_values_of_any_kind(values: list[Any], text: str, data: st.DataObject) -> None:
    from prodigy.workflow.expression import compile_sort

    sort = compile_sort(text)
    ordered = selected(values, sort_by=text)
    assert [id(one) for one in ordered] == [id(one) for one in sorted(values, key=sort.key)]
    shuffled = data.draw(st.permutations(values))
    assert list(map(sort.key, selected(shuffled, sort_by=text))) == list(map(sort.key, ordered))


@given(rows, st.sampled_from(["a > b", "length(a) >= 1", "a matches '^a'", "sum(a) > b", "(!a) == (!b)"]))
@settings(max_examples=100, deadline=None)
def test_no_value_makes_a_filter_fail(values: list[Any], text: str) -> None:
    kept = selected(values, filter=text)
    dropped = selected(values, filter=f"!({text})")
    assert len(kept) + len(dropped) == len(values)
