"""Which variables of a script may hold a value, and which of them bash may evaluate as arithmetic.

Flow-insensitive on purpose: an assignment anywhere in the script counts everywhere in it, functions and subshells
included. What passes through `$(...)` is followed for uses as code, not for arithmetic: `n=$(wc -l < ${item.path})`
is a number although a value stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prodigy.workflow.shell.source import MarkedText, Marker
from prodigy.workflow.shell.syntax import Node, children, end, kind, nodes, operator, parameter, start

ARITHMETIC_TESTS = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge"})

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# Fields that bash reads as arithmetic, by the type of their node; an index is arithmetic wherever it stands.
_ARITHMETIC_FIELDS: Mapping[str, tuple[str, ...]] = {
    "ArithmExp": ("X",),
    "ArithmCmd": ("X",),
    "LetClause": ("Exprs",),
    "CStyleLoop": ("Init", "Cond", "Post"),
}
_READERS = {"read": "REPLY", "mapfile": "MAPFILE", "readarray": "MAPFILE"}


@dataclass(frozen=True)
class Flows:
    """Where values go inside a script; numbers are those of markers.

    direct: variable -> the placeholders whose value may be in it, copied by assignments.
    derived: the same and what came out of commands that had a value.
    arithmetic: variables whose content bash may evaluate.
    name_references: whether the script declares variables that stand for others.
    """

    direct: Mapping[str, frozenset[int]]
    derived: Mapping[str, frozenset[int]]
    arithmetic: frozenset[str]
    name_references: bool


def trace(tree: Node, source: MarkedText) -> Flows:
    """Follow every assignment of the script until nothing changes."""
    collector = _Collector(source)
    collector.visit(tree, [])
    return Flows(
        collector.spread(through_commands=False),
        collector.spread(through_commands=True),
        frozenset(collector.arithmetic),
        collector.name_references,
    )


def is_arithmetic(node: Node, name: str) -> bool:
    """Whether bash evaluates this field of the node."""
    if name == "Index" or name in _ARITHMETIC_FIELDS.get(kind(node), ()):
        return True
    if name in ("Offset", "Length"):
        return "Type" not in node  # a slice; ParamExp has a flag of that name
    return name in ("X", "Y") and kind(node) == "BinaryTest" and operator(node) in ARITHMETIC_TESTS


def declared_flags(clause: Node) -> str:
    """The option letters of a `declare` and its kin, e.g. `ri`; `?` for what cannot be read."""
    letters = ""
    for argument in nodes(clause, "Args"):
        if argument.get("Naked") and argument.get("Value"):
            parts = nodes(argument["Value"], "Parts")
            text = str(parts[0].get("Value", "?")) if parts and kind(parts[0]) == "Lit" else "?"
            if text[:1] in ("-", "+") or text == "?" or len(parts) > 1:
                letters += text.lstrip("-+") if len(parts) == 1 else "?"
    return letters


@dataclass
class _Collector:
    source: MarkedText
    arithmetic: set[str] = field(default_factory=set)
    name_references: bool = False
    assignments: list[tuple[str, Node]] = field(default_factory=list)

    def visit(self, node: Node, inputs: list[Node]) -> None:
        """inputs: the here-strings that a `read` at this place may get its lines from."""
        inputs = inputs + [r["Word"] for r in nodes(node, "Redirs") if r.get("Word") and operator(r) == "<<<"]
        self._note(node, inputs)
        for name, child in children(node):
            if is_arithmetic(node, name):
                self.arithmetic |= set(_names_evaluated(child))
            self.visit(child, inputs)

    def _note(self, node: Node, inputs: list[Node]) -> None:
        match kind(node):
            case "CallExpr":
                self._note_call(node, inputs)
            case "DeclClause":
                self._note_declaration(node)
            case "WordIter":
                self.assignments += [(node["Name"]["Value"], item) for item in nodes(node, "Items")]
            case "ParamExp" if (node.get("Exp") or {}).get("Op") in ("=", ":=") and node["Exp"].get("Word"):
                self.assignments.append((parameter(node), node["Exp"]["Word"]))

    def _note_call(self, node: Node, inputs: list[Node]) -> None:
        self._note_assigns(nodes(node, "Assigns"))
        words = [_literal(word) for word in nodes(node, "Args")]
        if inputs and words and words[0] in _READERS:
            names = [word for word in words[1:] if word and _IDENTIFIER.fullmatch(word)] or [_READERS[words[0]]]
            self.assignments += [(name, word) for name in names for word in inputs]

    def _note_declaration(self, node: Node) -> None:
        self._note_assigns(nodes(node, "Args"))
        flags = declared_flags(node)
        if "n" in flags or node["Variant"]["Value"] == "nameref":
            self.name_references = True
        if "i" in flags:
            names = (a["Name"]["Value"] if a.get("Name") else _literal(a["Value"]) for a in nodes(node, "Args"))
            self.arithmetic |= {name for name in names if name}

    def _note_assigns(self, assigns: list[Node]) -> None:
        for assign in assigns:
            for part in ("Value", "Array"):
                if assign.get("Name") and assign.get(part):
                    self.assignments.append((assign["Name"]["Value"], assign[part]))

    def spread(self, *, through_commands: bool) -> dict[str, frozenset[int]]:
        """Variable -> placeholders, after following copies of copies; without those that hold none."""
        held: dict[str, set[int]] = {}
        copies: list[tuple[str, str]] = []
        for name, word in self.assignments:
            for part in _contents(word, through_commands=through_commands):
                held.setdefault(name, set()).update(marker.number for marker in markers_at(part, self.source))
                if kind(part) == "ParamExp" and not part.get("Length"):
                    copies.append((name, parameter(part)))
        changed = True
        while changed:
            changed = False
            for name, other in copies:
                before = len(held[name])
                held[name] |= held.get(other, set())
                changed = changed or len(held[name]) != before
        return {name: frozenset(numbers) for name, numbers in held.items() if numbers}


def markers_at(node: Node, source: MarkedText) -> list[Marker]:
    """The markers that this node itself is or holds as plain characters; its children are not looked at."""
    if kind(node) == "ParamExp":
        marker = source.at(start(node))
        return [marker] if marker and marker.end == end(node) else []
    return source.within(start(node), end(node)) if isinstance(node.get("Value"), str) else []


def _contents(word: Node, *, through_commands: bool) -> Iterator[Node]:
    if kind(word) in ("CmdSubst", "ProcSubst") and not through_commands:
        return
    yield word
    for _, child in children(word):
        yield from _contents(child, through_commands=through_commands)


def _names_evaluated(expression: Node) -> Iterator[str]:
    for node in _contents(expression, through_commands=False):
        value = node.get("Value")
        if isinstance(value, str):
            yield from _IDENTIFIER.findall(value)
        if kind(node) == "ParamExp":
            yield parameter(node)


def _literal(word: Node) -> str | None:
    parts = nodes(word, "Parts")
    return str(parts[0]["Value"]) if len(parts) == 1 and kind(parts[0]) == "Lit" else None
