"""Reads YAML into nodes.

Written on ruamel.yaml's event stream instead of its composer: the nodes are typed, depth and aliases are bounded
while reading, and every key keeps its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ruamel.yaml import YAML
from ruamel.yaml import events as ev

from prodigy.errors import Problem
from prodigy.workflow.yaml_nodes import (
    Entry,
    Mapping,
    Node,
    Position,
    Scalar,
    ScalarKind,
    Sequence,
    Text,
    YamlSyntaxError,
    scalar_kind,
    visible,
)

# A workflow is some hundred nodes and ten levels deep; both limits only stop what was made to hurt.
MAX_DEPTH = 64
MAX_NODES = 100_000


@dataclass
class Document:
    """What a file holds. problems: mistakes that did not stop the reading."""

    root: Node | None
    text: Text
    problems: list[Problem] = field(default_factory=list)


def compose(text: Text) -> Document:
    """Read the one YAML document in `text`; `root` is None when there is none.

    Raises YamlSyntaxError for the mistakes after which the rest has no meaning, and what ruamel.yaml raises.
    """
    return _Composer(text).document()


class _Composer:
    def __init__(self, text: Text) -> None:
        self.text = text
        self.problems: list[Problem] = []
        self._source = text if text.file else None
        self._events: Iterator[ev.Event] = YAML(typ="safe", pure=True).parse(text.text)
        # An anchor whose node is still being read stands for None.
        self._anchored: dict[str, tuple[Node, int] | None] = {}
        self._nodes = 0

    def document(self) -> Document:
        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, ev.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise YamlSyntaxError(
                        self._at(event),
                        "a second document begins here",
                        "a file holds one workflow; remove the `---`",
                    )
                root = self._node(next(self._events), 1)
        return Document(root, self.text, self.problems)

    def _at(self, event: ev.Event) -> Position:
        return self.text.at(event.start_mark.index)

    def _node(self, event: ev.Event, depth: int) -> Node:
        if isinstance(event, ev.AliasEvent):
            return self._alias(event)
        if depth > MAX_DEPTH:
            raise YamlSyntaxError(self._at(event), f"this is nested more than {MAX_DEPTH} levels deep")
        before = self._nodes
        self._count(1, event)
        anchor = event.anchor if isinstance(event, ev.NodeEvent) else None
        if anchor is not None:
            self._anchored[anchor] = None
        node = self._content(event, depth)
        if anchor is not None:
            self._anchored[anchor] = (node, self._nodes - before)
        return node

    def _content(self, event: ev.Event, depth: int) -> Node:
        if isinstance(event, ev.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, ev.SequenceStartEvent):
            self._check_tag(event, "seq")
            return Sequence(tuple(self._items(depth)), self._at(event))
        self._check_tag(event, "map")
        return self._mapping(event, depth)

    def _alias(self, event: ev.AliasEvent) -> Node:
        name = event.anchor
        if name not in self._anchored:
            raise YamlSyntaxError(
                self._at(event),
                f"the alias `*{name}` has no anchor `&{name}` before it",
                "put text that begins with `*` in quotes",
            )
        anchored = self._anchored[name]
        if anchored is None:
            raise YamlSyntaxError(self._at(event), f"the alias `*{name}` stands inside the value that it names")
        node, weight = anchored
        self._count(weight, event)
        return node

    def _count(self, nodes: int, event: ev.Event) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise YamlSyntaxError(
                self._at(event), f"with its aliases expanded, the file has more than {MAX_NODES:,} values"
            )

    def _items(self, depth: int) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, ev.SequenceEndEvent):
                return
            yield self._node(event, depth + 1)

    def _mapping(self, start: ev.Event, depth: int) -> Mapping:
        own: dict[str, Entry] = {}
        merged: list[Mapping] = []
        for event in self._events:
            if isinstance(event, ev.MappingEndEvent):
                break
            at = self._at(event)
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if isinstance(value, Scalar) and value.start == value.end:
                value = replace(value, at=at)  # nothing stands there; the parser says where the next thing is
            if not isinstance(key, Scalar):
                self._problem(at, "a key must be one word, not a list or a mapping", _BRACES_HINT)
            elif key.is_plain and key.value == "<<" and key.value not in own:
                merged = self._merge_sources(value)
                own["<<"] = Entry(key, value)
            elif key.value in own:
                first = own[key.value].key.at.line
                self._problem(at, f"`{visible(key.value)}` stands twice in this mapping, first on line {first}")
            else:
                own[key.value] = Entry(key, value)
        if "<<" in own and own["<<"].key.is_plain:
            del own["<<"]
        for source in merged:
            for name, entry in source.entries.items():
                own.setdefault(name, entry)
        return Mapping(own, self._at(start))

    def _merge_sources(self, value: Node) -> list[Mapping]:
        sources = value.items if isinstance(value, Sequence) else (value,)
        mappings = [source for source in sources if isinstance(source, Mapping)]
        if len(mappings) != len(sources):
            self._problem(value.at, "`<<` takes a mapping, or a list of mappings")
        return mappings

    def _scalar(self, event: ev.ScalarEvent) -> Scalar:
        self._check_tag(event, *_SCALAR_KINDS)
        value: str = event.value
        start, end = event.start_mark.index, event.end_mark.index
        if _SURROGATE.search(value):
            self._problem(self.text.at(start), "this text has half of a surrogate pair in it, which is no character")
            value = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)  # so that messages can show it
        return Scalar(
            value=value,
            kind=self._kind(event),
            at=self.text.at(start),
            start=start,
            end=end,
            is_block=event.style in ("|", ">"),
            is_plain=event.style is None,
            source=self._source,
        )

    def _kind(self, event: ev.ScalarEvent) -> ScalarKind:
        tag = _tag(event)
        meant = scalar_kind(event.value)
        if not tag:
            return meant if event.style is None else "str"
        kind: ScalarKind = next((kind for kind in _SCALAR_KINDS if tag == _CORE_TAG + kind), "str")
        if kind != "str" and meant != kind and (kind, meant) != ("float", "int"):
            self._problem(self._at(event), f"the value does not fit its tag `!!{kind}`")
            return "str"
        return kind

    def _check_tag(self, event: ev.Event, *known: str) -> None:
        tag = _tag(event)
        if tag and tag != "!" and tag not in {_CORE_TAG + name for name in known}:
            shown = tag.replace(_CORE_TAG, "!!")
            self._problem(
                self._at(event),
                f"the tag `{visible(shown)}` means nothing here",
                "put text that begins with `!` in quotes",
            )

    def _problem(self, at: Position, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(at.line, at.column, message, hint, at.file))


_SURROGATE = re.compile("[\ud800-\udfff]")
_CORE_TAG = "tag:yaml.org,2002:"
_BRACES_HINT = "put a value with `${...}` or `{{...}}` in it in quotes"
_SCALAR_KINDS: tuple[ScalarKind, ...] = ("str", "int", "float", "bool", "null")


def _tag(event: ev.Event) -> str:
    tag = getattr(event, "tag", None)
    return str(tag) if tag else ""
