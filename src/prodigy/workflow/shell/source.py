"""A shell text with each placeholder replaced by a marker, an ordinary variable that a parser understands.

The parser counts bytes of the marked text; people count characters of their own. This module knows both.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from prodigy.workflow.interpolate import RAW, Placeholder, TextProblem, fault, parse_placeholders, problem_at
from prodigy.workflow.shell.operators import objection, take_apart

VARIABLE_PREFIX = "PRODIGY_"
# What stands for spliced text while the parsers look: a word that no number behind it can change.
RAW_WORD = re.compile(VARIABLE_PREFIX + "RAW_[0-9]+_")

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
        re.compile(VARIABLE_PREFIX + "(?:RAW_)?[0-9]"),
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

    number: counts occurrences from 0, those of raw text apart; equal placeholders share a `variable`.
    variable: its name; of raw text the word that stands for it.
    start, end: bytes of the marked text that hold `text`.
    """

    number: int
    placeholder: Placeholder
    variable: str
    start: int
    end: int

    @property
    def text(self) -> str:
        """What stands in the marked text."""
        return self.variable if is_raw(self.placeholder) else f"${{{self.variable}}}"

    @property
    def written(self) -> str:
        """The placeholder as people write it, without its default."""
        return spell_all(self.placeholder.path, self.placeholder.operator)


def is_raw(placeholder: Placeholder) -> bool:
    """Whether the value becomes part of the script's text."""
    return take_apart(placeholder.operator).is_raw


def spell_all(path: str, operator: str | None) -> str:
    """A placeholder with its operator."""
    behind = operator or ""
    before = RAW if behind.startswith(RAW) else ""
    return f"${{{before}{path}{behind.removeprefix(before)}}}"


@dataclass(frozen=True)
class MarkedText:
    """`original` with its placeholders replaced: `data`, UTF-8, with the `markers` in order.

    raws: the places of raw text, which nobody has to claim.
    """

    original: str
    data: bytes
    markers: tuple[Marker, ...]
    raws: tuple[Marker, ...] = ()

    def at(self, start: int) -> Marker | None:
        """The marker that begins at this byte."""
        return next((marker for marker in self.markers if marker.start == start), None)

    def within(self, start: int, end: int) -> list[Marker]:
        """The markers that lie inside these bytes, in order."""
        return [marker for marker in self.markers if start <= marker.start and marker.end <= end]

    def original_offset(self, offset: int) -> int:
        """The character of the original text for a byte of the marked one."""
        byte, character = 0, 0
        for marker in sorted((*self.markers, *self.raws), key=lambda marker: marker.start):
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
    """`text` with a marker for each placeholder. Call `check_source` first: operators are not judged here."""
    out: list[bytes] = []
    markers: list[Marker] = []
    raws: list[Marker] = []
    variables: dict[tuple[str, str | None, str | None], str] = {}
    position = size = 0
    for placeholder in parse_placeholders(text, namespaces):
        key = (placeholder.path, placeholder.default, placeholder.operator)
        found, name = (raws, "RAW_{}_") if is_raw(placeholder) else (markers, "{}")
        variable = variables.setdefault(key, VARIABLE_PREFIX + name.format(len(variables) + 1))
        before = text[position : placeholder.start].encode()
        start = size + len(before)
        size = start + len(variable) + (0 if is_raw(placeholder) else len("${}"))
        found.append(Marker(len(found), placeholder, variable, start, size))
        out += [before, found[-1].text.encode()]
        position = placeholder.end
    return MarkedText(text, b"".join([*out, text[position:].encode()]), tuple(markers), tuple(raws))


def check_source(text: str, namespaces: Collection[str]) -> list[TextProblem]:
    """What must be right before a text is marked: its characters, our reserved names, the placeholders' syntax."""
    placeholders = parse_placeholders(text, namespaces)
    problems = []
    for placeholder in placeholders:
        if found := objection(placeholder):
            problems.append(problem_at(text, placeholder.start, *found))
        elif inside := fault(placeholder, namespaces):
            problems.append(problem_at(text, *inside))
    for pattern, message, cure in _FOR_ALL + (_WITH_PLACEHOLDERS if placeholders else ()):
        if match := pattern.search(text):
            problems.append(problem_at(text, match.start(), message.format(ascii(match.group())), cure))
    return sorted(problems)
