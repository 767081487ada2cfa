"""Aggregates: many values become one, in any split and any order with the same result.

Each kind is a semigroup: `gather` makes an aggregate of some elements (of none: the empty one), `combine` joins two,
`finish` gives the value. An element carries its place, so that where order shows (collect, concat, merge) the places
decide and not who came first. Sums are exact until they are finished, because adding floats depends on the order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from prodigy.errors import ProdigyError
from prodigy.workflow.aggregate_parts import (
    Element,
    Spread,
    Sums,
    add_spreads,
    add_sums,
    best,
    by_place,
    concatenated,
    element_finder,
    first_of_each,
    flattened,
    gather_spread,
    gather_sums,
    grouped,
    mean,
    median,
    merged,
    one_of_each,
    pieces,
    total,
    variance,
)
from prodigy.workflow.expression_values import Kind, kind_of, sort_key

MAX_LISTED = 20
_KIND_NAMES = {
    Kind.NULL: "null",
    Kind.BOOL: "true or false",
    Kind.NUMBER: "a number",
    Kind.STRING: "a text",
    Kind.ARRAY: "a list",
    Kind.OBJECT: "an object",
    Kind.OTHER: "no JSON value",
}


class AggregateError(ProdigyError):
    """Values or aggregates that do not go together; the message lists all of them."""


class How(NamedTuple):
    """A kind of aggregate. option: the separator of `concat`, the direction of `sort`, the key of `group_by`, the
    condition of `count`; None: the usual one."""

    name: str
    option: str | None = None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Some values on their way to one; `state` is the kind's own."""

    how: How
    state: Any


class Rule(NamedTuple):
    """How one kind works. takes: the kinds of values that mean something to it; null never does; empty: all do."""

    gather: Callable[[Iterable[Element], str | None], Any]
    combine: Callable[[Any, Any], Any]
    finish: Callable[[Any, str | None], object]
    takes: tuple[Kind, ...] = ()


def gather(how: How, elements: Iterable[Element]) -> Aggregate:
    """The aggregate of elements (place, value). No two elements of what is combined may have one place."""
    return Aggregate(how, RULES[how.name].gather(elements, how.option))


def combine(*parts: Aggregate) -> Aggregate:
    """All of them as one; at least one is needed. Raises AggregateError that lists every part of another kind than the
    first."""
    first = parts[0]
    others = [f"{number} is {_shown(part.how)}" for number, part in enumerate(parts, 1) if part.how != first.how]
    if others:
        raise AggregateError(f"aggregates of different kinds: 1 is {_shown(first.how)}", hint=_listed(others))
    join, state = RULES[first.how.name].combine, first.state
    for part in parts[1:]:
        state = join(state, part.state)
    return Aggregate(first.how, state)


def finish(aggregate: Aggregate) -> object:
    """The value: JSON, null where there is none."""
    return RULES[aggregate.how.name].finish(aggregate.state, aggregate.how.option)


def compute(how: How, values: Iterable[object]) -> object:
    """The aggregate of a list. Values that mean nothing to it are left out. Never raises."""
    return finish(gather(how, enumerate(values)))


def mismatches(how: How, values: Iterable[object]) -> list[str]:
    """What is wrong with values of the wrong kind, one text for each, for a caller that wants none left out."""
    takes = RULES[how.name].takes
    if not takes:
        return []
    found, wanted = [], takes
    for number, value in enumerate(values, 1):
        kind = kind_of(value)
        if kind is Kind.NULL:
            continue
        if kind not in wanted:
            expected = " or ".join(_KIND_NAMES[one] for one in wanted)
            found.append(f"value {number} is {_KIND_NAMES[kind]}, {how.name} takes {expected}")
        elif len(wanted) > 1:
            wanted = (kind,)  # numbers or texts, as the first is
    return found


def compute_strictly(wanted: Mapping[str, tuple[How, Sequence[object]]]) -> dict[str, object]:
    """Several aggregates, by name. Raises one AggregateError that lists every value of a wrong kind in all of them."""
    problems = [f"{name}: {text}" for name, (how, values) in wanted.items() for text in mismatches(how, values)]
    if problems:
        raise AggregateError("values of different kinds do not go together", hint=_listed(problems))
    return {name: compute(how, values) for name, (how, values) in wanted.items()}


def _shown(how: How) -> str:
    return how.name if how.option is None else f"{how.name} with {how.option!r}"


def _listed(texts: list[str]) -> str:
    more = len(texts) - MAX_LISTED
    return "\n  ".join(texts[:MAX_LISTED] + ([f"and {more} more"] if more > 0 else []))


# The kinds -------------------------------------------------------------------------------------------------

_DIRECTIONS = {"asc": False, "ascending": False, "desc": True, "descending": True}
_Elements = list[Element]


def _elements(elements: Iterable[Element], _option: str | None) -> _Elements:
    return list(elements)


def _joined(one: _Elements, other: _Elements) -> _Elements:
    return one + other


def _count(elements: Iterable[Element], condition: str | None) -> int:
    if condition is None:
        return sum(1 for _ in elements)
    from prodigy.workflow.expression import compile_expression  # which computes with aggregates

    test = compile_expression(condition)
    return sum(test.holds(element_finder(value)) for _, value in elements)


def _sums(elements: Iterable[Element], _option: str | None) -> Sums:
    return gather_sums(value for _, value in elements)


def _spread(elements: Iterable[Element], _option: str | None) -> Spread:
    return gather_spread(value for _, value in elements)


def _sorted(elements: _Elements, direction: str | None) -> list[object]:
    descending = _DIRECTIONS.get((direction or "asc").lower(), False)
    ordered = [value for _, value in by_place(elements)]
    return sorted(ordered, key=lambda value: sort_key(value, descending=descending, nulls_first=False))


def _deviation(spread: Spread, _option: str | None) -> float | None:
    found = variance(spread)
    return None if found is None else math.sqrt(found)


def _best(sign: int) -> Rule:
    choose = best(sign)
    return Rule(
        lambda elements, _: choose(elements),
        lambda one, other: choose([*one, *other]),
        lambda state, _: state[0][1] if state else None,
        (Kind.NUMBER, Kind.STRING),
    )


_NUMBERS = (Kind.NUMBER,)
RULES: dict[str, Rule] = {
    "count": Rule(_count, lambda one, other: one + other, lambda state, _: state),
    "sum": Rule(_sums, add_sums, lambda state, _: total(state), _NUMBERS),
    "avg": Rule(_sums, add_sums, lambda state, _: mean(state), _NUMBERS),
    "min": _best(1),
    "max": _best(-1),
    "median": Rule(_elements, _joined, lambda state, _: median(state), _NUMBERS),
    "variance": Rule(_spread, add_spreads, lambda state, _: variance(state), _NUMBERS),
    "stddev": Rule(_spread, add_spreads, _deviation, _NUMBERS),
    "collect": Rule(_elements, _joined, lambda state, _: [value for _, value in by_place(state)]),
    "unique": Rule(
        lambda elements, _: one_of_each(elements),
        first_of_each,
        lambda state, _: [value for _, value in by_place(state.values())],
    ),
    "concat": Rule(
        lambda elements, _: pieces(elements),
        _joined,
        lambda state, separator: concatenated(state, ", " if separator is None else separator),
    ),
    "merge": Rule(
        lambda elements, _: merged(elements),
        first_of_each,
        lambda state, _: {key: value for key, (_, value) in sorted(state.items(), key=lambda entry: entry[1][0])},
        (Kind.OBJECT,),
    ),
    "flatten": Rule(_elements, _joined, lambda state, _: flattened(state)),
    "sort": Rule(_elements, _joined, _sorted),
    "group_by": Rule(_elements, _joined, lambda state, key: grouped(state, key or "")),
}
