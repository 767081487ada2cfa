"""Where a path leads in the names that there are, and how the forms that are no path get their value."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol, runtime_checkable

from prodigy.errors import ProdigyError
from prodigy.workflow.forms import Form, form_of

MAX_NAMES_LISTED = 20

_STEP = re.compile(r"""\.?([\w-]+)|\[([0-9]+)\]|\["([^"]*)"\]|\['([^']*)'\]""")


@runtime_checkable
class SpecialScope(Protocol):
    """Names that also have the values that come from outside: of the environment, files, commands, the clock."""

    def special(self, kind: str, argument: str) -> object:
        """The value of a form; kind: env, file, cmd, date or uuid. Raises ProdigyError when there is none, which a
        default may then take the place of."""
        ...


class Unresolved(ProdigyError):
    """A path names nothing in its scope.

    path: as written. available: the names there are at the level where the walk ended.
    """

    def __init__(self, path: str, miss: Miss) -> None:
        self.path = path
        self.available = tuple(miss.available)
        near = difflib.get_close_matches(miss.wanted, self.available, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        hint = miss.hint if miss.hint is not None else hint + _listing(self.available)
        super().__init__(f"${{{path}}} does not resolve: {miss.what}", hint=hint or None)


class Miss(NamedTuple):
    """Where and why a walk ended. An error costs more than this, and a default makes it needless.

    hint: takes the place of the list of what is available.
    """

    what: str
    wanted: str
    available: Sequence[str] = ()
    hint: str | None = None


def lookup(scope: Mapping[str, object], path: str) -> object:
    """The value at `path`: the longest dotted key of `scope` that begins it, then a walk through the value.

    Raises Unresolved, naming what is available at the level where the walk ended. A null is a value.
    """
    value = find(scope, path)
    if isinstance(value, Miss):
        raise Unresolved(path, value)
    return value


def find(scope: Mapping[str, object], path: str) -> object:
    """As `lookup`, but a Miss when there is none."""
    if path in scope:
        return scope[path]
    form = form_of(path)
    if form is not None and not (form.kind == "env" and "env" in scope):
        return _value_of(scope, form)
    if form is not None:
        path = f"env.{form.argument}"
    keys, head = _keys(path)
    for key, steps in keys:
        if key in scope:
            return _walk(scope[key], key, steps)
    return _miss(scope, path, head)


# Forms -----------------------------------------------------------------------------------------------------


def _value_of(scope: Mapping[str, object], form: Form) -> object:
    if form.kind == "json":
        return _inside_json(scope, form)
    if form.kind == "call":
        return _computed(scope, form.argument)
    if not isinstance(scope, SpecialScope):
        return Miss("there is no such value here", form.kind, hint="it is known when a step runs")
    try:
        return scope.special(form.kind, form.argument)
    except ProdigyError as error:
        return Miss(error.what, form.argument, hint=error.hint or "")


def _computed(scope: Mapping[str, object], text: str) -> object:
    from prodigy.workflow.expression import compile_expression, scope_finder  # few texts have a call

    return compile_expression(text).value(scope_finder(scope))


def _inside_json(scope: Mapping[str, object], form: Form) -> object:
    value = find(scope, form.source)
    if isinstance(value, Miss):
        return value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            return Miss(f"{form.source} is no JSON: {error}", form.argument, hint="")
    return _walk(value, form.source, steps_of(form.argument.removeprefix("$")))


# Paths -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def steps_of(path: str) -> tuple[str | int, ...]:
    """The steps of a path: texts are keys, numbers the places in brackets."""
    steps: list[str | int] = []
    for match in _STEP.finditer(path):
        name, index, double, single = match.groups()
        steps.append(int(index) if index is not None else next(s for s in (name, double, single) if s is not None))
    return tuple(steps)


@lru_cache(maxsize=4096)
def _keys(path: str) -> tuple[tuple[tuple[str, tuple[str | int, ...]], ...], str]:
    """The keys of a scope at which `path` may begin, longest first, each with the steps after it; and the shortest."""
    steps = steps_of(path)
    count = next((number for number, step in enumerate(steps) if isinstance(step, int)), len(steps))
    keys = [(".".join(map(str, steps[:n])), steps[n:]) for n in range(count, 0, -1)]
    return tuple(keys), str(steps[0])


def _walk(value: object, place: str, steps: Sequence[str | int]) -> object:
    for step in steps:
        if isinstance(value, Mapping):
            if step not in value:
                return Miss(f"{place} has no {step}", str(step), [str(key) for key in value])
            value = value[step]
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            index = int(step) if str(step).isdecimal() else -1
            if not 0 <= index < len(value):
                return Miss(f"{place} is a list of {len(value)} and has no {step}", str(step))
            value = value[index]
        else:
            return Miss(f"{place} is {_kind(value)} and has no {step}", str(step))
        place = f"{place}.{step}" if isinstance(step, str) else f"{place}[{step}]"
    return value


def _miss(scope: Mapping[str, object], path: str, head: str) -> Miss:
    """For a path whose first name is no key; keys such as `fix.output` make `fix` a level all the same."""
    below = [key.removeprefix(f"{head}.") for key in scope if key.startswith(f"{head}.")]
    if not below:
        return Miss(f"there is no {head}", head, list(scope))
    wanted = path.removeprefix(head).lstrip(".")
    return Miss(f"{head} has no {wanted}" if wanted else f"{head} itself has no value", wanted, below)


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
