"""Aggregates: the same for every split and every order, and what each kind gives."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodigy.workflow.aggregate import (
    RULES,
    AggregateError,
    How,
    combine,
    compute,
    compute_strictly,
    finish,
    gather,
)
from prodigy.workflow.expression import ExpressionError, compile_expression, item_finder, scope_finder

HOWS = [
    *(How(name) for name in sorted(RULES)),
    How("count", "a == 1 || item > 0"),
    How("concat", " + "),
    How("sort", "desc"),
    How("group_by", "a"),
    How("group_by", "a.b[0]"),
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from([0.1, 0.2, 0.3, 1.0, 1e308, -1e308, 5e-324, "", "a", "b"])
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=5
)


@given(st.sampled_from(HOWS), st.lists(json_values, max_size=8), st.data())
@settings(max_examples=200, deadline=None)
def test_any_split_and_any_order_give_the_same(how: How, values: list[Any], data: st.DataObject) -> None:
    numbers = st.integers(0, 3)
    groups: dict[int, list[tuple[int, Any]]] = {number: [] for number in range(4)}
    for element in data.draw(st.permutations(list(enumerate(values)))):
        groups[data.draw(numbers)].append(element)
    parts = [gather(how, group) for group in groups.values()]
    left = combine(combine(parts[0], parts[1]), combine(parts[2], parts[3]))
    right = combine(parts[3], combine(parts[2], combine(parts[1], parts[0])))
    expected = repr(compute(how, values))
    assert repr(finish(left)) == expected
    assert repr(finish(right)) == expected
    assert repr(finish(combine(*parts, gather(how, [])))) == expected


@pytest.mark.parametrize(
    ("name", "option", "values", "expected"),
    [
        ("count", None, [1, None, "a"], 3),
        ("count", "item > 1", [1, 2, None, 3], 2),
        ("sum", None, [1, 2.5, None, "x"], 3.5),
        ("sum", None, [1, 2], 3),
        ("sum", None, [], 0),
        ("avg", None, [1, 2], 1.5),
        ("avg", None, [], None),
        ("min", None, [3, 1, 2], 1),
        ("max", None, ["b", "c", "a"], "c"),
        ("max", None, [], None),
        ("median", None, [9, 1, 5], 5),
        ("median", None, [1, 2, 3, 10], 2.5),
        ("variance", None, [2, 4, 4, 4, 5, 5, 7, 9], 32 / 7),
        ("stddev", None, [1, 3], math.sqrt(2)),
        ("stddev", None, [5], 0.0),
        ("variance", None, [], None),
        ("collect", None, [1, None, "a"], [1, None, "a"]),
        ("unique", None, [1, 1.0, "1", {"a": 1, "b": 2}, {"b": 2, "a": 1}], [1, "1", {"a": 1, "b": 2}]),
        ("concat", None, ["a", None, 1, [2]], "a, 1, [2]"),
        ("concat", "", ["a", "b"], "ab"),
        ("merge", None, [{"a": 1}, {"a": 2, "b": 3}, 7], {"a": 1, "b": 3}),
        ("flatten", None, [[1, [2]], [], None, 3], [1, [2], 3]),
        ("sort", None, ["b", 2, None, "a", 1], [1, 2, "a", "b", None]),
        ("sort", "desc", [1, 3, 2], [3, 2, 1]),
        ("group_by", "k", [{"k": "x", "n": 1}, {"k": "y"}, {"k": "x"}, {}],
         {"x": [{"k": "x", "n": 1}, {"k": "x"}], "y": [{"k": "y"}], "null": [{}]}),
    ],
)  # fmt: skip
def test_what_each_kind_gives(name: str, option: str | None, values: list[Any], expected: object) -> None:
    assert compute(How(name, option), values) == expected


@given(st.lists(st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6), min_size=2, max_size=20))
@settings(max_examples=100, deadline=None)
def test_sums_and_spreads_are_exact_until_the_end(numbers: list[float]) -> None:
    exact = [Fraction(number) for number in numbers]
    assert compute(How("sum"), numbers) == float(sum(exact))
    assert compute(How("avg"), numbers) == float(sum(exact) / len(exact))
    assert compute(How("variance"), numbers) == float(statistics.variance(exact))


def test_aggregates_of_different_kinds_give_one_error_that_lists_each() -> None:
    parts = [gather(How(name), []) for name in ("sum", "avg", "sum", "max")] + [gather(How("concat", "-"), [])]
    with pytest.raises(AggregateError) as caught:
        combine(*parts)
    assert str(caught.value) == (
        "aggregates of different kinds: 1 is sum\n  2 is avg\n  4 is max\n  5 is concat with '-'"
    )


def test_values_of_the_wrong_kind_give_one_error_that_lists_each() -> None:
    wanted: dict[str, tuple[How, list[object]]] = {
        "total": (How("sum"), [1, "2", None, [3]]),
        "best": (How("max"), ["a", "b", 3]),
        "fine": (How("collect"), [1, "2"]),
        "all": (How("merge"), [{"a": 1}, True]),
    }
    with pytest.raises(AggregateError) as caught:
        compute_strictly(wanted)
    assert str(caught.value).splitlines()[1:] == [
        "  total: value 2 is a text, sum takes a number",
        "  total: value 4 is a list, sum takes a number",
        "  best: value 3 is a number, max takes a text",
        "  all: value 2 is true or false, merge takes an object",
    ]
    del wanted["total"], wanted["best"], wanted["all"]
    assert compute_strictly(wanted) == {"fine": [1, "2"]}


# In expressions ------------------------------------------------------------------------------------------

RESULTS = [
    {"item_id": "a", "item": {"status": "x", "size": 1}, "status": "success", "output": {"score": 4}},
    {"item_id": "b", "item": {"status": "y", "size": 2}, "status": "failed", "output": None},
    {"item_id": "c", "item": {"status": "x", "size": 3}, "status": "success", "output": {"score": 7}},
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(map.results[*].output.score)", 11),
        ("avg(${map.results[*].output.score})", 5.5),
        ("average(map.results[*].output.score) > 5", True),
        ("count(map.results)", 3),
        ("count(map.results, 'status == \\'success\\'')", 2),
        ("count(map.results, 'item.status == \"x\" && output.score > 5')", 1),
        ("each(where(map.results, 'status == \"failed\"'), 'item_id')", ["b"]),
        ("max(each(map.results, 'item.size')) == 3", True),
        ("concat(map.results[*].item_id, '-')", "a-b-c"),
        ("sort(map.results[*].item.size, 'DESC')", [3, 2, 1]),
        ("length(unique(map.results[*].item.status))", 2),
        ("group_by(map.results[*].item, 'status')",
         {"x": [{"status": "x", "size": 1}, {"status": "x", "size": 3}], "y": [{"status": "y", "size": 2}]}),
        ("median(map.results[*].item.size) == 2 && !is_null(stddev([1, 2]))", True),
        ("flatten([[1], [2, 3]])", [1, 2, 3]),
        ("count(map.nothing) == 0 && sum(map.nothing) == 0 && is_null(avg(map.nothing))", True),
    ],
)  # fmt: skip
def test_aggregates_are_functions_of_the_expression_language(text: str, expected: object) -> None:
    expression = compile_expression(text)
    assert expression.value(scope_finder({"map": {"results": RESULTS}})) == expected
    assert compile_expression(str(expression)) == expression


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("count(x, 'a ==')", 15, "the text ends too early"),
        ("1 < count(x, 'a == = 1')", 20, "`=` is not expected here"),
        ("group_by(x, 'a == 1')", 13, "group_by takes a path in quotes"),
        ("group_by(x)", 1, "group_by does not take 1 argument"),
        ("sort(x, 'up')", 9, "the direction is 'asc' or 'desc'"),
        ("concat(x, y)", 1, "the second argument of concat is a text in quotes"),
        ("sum(x, 'y')", 1, "sum does not take 2 arguments"),
    ],
)
def test_a_mistake_in_a_function_of_lists_has_its_column(text: str, column: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert (caught.value.message, caught.value.column) == (message, column)


@pytest.mark.parametrize(
    ("prefix", "infix"),
    [
        ("contains(name, 'b')", "name contains 'b'"),
        ("STARTS_WITH(name, 'a')", "name startswith 'a'"),
        ("ends_with(name, 'c')", "name EndsWith 'c'"),
        ("matches(name, '^a.c$')", "name MATCHES '^a.c$'"),
        ("length(tags, 2)", "length(tags) == 2"),
        ("is_not_null(name)", "!(is_null(name))"),
        ("is_number(n) and is_string(name)", "IS_NUMBER(n) && Is_String(name)"),
        ("is_bool(yes) and is_array(tags)", "is_object(item) AND NOT is_object(tags)"),
        ("exists(name)", "${name.exists}"),
        ("sum(tags) == 3 and count(tags) == 2", "avg(tags) = 1.5 and min(tags) = 1 and max(tags) = 2"),
        ("n in [5, 6]", "n NOT IN [6] and n = 5.0"),
    ],
)
def test_every_function_and_operator_of_the_earlier_system_is_read(prefix: str, infix: str) -> None:
    find = item_finder({"name": "abc", "tags": [1, 2], "n": 5, "yes": True})
    assert compile_expression(prefix).holds(find)
    assert compile_expression(infix).holds(find)
