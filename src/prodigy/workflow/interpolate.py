"""Placeholders: their syntax, how they are looked up in a scope, and how values become text.

A placeholder is `${path}` or `${path:-default}`. A path is a name followed by `.name`, `[0]`, `["k"]` or `['k']`.
Only names that belong to us are placeholders: the built-in `NAMESPACES` and those the caller adds, such as step
ids. Every other `${NAME}`, and `$NAME` always, belongs to whoever reads the text next (the shell). `$$` ends the
reach of a dollar sign, so `$${item}` is not ours either.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from prodigy.errors import ProdigyError

NAMESPACES = frozenset({"item", "item_id", "item_index", "item_total", "map", "workflow", "run"})
SUPPORTED = "supported are ${name.path}, ${name[0]}, ${name['key']} and ${name.path:-default}"
MAX_NAMES_LISTED = 20
UNCLOSED = "${"  # the operator of a placeholder that does not end

_NAME = re.compile(r"[^\W\d][\w-]*")
_PREFIX = re.compile(r"raw:|[#!]")
_STEPS = re.compile(r"""(?:\.[\w-]+|\[[0-9]+\]|\["[^"\]\n]*"\]|\['[^'\]\n]*'\])*""")
_STEP = re.compile(r"""\.?([\w-]+)|\[([0-9]+)\]|\["([^"]*)"\]|\['([^']*)'\]""")
_DEFAULT = re.compile(r":-([^}\n]*)\}")
_SHELL_ONLY = re.compile(r"raw:|:file|[%#].+")
_REST = re.compile(r"[^}\n]*\}?")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One placeholder of ours in a text.

    start, end: the characters it covers, `end` excluded.
    path: as written, e.g. `item.files[0]["name"]`.
    default: literal text used when the path does not resolve, or None.
    operator: all else that is written in it (`:json`, `|upper`, `%.js`, `raw:`, UNCLOSED), or None. Prompts know none
      of them; shell text knows some, see `shell.operators`.
    prefix: the part of the operator that stands before the path: `raw:`, `#`, `!` or nothing.
    """

    start: int
    end: int
    path: str
    default: str | None = None
    operator: str | None = None
    prefix: str = ""


@dataclass(frozen=True, order=True, slots=True)
class TextProblem:
    """One mistake in a text of the workflow. Offset counts characters from 0, line and column from 1."""

    offset: int
    line: int
    column: int
    message: str
    cure: str


class Unresolved(ProdigyError):
    """A path names nothing in its scope.

    path: as written. available: the names there are at the level where the walk ended.
    """

    def __init__(self, path: str, miss: _Miss) -> None:
        self.path = path
        self.available = tuple(miss.available)
        near = difflib.get_close_matches(miss.wanted, self.available, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        super().__init__(f"${{{path}}} does not resolve: {miss.what}", hint=hint + _listing(self.available))


class _Miss(NamedTuple):
    """Where and why a walk ended. An error costs more than this, and a default makes it needless."""

    what: str
    wanted: str
    available: Sequence[str] = ()


class UnsupportedPlaceholder(ProdigyError):
    """A placeholder asks for something that this version does not do."""


def parse_placeholders(text: str, namespaces: Collection[str] = ()) -> list[Placeholder]:
    """All placeholders of ours in `text`, in order; `namespaces` adds to the built-in ones. Never raises."""
    return list(_parse(text, _ours(namespaces)))


def _ours(namespaces: Collection[str]) -> frozenset[str]:
    """The built-in names and those of the caller; of a dotted scope key such as `fix.output` only `fix` counts."""
    return NAMESPACES.union(name.split(".", 1)[0] for name in namespaces)


@lru_cache(maxsize=1024)
def _parse(text: str, names: frozenset[str]) -> tuple[Placeholder, ...]:
    found: list[Placeholder] = []
    position = text.find("$")
    while position >= 0:
        following = text[position + 1 : position + 2]
        placeholder = _at(text, position, names) if following == "{" else None
        if placeholder:
            found.append(placeholder)
            position = placeholder.end
        elif following == "$" and not _escaped(text, position):
            position += 2
        else:
            position += 1
        position = text.find("$", position)
    return tuple(found)


def _escaped(text: str, position: int) -> bool:
    before = text[:position]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _at(text: str, start: int, names: frozenset[str]) -> Placeholder | None:
    """The placeholder whose `${` is at `start`, or None when the name is not ours."""
    prefix = _PREFIX.match(text, start + 2)
    name_start = prefix.end() if prefix else start + 2
    name = _our_name(text, name_start, names)
    if name is None:
        return None
    steps = _STEPS.match(text, name_start + len(name))
    assert steps
    path = name + steps.group()
    after = steps.end()
    if prefix is None and text.startswith("}", after):
        return Placeholder(start, after + 1, path)
    default = _DEFAULT.match(text, after)
    if prefix is None and default and "${" not in default[1]:
        return Placeholder(start, default.end(), path, default[1])
    rest = _REST.match(text, after)
    assert rest
    before = prefix.group() if prefix else ""
    operator = f"{before}{rest.group()[:-1]}" if rest.group().endswith("}") else UNCLOSED
    return Placeholder(start, rest.end(), path, operator=operator, prefix=before)


def _our_name(text: str, start: int, names: frozenset[str]) -> str | None:
    match = _NAME.match(text, start)
    if not match:
        return None
    name = match.group()
    if name in names:
        return name
    # `${item-x}`: a step could be called item-x, but none is, so this is an operator on `item`.
    name = name.split("-", 1)[0]
    return name if name in names else None


def spell(placeholder: Placeholder) -> str:
    """The placeholder as people write it, without default or operator."""
    return f"${{{placeholder.path}}}"


def problem_at(text: str, offset: int, message: str, cure: str) -> TextProblem:
    """A problem at a character offset of `text`, with its line and column."""
    line_start = text.rfind("\n", 0, offset) + 1
    return TextProblem(offset, text.count("\n", 0, offset) + 1, offset - line_start + 1, message, cure)


def check_text(text: str, namespaces: Collection[str] = ()) -> list[TextProblem]:
    """What is wrong with the placeholders of `text`, for when the workflow is loaded."""
    return [
        problem_at(text, placeholder.start, *unsupported(placeholder))
        for placeholder in parse_placeholders(text, namespaces)
        if placeholder.operator is not None
    ]


def unsupported(placeholder: Placeholder) -> tuple[str, str]:
    """(message, cure) for a placeholder whose operator nobody knows where it stands."""
    if placeholder.operator == UNCLOSED:
        return f"`{spell(placeholder)[:-1]}` has no closing brace on its line", SUPPORTED
    is_for_shell = placeholder.prefix in ("", "raw:") and _SHELL_ONLY.fullmatch(placeholder.operator or "")
    where = "outside of shell text" if is_for_shell else "on our names"
    return f"`{spell(placeholder)}`: `{placeholder.operator}` is not supported {where}", SUPPORTED


def render(value: object) -> str:
    """The text of a value: a string as it is, anything else as compact JSON (`true`, `null`, `[1,"é"]`)."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    """What json does not know by itself: other mappings and sequences, and text for the rest (dates, paths)."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Sequence) else str(value)


def lookup(scope: Mapping[str, object], path: str) -> object:
    """The value at `path`: the longest dotted key of `scope` that begins it, then a walk through the value.

    Raises Unresolved, naming what is available at the level where the walk ended. A null is a value.
    """
    value = _find(scope, path)
    if isinstance(value, _Miss):
        raise Unresolved(path, value)
    return value


def _find(scope: Mapping[str, object], path: str) -> object:
    if path in scope:
        return scope[path]
    keys, head = _keys(path)
    for key, steps in keys:
        if key in scope:
            return _walk(scope[key], key, steps)
    return _miss(scope, path, head)


@lru_cache(maxsize=4096)
def _keys(path: str) -> tuple[tuple[tuple[str, tuple[str | int, ...]], ...], str]:
    """The keys of a scope at which `path` may begin, longest first, each with the steps after it; and the shortest."""
    steps: list[str | int] = []
    for match in _STEP.finditer(path):
        name, index, double, single = match.groups()
        steps.append(int(index) if index is not None else next(s for s in (name, double, single) if s is not None))
    count = next((number for number, step in enumerate(steps) if isinstance(step, int)), len(steps))
    keys = [(".".join(map(str, steps[:n])), tuple(steps[n:])) for n in range(count, 0, -1)]
    return tuple(keys), str(steps[0])


def _walk(value: object, place: str, steps: Sequence[str | int]) -> object:
    for step in steps:
        if isinstance(value, Mapping):
            if step not in value:
                return _Miss(f"{place} has no {step}", str(step), [str(key) for key in value])
            value = value[step]
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            index = int(step) if str(step).isdecimal() else -1
            if not 0 <= index < len(value):
                return _Miss(f"{place} is a list of {len(value)} and has no {step}", str(step))
            value = value[index]
        else:
            return _Miss(f"{place} is {_kind(value)} and has no {step}", str(step))
        place = f"{place}.{step}" if isinstance(step, str) else f"{place}[{step}]"
    return value


def _miss(scope: Mapping[str, object], path: str, head: str) -> _Miss:
    """For a path whose first name is no key; keys such as `fix.output` make `fix` a level all the same."""
    below = [key.removeprefix(f"{head}.") for key in scope if key.startswith(f"{head}.")]
    if not below:
        return _Miss(f"there is no {head}", head, list(scope))
    wanted = path.removeprefix(head).lstrip(".")
    return _Miss(f"{head} has no {wanted}" if wanted else f"{head} itself has no value", wanted, below)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {str: "text", bool: "true or false", int: "a number", float: "a number"}.get(type(value), "a value")


def _listing(names: Sequence[str]) -> str:
    if not names:
        return "nothing is available there"
    shown = ", ".join(sorted(names)[:MAX_NAMES_LISTED])
    more = len(names) - MAX_NAMES_LISTED
    return f"available: {shown}" + (f" and {more} more" if more > 0 else "")


def resolve(scope: Mapping[str, object], path: str, default: str | None) -> str:
    """The text for a placeholder: its value, else its default. Raises Unresolved when there is neither."""
    value = _find(scope, path)
    if not isinstance(value, _Miss):
        return render(value)
    if default is None:
        raise Unresolved(path, value)
    return default


def interpolate_text(text: str, scope: Mapping[str, object], namespaces: Collection[str] = ()) -> str:
    """`text` with its placeholders replaced: for prompts, paths and messages, never for shell text.

    Names at the top of `scope` are ours too. Raises Unresolved, and UnsupportedPlaceholder for what `check_text`
    would have refused when the workflow was loaded.
    """
    ours = _ours((*namespaces, *scope))
    out: list[str] = []
    position = 0
    for placeholder in _parse(text, ours):
        if placeholder.operator is not None:
            what, cure = unsupported(placeholder)
            raise UnsupportedPlaceholder(what, hint=cure)
        out.append(text[position : placeholder.start])
        out.append(resolve(scope, placeholder.path, placeholder.default))
        position = placeholder.end
    return "".join([*out, text[position:]])
