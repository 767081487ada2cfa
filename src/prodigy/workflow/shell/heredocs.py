"""Here-documents, read a second time the way bash reads them: line by line, whatever else stands there.

shfmt reads the text of a here-document as if it were a word, which may end elsewhere. Where the two readings differ
the script is refused, for a placeholder could stand in code that was taken for text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from prodigy.workflow.shell.syntax import Node, descendants, end, kind, nodes, operator, start

HEREDOCS = ("<<", "<<-")

_SUBSTITUTIONS = ("CmdSubst", "ProcSubst")
_DELIMITER = re.compile(r"\w[\w.+-]*", re.ASCII)
_CONTINUED = re.compile(rb"(?<!\\)(?:\\\\)*\\\Z")


class Delimiter(NamedTuple):
    """The word that ends a here-document, and whether quotes make its text literal."""

    text: str
    is_quoted: bool


def delimiter(redirect: Node) -> Delimiter | None:
    """The delimiter, or None when it is more than a plain word in simple quotes."""
    parts = nodes(redirect.get("Word") or {}, "Parts")
    part = parts[0] if len(parts) == 1 else {}
    is_quoted = True
    match kind(part):
        case "Lit":
            text = str(part.get("Value", ""))
            is_quoted = text.startswith("\\")
            text = text.removeprefix("\\")
        case "SglQuoted" if not part.get("Dollar"):
            text = str(part.get("Value", ""))
        case "DblQuoted" if not part.get("Dollar") and all(kind(inner) == "Lit" for inner in nodes(part, "Parts")):
            text = "".join(str(inner.get("Value", "")) for inner in nodes(part, "Parts"))
        case _:
            return None
    return Delimiter(text, is_quoted) if _DELIMITER.fullmatch(text) else None


def misread(tree: Node, data: bytes) -> Iterator[int]:
    """Bytes at which here-documents begin that bash may read differently."""
    if b"<<" not in data:
        return
    redirects = _heredocs(tree)
    inside = {start(inner) for node in descendants(tree) if kind(node) in _SUBSTITUTIONS for inner in _heredocs(node)}
    # What is in backticks bash reads without knowing of here-documents, up to the next backtick.
    for node in (node for node in descendants(tree) if node.get("Backquotes")):
        yield from map(start, _heredocs(node))
    ends: dict[int, int] = {}  # the end of a command's line -> that of the last of its here-documents
    for redirect in sorted(redirects, key=start):
        line_end = _line_end(data, end(redirect["Word"]))
        read = _read(redirect, data, ends.get(line_end, line_end + 1), is_inside=start(redirect) in inside)
        if read is None:
            yield start(redirect)
            return  # what follows is uncertain as well
        ends[line_end] = read


def _heredocs(node: Node) -> list[Node]:
    return [inner for inner in descendants(node) if "Word" in inner and inner.get("Op") in HEREDOCS]


def _line_end(data: bytes, position: int) -> int:
    """The line feed that ends the command's line, escaped ones left out."""
    while True:
        found = data.find(b"\n", position)
        if found < 0 or not _CONTINUED.search(data, position, found):
            return found if found >= 0 else len(data)
        position = found + 1


def _read(redirect: Node, data: bytes, begin: int, *, is_inside: bool) -> int | None:
    """Where the line after the here-document begins, or None when shfmt's reading of it is another.

    is_inside: it stands in a substitution, where to bash a line that only begins with the delimiter may be the last.
    """
    ends, body = delimiter(redirect), redirect.get("Hdoc")
    if ends is None or begin > len(data):
        return None
    has_tabs = operator(redirect) == "<<-"
    if not ends.is_quoted and body and _is_nested_with_continuation(body, data):
        return None
    position, stop = begin, begin
    while True:
        line_start = position
        line, position = _line(data, position, joins=not ends.is_quoted)
        line = line.lstrip(b"\t") if has_tabs else line
        if line == ends.text.encode():
            stop = line_start
            break
        if position > len(data) or (is_inside and line.startswith(ends.text.encode())):
            return None
    # shfmt counts the delimiter in.
    agrees = start(body) == begin and end(body) in (stop, position - 1) if body else stop == begin
    return position if agrees else None


def _line(data: bytes, position: int, *, joins: bool) -> tuple[bytes, int]:
    """A line without its end, continued ones as one, and where the next begins: past the end for the last."""
    line = b""
    while True:
        found = data.find(b"\n", position)
        piece = data[position : found if found >= 0 else len(data)]
        position = found + 1 if found >= 0 else len(data) + 1
        if not joins or found < 0 or not _CONTINUED.search(piece):
            return line + piece, position
        line += piece[:-1]


def _is_nested_with_continuation(body: Node, data: bytes) -> bool:
    """A here-document in another one's substitution, where bash joins lines before it looks at either."""
    return bool(_heredocs(body)) and b"\\\n" in data[start(body) : end(body)]
