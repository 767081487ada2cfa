"""What aggregates are made of: exact sums, choices by place, lists of elements. Nothing here raises, whatever the
values are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from prodigy.workflow.canonical import canonical_json
from prodigy.workflow.expression_paths import MISSING, Find, item_finder, plain_finder
from prodigy.workflow.expression_values import Kind, kind_of
from prodigy.workflow.interpolate import render

# A place among the values, and the value there.
Element = tuple[Any, object]

# Every finite float is a whole number of these parts: 2**-1074.
_SCALE = 1074
_EXACT_BELOW = 2.0**53


class Sums(NamedTuple):
    """size: how many numbers there are. whole, parts: the exact sum of the whole ones, and of the floats in units of
    2**-1074. odd: the sum of those that are infinite or not a number."""

    size: int = 0
    whole: int = 0
    parts: int = 0
    floats: int = 0
    odd: float = 0.0


class Spread(NamedTuple):
    """Sums, and the exact sum of the squares in units of 2**-2148."""

    sums: Sums
    squares: int = 0


def gather_sums(values: Iterable[object]) -> Sums:
    """Of the numbers among the values."""
    count = whole = parts = floats = 0
    odd = 0.0
    for value in values:
        number: Any = value
        if kind_of(number) is not Kind.NUMBER:
            continue
        count += 1
        if isinstance(number, int):
            whole += number
            continue
        floats += 1
        if math.isfinite(number):
            parts += _scaled(number)
        else:
            odd += number
    return Sums(count, whole, parts, floats, odd)


def _scaled(number: float) -> int:
    numerator, denominator = number.as_integer_ratio()
    return numerator << (_SCALE + 1 - denominator.bit_length())


def add_sums(one: Sums, other: Sums) -> Sums:
    return Sums(*(left + right for left, right in zip(one, other, strict=True)))  # type: ignore[arg-type]


def total(sums: Sums) -> float | None:
    """The sum; a whole number when all are; null beyond all floats."""
    if sums.odd or math.isnan(sums.odd):
        return sums.odd
    return _over(_exact(sums), 1 << _SCALE) if sums.floats else sums.whole


def mean(sums: Sums) -> float | None:
    """The mean; null of none, and beyond all floats."""
    if sums.odd or math.isnan(sums.odd):
        return sums.odd
    return _over(_exact(sums), sums.size << _SCALE) if sums.size else None


def _exact(sums: Sums) -> int:
    return (sums.whole << _SCALE) + sums.parts


def _over(numerator: int, denominator: int) -> float | None:
    try:
        return numerator / denominator  # correctly rounded, however long the two are
    except OverflowError:
        return None


def gather_spread(values: Iterable[object]) -> Spread:
    """Of the numbers among the values."""
    numbers: list[Any] = [value for value in values if kind_of(value) is Kind.NUMBER]
    finite = [number for number in numbers if isinstance(number, int) or math.isfinite(number)]
    squares = sum((number << _SCALE if isinstance(number, int) else _scaled(number)) ** 2 for number in finite)
    return Spread(gather_sums(numbers), squares)


def add_spreads(one: Spread, other: Spread) -> Spread:
    return Spread(add_sums(one.sums, other.sums), one.squares + other.squares)


def variance(spread: Spread) -> float | None:
    """Of a sample (over n - 1); 0 of one number, null of none."""
    count = spread.sums.size
    if not count or spread.sums.odd or math.isnan(spread.sums.odd):
        return None
    if count == 1:
        return 0.0
    return _over(count * spread.squares - _exact(spread.sums) ** 2, count * (count - 1) << (2 * _SCALE))


def median(elements: Iterable[Element]) -> float | None:
    """The number in the middle, or the mean of the two there; null of none."""
    numbers: list[Any] = [value for _, value in elements if kind_of(value) is Kind.NUMBER and value == value]
    if not numbers:
        return None
    numbers.sort(key=lambda number: (number, isinstance(number, float)))
    below, above = numbers[(len(numbers) - 1) // 2], numbers[len(numbers) // 2]
    return mean(gather_sums([below, above])) if len(numbers) % 2 == 0 else below


# Choices ---------------------------------------------------------------------------------------------------


def best(sign: int) -> Callable[[Iterable[Element]], list[Element]]:
    """The smallest (sign 1) or greatest (-1) number; without numbers, of the texts; of equal ones, the first. At most
    one of each kind is kept: a number first."""
    choose = min if sign > 0 else max

    def pick(elements: Iterable[Element]) -> list[Element]:
        found: dict[Kind, Element] = {}
        for place, element in elements:
            value: Any = element
            kind = kind_of(value)
            if (kind is not Kind.NUMBER and kind is not Kind.STRING) or value != value:
                continue
            before = found.get(kind)
            if before is None:
                found[kind] = (place, value)
            elif value == before[1]:
                found[kind] = min(before, (place, value), key=_place)
            elif choose(value, before[1]) is value:
                found[kind] = (place, value)
        return [found[kind] for kind in (Kind.NUMBER, Kind.STRING) if kind in found]

    return pick


def one_of_each(elements: Iterable[Element]) -> dict[Any, Element]:
    """The first of all elements that are equal by value, by what they have in common."""
    found: dict[Any, Element] = {}
    for element in elements:
        _keep_first(found, _identity(element[1]), element)
    return found


def merged(elements: Iterable[Element]) -> dict[Any, Element]:
    """The first value of each key of the objects; within an object, keys keep their order."""
    found: dict[Any, Element] = {}
    for place, value in elements:
        if isinstance(value, Mapping):
            for number, (key, inner) in enumerate(value.items()):
                _keep_first(found, key, ((place, number), inner))
    return found


def first_of_each(one: dict[Any, Element], other: dict[Any, Element]) -> dict[Any, Element]:
    """The earlier element of each key."""
    found = dict(one)
    for key, element in other.items():
        _keep_first(found, key, element)
    return found


def _keep_first(found: dict[Any, Element], key: object, element: Element) -> None:
    before = found.get(key)
    if before is None or element[0] < before[0]:
        found[key] = element


def _identity(value: object) -> str:
    """Equal for equal values: 5 and 5.0 are one."""
    try:
        return canonical_json(_normal(value))
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _normal(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_BELOW:
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _normal(part) for key, part in value.items()}
    return list(map(_normal, value)) if _is_list(value) else value


# Lists -----------------------------------------------------------------------------------------------------


def _place(element: Element) -> Any:
    return element[0]


def by_place(elements: Iterable[Element]) -> list[Element]:
    return sorted(elements, key=_place)


def pieces(elements: Iterable[Element]) -> list[Element]:
    """Their texts; null has none."""
    return [(place, render(value)) for place, value in elements if kind_of(value) is not Kind.NULL]


def concatenated(elements: Iterable[Element], separator: str) -> str:
    return separator.join(str(text) for _, text in by_place(elements))


def flattened(elements: Iterable[Element]) -> list[object]:
    """Lists give their elements, null nothing, anything else itself."""
    found: list[object] = []
    for _, value in by_place(elements):
        if _is_list(value):
            found.extend(value)
        elif kind_of(value) is not Kind.NULL:
            found.append(value)
    return found


def grouped(elements: Iterable[Element], path: str) -> dict[str, list[object]]:
    """The values by the text of what is at `path` in them; missing is `null`."""
    found: dict[str, list[object]] = {}
    for _, value in by_place(elements):
        key = element_finder(value)(path)
        found.setdefault("null" if key is MISSING or key is None else render(key), []).append(value)
    return found


def element_finder(value: object) -> Find:
    """How paths are looked up in an element: its own field `item` (the results of a fan-out have one) comes first."""
    if not (isinstance(value, Mapping) and "item" in value):
        return item_finder(value)
    own, as_item = plain_finder(value), item_finder(value)

    def find(path: str) -> object:
        found = own(path)
        return as_item(path) if found is MISSING else found

    return find


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
