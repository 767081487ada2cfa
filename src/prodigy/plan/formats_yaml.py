"""YAML as data: what comes out is JSON. Dates and `yes` are texts, as YAML 1.2 has it.

Written on ruamel.yaml's events, so that depth and aliases are bounded while reading: nine lines of aliases of aliases
could stand for more values than there is memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

from ruamel.yaml import YAML
from ruamel.yaml import events as ev
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from prodigy.plan.formats import InputError
from prodigy.plan.strict_json import MAX_DEPTH
from prodigy.workflow.yaml_nodes import Text, scalar_kind

MAX_VALUES = 5_000_000  # with aliases expanded
_TAG = "tag:yaml.org,2002:"
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_NUMBER = 4000  # digits; Python reads 4300


def read_yaml(text: str, where: str) -> object:
    """The one document of a YAML text. Raises InputError, with the line and the column."""
    source = Text(text.replace("\r\n", "\n"))
    try:
        return _Reader(source, where).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise InputError(f"not YAML: {error.problem or error.context}", where=place) from None
    except (YAMLError, ValueError) as error:  # a character that YAML does not allow
        raise InputError(f"not YAML: {str(error).splitlines()[0]}", where=where) from None
    except RecursionError:
        raise InputError(f"values are nested more than {MAX_DEPTH} levels deep", where=where) from None


class _Reader:
    """Folds events to values. An anchored value is shared by its aliases: nobody changes items."""

    def __init__(self, text: Text, where: str) -> None:
        self._text, self._where = text, where
        self._events: Iterator[ev.Event] = YAML(typ="safe", pure=True).parse(text.text)
        # (value, how many values it has); None while it is being read.
        self._anchored: dict[str, tuple[object, int] | None] = {}
        self._values = 0

    def document(self) -> object:
        found: object = None
        documents = 0
        for event in self._events:
            if isinstance(event, ev.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._error(event, "a second document begins here", "a file holds one; remove the `---`")
                found = self._value(next(self._events), 1)
        if not documents:
            raise InputError("this file is empty", where=self._where, hint="for no items, write []")
        return found

    def _value(self, event: ev.Event, depth: int) -> object:
        if isinstance(event, ev.AliasEvent):
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise self._error(event, f"values are nested more than {MAX_DEPTH} levels deep")
        before = self._values
        self._count(1, event)
        anchor = event.anchor if isinstance(event, ev.NodeEvent) else None
        if anchor is not None:
            self._anchored[anchor] = None
        value = self._content(event, depth)
        if anchor is not None:
            self._anchored[anchor] = (value, self._values - before)
        return value

    def _content(self, event: ev.Event, depth: int) -> object:
        if isinstance(event, ev.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, ev.SequenceStartEvent):
            self._check_tag(event, "seq")
            return list(self._elements(depth))
        self._check_tag(event, "map")
        return self._mapping(depth)

    def _elements(self, depth: int) -> Iterator[object]:
        for event in self._events:
            if isinstance(event, ev.SequenceEndEvent):
                return
            yield self._value(event, depth + 1)

    def _mapping(self, depth: int) -> dict[str, object]:
        own: dict[str, object] = {}
        merged: list[dict[str, object]] = []
        for event in self._events:
            if isinstance(event, ev.MappingEndEvent):
                break
            key = self._key(event)
            value = self._value(next(self._events), depth + 1)
            if key is None:
                merged = self._merged(value, event)
            elif key in own:
                raise self._error(event, f"the key {key[:80]!r} stands twice in this mapping")
            else:
                own[key] = value
        if not merged:
            return own
        brought: dict[str, object] = {}
        for source in merged:
            brought |= source
        return brought | own

    def _key(self, event: ev.Event) -> str | None:
        """A key's text; None for the merge key `<<`."""
        if not isinstance(event, ev.ScalarEvent):
            raise self._error(event, "a key must be one word, not a list, a mapping or an alias")
        self._count(1, event)
        if event.anchor is not None:
            self._anchored[event.anchor] = (event.value, 1)
        if event.value == "<<" and event.style is None:
            return None
        return self._checked_text(event)

    def _merged(self, value: object, event: ev.Event) -> list[dict[str, object]]:
        """What `<<` brings, the last first: earlier sources win."""
        sources = value if isinstance(value, list) else [value]
        mappings = [source for source in sources if isinstance(source, dict)]
        if len(mappings) != len(sources):
            raise self._error(event, "`<<` takes a mapping, or a list of mappings")
        self._count(sum(map(len, mappings)), event)
        return mappings[::-1]

    def _alias(self, event: ev.AliasEvent) -> object:
        name = event.anchor
        if name not in self._anchored:
            hint = "put text that begins with `*` in quotes"
            raise self._error(event, f"the alias `*{name}` has no anchor `&{name}` before it", hint)
        anchored = self._anchored[name]
        if anchored is None:
            raise self._error(event, f"the alias `*{name}` stands inside the value that it names")
        value, weight = anchored
        self._count(weight, event)
        return value

    def _count(self, values: int, event: ev.Event) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise self._error(event, f"with its aliases expanded, the file has more than {MAX_VALUES:,} values")

    def _scalar(self, event: ev.ScalarEvent) -> object:
        self._check_tag(event, *_VALUES, "str")
        tag = _tag_of(event)
        meant = scalar_kind(event.value)
        kind = (meant if event.style is None else "str") if not tag else tag.removeprefix(_TAG)
        if kind == "str" or kind == "!":
            return self._checked_text(event)
        if kind != meant and (kind, meant) != ("float", "int"):
            raise self._error(event, f"the value does not fit its tag `!!{kind}`")
        try:
            return _VALUES[kind](event.value)
        except ValueError as error:
            raise self._error(event, str(error), "put it in quotes to have it as text") from None

    def _checked_text(self, event: ev.ScalarEvent) -> str:
        text: str = event.value
        if _SURROGATE.search(text):
            raise self._error(event, "this text has half of a surrogate pair in it, which is no character")
        return text

    def _check_tag(self, event: ev.Event, *known: str) -> None:
        tag = _tag_of(event)
        if tag and tag != "!" and tag not in {_TAG + name for name in known}:
            shown = tag.replace(_TAG, "!!")[:80]
            raise self._error(event, f"the tag `{shown}` means nothing here", "put text that begins with `!` in quotes")

    def _error(self, event: ev.Event, what: str, hint: str | None = None) -> InputError:
        at = self._text.at(event.start_mark.index)
        return InputError(what, where=f"{self._where}:{at.line}:{at.column}", hint=hint)


def _tag_of(event: ev.Event) -> str:
    tag = getattr(event, "tag", None)
    return str(tag) if tag else ""


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("a whole number has thousands of digits")
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _float(text: str) -> float:
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a JSON value")
    return number


_VALUES: dict[str, Callable[[str], object]] = {
    "null": lambda _: None,
    "bool": lambda text: text.lower() == "true",
    "int": _whole,
    "float": _float,
}
