"""How values become text in placeholders: rendering, modifiers such as `:json`, and filters such as `|length:9`.

`${x:*.md:json|length:100|default:none}`: modifiers stand first and filters behind them, each taking what the one
before gave. A glob counts before a format, whichever of them is written first.
"""

from __future__ import annotations

import csv
import fnmatch
import io
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

FORMATS = {"json": "json", "lines": "lines", "newline": "lines", "csv": "csv", "comma": "csv"}

_PART = re.compile(
    r"""\s*\|\s*([a-z]+)\s*(?::\s*('[^']*'|"[^"]*"|[^|]*?)\s*)?(?=\||\Z)|:([^:|%#\s][^:|%#]*?)\s*(?=[:|]|\Z)"""
)


class Names(tuple[str, ...]):
    """Names that stand side by side, separated by spaces, where a text asks for them."""

    __slots__ = ()


class Part(NamedTuple):
    """One modifier or filter: glob, json, lines, csv, length or default, and what is written behind it."""

    name: str
    argument: str | None = None


@lru_cache(maxsize=1024)
def parse_parts(text: str) -> tuple[Part, ...] | None:
    """The modifiers and filters in what stands behind a path, in the order in which they count; None: it is something
    else."""
    globs: list[Part] = []
    formats: list[Part] = []
    filters: list[Part] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            return None
        position = match.end()
        name, argument, modifier = match.groups()
        if name is not None:
            filters.append(Part(name, None if argument is None else _unquoted(argument)))
        elif filters:
            return None
        elif modifier in FORMATS:
            formats.append(Part(FORMATS[modifier]))
        else:
            globs.append(Part("glob", modifier))
    if len(formats) > 1 or not all(map(_is_meant, (*globs, *filters))):
        return None
    return (*globs, *formats, *filters)


def _is_meant(part: Part) -> bool:
    match part:
        case Part("glob", str() as pattern):
            return "*" in pattern or "?" in pattern
        case Part("default", str()) | Part("length", None):
            return True
        case Part("length", str() as number):
            return number.isascii() and number.isdigit() and len(number) < 10
    return False


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def apply_part(part: Part, value: object) -> object:
    """The value after a modifier or filter. Never raises: what is no list is one with itself as its only entry."""
    match part:
        case Part("glob", str() as pattern):
            matches = re.compile(fnmatch.translate(pattern)).match
            kept = [entry for entry in _entries(value) if matches(render(entry))]
            return Names(map(render, kept)) if isinstance(value, Names) else kept
        case Part("json"):
            return _json(value)
        case Part("lines"):
            return "\n".join(map(render, _entries(value)))
        case Part("csv"):
            return _csv(map(render, _entries(value)))
        case Part("length", None):
            return _length(value)
        case Part("length", str() as number):
            return render(value)[: int(number)]
    return value


def _entries(value: object) -> Sequence[object]:
    """A text counts as its lines, and null as nothing."""
    if value is None:
        return ()
    if isinstance(value, str):
        return value.removesuffix("\n").split("\n") if value else ()
    return value if isinstance(value, Sequence) and not isinstance(value, bytes) else (value,)


def _csv(entries: map[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(entries)
    return line.getvalue().removesuffix("\r\n")


def _length(value: object) -> int:
    if value is None:
        return 0
    return len(value) if isinstance(value, str | Mapping | Sequence) else len(render(value))


def render(value: object) -> str:
    """The text of a value: a string as it is, names with spaces between them, anything else as compact JSON (`true`,
    `null`, `[1,"é"]`)."""
    if isinstance(value, str):
        return value
    return " ".join(value) if isinstance(value, Names) else _json(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    """What json does not know by itself: other mappings and sequences, and text for the rest (dates, paths)."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Sequence) else str(value)
