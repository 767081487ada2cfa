"""Placeholders: their syntax, and how their values become text.

A placeholder is `${path}` or `${path:-default}`. A path is a name followed by `.name`, `[0]`, `["k"]` or `['k']`; in
its place may stand one of the `forms`, and behind it modifiers and filters (see `formats`). Only names that belong to
us are placeholders: the built-in ones of the `catalogue` and those the caller adds, such as step ids. Every other
`${NAME}`, and `$NAME` always, belongs to whoever reads the text next (the shell). `$$` ends the reach of a dollar
sign, so `$${item}` is not ours either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from prodigy.errors import ProdigyError
from prodigy.workflow.catalogue import DOTTED, FREE, OURS
from prodigy.workflow.formats import apply_part, parse_parts, render
from prodigy.workflow.forms import NAME, STEPS, Form, find_form, form_of
from prodigy.workflow.lookup import Miss, SpecialScope, Unresolved, find, lookup

__all__ = [
    "NAMESPACES",
    "RAW",
    "SUPPORTED",
    "UNCLOSED",
    "Placeholder",
    "SpecialScope",
    "TextProblem",
    "Unresolved",
    "UnsupportedPlaceholder",
    "check_text",
    "fault",
    "interpolate_text",
    "lookup",
    "parse_placeholders",
    "problem_at",
    "render",
    "resolve",
    "spell",
    "unsupported",
]

NAMESPACES = OURS
FORMS = (
    "${name.path}, ${name[0]}, ${name['key']} and ${name.path:-default}, the modifiers :json, :lines, :csv and globs"
    " such as :*.md, the filters |default:x and |length:N"
)
SUPPORTED = f"supported are {FORMS}"
UNCLOSED = "${"  # the operator of a placeholder that does not end
RAW = "raw:"

_PREFIX = re.compile(r"raw:|[#!]")
_SHELL_ONLY = re.compile(r"raw:.*|(?::[^:|]+)*:file|[%#].+", re.DOTALL)
# What stands before `:-`, in which `|default:-` is none, and the default behind it.
_OPERATOR = re.compile(r"((?>\|\s*default\s*:|[^:]|:(?!-))*+)(?::-(.*))?", re.DOTALL)
_REST = re.compile(r"[^}\n]*\}?")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One placeholder of ours in a text.

    start, end: the characters it covers, `end` excluded.
    path: as written, e.g. `item.files[0]["name"]`; or a form, e.g. `date:%Y`.
    default: literal text used when the path does not resolve, or None.
    operator: all else that is written in it (`:json`, `|length:9`, `%.js`, `raw:`, UNCLOSED), or None. All texts know
      those of `formats`; shell text knows some more, see `shell.operators`.
    prefix: the part of the operator that stands before the path: `raw:`, `#`, `!` or nothing.
    """

    start: int
    end: int
    path: str
    default: str | None = None
    operator: str | None = None
    prefix: str = ""

    @property
    def form(self) -> Form | None:
        """What stands in place of a path."""
        return form_of(self.path)


@dataclass(frozen=True, order=True, slots=True)
class TextProblem:
    """One mistake in a text of the workflow. Offset counts characters from 0, line and column from 1."""

    offset: int
    line: int
    column: int
    message: str
    cure: str


class UnsupportedPlaceholder(ProdigyError):
    """A placeholder asks for something that this version does not do."""


def parse_placeholders(text: str, namespaces: Collection[str] = ()) -> list[Placeholder]:
    """All placeholders of ours in `text`, in order; `namespaces` adds to the built-in ones. Never raises."""
    return list(_parse(text, _ours(namespaces)))


def _ours(namespaces: Collection[str]) -> frozenset[str]:
    """The built-in names and those of the caller; of a dotted scope key such as `fix.output` only `fix` counts, and
    nothing of one such as `shell.output`, which does not make `shell` a name."""
    parts = (name.partition(".") for name in namespaces)
    return NAMESPACES.union(head for head, dot, _ in parts if not dot or head not in DOTTED)


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
    match = _PREFIX.match(text, start + 2)
    prefix = match.group() if match else ""
    begin = start + 2 + len(prefix)
    form = find_form(text, begin, names) if prefix in ("", RAW) else None
    end = _path_end(text, begin, names) if form is None else form.end if form.is_closed else -form.end
    if end is None:
        return None
    path = text[begin : abs(end)]
    if not prefix and end > 0 and text.startswith("}", end):
        return Placeholder(start, end + 1, path)
    rest = _REST.match(text, abs(end))
    assert rest
    if end < 0 or not rest.group().endswith("}"):
        return Placeholder(start, max(rest.end(), abs(end)), path, operator=UNCLOSED, prefix=prefix)
    behind, default = rest.group()[:-1], None
    if prefix in ("", RAW) and not behind.startswith(("%", "#")):
        parts = _OPERATOR.fullmatch(behind)
        if parts and parts[2] is not None and "${" not in parts[2]:
            behind, default = parts.groups()
    return Placeholder(start, rest.end(), path, default, f"{prefix}{behind}" or None, prefix)


def _path_end(text: str, start: int, names: frozenset[str]) -> int | None:
    """Where the path that begins at `start` ends; None when its name is not ours."""
    name = _our_name(text, start, names)
    if name is None:
        return None
    steps = STEPS.match(text, start + len(name))
    assert steps
    return steps.end()


def _our_name(text: str, start: int, names: frozenset[str]) -> str | None:
    match = NAME.match(text, start)
    if not match:
        return None
    # `${item-x}`: a step could be called item-x, but if none is, this is an operator on `item`.
    for name in (match.group(), match.group().split("-", 1)[0]):
        if name in DOTTED and not (name in FREE and name in names):
            return name if text.startswith(".", start + len(name)) else None
        if name in names:
            return name
    return None


def spell(placeholder: Placeholder) -> str:
    """The placeholder as people write it, without default or operator."""
    return f"${{{placeholder.path}}}"


def problem_at(text: str, offset: int, message: str, cure: str) -> TextProblem:
    """A problem at a character offset of `text`, with its line and column."""
    line_start = text.rfind("\n", 0, offset) + 1
    return TextProblem(offset, text.count("\n", 0, offset) + 1, offset - line_start + 1, message, cure)


def check_text(text: str, namespaces: Collection[str] = ()) -> list[TextProblem]:
    """What is wrong with the placeholders of `text`, for when the workflow is loaded."""
    problems = []
    for placeholder in parse_placeholders(text, namespaces):
        if not _is_known(placeholder):
            problems.append(problem_at(text, placeholder.start, *unsupported(placeholder)))
        elif found := fault(placeholder, namespaces):
            problems.append(problem_at(text, *found))
    return problems


def _is_known(placeholder: Placeholder) -> bool:
    operator = placeholder.operator
    return operator is None or (not placeholder.prefix and parse_parts(operator) is not None)


def unsupported(placeholder: Placeholder) -> tuple[str, str]:
    """(message, cure) for a placeholder whose operator nobody knows where it stands."""
    if placeholder.operator == UNCLOSED:
        return f"`{spell(placeholder)[:-1]}` has no closing brace on its line", SUPPORTED
    operator = placeholder.operator or ""
    is_for_shell = placeholder.prefix in ("", RAW) and _SHELL_ONLY.fullmatch(operator)
    where = "outside of shell text" if is_for_shell else "on our names"
    return f"`{spell(placeholder)}`: `{operator}` is not supported {where}", SUPPORTED


def fault(placeholder: Placeholder, namespaces: Collection[str] = ()) -> tuple[int, str, str] | None:
    """(character of the text, message, cure) for what is wrong inside a form."""
    form = placeholder.form
    if form is None:
        return None
    argument = placeholder.start + len(UNCLOSED) + len(placeholder.path) - len(form.argument)
    if form.kind == "call":
        from prodigy.workflow.expression import ExpressionError, compile_expression  # few texts have a call

        try:
            compile_expression(form.argument)
        except ExpressionError as error:
            return (
                argument + error.column - 1,
                f"`{spell(placeholder)}` can't be read: {error.message}",
                error.hint or "",
            )
    elif form.kind == "file" and "${" in form.argument:
        cure = "read it in a shell step with a `capture`, e.g. cat ${item.path}"
        return placeholder.start, f"`{spell(placeholder)}`: the path of a file is text without ${{...}}", cure
    elif form.kind == "cmd" and parse_placeholders(form.argument, namespaces):
        cure = "run it as a shell step with a `capture`, where a value is data"
        return placeholder.start, f"`{spell(placeholder)}`: no placeholder can stand inside of a command", cure
    return None


def resolve(scope: Mapping[str, object], path: str, default: str | None = None, operator: str | None = None) -> str:
    """The text for a placeholder: its value after modifiers and filters, else its default. Raises Unresolved when there
    is neither. operator: one that `formats` knows, or None.
    """
    parts = (parse_parts(operator) or ()) if operator else ()
    value = find(scope, path)
    has_default = default is not None or any(part.name == "default" for part in parts)
    if value is None and has_default and path.endswith(")"):
        value = Miss("it has no value", path)  # the average of nothing, say: in a call null is nothing that was given
    for part in parts:
        if not isinstance(value, Miss):
            value = apply_part(part, value)
        elif part.name == "default":
            value = part.argument
    if not isinstance(value, Miss):
        return render(value)
    if default is None:
        raise Unresolved(path, value)
    return default


def fill_json(text: str, fill: Callable[[str], str]) -> object:
    """The value of a JSON text, with `fill` applied to every string in it; names of fields stay as they are."""

    def filled(value: object) -> object:
        if isinstance(value, str):
            return fill(value)
        if isinstance(value, list):
            return [filled(one) for one in value]
        return {name: filled(one) for name, one in value.items()} if isinstance(value, dict) else value

    return filled(json.loads(text))


def texts_in(text: str) -> list[str]:
    """The strings in a JSON text, in order."""
    found: list[str] = []

    def take(one: str) -> str:
        found.append(one)
        return one

    fill_json(text, take)
    return found


def interpolate_text(text: str, scope: Mapping[str, object], namespaces: Collection[str] = ()) -> str:
    """`text` with its placeholders replaced: for prompts, paths and messages, never for shell text.

    Names at the top of `scope` are ours too. Raises Unresolved, and UnsupportedPlaceholder for what `check_text`
    would have refused when the workflow was loaded.
    """
    ours = _ours((*namespaces, *scope))
    out: list[str] = []
    position = 0
    for placeholder in _parse(text, ours):
        if not _is_known(placeholder):
            what, cure = unsupported(placeholder)
            raise UnsupportedPlaceholder(what, hint=cure)
        if placeholder.form and (found := fault(placeholder, ours)):
            raise UnsupportedPlaceholder(found[1], hint=found[2])
        out.append(text[position : placeholder.start])
        out.append(resolve(scope, placeholder.path, placeholder.default, placeholder.operator))
        position = placeholder.end
    return "".join([*out, text[position:]])
