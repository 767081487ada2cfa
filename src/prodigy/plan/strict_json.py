"""JSON without the liberties of Python's parser: what comes out can be stored, hashed and written again."""

from __future__ import annotations

import json
import math
import re
from itertools import chain
from typing import Any

from prodigy.workflow.canonical import canonical_json

_CONTAINERS = frozenset({dict, list})

# Work items are a few levels deep. Python's own limit is its recursion limit, which depends on the caller.
MAX_DEPTH = 100

_HALF_A_SURROGATE_PAIR = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


class NotJsonError(ValueError):
    """The text is no JSON at all. line, column: where it stops being JSON, from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class UnusableJsonError(ValueError):
    """The text has the form of JSON but no clear value: NaN, a key twice, numbers or depth without bounds."""


def parse_json(text: str) -> object:
    """The value of a JSON text. Raises NotJsonError or UnusableJsonError, and nothing else."""
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJsonError(_first_lower(error.msg), error.lineno, error.colno) from None
    except UnusableJsonError:
        raise
    except RecursionError:
        raise UnusableJsonError(f"values are nested more than {MAX_DEPTH} levels deep") from None
    except ValueError:
        # Python's own limit on the digits of an integer; the decoder raises nothing else.
        raise UnusableJsonError("a whole number has thousands of digits") from None
    # Most texts have fewer brackets than that in all.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper_than(value, MAX_DEPTH):
        raise UnusableJsonError(f"values are nested more than {MAX_DEPTH} levels deep")
    if ("\\u" in text or not text.isascii()) and _HALF_A_SURROGATE_PAIR.search(text):
        _check_encodable(value)
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise UnusableJsonError(f"the key {twice[:80]!r} stands twice in the object with the keys {_some_keys(seen)}")
    return value


def _some_keys(seen: set[str]) -> str:
    names = sorted(seen)
    return ", ".join(repr(name[:40]) for name in names[:5]) + (", …" if len(names) > 5 else "")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UnusableJsonError(f"the number {text[:40]} is too large")
    return value


def _constant(name: str) -> object:
    raise UnusableJsonError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_constant)


def _is_deeper_than(value: object, limit: int) -> bool:
    level: list[Any] = [value] if type(value) in _CONTAINERS else []
    for _ in range(limit):
        parts = chain.from_iterable(one.values() if type(one) is dict else one for one in level)
        level = [part for part in parts if type(part) in _CONTAINERS]
        if not level:
            return False
    return True


def _check_encodable(value: object) -> None:
    try:
        canonical_json(value).encode()
    except UnicodeEncodeError:
        raise UnusableJsonError("a text has half of a surrogate pair in it, which is no character") from None


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]
