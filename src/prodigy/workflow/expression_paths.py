"""Where the paths of an expression lead: into an item, or into the scope of a step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from prodigy.workflow.interpolate import Unresolved, lookup

Find = Callable[[str], object]


class Missing(Enum):
    """The type of MISSING."""

    MISSING = "missing"


# What a path that names nothing gives; a null that is there is None.
MISSING: Final = Missing.MISSING

_STEP = re.compile(r"""\.?([\w-]+)|\[([0-9]+)\]|\["([^"]*)"\]|\['([^']*)'\]|\[(\*)\]""")
_MOST_DIGITS = 15  # no list is longer


class _Step(NamedTuple):
    """One step of a path: the key in an object, the place in a list (-1: none)."""

    key: str | int
    place: int


class _Route(NamedTuple):
    """A path, cut at each `[*]`; `head` is its text up to the first."""

    head: str
    parts: tuple[tuple[_Step, ...], ...]


def item_finder(item: object) -> Find:
    """How the paths of a filter or a sort key are looked up in one item.

    `score`, `item.score` and their `${}` forms are the same; `item` is the item itself. An item that has a key
    `item` of its own is asked for that only when `item.x` names nothing in the item. An item without parts
    answers to `value`, a text also to `path` and `name`, as in placeholders.
    """
    # Nearly all items are plain objects; asking an abstract class takes longer than looking a field up.
    top = item if type(item) is dict or isinstance(item, Mapping) else _names(item)
    fields = top if type(top) is dict else None

    def find(path: str) -> object:
        bare, rooted, field = _item_routes(path)
        if field is not None and fields is not None:
            return fields.get(field, MISSING)
        if rooted is not None:
            found = _walk(top if rooted[0] and top is not None else item, rooted)
            if found is not MISSING:
                return found
        return _walk(top, bare)

    return find


def plain_finder(value: object) -> Find:
    """How the paths of a value are looked up that has no other names than its own."""
    return lambda path: _walk(value, _route(path).parts)


def scope_finder(scope: Mapping[str, object]) -> Find:
    """How the paths of a `when` are looked up: as placeholders are, with MISSING for what does not resolve."""

    def find(path: str) -> object:
        route = _route(path)
        try:
            value = lookup(scope, route.head)
        except Unresolved:
            return MISSING
        return value if len(route.parts) == 1 else _spread(value, route.parts[1:])

    return find


def _names(item: object) -> dict[str, object] | None:
    """What an item without keys answers to; None for a list, which has its indexes."""
    if isinstance(item, Sequence) and not isinstance(item, str | bytes):
        return None
    names = {"item": item, "value": item}
    if isinstance(item, str):
        names |= {"path": item, "name": item.rstrip("/").rpartition("/")[2]}
    return names


class _ItemRoutes(NamedTuple):
    """The parts of a path as it stands, those after its root `item`, if that is its root, and the field of the item
    that it is, if it is nothing but that: nearly all are."""

    bare: tuple[tuple[_Step, ...], ...]
    rooted: tuple[tuple[_Step, ...], ...] | None
    field: str | None


@lru_cache(maxsize=4096)
def _item_routes(path: str) -> _ItemRoutes:
    parts = _route(path).parts
    first = parts[0]
    if first and first[0].key == "item":
        return _ItemRoutes(parts, (first[1:], *parts[1:]), None)
    key = first[0].key if len(parts) == 1 and len(first) == 1 else None
    return _ItemRoutes(parts, None, key if isinstance(key, str) else None)


@lru_cache(maxsize=4096)
def _route(path: str) -> _Route:
    parts: list[list[_Step]] = [[]]
    head = path
    for match in _STEP.finditer(path):
        name, index, double, single, star = match.groups()
        if star:
            head = path[: match.start()] if len(parts) == 1 else head
            parts.append([])
        elif index is not None:
            parts[-1].append(_Step(int(index), int(index)))
        else:
            key = next(text for text in (name, double, single) if text is not None)
            parts[-1].append(_Step(key, int(key) if key.isdecimal() and len(key) <= _MOST_DIGITS else -1))
    return _Route(head, tuple(map(tuple, parts)))


def _walk(value: object, parts: tuple[tuple[_Step, ...], ...]) -> object:
    value = _follow(value, parts[0])
    return value if len(parts) == 1 else _spread(value, parts[1:])


def _follow(value: object, steps: Iterable[_Step]) -> object:
    for key, place in steps:
        if type(value) is dict or isinstance(value, Mapping):
            value = value.get(key, MISSING)
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes) and 0 <= place < len(value):
            value = value[place]
        else:
            return MISSING
    return value


def _spread(value: object, parts: Iterable[tuple[_Step, ...]]) -> object:
    """All that `[*]` reaches, as one flat list; what an element does not have is left out."""
    if _children(value) is None:
        return MISSING
    reached = [value]
    for steps in parts:
        found = (_follow(child, steps) for parent in reached for child in _children(parent) or ())
        reached = [one for one in found if one is not MISSING]
    return reached


def _children(value: object) -> Iterable[object] | None:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else None
