"""What an expression is once it is read: its nodes, the functions there are, and the canonical text of a node."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prodigy.errors import UsageError

SYNONYMS = {"=": "==", "startswith": "starts_with", "endswith": "ends_with", "average": "avg"}


class ExpressionError(UsageError):
    """An expression that cannot be used: its syntax, a regex, a function or its arguments.

    message: what is wrong. column: where, from 1, counting every character of the text, line breaks too.
    hint: what to do about it, or None.
    """

    def __init__(self, message: str, column: int, hint: str | None = None) -> None:
        super().__init__(message, where=f"column {column}", hint=hint)
        self.message = message
        self.column = column


class Signature(NamedTuple):
    """How many arguments a function takes, and how a call is written."""

    least: int
    most: int
    usage: str


def _unary(*names: str) -> dict[str, Signature]:
    return {name: Signature(1, 1, f"{name}(x)") for name in names}


# What the second argument of a function of lists is: a text, of which this is expected.
OPTIONS = {
    "count": "condition",
    "where": "condition",
    "group_by": "path",
    "each": "path",
    "concat": "text",
    "sort": "direction",
}
# Functions of two arguments that may also stand between them; a call of one is read as the comparison.
INFIX = ("contains", "starts_with", "ends_with", "matches")
CHECKS = ("is_null", "is_not_null", "is_number", "is_string", "is_bool", "is_array", "is_object", "exists")
AGGREGATES = (
    "sum", "count", "min", "max", "avg", "median", "stddev", "variance", "collect", "unique", "concat", "merge",
    "flatten", "sort",
)  # fmt: skip
FUNCTIONS: dict[str, Signature] = {
    **{name: Signature(2, 2, f"{name}(x, y)") for name in INFIX},
    **_unary(*CHECKS),
    "length": Signature(1, 2, "length(x) or length(x, N)"),
    **_unary(*AGGREGATES),
    "count": Signature(1, 2, "count(x) or count(x, 'condition')"),
    "concat": Signature(1, 2, "concat(x) or concat(x, 'separator')"),
    "sort": Signature(1, 2, "sort(x) or sort(x, 'desc')"),
    "group_by": Signature(2, 2, "group_by(x, 'path')"),
    "where": Signature(2, 2, "where(x, 'condition')"),
    "each": Signature(2, 2, "each(x, 'path')"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A constant. Unlike in Python, 1, 1.0 and true are three different ones."""

    value: str | int | float | bool | None
    column: int = field(default=0, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and repr(self.value) == repr(other.value)

    def __hash__(self) -> int:
        return hash(repr(self.value))


@dataclass(frozen=True, slots=True)
class Path:
    """A path without `${}`; `braces` says whether it was written as a variable."""

    text: str
    braces: bool = False
    column: int = field(default=0, compare=False, repr=False)

    @property
    def presence_of(self) -> str | None:
        """For `${x.exists}`: `x`. A bare `x.exists` is a field of that name, as any other."""
        head = self.text.removesuffix(".exists")
        return head if self.braces and head != self.text else None


@dataclass(frozen=True, slots=True)
class Listing:
    """A list in brackets."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of `FUNCTIONS` that is not in `INFIX`."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """Two operands and one of `== != < <= > >= in`, `not in` or `INFIX` between them."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    part: Node


@dataclass(frozen=True, slots=True)
class And:
    """Two or more conditions that all must hold."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more conditions of which one must hold."""

    parts: tuple[Node, ...]


Node = Literal | Path | Listing | Call | Compare | Not | And | Or

_TIGHTNESS: dict[type, int] = {Or: 0, And: 1, Not: 2, Compare: 3}
_OPERAND = 4
_ESCAPED = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_TO_ESCAPE = re.compile(r"[\\'\n\t\r]")


def show(node: Node) -> str:
    """The canonical text of a node; reading it gives the node again."""
    match node:
        case Or(parts):
            return " || ".join(_within(part, 1) for part in parts)
        case And(parts):
            return " && ".join(_within(part, 2) for part in parts)
        case Not(part):
            return f"!{_within(part, 2)}"
        case Compare(operator, left, right):
            return f"{_within(left, _OPERAND)} {operator} {_within(right, _OPERAND)}"
        case Call(name, arguments):
            return f"{name}({_series(arguments)})"
        case Listing(items):
            return f"[{_series(items)}]"
        case Path(text, braces):
            return f"${{{text}}}" if braces else text
        case Literal(value):
            return _constant(value)


def _within(node: Node, tightness: int) -> str:
    text = show(node)
    return text if _TIGHTNESS.get(type(node), _OPERAND) >= tightness else f"({text})"


def _series(nodes: Sequence[Node]) -> str:
    return ", ".join(map(show, nodes))


def _constant(value: str | float | None) -> str:
    if isinstance(value, str):
        return "'" + _TO_ESCAPE.sub(lambda found: _ESCAPED[found.group()], value) + "'"
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else repr(value)
    )
