"""Gives every work item an id that is the same in every run, and drops the second of two equal items.

An item's own `id`, `item_id` or `_id` is used; an item without one is known by its content, so none is ever
lost.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from prodigy.errors import UsageError
from prodigy.plan.bulk import bulk
from prodigy.workflow.canonical import canonical_json

MAX_ID_LENGTH = 255
MAX_LABEL_LENGTH = 60
ID_FIELDS = ("id", "item_id", "_id")
# What an object without an id may call itself by.
_NAMES = ("name", "path", "file", "title")
_ID_TYPES = frozenset({str, int, float})  # exact types: `true` is no number

# Larger floats are not exact, so that `1e300` is not spelled out.
_EXACT_BELOW = 2.0**53
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SHOWN = 20
# Made once: that takes longer than a small item.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class Item(NamedTuple):
    """One unit of map work. ordinal: its place among the items that are kept, from 1. text: the data as JSON, its keys
    in their order; "" when nobody has written it yet."""

    ordinal: int
    id: str
    data: object
    text: str = ""


@dataclass(frozen=True)
class Plan:
    """The items in their order. duplicates: how many equal ones were dropped."""

    items: tuple[Item, ...]
    duplicates: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ItemProblem:
    """What is wrong with one value. position: its place in the input, from 1."""

    position: int
    message: str


class InvalidItemsError(UsageError):
    """Some values cannot be work items; `problems` lists all of them."""

    def __init__(self, problems: list[ItemProblem]) -> None:
        self.problems = tuple(problems)
        shown = [f"item {problem.position}: {problem.message}" for problem in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            shown.append(f"and {len(problems) - _SHOWN:,} more")
        count = f"{len(problems):,} item{'s' if len(problems) != 1 else ''}"
        super().__init__(f"{count} cannot be used", hint="\n  ".join(shown))


class _Candidate(NamedTuple):
    wanted_id: str
    data: object
    text: str


@bulk()
def identify(values: Iterable[object]) -> Plan:
    """The plan for `values`, in their order. Takes time proportional to their size.

    Of two equal values the later is dropped and counted. Of two different values with one id the later gets
    the first of `~2`, `~3`, ... that no item has. Raises InvalidItemsError with all that is wrong.
    """
    candidates, dropped = _distinct(values)
    reserved = {candidate.wanted_id for candidate in candidates}
    last_suffix: dict[str, int] = {}
    renamed: list[str] = []
    items = []
    for ordinal, (wanted, data, text) in enumerate(candidates, 1):
        item_id = wanted
        if wanted in last_suffix:
            last_suffix[wanted] = _free_suffix(wanted, last_suffix[wanted] + 1, reserved)
            item_id = f"{wanted}~{last_suffix[wanted]}"
            renamed.append(item_id)
        else:
            last_suffix[wanted] = 1
        items.append(Item(ordinal, item_id, data, text))
    return Plan(tuple(items), len(dropped), tuple(_warnings(dropped, renamed)))


def _distinct(values: Iterable[object]) -> tuple[list[_Candidate], list[int]]:
    """The values to keep with the ids they ask for, and the positions of the dropped ones.

    Equal values ask for one id. So only those are compared, by the digest of their canonical text, that do.
    """
    first: dict[str, int] = {}
    digests: dict[str, set[bytes]] = {}
    candidates, dropped, problems = list[_Candidate](), list[int](), list[ItemProblem]()
    for position, value in enumerate(values, 1):
        try:
            text = _text_of(value)
            wanted_id = _wanted_id(value)
            if wanted_id in first:
                if wanted_id not in digests:
                    digests[wanted_id] = {_digest(candidates[first[wanted_id]].data)}
                if (digest := _digest(value)) in digests[wanted_id]:
                    dropped.append(position)
                    continue
                digests[wanted_id].add(digest)
        except _UnusableError as error:
            problems.append(ItemProblem(position, str(error)))
            continue
        first.setdefault(wanted_id, len(candidates))
        candidates.append(_Candidate(wanted_id, value, text))
    if problems:
        raise InvalidItemsError(problems)
    return candidates, dropped


class _UnusableError(ValueError):
    """A value that cannot be a work item; the message says why."""


def _text_of(value: object) -> str:
    if value is None:
        raise _UnusableError("it is null")
    try:
        text = _encode(value)
        text.encode()
    except UnicodeEncodeError:
        raise _UnusableError("a text in it has half of a surrogate pair, which is no character") from None
    except RecursionError:
        raise _UnusableError("it is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise _UnusableError(f"it is not a JSON value: {error}") from None
    return text


def _digest(value: object) -> bytes:
    try:
        return hashlib.sha256(canonical_json(value).encode()).digest()
    except TypeError as error:  # keys that are not all texts
        raise _UnusableError(f"it is not a JSON value: {error}") from None


def _wanted_id(value: object) -> str:
    if isinstance(value, dict):
        for name in ID_FIELDS:
            own = value.get(name)
            if type(own) in _ID_TYPES:
                return _checked(name, _spelled(own))
    return f"item-{_digest(value).hex()[:12]}"


def _spelled(own: object) -> str:
    """An id as text. 5.0 and 5 are one number to most programs, so they are one id here."""
    if isinstance(own, float) and own.is_integer() and abs(own) < _EXACT_BELOW:
        return str(int(own))
    return str(own)


def _checked(name: str, item_id: str) -> str:
    if item_id.isprintable() and not item_id.isspace() and 0 < len(item_id) <= MAX_ID_LENGTH:
        return item_id  # nearly all
    if not item_id.strip():
        raise _UnusableError(f"its {name} is empty")
    if len(item_id) > MAX_ID_LENGTH:
        raise _UnusableError(f"its {name} has {len(item_id):,} characters; at most {MAX_ID_LENGTH} are possible")
    if _CONTROL.search(item_id):
        raise _UnusableError(f"its {name} {item_id!r} has a control character in it")
    return item_id


def _free_suffix(item_id: str, first: int, reserved: set[str]) -> int:
    """The first suffix from `first` on that makes no item's own id of `item_id`."""
    suffix = first
    while f"{item_id}~{suffix}" in reserved:
        suffix += 1
    return suffix


def _warnings(dropped: list[int], renamed: list[str]) -> Iterator[str]:
    if dropped:
        positions = ", ".join(map(str, dropped[:_SHOWN])) + (", …" if len(dropped) > _SHOWN else "")
        yield f"{len(dropped):,} of the items equal an earlier one and were dropped: item {positions}"
    if renamed:
        names = ", ".join(renamed[:_SHOWN]) + (", …" if len(renamed) > _SHOWN else "")
        yield f"{len(renamed):,} of the items share their id with a different one and got a suffix: {names}"


def label(item: Item) -> str:
    """The item's name for people, one short line: its own id, else its text, else what it calls itself."""
    data = item.data
    if isinstance(data, dict) and not item.id.startswith("item-"):
        return item.id
    for text in [data.get(name) for name in _NAMES] if isinstance(data, dict) else [data]:
        if isinstance(text, str) and text.strip():
            line = " ".join(_CONTROL.sub(" ", text).split())
            return line if len(line) <= MAX_LABEL_LENGTH else f"{line[: MAX_LABEL_LENGTH - 1]}…"
    return item.id


def item_scope(item: Item, total: int) -> dict[str, object]:
    """The variables of one item, as placeholders name them; `item_index` counts from 0, as people are used to.

    A text has no parts of its own, so `item.item`, `item.value` and `item.path` are the text again and
    `item.name` is its base name. The same holds for other plain values, without path and name.
    """
    data = item.data
    scope: dict[str, object] = {
        "item": data,
        "item_id": item.id,
        "item_index": item.ordinal - 1,
        "item_total": total,
        "foreach.item": data,
        "foreach.index": item.ordinal - 1,
        "foreach.total": total,
    }
    if not isinstance(data, (dict, list)):
        scope |= {"item.item": data, "item.value": data}
    if isinstance(data, str):
        scope |= {"item.path": data, "item.name": data.rstrip("/").rpartition("/")[2]}
    return scope
