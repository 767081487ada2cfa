"""The nodes of a YAML file: each knows where it stands, and scalars keep their text."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal, NamedTuple

from prodigy.errors import Problem

ScalarKind = Literal["null", "bool", "int", "float", "str"]


class Position(NamedTuple):
    """A place in a file; both count from 1, columns in characters. file: the name of another file than the main one."""

    line: int
    column: int
    file: str = ""


@dataclass(frozen=True, eq=False)
class Scalar:
    """One value without parts.

    kind: what YAML 1.2 makes of `value`. start, end: its offsets in the file's text, indicators included.
    source: the text of another file than the main one.
    """

    value: str
    kind: ScalarKind
    at: Position
    start: int
    end: int
    is_block: bool = False
    is_plain: bool = False
    source: Text | None = None


@dataclass(frozen=True, eq=False)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    at: Position


class Entry(NamedTuple):
    """One `key: value` of a mapping."""

    key: Scalar
    value: Node


@dataclass(frozen=True, eq=False)
class Mapping:
    """A mapping with its merge keys (`<<`) resolved: own keys win, then the sources in their order."""

    entries: dict[str, Entry]
    at: Position


Node = Scalar | Sequence | Mapping


class YamlSyntaxError(Exception):
    """The text cannot be read on; `problem` says where and why."""

    def __init__(self, at: Position, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.problem = Problem(at.line, at.column, message, hint, at.file)


class Text:
    """The text of a file (line ends are `\\n`), and the way from an offset to a position.

    file: its name, "" for the main file of a workflow.
    """

    def __init__(self, text: str, file: str = "") -> None:
        self.text = text
        self.file = file
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def at(self, offset: int) -> Position:
        """The position of the character at `offset`, counted from 0."""
        offset = max(0, min(offset, len(self.text)))
        line = bisect_right(self._line_starts, offset)
        return Position(line, offset - self._line_starts[line - 1] + 1, self.file)

    def line(self, number: int) -> str:
        """The line `number`, from 1, without its end."""
        start = self._line_starts[number - 1]
        return self.text[start:].partition("\n")[0]

    def inside(self, scalar: Scalar, line: int, column: int) -> Position:
        """Where `line` and `column` (from 1) of a scalar's value stand in its file.

        Exact for block scalars and for all others without escapes; otherwise where the scalar begins.
        """
        if scalar.source is not None and scalar.source is not self:
            return scalar.source.inside(scalar, line, column)
        lines = scalar.value.split("\n")
        line = max(1, min(line, len(lines)))
        target = sum(len(part) + 1 for part in lines[: line - 1]) + column - 1
        anchors = self._anchors(scalar)
        if not anchors:
            return scalar.at
        value_offset, file_offset, length = anchors[0]
        for anchor in anchors:
            if anchor[0] > target:
                break
            value_offset, file_offset, length = anchor
        return self.at(file_offset + max(0, min(target - value_offset, length)))

    def _anchors(self, scalar: Scalar) -> list[tuple[int, int, int]]:
        """(offset in the value, offset in the file, length) of the content of each of the scalar's lines.

        YAML only removes or changes white space around a line's content, so the contents follow one another
        in the value, with white space between them.
        """
        anchors: list[tuple[int, int, int]] = []
        value_offset, file_offset = 0, scalar.start
        for number, raw in enumerate(self.text[scalar.start : scalar.end].split("\n")):
            line_offset, file_offset = file_offset, file_offset + len(raw) + 1
            if number == 0 and scalar.is_block:
                continue  # the line of the `|` or `>`
            if not (scalar.is_block or scalar.is_plain):
                raw, line_offset = self._unquoted(scalar, raw, line_offset)
            content = raw.strip(" \t")
            if not content:
                continue
            value_offset = _skip_space(scalar.value, value_offset)
            if not scalar.value.startswith(content, value_offset):
                # Behind a block scalar come comments; anywhere else this is an escape sequence.
                return anchors if scalar.is_block else []
            indent = len(raw) - len(raw.lstrip(" \t"))
            anchors.append((value_offset, line_offset + indent, len(content)))
            value_offset += len(content)
        return anchors

    @staticmethod
    def _unquoted(scalar: Scalar, raw: str, offset: int) -> tuple[str, int]:
        if offset == scalar.start:
            raw, offset = raw[1:], offset + 1
        if offset + len(raw) >= scalar.end:
            raw = raw[:-1]
        return raw, offset


def visible(text: str) -> str:
    """`text` for a message: on one line, short, and without what a terminal would obey."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:41])
    return shown if len(text) <= 40 else shown[:40] + "…"


def _skip_space(text: str, offset: int) -> int:
    while offset < len(text) and text[offset] in " \t\n":
        offset += 1
    return offset


# The YAML 1.2 core schema. Its booleans are `true` and `false` alone; dates are text.
_KINDS: tuple[tuple[ScalarKind, re.Pattern[str]], ...] = (
    ("null", re.compile(r"~|null|Null|NULL|")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    (
        "float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
    ),
)


def scalar_kind(text: str) -> ScalarKind:
    """What a plain scalar is in YAML 1.2: `yes` and `2024-05-01` are text, `0x1F` is a number."""
    for kind, pattern in _KINDS:
        if pattern.fullmatch(text):
            return kind
    return "str"
