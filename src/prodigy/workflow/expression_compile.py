"""From the nodes of an expression to Python functions: one call per node, nothing decided twice."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, assert_never

from prodigy.workflow import aggregate
from prodigy.workflow import expression_ast as ast
from prodigy.workflow import expression_values as values
from prodigy.workflow.aggregate_parts import element_finder
from prodigy.workflow.expression_ast import ExpressionError, Node
from prodigy.workflow.expression_parse import parse_expression
from prodigy.workflow.expression_paths import MISSING, Find
from prodigy.workflow.expression_values import Kind, kind_of

# Functions of a list, which is not a condition.
LIST_FUNCTIONS = frozenset({*aggregate.RULES, "where", "each"})

Value = Callable[[Find], object]
Test = Callable[[Find], bool]

_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_RELATIONS: dict[str, Callable[[object, object], bool]] = {
    "==": values.equal,
    "!=": lambda left, right: not values.equal(left, right),
    "in": lambda left, right: values.contains(right, left),
    "not in": lambda left, right: not values.contains(right, left),
    "contains": values.contains,
    "starts_with": values.starts_with,
    "ends_with": values.ends_with,
    "matches": values.matches,
}
_CHECKS: dict[str, Callable[[object], bool]] = {
    "is_null": lambda value: value is None,
    "is_not_null": lambda value: value is not None,
    "is_number": lambda value: kind_of(value) is Kind.NUMBER,
    "is_string": lambda value: kind_of(value) is Kind.STRING,
    "is_bool": lambda value: kind_of(value) is Kind.BOOL,
    "is_array": lambda value: kind_of(value) is Kind.ARRAY,
    "is_object": lambda value: kind_of(value) is Kind.OBJECT,
}


def value_of(node: Node) -> Value:
    """A function that computes a node; what is missing is None. Raises ExpressionError for a bad regex."""
    match node:
        case ast.Literal(constant):
            return lambda _find: constant
        case ast.Path(text) if node.presence_of is None:
            return _value_of_path(text)
        case ast.Listing(items):
            parts = [value_of(item) for item in items]
            return lambda find: [part(find) for part in parts]
        case ast.Call("length", (argument,)):
            inner = value_of(argument)
            return lambda find: values.length(inner(find))
        case ast.Call(name, (argument, *options)) if name in LIST_FUNCTIONS:
            return _value_of_list(name, value_of(argument), options[0] if options else None)
    return test_of(node)


def test_of(node: Node) -> Test:
    """A function that says whether a node holds. Raises ExpressionError for a bad regex."""
    match node:
        case ast.Or(parts):
            return _any([test_of(part) for part in parts])
        case ast.And(parts):
            return _all([test_of(part) for part in parts])
        case ast.Not(part):
            test = test_of(part)
            return lambda find: not test(find)
        case ast.Compare():
            return _test_of_comparison(node)
        case ast.Call(name, arguments) if name not in LIST_FUNCTIONS and (name, len(arguments)) != ("length", 1):
            return _test_of_call(name, arguments)
        case ast.Path() if node.presence_of is not None:
            return _presence(node.text, node.presence_of)
        case ast.Literal() | ast.Path() | ast.Listing() | ast.Call():
            value = value_of(node)
            return lambda find: values.truth(value(find))
        case _:
            assert_never(node)


def _value_of_list(name: str, value: Value, option: Node | None) -> Value:
    """A function of a list: an aggregate, or `where` and `each`, which give another list."""
    text = option.value if isinstance(option, ast.Literal) and isinstance(option.value, str) else None
    if name in aggregate.RULES:
        how = aggregate.How(name, text)
        return lambda find: aggregate.compute(how, values.elements(value(find)))
    inner = parse_expression(text or "")
    if name == "where":
        test = test_of(inner)
        return lambda find: [one for one in values.elements(value(find)) if test(element_finder(one))]
    assert isinstance(inner, ast.Path)
    path = inner.text

    def each(find: Find) -> object:
        found = (element_finder(one)(path) for one in values.elements(value(find)))
        return [one for one in found if one is not MISSING]

    return each


def _value_of_path(text: str) -> Value:
    def value(find: Find) -> object:
        found = find(text)
        return None if found is MISSING else found

    return value


def _presence(text: str, head: str) -> Test:
    """`${x.exists}`: the field of that name where there is one, else whether there is an x."""

    def test(find: Find) -> bool:
        found = find(text)
        return _is_there(find, head) if found is MISSING else values.truth(found)

    return test


def _is_there(find: Find, text: str) -> bool:
    """Whether a path names something; one with `[*]` does when it reaches anything."""
    found = find(text)
    return found is not MISSING and not (found == [] and "[*]" in text)


def _any(tests: list[Test]) -> Test:
    def test(find: Find) -> bool:
        for part in tests:  # noqa: SIM110  # a generator costs twice the time
            if part(find):
                return True
        return False

    return test


def _all(tests: list[Test]) -> Test:
    def test(find: Find) -> bool:
        for part in tests:  # noqa: SIM110
            if not part(find):
                return False
        return True

    return test


def _test_of_call(name: str, arguments: tuple[Node, ...]) -> Test:
    argument = arguments[0]
    if name == "exists":
        assert isinstance(argument, ast.Path)
        head = argument.presence_of
        return _presence(argument.text, head) if head else lambda find: _is_there(find, argument.text)
    inner = value_of(argument)
    if name == "length":
        wanted = value_of(arguments[1])
        return lambda find: (size := values.length(inner(find))) is not None and values.equal(size, wanted(find))
    check = _CHECKS[name]
    return lambda find: check(inner(find))


def _test_of_comparison(node: ast.Compare) -> Test:
    left, right = value_of(node.left), value_of(node.right)
    if node.operator in _ORDERINGS:
        return _test_of_ordering(_ORDERINGS[node.operator], left, right)
    if node.operator in ("==", "!=") and isinstance(node.right, ast.Literal):
        same = _equals_constant(left, node.right.value)
        return same if node.operator == "==" else lambda find: not same(find)
    if node.operator == "matches" and isinstance(node.right, ast.Literal):
        search = _search(node.right)
        return lambda find: search(left(find))
    if node.operator in ("in", "not in") and isinstance(node.right, ast.Listing):
        among = _among(left, node.right)
        return among if node.operator == "in" else lambda find: not among(find)
    relation = _RELATIONS[node.operator]
    return lambda find: relation(left(find), right(find))


def _test_of_ordering(compare: Callable[[Any, Any], bool], left: Value, right: Value) -> Test:
    def test(find: Find) -> bool:
        one, other = left(find), right(find)
        return values.comparable(one, other) and compare(one, other)

    return test


def _equals_constant(value: Value, constant: object) -> Test:
    """`values.equal` with a constant, which needs no walk."""
    if constant is None or isinstance(constant, bool):
        return lambda find: value(find) is constant
    if isinstance(constant, str):
        return lambda find: value(find) == constant
    return lambda find: (found := value(find)) == constant and not isinstance(found, bool)


def _among(value: Value, listing: ast.Listing) -> Test:
    """Whether a value is in a list: texts, mostly, which a set answers; the rest one by one."""
    texts = frozenset(
        item.value for item in listing.items if isinstance(item, ast.Literal) and isinstance(item.value, str)
    )
    others = [
        value_of(item) for item in listing.items if not (isinstance(item, ast.Literal) and isinstance(item.value, str))
    ]

    def test(find: Find) -> bool:
        found = value(find)
        if isinstance(found, str) and found in texts:
            return True
        return any(values.equal(found, other(find)) for other in others)

    return test


def _search(pattern: ast.Literal) -> Callable[[object], bool]:
    if not isinstance(pattern.value, str):
        raise ExpressionError("a regex is a text", pattern.column, "write name matches '^a'")
    try:
        return values.searcher(pattern.value)
    except values.BadPatternError as error:
        hint = "regexes are RE2's: no look-around and no back references"
        raise ExpressionError(f"this regex is wrong: {error}", pattern.column, hint) from None
