"""Ids, duplicates and order: no item is lost, none runs twice, and the same list gives the same ids."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.plan.identity import InvalidItemsError, Item, ItemProblem, Plan, identify, item_scope, label


def ids(*values: object) -> list[str]:
    return [item.id for item in identify(values).items]


def problems_of(*values: object) -> tuple[ItemProblem, ...]:
    with pytest.raises(InvalidItemsError) as caught:
        identify(values)
    return caught.value.problems


def content_id(canonical: str) -> str:
    return "item-" + hashlib.sha256(canonical.encode()).hexdigest()[:12]


# Ids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"id": "a", "item_id": "b", "_id": "c"}, "a"),
        ({"item_id": "b", "_id": "c"}, "b"),
        ({"_id": "c"}, "c"),
        ({"id": 5}, "5"),
        ({"id": 0}, "0"),
        ({"id": -3}, "-3"),
        ({"id": 5.0}, "5"),
        ({"id": 5.5}, "5.5"),
        ({"id": 1e300}, "1e+300"),
        ({"id": 2**70}, "1180591620717411303424"),
        ({"id": None, "item_id": "b"}, "b"),
        ({"id": True, "item_id": "b"}, "b"),
        ({"id": ["x"], "item_id": {"y": 1}, "_id": "c"}, "c"),
        ({"id": "../../etc/passwd"}, "../../etc/passwd"),
        ({"id": " ü 😀 "}, " ü 😀 "),
        ({"id": "x" * 255}, "x" * 255),
    ],
)
def test_an_items_own_id_is_used(value: object, expected: str) -> None:
    assert ids(value) == [expected]


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ({"b": 1, "a": {"d": 2, "c": [3, "ü"]}}, '{"a":{"c":[3,"ü"],"d":2},"b":1}'),
        ({"id": None, "x": 1}, '{"id":null,"x":1}'),
        ({"name": "x", "nested": {"id": "y"}}, '{"name":"x","nested":{"id":"y"}}'),
        ("src/a.js", '"src/a.js"'),
        ("", '""'),
        (7, "7"),
        (False, "false"),
        ([1, 2], "[1,2]"),
        ({}, "{}"),
    ],
)
def test_an_item_without_an_id_is_known_by_its_content(value: object, canonical: str) -> None:
    assert ids(value) == [content_id(canonical)]


def test_two_different_items_with_one_id_get_suffixes_in_order() -> None:
    plan = identify([{"id": "x"}, {"id": "x", "n": 1}, {"id": "y"}, {"id": "x", "n": 2}])
    assert [item.id for item in plan.items] == ["x", "x~2", "y", "x~3"]
    assert plan.warnings == ("2 of the items share their id with a different one and got a suffix: x~2, x~3",)
    assert plan.duplicates == 0


def test_a_suffix_never_takes_the_id_of_another_item_wherever_it_stands() -> None:
    assert ids({"id": "x"}, {"id": "x", "n": 1}, {"id": "x~2"}) == ["x", "x~3", "x~2"]
    assert ids({"id": "x~2"}, {"id": "x"}, {"id": "x", "n": 1}) == ["x~2", "x", "x~3"]
    assert ids({"id": "x~2"}, {"id": "x~2", "n": 1}, {"id": "x"}, {"id": "x", "n": 1}) == ["x~2", "x~2~2", "x", "x~3"]


def test_a_number_and_its_text_are_two_items_with_one_id() -> None:
    assert ids({"id": 5}, {"id": "5"}, {"id": 5.0}) == ["5", "5~2", "5~3"]


# Duplicates ----------------------------------------------------------------------------------------------


def test_equal_items_are_dropped_counted_and_warned_of() -> None:
    plan = identify([{"a": 1, "b": 2}, "x", {"b": 2, "a": 1}, "x", "y"])
    assert [item.data for item in plan.items] == [{"a": 1, "b": 2}, "x", "y"]
    assert [item.ordinal for item in plan.items] == [1, 2, 3]
    assert plan.duplicates == 2
    assert plan.warnings == ("2 of the items equal an earlier one and were dropped: item 3, 4",)


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (1, 1.0), ("1", 1), ([], {}), ("", [])])
def test_values_that_python_or_people_take_for_equal_are_not_dropped(one: object, other: object) -> None:
    plan = identify([{"v": one}, {"v": other}])
    assert len(plan.items) == 2
    assert plan.duplicates == 0


def test_long_lists_of_duplicates_are_shortened_in_the_warning() -> None:
    (warning,) = identify(["x"] * 1_000).warnings
    assert warning.startswith("999 of the items equal an earlier one and were dropped: item 2, 3, ")
    assert warning.endswith(", 21, …")


# What cannot be an item ----------------------------------------------------------------------------------


def nested(levels: int) -> object:
    value: object = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "it is null"),
        ({"id": ""}, "its id is empty"),
        ({"item_id": " \t"}, "its item_id is empty"),
        ({"_id": "x" * 256}, "its _id has 256 characters; at most 255 are possible"),
        ({"id": 10**300}, "its id has 301 characters; at most 255 are possible"),
        ({"id": "a\nb"}, "its id 'a\\nb' has a control character in it"),
        ({"id": "a\x7fb"}, "its id 'a\\x7fb' has a control character in it"),
        ({"id": "a\u2028b"}, "its id 'a\\u2028b' has a control character in it"),
        ({"id": "a\x9bb"}, "its id 'a\\x9bb' has a control character in it"),
        ({"id": "a\ud800"}, "a text in it has half of a surrogate pair, which is no character"),
        ("\udfff", "a text in it has half of a surrogate pair, which is no character"),
        (float("nan"), "it is not a JSON value: Out of range float values are not JSON compliant"),
        ({"x": float("inf")}, "it is not a JSON value: Out of range float values are not JSON compliant"),
        ({"x": object}, "it is not a JSON value: Object of type type is not JSON serializable"),
        ({"x": 10**5000}, "it is not a JSON value: Exceeds the limit"),
        (nested(100_000), "it is nested too deeply"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_item_is_a_problem(value: object, message: str) -> None:
    (problem,) = problems_of("fine", value)
    assert problem.position == 2
    assert problem.message.startswith(message)


def test_all_unusable_items_are_reported_at_once() -> None:
    assert [problem.position for problem in problems_of({"id": ""}, "x", None, {"id": "\0"})] == [1, 3, 4]


def test_the_report_is_short_however_many_there_are() -> None:
    with pytest.raises(InvalidItemsError) as caught:
        identify([None] * 5_000)
    assert str(caught.value).startswith("5,000 items cannot be used\n  item 1: it is null\n  item 2: it is null\n")
    assert str(caught.value).endswith("\n  item 20: it is null\n  and 4,980 more")
    with pytest.raises(InvalidItemsError) as caught:
        identify([None] * 20)
    assert str(caught.value).endswith("\n  item 20: it is null")
    with pytest.raises(InvalidItemsError, match=r"^1 item cannot be used"):
        identify([None])


# Properties ----------------------------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
)
few_ids = st.sampled_from(["x", "x~2", "x~3", "y", 1, 1.0, "1", "x~2~2"])
objects = st.fixed_dictionaries({"id": few_ids}, optional={"n": st.integers(0, 3)})
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
).filter(lambda value: value is not None)
lists = st.lists(objects | anything, max_size=12)


def text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


@given(lists)
def test_no_item_is_lost_none_is_invented_and_order_is_kept(values: list[object]) -> None:
    plan = identify(values)
    distinct = list(dict.fromkeys(map(text, values)))
    assert [text(item.data) for item in plan.items] == distinct
    assert [item.ordinal for item in plan.items] == list(range(1, len(distinct) + 1))
    assert plan.duplicates == len(values) - len(distinct)


@given(lists)
def test_ids_are_unique(values: list[object]) -> None:
    found = [item.id for item in identify(values).items]
    assert len(set(found)) == len(found)


@given(st.data())
def test_the_ids_of_a_list_do_not_depend_on_its_order(data: st.DataObject) -> None:
    values = data.draw(lists)
    shuffled = data.draw(st.permutations(values))
    assert sorted(ids(*values)) == sorted(ids(*shuffled))


@given(lists)
def test_an_id_that_one_item_alone_has_is_kept_as_it_is(values: list[object]) -> None:
    plan = identify(values)
    own = [item for item in plan.items if isinstance(item.data, dict) and "id" in item.data]
    wanted = [str(item.data["id"]).removesuffix(".0") for item in own if isinstance(item.data, dict)]
    for item, name in zip(own, wanted, strict=True):
        assert item.id == name if wanted.count(name) == 1 else item.id.startswith(name)


@given(lists)
def test_a_second_pass_changes_nothing(values: list[object]) -> None:
    once = identify(values)
    again = identify([item.data for item in once.items])
    assert again == Plan(once.items, 0, again.warnings)


# Scope ---------------------------------------------------------------------------------------------------


def test_a_step_sees_the_item_its_id_and_its_place() -> None:
    item = Item(3, "x", {"path": "a.js", "files": [1]})
    assert item_scope(item, 7) == {
        "item": item.data, "item_id": "x", "item_index": 2, "item_total": 7,
        "foreach.item": item.data, "foreach.index": 2, "foreach.total": 7,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "name"),
    [("src/a.js", "a.js"), ("a.js", "a.js"), ("src/", "src"), ("/", ""), ("fix the tests", "fix the tests")],
)  # fmt: skip
def test_a_text_is_its_own_item_value_and_path(line: str, name: str) -> None:
    scope = item_scope(Item(1, "x", line), 1)
    assert scope["item"] == line
    assert {scope["item.item"], scope["item.value"], scope["item.path"]} == {line}
    assert scope["item.name"] == name


def test_other_values_have_no_path_and_no_name() -> None:
    scope = item_scope(Item(1, "x", 5), 1)
    assert (scope["item"], scope["item.item"], scope["item.value"]) == (5, 5, 5)
    assert "item.path" not in scope
    assert "item.name" not in scope


# Label ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"id": "x", "name": "other"}, "x"),
        ({"path": "src/a.js"}, "src/a.js"),
        ("fix the tests", "fix the tests"),
        ("two\n lines\x1b[31m", "two lines [31m"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        (7, content_id("7")),
        ({"path": " "}, content_id('{"path":" "}')),
        ([1], content_id("[1]")),
    ],
)
def test_a_label_is_one_short_line_for_people(value: object, expected: str) -> None:
    (item,) = identify([value]).items
    assert label(item) == expected
