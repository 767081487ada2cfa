"""What holds for every expression, every item and every order."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from prodigy.workflow import expression_ast as ast
from prodigy.workflow.aggregate_parts import element_finder
from prodigy.workflow.expression import (
    MISSING,
    ExpressionError,
    compile_expression,
    compile_sort,
    item_finder,
    scope_finder,
)
from prodigy.workflow.expression_ast import Node, show
from prodigy.workflow.interpolate import Unresolved, lookup, parse_placeholders, render

KEYS = ["a", "b", "item", "exists", "k v", "0", "not", "count"]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from([1.0, 0.5, float("nan"), float("inf"), 10**400])
    | st.sampled_from(["", "a", "ab", "b", "1", "(", "\ud800", "é"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner), max_leaves=8
)
STEPS = st.sampled_from([".a", ".b", ".item", ".0", "[0]", "[1]", '["k v"]', "['a']", ".exists", ".not"])
PATH_TEXTS = st.builds(
    lambda head, steps: head + "".join(steps),
    st.sampled_from(["a", "b", "item", "count", "a-b", "_x", "ä"]),
    st.lists(STEPS | st.just("[*]"), max_size=3),
)
LITERALS = st.builds(
    ast.Literal,
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["a", "b", 1, 0, 1.0, "'\\", "\n\t\r", "\\n"]),
)
PATTERNS = st.builds(ast.Literal, st.sampled_from(["", "a", "^a", "b$", "(a|é)b*", "^$", "'"]))
PATHS = st.builds(ast.Path, PATH_TEXTS, st.booleans())
OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "in", "not in", "contains", "starts_with", "ends_with"]


def _calls(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    unary = st.sampled_from([name for name in (*ast.CHECKS, *ast.AGGREGATES, "length") if name != "exists"])
    return (
        st.builds(lambda name, part: ast.Call(name, (part,)), unary, inner)
        | st.builds(lambda path: ast.Call("exists", (path,)), PATHS)
        | st.builds(lambda one, other: ast.Call("length", (one, other)), inner, inner)
        | st.builds(_with_option, st.sampled_from(["count", "where"]), inner, inner.map(show))
        | st.builds(_with_option, st.just("each"), inner, PATHS.map(show))
        | st.builds(_with_option, st.just("sort"), inner, st.sampled_from(["asc", "DESC"]))
        | st.builds(_with_option, st.just("concat"), inner, st.text(max_size=2))
    )


def _with_option(name: str, part: Node, option: str) -> Node:
    return ast.Call(name, (part, ast.Literal(option)))


def _compound(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return (
        st.builds(ast.Compare, st.sampled_from(OPERATORS), inner, inner)
        | st.builds(ast.Compare, st.just("matches"), inner, PATTERNS | PATHS)
        | st.builds(ast.Not, inner)
        | st.builds(ast.And, several)
        | st.builds(ast.Or, several)
        | st.builds(ast.Listing, st.lists(inner, max_size=3).map(tuple))
        | _calls(inner)
    )


NODES: st.SearchStrategy[Node] = st.recursive(LITERALS | PATHS, _compound, max_leaves=10)


class Reference:
    """The meaning of every node, written down a second time without regard to speed."""

    def __init__(self, find: Callable[[str], object]) -> None:
        self.find = find

    def value(self, node: Node) -> object:
        match node:
            case ast.Literal(value):
                return value
            case ast.Path(text, braces):
                found = self.find(text)
                if found is MISSING and braces and text.endswith(".exists"):
                    return self.there(text.removesuffix(".exists"))
                if braces and text.endswith(".exists"):
                    return found is not None and found is not False
                return None if found is MISSING else found
            case ast.Listing(items):
                return [self.value(item) for item in items]
            case ast.Not(part):
                return not self.holds(part)
            case ast.And(parts):
                return all(self.holds(part) for part in parts)
            case ast.Or(parts):
                return any(self.holds(part) for part in parts)
            case ast.Compare(operator, left, right):
                return self.compare(operator, self.value(left), self.value(right))
            case ast.Call("exists", (ast.Path(text, braces) as path,)):
                return self.value(path) if braces and text.endswith(".exists") else self.there(text)
            case ast.Call(name, (part, ast.Literal(str(option)))) if name in ast.OPTIONS:
                found = self.value(part)
                return self.with_option(
                    name, found if isinstance(found, list) else [] if found is None else [found], option
                )
            case ast.Call(name, arguments):
                return self.call(name, [self.value(argument) for argument in arguments])

    def with_option(self, name: str, elements: list[Any], option: str) -> object:
        if name == "sort":
            return compile_sort(f"item {option}").sorted(elements)
        if name == "concat":
            return option.join(render(element) for element in elements if element is not None)
        inner = compile_expression(option).node
        if name == "each":
            assert isinstance(inner, ast.Path)
            found = [element_finder(element)(inner.text) for element in elements]
            return [one for one in found if one is not MISSING]
        kept = [element for element in elements if Reference(element_finder(element)).holds(inner)]
        return len(kept) if name == "count" else kept

    def holds(self, node: Node) -> bool:
        return self.value(node) not in (None, False) or type(self.value(node)) in (int, float)

    def there(self, path: str) -> bool:
        found = self.find(path)
        return found is not MISSING and not ("[*]" in path and found == [])

    def compare(self, operator: str, left: object, right: object) -> object:
        if operator == "not in":
            return not self.compare("in", left, right)
        if operator == "!=":
            return not same(left, right)
        if operator == "in":
            left, right, operator = right, left, "contains"
        if operator == "==":
            return same(left, right)
        if operator == "contains" and isinstance(left, list):
            return any(same(element, right) for element in left)
        if operator == "contains" and isinstance(left, dict):
            return isinstance(right, str) and right in left
        if is_number(left) and is_number(right):
            signs = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}  # type: ignore[operator]
            return signs.get(operator, False)
        if not isinstance(left, str) or not isinstance(right, str):
            return False
        if operator == "matches":
            try:
                return bool(re.search(right, left))
            except re.error:
                return False
        texts = {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}
        parts = {"contains": right in left, "starts_with": left.startswith(right), "ends_with": left.endswith(right)}
        return (texts | parts)[operator]

    def call(self, name: str, arguments: list[object]) -> object:
        first = arguments[0]
        if name == "length":
            size = len(first) if isinstance(first, str | list | dict) else None
            return size if len(arguments) == 1 else size is not None and same(size, arguments[1])
        types = {"is_string": str, "is_bool": bool, "is_array": list, "is_object": dict, "is_null": type(None)}
        if name in types:
            return isinstance(first, types[name])
        if name in ("is_not_null", "is_number"):
            return first is not None if name == "is_not_null" else is_number(first)
        elements: list[Any] = first if isinstance(first, list) else [] if first is None else [first]
        return self.aggregate(name, elements)

    def aggregate(self, name: str, elements: list[Any]) -> object:
        numbers = [element for element in elements if is_number(element)]
        sortable = [n for n in numbers if n == n] or [text for text in elements if isinstance(text, str)]
        match name:
            case "count":
                return len(elements)
            case "min" | "max":
                return {"min": min, "max": max}[name](sortable, default=None)
            case "collect":
                return elements
            case "unique":
                return [one for index, one in enumerate(elements) if not any(same(one, b) for b in elements[:index])]
            case "concat":
                return ", ".join(render(element) for element in elements if element is not None)
            case "merge":
                objects = [one for one in elements if isinstance(one, dict)]
                return {key: next(b[key] for b in objects if key in b) for one in objects for key in one}
            case "flatten":
                lists = [one if isinstance(one, list) else [one] for one in elements if one is not None]
                return [part for one in lists for part in one]
            case "sort":
                return compile_sort("item").sorted(elements)
        return self.number(name, numbers)

    def number(self, name: str, numbers: list[Any]) -> object:
        finite = [Fraction(number) for number in numbers if not isinstance(number, float) or math.isfinite(number)]
        odd = sum(number for number in numbers if isinstance(number, float) and not math.isfinite(number))
        try:
            if name == "median":
                return statistics.median(sorted(n for n in numbers if n == n)) if any(n == n for n in numbers) else None
            if name in ("variance", "stddev"):
                if odd or not numbers:
                    return None
                variance = float(statistics.variance(finite)) if len(finite) > 1 else 0.0
                return math.sqrt(variance) if name == "stddev" else variance
            if odd:
                return odd
            if name == "avg":
                return float(sum(finite) / len(finite)) if finite else None
            return float(sum(finite)) if any(isinstance(number, float) for number in numbers) else sum(numbers)
        except OverflowError:
            return None


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(left: object, right: object) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return ((is_number(left) and is_number(right)) or type(left) is type(right)) and left == right


@given(NODES)
@settings(max_examples=300)
def test_the_canonical_text_reads_as_the_same_nodes(node: Node) -> None:
    expression = compile_expression(show(node))
    assert repr(expression.node) == repr(node)
    assert compile_expression(str(expression)) == expression


@given(NODES, VALUES)
@settings(max_examples=400)
def test_evaluation_agrees_with_the_reference(node: Node, item: object) -> None:
    find = item_finder(item)
    expression = compile_expression(show(node))
    reference = Reference(find)
    assert repr(expression.value(find)) == repr(reference.value(node))
    assert expression.holds(find) is reference.holds(node)


@given(NODES, NODES, VALUES)
def test_de_morgan(a: Node, b: Node, item: object) -> None:
    find = item_finder(item)
    left = compile_expression(f"!(({show(a)}) && ({show(b)}))")
    right = compile_expression(f"!({show(a)}) || !({show(b)})")
    assert left.holds(find) is right.holds(find)


@given(st.text(alphabet="ab .,*-'\"\\()[]{}$!=<>&|01einortuls_", max_size=25) | st.text(max_size=10))
@settings(max_examples=500)
def test_any_text_is_an_expression_or_has_a_mistake_at_a_column(text: str) -> None:
    for compile_text in (compile_expression, compile_sort):
        mistake = None
        try:
            compile_text(text)
        except ExpressionError as error:
            mistake = error
        assert mistake is None or 1 <= mistake.column <= len(text) + 1


@given(PATH_TEXTS.filter(lambda path: "[*]" not in path), st.dictionaries(st.sampled_from(["a", "b", "item"]), VALUES))
def test_paths_are_those_of_placeholders(path: str, scope: dict[str, object]) -> None:
    assert [found.path for found in parse_placeholders(f"${{{path}}}", {"a", "b", "count", "a-b", "_x", "ä"})] == [path]
    assert compile_expression(f"${{{path}}}").node == ast.Path(path, braces=True)
    try:
        expected = lookup(scope, path)
    except Unresolved:
        expected = MISSING
    assert repr(scope_finder(scope)(path)) == repr(expected)
    if path.startswith("item") and expected is not MISSING:
        assert repr(item_finder(scope["item"])(path)) == repr(expected)


KEY_TEXTS = st.builds(
    lambda path, direction, nulls: f"{path}{direction}{nulls}",
    st.sampled_from(["a", "b", "item", "a.b", "item.a[0]", "item[*]"]),
    st.sampled_from(["", " ASC", " desc"]),
    st.sampled_from(["", " nulls first", " NULLS LAST"]),
)
SPECIFICATIONS = st.lists(KEY_TEXTS, min_size=1, max_size=3).map(", ".join)
ITEMS = st.lists(VALUES | st.dictionaries(st.sampled_from(["a", "b"]), SCALARS), max_size=6)


@given(SPECIFICATIONS, ITEMS)
@settings(max_examples=300)
def test_a_sort_is_total_and_stable(text: str, items: list[object]) -> None:
    sort = compile_sort(text)
    keys = [sort.key(item) for item in items]
    for one, other, third in itertools.product(keys, repeat=3):
        assert (one < other) + (one == other) + (other < one) == 1
        assert not (one < other and other < third) or one < third
    numbered = sorted(range(len(items)), key=lambda index: (keys[index], index))
    assert [id(item) for item in sort.sorted(items)] == [id(items[index]) for index in numbered]
    assert repr(sort.sorted(sort.sorted(items))) == repr(sort.sorted(items))


@given(st.sampled_from(["", " desc"]), st.sampled_from(["", " nulls first"]), ITEMS)
def test_nulls_go_where_they_should_in_both_directions(direction: str, nulls: str, items: list[object]) -> None:
    found = [item_finder(item)("a") for item in compile_sort(f"a{direction}{nulls}").sorted(items)]
    absent = [value is MISSING or value is None for value in found]
    assert absent == sorted(absent, reverse=bool(nulls))
