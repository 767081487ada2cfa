"""python3 -m tools.modernise [--careful] MODULE: write its types as Python 3.10 and newer can.

`Optional[str]` becomes `str | None`, `List[int]` becomes `list[int]`; the rest of the file stays as it is, byte for
byte. `--careful` leaves everything outside of annotations alone, e.g. `Name = Union[str, "Thing"]`.
"""

from __future__ import annotations

import ast
import re
import sys
from itertools import pairwise
from pathlib import Path

from .spelling import GENERICS, UNIONS, annotations_of, old_spellings, parts, quoted, typing_names

_LONGEST_LINE = 88
Edit = tuple[int, int, bytes]  # from, to (offsets in bytes), what comes in their place


class Source:
    """Bytes and the syntax tree of them."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self.names = typing_names(self.tree)
        self._lines = [0]
        for line in text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def start(self, node: ast.expr | ast.stmt) -> int:
        return self._lines[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._lines[node.end_lineno - 1] + node.end_col_offset

    def line(self, number: int) -> int:
        """Where a line begins; lines count from 1."""
        return self._lines[number - 1]

    def with_edits(self, edits: list[Edit]) -> bytes:
        text = self.text
        for start, end, new in sorted(edits, reverse=True):
            text = text[:start] + new + text[end:]
        return text


def modernise(text: bytes, *, careful: bool = False) -> bytes:
    """The module in the new spelling. Raises SyntaxError; whether the result means the same is `check`'s business."""
    source = Source(text)
    roots = list(annotations_of(source.tree))
    inside = {id(part) for root in roots for part in parts(root)}
    forward = any(_needs_quotes(root, source.names) for root in roots)
    edits: list[Edit] = []
    for node in parts(source.tree):
        if id(node) in inside or not careful:
            edits += _new_spelling(source, node)
        if forward and id(node) in inside and (type_text := _unquoted(node, source.names)) is not None:
            assert isinstance(node, ast.expr)
            edits.append((source.start(node), source.end(node), type_text.encode()))
    return _with_imports(Source(source.with_edits(edits)), evaluate_later=forward)


def _needs_quotes(annotation: ast.expr, names: set[str]) -> bool:
    """Whether it has a string that can't stay one: `"Style" | None` is an error unless annotations are evaluated
    later, and then there is no need for quotes."""
    for part in parts(annotation):
        if (inner := quoted(part)) and old_spellings(inner, names):
            return True
        if isinstance(part, ast.Subscript) and isinstance(part.value, ast.Name) and part.value.id in UNIONS & names:
            return any(quoted(below) for below in parts(part))
    return False


def _unquoted(node: ast.AST, names: set[str]) -> str | None:
    inner = quoted(node)
    if inner is None:
        return None
    assert isinstance(node, ast.Constant)
    source = Source(str(node.value).encode())
    source.names = names
    edits = [edit for part in parts(source.tree) for edit in _new_spelling(source, part)]
    return source.with_edits(edits).decode()


def _new_spelling(source: Source, node: ast.AST) -> list[Edit]:
    """The edits for this node alone; what is below it has its own, in other places."""
    match node:
        case ast.Name(id=name) if name in GENERICS and name in source.names:
            return [(source.start(node), source.end(node), GENERICS[name].encode())]
        case ast.Subscript(value=ast.Name(id=name)) if name in UNIONS & source.names:
            members = [node.slice]
            if name == "Union" and isinstance(node.slice, ast.Tuple):
                members = node.slice.elts
            return _as_union(source, node, members, b" | None" if name == "Optional" else b"")
    return []


def _as_union(source: Source, node: ast.Subscript, members: list[ast.expr], last: bytes) -> list[Edit]:
    edits = [(source.start(node), source.start(members[0]), b"")]
    for left, right in pairwise(members):
        edits.append((source.end(left), source.start(right), b" | "))
    edits.append((source.end(members[-1]), source.end(node), last))
    for start, end, _ in edits:
        if b"#" in source.text[start:end]:
            raise ValueError(f"line {node.lineno}: a comment inside of a union would get lost")
    return edits


def _with_imports(source: Source, *, evaluate_later: bool) -> bytes:
    """Without the imports from typing that nothing needs any more, and with the one from __future__ if asked for."""
    edits: list[Edit] = []
    for statement in source.tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "typing":
            edits += _needed_imports(source, statement)
    body = source.tree.body
    after_docstring = body[1:] if ast.get_docstring(source.tree) is not None else body
    has_it = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in body)
    if evaluate_later and not has_it:
        first = source.line(after_docstring[0].lineno)
        edits.append((first, first, b"from __future__ import annotations\n\n"))
    return source.with_edits(edits)


def _needed_imports(source: Source, statement: ast.ImportFrom) -> list[Edit]:
    start, end = source.start(statement), source.end(statement)
    if b"#" in source.text[start:end]:
        return []
    gone = (UNIONS | GENERICS.keys()) - _words(source.tree)
    kept = [alias for alias in statement.names if alias.name not in gone or alias.asname]
    if len(kept) == len(statement.names):
        return []
    if not kept:
        return [(start, source.line((statement.end_lineno or 0) + 1), b"")]
    names = [ast.unparse(alias) for alias in kept]
    line = f"from typing import {', '.join(names)}"
    if len(line) > _LONGEST_LINE:
        line = "from typing import (\n" + "".join(f"    {name},\n" for name in names) + ")"
    return [(start, end, line.encode())]


def _words(tree: ast.Module) -> set[str]:
    """Every name in the code, and every word in its strings, which may be types in quotes; docstrings do not count."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    words: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            words.update(re.findall(r"\w+", node.value))
    return words


def main(arguments: list[str]) -> str | None:
    """What to exit with: a message when the module is beyond this program."""
    careful = "--careful" in arguments
    module = Path(arguments[-1])
    try:
        module.write_bytes(modernise(module.read_bytes(), careful=careful))
    except ValueError as error:
        return f"{module}: {error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
