"""Words of a command as its rules see them: what is written out, what is a value, what only the shell knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prodigy.workflow.interpolate import spell
from prodigy.workflow.shell.checks import Piece
from prodigy.workflow.shell.flow import Flows, contents, is_whole_array, markers_at, yields_content
from prodigy.workflow.shell.source import RAW_WORD, VARIABLE_PREFIX, MarkedText, Marker
from prodigy.workflow.shell.syntax import Node, kind, nodes, parameter, start

_QUOTED_ESCAPE = re.compile(r'\\(\n|[\\"$`])')
_UNQUOTED = re.compile(r"\\\n|\\(.)|(\{(?!\})|[*?\[,])|([^\\{*?\[,]+|\{)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_NOT_SIMPLE = re.compile(r"""(?:\A|[^\\])(?:\\\\)*\\[^\\'"?abefnrtvE]""", re.DOTALL)
_ESCAPED_AS = {"a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NUMBERS = frozenset("?#$")  # parameters that are always one word
_SPLIT = Piece(kind="split")
_SHELL = Piece(kind="shell")


def _as_it_is(text: str) -> Piece:
    return Piece(kind="text", text=text)


def _ansi_c(text: str) -> Piece:
    """The text of `$'...'`; what is not a simple escape is for the shell to know."""
    if _NOT_SIMPLE.search(text):
        return _SHELL
    return Piece(kind="text", text=_ESCAPE.sub(lambda match: _ESCAPED_AS.get(match[1], match[1]), text))


@dataclass(frozen=True)
class Hit:
    """A place where a value stands.

    offset: byte of the marked text. label: how messages call it. marker: None for a variable that holds a value.
    holds: the placeholders of which a plain copy may be there, the marker itself or what the variable holds.
    """

    offset: int
    label: str
    marker: Marker | None
    holds: tuple[Marker, ...]

    @property
    def example(self) -> str:
        """What to write in an example of the cure."""
        return self.marker.written if self.marker else self.label.split(",")[0].strip("`")

    @property
    def origin(self) -> str:
        """The placeholder that the value comes from, for an example outside of the script, where operators are none."""
        found = self.marker or next(iter(self.holds), None)
        return spell(found.placeholder) if found else "${...}"


@dataclass(frozen=True)
class Argument:
    """One word. hits: every value in it, also inside `$(...)` and variables that hold one."""

    word: Node
    pieces: tuple[Piece, ...]
    hits: tuple[Hit, ...]

    @property
    def text(self) -> str | None:
        """The word when all of it is written out."""
        return "".join(p.text for p in self.pieces) if all(p.kind == "text" for p in self.pieces) else None

    @property
    def prefix(self) -> str:
        """What is written out at its beginning."""
        text = ""
        for piece in self.pieces:
            if piece.kind != "text":
                break
            text += piece.text
        return text

    @property
    def basename(self) -> str | None:
        """The last component of a path when it is written out, as in `"$ROOT/bin/run"`."""
        if self.text is not None:
            return self.text.rsplit("/", 1)[-1]
        tail = self.pieces[-1]
        return tail.text.rsplit("/", 1)[-1] if tail.kind == "text" and "/" in tail.text else None

    @property
    def may_vanish(self) -> bool:
        """Whether the shell may make no word of it, or several: `$x`, `"$@"`, `*`."""
        return all(piece.kind == "split" for piece in self.pieces)

    @property
    def literal(self) -> str:
        """Everything that is written out, without what is between."""
        return "".join(piece.text for piece in self.pieces if piece.kind == "text")

    @property
    def may_begin_with_value(self) -> bool:
        """Whether a value decides the first character of a word."""
        at_start = True
        for piece in self.pieces:
            if piece.kind == "value" and at_start:
                return True
            at_start = piece.kind in ("split", "raw") or (at_start and not piece.text)
        return False

    @property
    def has_raw(self) -> bool:
        """Whether raw text is a part of it."""
        return any(piece.kind == "raw" for piece in self.pieces)

    @property
    def has_marker(self) -> bool:
        """Whether a placeholder stands in it, not just a variable."""
        return any(hit.marker for hit in self.hits)


@dataclass(frozen=True)
class Reader:
    """Makes arguments of words, knowing where the placeholders are and where their values go."""

    source: MarkedText
    flows: Flows

    def argument(self, word: Node) -> Argument:
        """The word with its pieces and hits."""
        return Argument(word, tuple(self.pieces(word)), tuple(self.hits(word)))

    def hits(self, node: Node, *, through_commands: bool = True) -> list[Hit]:
        """Every value in the node and below, in the order of the tree."""
        found: list[Hit] = []
        for part in contents(node, through_commands=through_commands):
            found += [self.hit(marker) for marker in markers_at(part, self.source)]
            if yields_content(part):
                found += self.held_by(part)
        return found

    def hit(self, marker: Marker) -> Hit:
        """A placeholder as a hit."""
        return Hit(marker.start, f"`{marker.written}`", marker, (marker,))

    def held_by(self, expansion: Node) -> Iterator[Hit]:
        """The variable that a ParamExp reads, when it may hold a value."""
        name = parameter(expansion)
        held = self.flows.derived.get(name)
        if held:
            markers = self.source.markers
            copies = tuple(markers[number] for number in sorted(self.flows.direct.get(name, ())))
            label = f"`${name}`, which holds {self.hit(markers[min(held)]).label},"
            yield Hit(start(expansion), label, None, copies)

    def pieces(self, word: Node) -> Iterator[Piece]:
        """The word in pieces. Quotes are gone, escapes resolved."""
        return _with_raw(self._pieces(word))

    def _pieces(self, word: Node) -> Iterator[Piece]:
        in_braces = False
        parts = nodes(word, "Parts")
        for index, part in enumerate(parts):
            if kind(part) == "Lit":
                value = str(part["Value"])
                yield from _unquoted(value, is_first=index == 0, in_braces=in_braces, alone=len(parts) == 1)
                in_braces = in_braces or "{" in value
            elif kind(part) == "DblQuoted" and not part.get("Dollar"):
                inside = nodes(part, "Parts")
                if not any(_is_list(inner) for inner in inside):
                    yield Piece(kind="text")  # quotes make a word, be it empty
                for inner in inside:
                    yield from self._quoted(inner)
            else:
                yield from self._other(part)

    def _quoted(self, part: Node) -> Iterator[Piece]:
        if kind(part) == "Lit":
            yield Piece(kind="text", text=_QUOTED_ESCAPE.sub(lambda m: m[1].strip("\n"), str(part["Value"])))
        elif markers := markers_at(part, self.source):
            yield Piece(kind="value", text=markers[0].variable)
        else:
            yield _SPLIT if _is_list(part) else _SHELL

    def _other(self, part: Node) -> Iterator[Piece]:
        """Single quotes, and everything the shell expands outside of quotes."""
        if kind(part) == "SglQuoted":
            yield from self._literal(part, _ansi_c if part.get("Dollar") else _as_it_is)
        elif markers := markers_at(part, self.source):
            yield Piece(kind="value", text=markers[0].variable)
        else:
            whole = kind(part) in ("DblQuoted", "ArithmExp", "ProcSubst") or parameter(part) in _NUMBERS
            yield _SHELL if whole else _SPLIT

    def _literal(self, part: Node, decode: Callable[[str], Piece]) -> Iterator[Piece]:
        text = str(part.get("Value", ""))
        for marker in markers_at(part, self.source):
            before, text = text.split(marker.text, 1)
            yield decode(before)
            yield Piece(kind="value", text=marker.variable)
        yield decode(text)


def _with_raw(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same with raw text told from what the author wrote."""
    for piece in pieces:
        if piece.kind != "text" or VARIABLE_PREFIX not in piece.text:
            yield piece
            continue
        for index, text in enumerate(RAW_WORD.split(piece.text)):
            if index:
                yield Piece(kind="raw")
            if text:
                yield Piece(kind="text", text=text)


def _is_list(part: Node) -> bool:
    """`"$@"` and `"${a[@]}"` make any number of words although they are quoted."""
    return kind(part) == "ParamExp" and (is_whole_array(part) or bool(part.get("Excl")))


def _unquoted(value: str, *, is_first: bool, in_braces: bool, alone: bool) -> Iterator[Piece]:
    if alone and value == "[":
        yield Piece(kind="text", text=value)
        return
    if is_first and value.startswith("~"):
        yield _SHELL
        value = value[len(value.split("/", 1)[0]) :]
    for match in _UNQUOTED.finditer(value):
        escaped, special, plain = match.groups()
        if special == "," and not in_braces:
            plain, special = special, None
        in_braces = in_braces or special == "{"
        if special:
            yield _SPLIT
        elif escaped or plain:
            yield Piece(kind="text", text=escaped or plain)
