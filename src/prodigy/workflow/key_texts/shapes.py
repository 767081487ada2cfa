"""What may stand behind a key: the words from which the reference and the JSON Schema are made."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prodigy.workflow.catalogue import ANYWAY, RESERVED
from prodigy.workflow.keys import KeyTable

# Patterns are searched for, as JSON Schema does, and use what ECMA 262 and Python's `re` have in common.
VARIABLE = r"^(?!PRODIGY_)[A-Za-z_][A-Za-z0-9_]*$"
PASSED = r"^(?:[A-Za-z_][A-Za-z0-9_]*\*?|\*)$"  # a name, or its beginning
INSIDE = r"^(?![/~])(?!(?:.*/)?\.\.(?:/|$))(?!(?:.*/)?\.[gG][iI][tT](?:/|$))"
RESULT = rf"^(?!(?:{'|'.join(sorted(RESERVED))})$)[A-Za-z_][A-Za-z0-9_-]*$"
LABEL = r"^[^\u0000-\u001f\u007f]+$"


@dataclass(frozen=True)
class Text:
    """Text that is not blank; numbers and true count as the text they are written with. words: for people."""

    pattern: str | None = None
    words: str = "text"


@dataclass(frozen=True)
class AnyText:
    """Text, also an empty one. nothing: whether the value may be left out."""

    nothing: bool = False


@dataclass(frozen=True)
class Nothing:
    """A key without a value."""


@dataclass(frozen=True)
class Whole:
    """A whole number."""

    least: int = 1
    most: int = 999_999_999_999


@dataclass(frozen=True)
class Number:
    least: float = 0
    most: float | None = None


@dataclass(frozen=True)
class Flag:
    """True or false. only: the one of them that is accepted."""

    only: bool | None = None


@dataclass(frozen=True)
class Time:
    """Seconds, or a text such as `1h30m`. zero: whether 0 will do."""

    zero: bool = False


@dataclass(frozen=True)
class Choice:
    words: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """What the place, or the list of steps, of this name says. words: for people."""

    place: str
    words: str = "mapping"


@dataclass(frozen=True)
class Each:
    """A mapping of names that the author chooses. apart: keys in it that are no such names."""

    value: Shape
    names: str | None = None
    words: str | None = None
    apart: Mapping[str, Key] = field(default_factory=dict)


@dataclass(frozen=True)
class Many:
    """A list. or_one: whether one value may stand there without a list."""

    value: Shape
    or_one: bool = True
    least: int = 0


@dataclass(frozen=True)
class Either:
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Anything:
    """Any value. words: what is meant by it."""

    words: str = "anything"


Shape = Text | AnyText | Nothing | Whole | Number | Flag | Time | Choice | Part | Each | Many | Either | Anything


def either(*shapes: Shape) -> Either:
    return Either(shapes)


def choice(words: str) -> Choice:
    return Choice(tuple(words.split()))


STEPS = Part("steps", "steps")
COMMANDS = Part("commands", "command, steps")
COMMAND_OR_LIST = Part("command or list", "command, steps")
NAMED = Text(RESULT, "name")
CAPTURED = Text(rf"{RESULT}|^(?:{'|'.join(map(re.escape, ANYWAY))})$", "name")
PATH = Text(INSIDE, "path")


@dataclass(frozen=True)
class Key:
    """One key. what: a sentence. example: YAML, beginning with the key. deprecated: what to write instead."""

    shape: Shape
    what: str
    default: str
    example: str
    deprecated: str | None = None


@dataclass(frozen=True)
class Place:
    """One kind of mapping.

    where: as it is said in sentences, e.g. "under `map`". table: what the loader accepts; None: exactly `keys`.
    beside: the place whose keys may stand here too. required: keys that must be there. rules: more of the JSON Schema
    for it. hidden: not in the reference, because another place has the same keys.
    """

    name: str
    heading: str
    where: str
    keys: Mapping[str, Key]
    table: KeyTable | None = None
    intro: str = ""
    beside: str | None = None
    required: tuple[str, ...] = ()
    rules: Mapping[str, object] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()
    hidden: bool = False

    @property
    def runs(self) -> frozenset[str]:
        """The keys that may be written here now, without those of `beside`."""
        return frozenset(self.keys) if self.table is None else frozenset(self.keys) & self.table.runs

    @property
    def later(self) -> frozenset[str]:
        return frozenset() if self.table is None else self.table.later

    @property
    def synonyms(self) -> dict[str, str]:
        return {} if self.table is None else self.table.synonyms


def shapes_in(shape: Shape) -> Iterator[Shape]:
    """The shape and every one inside of it."""
    yield shape
    match shape:
        case Each(value=value, apart=apart):
            for inner in (value, *(key.shape for key in apart.values())):
                yield from shapes_in(inner)
        case Many(value=value):
            yield from shapes_in(value)
        case Either(shapes=shapes):
            for inner in shapes:
                yield from shapes_in(inner)
