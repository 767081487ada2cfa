"""Values as expressions see them: their kinds, when two are equal, their order, and what the functions compute.

Nothing here raises, whatever the values are; all of it is iterative, so that depth is no limit either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any

from prodigy.workflow.expression_paths import MISSING


class Kind(IntEnum):
    """The kinds of values, in the order in which they sort."""

    NULL = 0
    BOOL = 1
    NUMBER = 2
    STRING = 3
    ARRAY = 4
    OBJECT = 5
    OTHER = 6


_KINDS: dict[type, Kind] = {
    type(None): Kind.NULL,
    type(MISSING): Kind.NULL,
    bool: Kind.BOOL,
    int: Kind.NUMBER,
    float: Kind.NUMBER,
    str: Kind.STRING,
    list: Kind.ARRAY,
    tuple: Kind.ARRAY,
    dict: Kind.OBJECT,
}
_WIDER: tuple[tuple[type, Kind], ...] = (
    (int, Kind.NUMBER),
    (float, Kind.NUMBER),
    (str, Kind.STRING),
    (bytes, Kind.OTHER),
    (Mapping, Kind.OBJECT),
    (Sequence, Kind.ARRAY),
)


def kind_of(value: object) -> Kind:
    """The kind of a value; MISSING is a null. True is no number. Dates and other foreign values are OTHER."""
    kind = _KINDS.get(type(value))
    if kind is None:
        kind = next((kind for type_, kind in _WIDER if isinstance(value, type_)), Kind.OTHER)
    return kind


def truth(value: object) -> bool:
    """Null, missing and false do not hold; everything else does, 0 and the empty text too."""
    return value is not None and value is not False and value is not MISSING


def equal(left: object, right: object) -> bool:
    """Equal by value and of one kind, all the way down: 5 == 5.0, but 1 != true and '5' != 5."""
    pairs: list[tuple[Any, Any]] = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        kind = kind_of(one)
        if kind != kind_of(other):
            return False
        if kind is Kind.ARRAY:
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif kind is Kind.OBJECT:
            if one.keys() != other.keys():
                return False
            pairs.extend((one[key], other[key]) for key in one)
        elif kind is not Kind.NULL and one != other:
            return False
    return True


def comparable(left: object, right: object) -> bool:
    """Whether `<` means something: both are numbers, or both texts."""
    kind = kind_of(left)
    return (kind is Kind.NUMBER or kind is Kind.STRING) and kind is kind_of(right)


def contains(whole: object, part: object) -> bool:
    """Whether a text contains a text, a list a value, or an object a key; false for anything else."""
    content: Any = whole
    kind = kind_of(whole)
    if kind is Kind.ARRAY:
        return any(equal(element, part) for element in content)
    if kind is Kind.STRING or kind is Kind.OBJECT:
        return isinstance(part, str) and part in content
    return False


def starts_with(text: object, beginning: object) -> bool:
    """Whether both are texts and the one begins with the other."""
    return isinstance(text, str) and isinstance(beginning, str) and text.startswith(beginning)


def ends_with(text: object, ending: object) -> bool:
    """Whether both are texts and the one ends with the other."""
    return isinstance(text, str) and isinstance(ending, str) and text.endswith(ending)


class BadPatternError(Exception):
    """A regex that RE2 does not read."""


def searcher(pattern: str) -> Callable[[object], bool]:
    """A function that says whether a value is a text in which `pattern` (RE2) is found. Raises BadPatternError."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    try:
        # Bytes, because JSON texts may hold lone surrogates, which re2 itself cannot encode.
        search = re2.compile(_utf8(pattern), options).search
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        raise BadPatternError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from None
    return lambda text: isinstance(text, str) and search(_utf8(text)) is not None


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def matches(text: object, pattern: object) -> bool:
    """For a pattern that is known only now; a bad one matches nothing."""
    return isinstance(pattern, str) and _searcher_or_never(pattern)(text)


@lru_cache(maxsize=128)
def _searcher_or_never(pattern: str) -> Callable[[object], bool]:
    try:
        return searcher(pattern)
    except BadPatternError:
        return lambda _text: False


def length(value: object) -> int | None:
    """Characters of a text, elements of a list, keys of an object; null for anything else."""
    return len(value) if isinstance(value, str | Mapping | Sequence) and not isinstance(value, bytes) else None


def elements(value: object) -> Sequence[object]:
    """A list's elements; a single value counts as a list of it, null as an empty one."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return value
    return () if kind_of(value) is Kind.NULL else (value,)


def sort_key(value: object, *, descending: bool, nulls_first: bool) -> tuple[Any, ...]:
    """A key that puts all values in one total order: by kind, then by number, text or length; NaN after all numbers.

    Nulls go where `nulls_first` says, in both directions.
    """
    kind = kind_of(value)
    if kind is Kind.NULL:
        return (0 if nulls_first else 2,)
    content: Any = value
    not_a_number = 0
    if kind is Kind.NUMBER and content != content:
        not_a_number, content = 1, 0
    elif kind is Kind.ARRAY or kind is Kind.OBJECT:
        content = len(content)
    elif kind is Kind.OTHER:
        content = 0
    if not descending:
        return 1, kind, not_a_number, content
    return 1, -kind, -not_a_number, _Downwards(content) if kind is Kind.STRING else -content


def sort_marks(found: list[Any], *, nulls_first: bool) -> list[Any]:
    """Something for each value that sorts upwards as the value does: the values themselves where that will do, which
    Python compares many times faster."""
    kinds = set(map(type, found))
    if kinds == {str} or (kinds <= {int, float} and all(value == value for value in found)):
        return found
    return [sort_key(value, descending=False, nulls_first=nulls_first) for value in found]


class _Downwards:
    """A text that sorts in the opposite direction."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: _Downwards) -> bool:
        return other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Downwards) and self.text == other.text

    __hash__ = None  # type: ignore[assignment]  # only for sorting
