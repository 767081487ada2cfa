"""Claims placeholders inside words and arithmetic.

Claiming means: an edit that makes the shell expand the marker as exactly one word (or part of one), and the checks
that its value must pass. To support another part of a word, add a method to the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from prodigy.workflow.shell.findings import Edit, Findings
from prodigy.workflow.shell.flow import is_arithmetic, markers_at
from prodigy.workflow.shell.source import Marker
from prodigy.workflow.shell.syntax import Node, children, end, kind, nodes, start

Visit = Callable[[Node], None]

_ENDS_IN_NAME = re.compile(r"(?<![0-9A-Za-z_])[A-Za-z_]\w*$")
_BARE = '"{}"'
_SINGLE_QUOTED = "'\"{}\"'"
_ANSI_C_QUOTED = "'\"{}\"$'"
# Text of $'...' after which the quotes can be ended: no backslash is open, nor a control character.
_ANSI_C = re.compile(rb"(?:[^\\]|\\[^c]|\\c(?!\Z))*", re.DOTALL)
_SPECIAL_IN_HEREDOC = re.compile(r"[\\$`]")


class Words:
    """The part of the walk that looks inside words; `visit_statements` goes on with those of a substitution."""

    def __init__(self, findings: Findings, visit_statements: Visit) -> None:
        self.findings = findings
        self.visit_statements = visit_statements
        self._bare: Mapping[str, Visit] = {
            "Lit": lambda part: findings.refuse(part, "escaped"),
            "SglQuoted": self._single_quoted,
            "DblQuoted": self._double_quoted,
            "ParamExp": self._expansion,
            "CmdSubst": self._substitution,
            "ProcSubst": visit_statements,
            "ArithmExp": lambda part: self.arithmetic(part["X"]),
            "ExtGlob": lambda part: findings.refuse(part, "extglob"),
        }
        self._quoted: Mapping[str, Visit] = {
            name: self._bare[name] for name in ("Lit", "ParamExp", "CmdSubst", "ArithmExp")
        }

    def word(self, word: Node) -> None:
        """A word that the shell expands: anything bare becomes quoted."""
        for part in nodes(word, "Parts"):
            if marker := self._marker(part):
                self._claim(marker, _BARE)
            elif visit := self._bare.get(kind(part)):
                visit(part)

    def _marker(self, part: Node) -> Marker | None:
        markers = markers_at(part, self.findings.source) if kind(part) == "ParamExp" else []
        return markers[0] if markers else None

    def _claim(self, marker: Marker, template: str | None = None) -> None:
        self.findings.claim(marker, template.format(marker.text) if template else None)

    def _single_quoted(self, part: Node) -> None:
        template = _ANSI_C_QUOTED if part.get("Dollar") else _SINGLE_QUOTED
        position = start(part) + len("$'")
        for marker in markers_at(part, self.findings.source):
            if part.get("Dollar") and not _ANSI_C.fullmatch(self.findings.source.data, position, marker.start):
                self.findings.refuse(part, "ansi_c")
                return
            self._claim(marker, template)
            position = marker.end

    def _double_quoted(self, part: Node) -> None:
        if part.get("Dollar"):
            self.findings.refuse(part, "translated")
            return
        self.inside_quotes(part)

    def inside_quotes(self, part: Node) -> None:
        """What stands in double quotes, or in a here-document whose delimiter has no quotes."""
        for inner in nodes(part, "Parts"):
            if marker := self._marker(inner):
                self._claim(marker)
            elif visit := self._quoted.get(kind(inner)):
                visit(inner)

    def quoted_heredoc(self, body: Node) -> None:
        """The text of a here-document that loses the quotes of its delimiter: all but the markers is escaped."""
        position = start(body)
        for marker in self.findings.source.within(start(body), end(body)):
            self._escape(position, marker.start)
            self._claim(marker)
            position = marker.end
        self._escape(position, end(body))

    def _escape(self, begin: int, stop: int) -> None:
        text = self.findings.source.data[begin:stop].decode()
        self.findings.edits.append(Edit(begin, stop, _SPECIAL_IN_HEREDOC.sub(r"\\\g<0>", text)))

    def _substitution(self, part: Node) -> None:
        if part.get("Backquotes"):
            self.findings.refuse(part, "backticks")
        elif part.get("TempFile") or part.get("ReplyVar"):
            self.findings.refuse(part, "function_substitution")
        else:
            self.visit_statements(part)

    def _expansion(self, part: Node) -> None:
        """A `${...}` of the shell's own: indexes and slices are arithmetic, the rest of it is refused."""
        for name, child in children(part):
            if name == "Slice":
                for _, expression in children(child):
                    self.arithmetic(expression)
            elif is_arithmetic(part, name):
                self.arithmetic(child)
            else:
                self.findings.refuse(child, "expansion")

    def arithmetic(self, expression: Node, *, is_word: bool = False) -> None:
        """What bash evaluates. is_word: bash expands it as a word first, so that a bare marker needs quotes."""
        if kind(expression) != "Word":
            for _, operand in children(expression):
                self.arithmetic(operand, is_word=is_word)
            return
        self._operands(nodes(expression, "Parts"), self._bare, _BARE if is_word else None)

    def _operands(self, parts: Sequence[Node], visits: Mapping[str, Visit], template: str | None) -> None:
        for before, part in zip([None, *parts], parts, strict=False):
            if marker := self._marker(part):
                self._evaluated(marker, part, before, template)
            elif kind(part) == "DblQuoted" and not part.get("Dollar"):
                self._operands(nodes(part, "Parts"), self._quoted, None)
            elif kind(part) == "SglQuoted":
                self.findings.refuse(part, "arithmetic_quotes")
            elif visit := visits.get(kind(part)):
                visit(part)

    def _evaluated(self, marker: Marker, part: Node, before: Node | None, template: str | None) -> None:
        """bash runs the `$(...)` of `a[$(...)]` here although it is quoted, so only numbers may pass.

        Nor may a number complete the name of a variable: that could hold anything.
        """
        if before and (kind(before) != "Lit" or _ENDS_IN_NAME.search(str(before["Value"]))):
            self.findings.refuse(part, "arithmetic_name")
            return
        self._claim(marker, template)
        self.findings.check_value("integer", marker)
