"""A shell text with each placeholder replaced by a marker, an ordinary variable that a parser understands.

The parser counts bytes of the marked text; people count characters of their own. This module knows both.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from prodigy.workflow.interpolate import Placeholder, TextProblem, check_text, parse_placeholders, problem_at

VARIABLE_PREFIX = "PRODIGY_"

_FOR_ALL = (
    (re.compile("[\0\ud800-\udfff]"), "the text holds the character {}, which no script can hold", "remove it"),
)
_WITH_PLACEHOLDERS = (
    (
        re.compile("\r"),
        "the text holds a carriage return, a space to some parsers and a letter to bash",
        "end lines with a line feed alone",
    ),
    (
        re.compile(VARIABLE_PREFIX + "[0-9]"),
        "{}: such names are reserved for the values of placeholders",
        "use another name",
    ),
    (
        re.compile("expand_aliases"),
        "{} changes what a script means after its placeholders were checked",
        "use a function instead of an alias",
    ),
)


@dataclass(frozen=True, slots=True)
class Marker:
    """One placeholder in the marked text.

    number: counts occurrences from 0; equal placeholders share a `variable`.
    start, end: bytes of the marked text that hold `${PRODIGY_n}`.
    """

    number: int
    placeholder: Placeholder
    variable: str
    start: int
    end: int

    @property
    def text(self) -> str:
        """What stands in the marked text."""
        return f"${{{self.variable}}}"


@dataclass(frozen=True)
class MarkedText:
    """`original` with its placeholders replaced: `data`, UTF-8, with the `markers` in order."""

    original: str
    data: bytes
    markers: tuple[Marker, ...]

    def at(self, start: int) -> Marker | None:
        """The marker that begins at this byte."""
        return next((marker for marker in self.markers if marker.start == start), None)

    def within(self, start: int, end: int) -> list[Marker]:
        """The markers that lie inside these bytes, in order."""
        return [marker for marker in self.markers if start <= marker.start and marker.end <= end]

    def original_offset(self, offset: int) -> int:
        """The character of the original text for a byte of the marked one."""
        byte, character = 0, 0
        for marker in self.markers:
            if offset < marker.start:
                break
            if offset < marker.end:
                return marker.placeholder.start
            byte, character = marker.end, marker.placeholder.end
        return character + len(self.data[byte:offset].decode("utf-8", "ignore"))

    def offset(self, line: int, column: int) -> int:
        """The byte at a line and column, both from 1, columns in bytes."""
        before = self.data.split(b"\n")[: line - 1]
        return min(sum(len(text) + 1 for text in before) + column - 1, len(self.data))

    def problem(self, offset: int, message: str, cure: str) -> TextProblem:
        """A problem at a byte of the marked text."""
        return problem_at(self.original, self.original_offset(offset), message, cure)


def mark(text: str, namespaces: Collection[str]) -> MarkedText:
    """`text` with a marker for each placeholder. Call `check_source` first: operators are not looked at here."""
    out: list[bytes] = []
    markers: list[Marker] = []
    variables: dict[tuple[str, str | None], str] = {}
    position = size = 0
    for number, placeholder in enumerate(parse_placeholders(text, namespaces)):
        key = (placeholder.path, placeholder.default)
        variable = variables.setdefault(key, f"{VARIABLE_PREFIX}{len(variables) + 1}")
        before = text[position : placeholder.start].encode()
        start = size + len(before)
        size = start + len(variable) + 3
        marker = Marker(number, placeholder, variable, start, size)
        markers.append(marker)
        out += [before, marker.text.encode()]
        position = placeholder.end
    return MarkedText(text, b"".join([*out, text[position:].encode()]), tuple(markers))


def check_source(text: str, namespaces: Collection[str]) -> list[TextProblem]:
    """What must be right before a text is marked: its characters, our reserved names, the placeholders' syntax."""
    problems = check_text(text, namespaces)
    rules = _FOR_ALL + (_WITH_PLACEHOLDERS if parse_placeholders(text, namespaces) else ())
    for pattern, message, cure in rules:
        if found := pattern.search(text):
            problems.append(problem_at(text, found.start(), message.format(ascii(found.group())), cure))
    return sorted(problems)
