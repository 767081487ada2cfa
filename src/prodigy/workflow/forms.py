"""Placeholders that are no path: `${env.NAME}`, `${file:PATH}`, `${cmd:SHELL}`, `${date:FMT}`, `${uuid}`,
`${json:PATH:from:NAME}` and calls such as `${sum(map.results[*].output)}`.

The shell has an operator that looks the same: `${file:0:3}` is a part of its variable `file`. So `-`, `=`, `?`, `+`,
digits, a space, `$` or `(` behind the colon leave it to the shell, and so does a text that sets the variable itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Literal, NamedTuple

from prodigy.workflow.expression_ast import FUNCTIONS, SYNONYMS

Kind = Literal["env", "file", "cmd", "date", "uuid", "json", "call"]

STEPS = re.compile(r"""(?:\.[\w-]+|\[[0-9]+\]|\["[^"\]\n]*"\]|\['[^'\]\n]*'\])*""")
NAME = re.compile(r"[^\W\d][\w-]*")

_HEAD = re.compile(
    r"(env)\.|(env|file|cmd|date|json):(?=[^-=?+\s$(}]|\$\.|\$\{(?:item\b|[\w-]+\.))|(uuid)(?=[}|])|([^\W\d]\w*)\("
)
_ENV = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PART_OF_A_VARIABLE = re.compile(r"[0-9]+(?=[:}])")
_UNTIL = re.compile(r"(?:(?!:-)[^}|\n])*")  # the end of a form, where a default, a filter or the brace comes
_FUNCTIONS = frozenset(FUNCTIONS) | {name for name, meant in SYNONYMS.items() if meant in FUNCTIONS}
_FROM = ":from:"


class Form(NamedTuple):
    """argument: the name, path, command, format or expression; of json, the path in it. source: of json, what is
    read."""

    kind: Kind
    argument: str
    source: str = ""


class Found(NamedTuple):
    """end: the character behind the form. is_closed: whether its own brackets are."""

    end: int
    is_closed: bool = True


def find_form(text: str, start: int, names: Collection[str]) -> Found | None:
    """The form that begins here, behind `${`, or None. names: those that the workflow has given a meaning."""
    head = _HEAD.match(text, start)
    if head is None:
        return None
    env, name, uuid, function = head.groups()
    if function:
        return _call(text, head.end()) if function.lower() in _FUNCTIONS else None
    if env:
        variable = _ENV.match(text, head.end())
        return Found(variable.end()) if variable else None
    if (name != "env" and (name or uuid) in names) or _sets(text, name or uuid):
        return None
    return Found(head.end()) if uuid else _prefixed(text, name, head.end())


def _prefixed(text: str, name: str, position: int) -> Found | None:
    """What stands behind `name:`."""
    if _PART_OF_A_VARIABLE.match(text, position):
        return None
    if name == "env":
        variable = _ENV.match(text, position)
        return Found(variable.end()) if variable else None
    if name == "cmd" or (name == "file" and text.startswith("${", position)):
        return _braced(text, position)
    match = _UNTIL.match(text, position)
    assert match
    if name == "date" and "%" not in match.group():
        return None
    if name == "json" and _json(match.group()) is None:
        return None
    return Found(match.end())


def _braced(text: str, position: int) -> Found:
    """A command up to the brace that closes the placeholder; those in it come in pairs."""
    depth = 0
    for index in range(position, len(text)):
        match text[index]:
            case "{":
                depth += 1
            case "}" if depth == 0:
                return Found(index)
            case "}":
                depth -= 1
            case "\n":
                return Found(index, is_closed=False)
    return Found(len(text), is_closed=False)


def _call(text: str, position: int) -> Found:
    """An expression up to the parenthesis that closes it; those in quotes do not count."""
    depth, quote, index = 1, "", position
    while index < len(text) and text[index] != "\n":
        character = text[index]
        if quote:
            index += character == "\\"
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
        index += 1
        if depth == 0:
            return Found(index)
    return Found(min(index, len(text)), is_closed=False)


@lru_cache(maxsize=256)
def _sets(text: str, name: str) -> bool:
    """Whether the text is a script with a variable of this name."""
    begins = r"(?:^|[;&|({]|\b(?:then|do|else|export|local|declare|readonly|typeset))[^\S\n]*"
    other = rf"(?!['\"]?\$\{{{name}\b)"  # `uuid=${uuid}` is set to ours
    loop = rf"\b(?:for|select)\s+{name}\s|\bread\b[^\n;|]*\s{name}\b"
    return re.search(rf"{begins}{name}\+?={other}|{loop}", text, re.MULTILINE) is not None


@lru_cache(maxsize=1024)
def form_of(path: str) -> Form | None:
    """The form that a placeholder's path is, or None for a real path."""
    if path == "uuid":
        return Form("uuid", "")
    if path.endswith(")"):
        return Form("call", path) if NAME.match(path) else None
    kind, colon, argument = path.partition(":")
    if not colon or not kind.isalpha():
        return Form("env", path[4:]) if path.startswith("env.") and _ENV.fullmatch(path, 4) else None
    match kind:
        case "json":
            return _json(argument)
        case "env" | "file" | "cmd" | "date":
            return Form(kind, argument)
    return None


def _json(argument: str) -> Form | None:
    """`PATH:from:NAME`, or `PATH:NAME` as it was written earlier."""
    inner, separator, source = argument.partition(_FROM)
    if not separator:
        inner, _, source = argument.rpartition(":")
    name = NAME.match(source)
    steps = STEPS.match(source, name.end()) if name else None
    if not inner or steps is None or steps.end() != len(source):
        return None
    return Form("json", inner, source)
