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
from prodigy.workflow.shell.syntax import Node, children, descendants, end, kind, nodes, operator, parameter, start

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
    collector.close_arithmetic()
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
        """inputs: what a `read` at this place may get its lines from."""
        inputs = inputs + [word for redirect in nodes(node, "Redirs") for word in _input_of(redirect)]
        self._note(node, inputs)
        for name, child in children(node):
            if is_arithmetic(node, name):
                self.arithmetic |= set(_names_evaluated(child))
            piped = name == "Y" and kind(node) == "BinaryCmd" and operator(node) in ("|", "|&")
            # What a command prints is not its arguments, so it counts like a substitution.
            self.visit(child, [*inputs, {"Type": "CmdSubst", "Stmts": [node["X"]]}] if piped else inputs)

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
        reader = next((word for word in words[:2] if word in _READERS), None)
        if reader:
            names = [word for word in words[1:] if word and _IDENTIFIER.fullmatch(word)]
            self.assignments += [(name, word) for name in (*names, _READERS[reader]) for word in inputs]
        elif {"eval", "trap"}.intersection(words[:2]):
            texts = [str(part["Value"]) for part in descendants(node) if isinstance(part.get("Value"), str)]
            evaluated = [text for text in texts if "((" in text or "$[" in text]
            self.arithmetic.update(*map(_IDENTIFIER.findall, evaluated))

    def _note_declaration(self, node: Node) -> None:
        self._note_assigns(nodes(node, "Args"))
        flags = declared_flags(node)
        if "n" in flags or node["Variant"]["Value"] == "nameref":
            self.name_references = True
        if "i" in flags or "?" in flags:
            names = (a["Name"]["Value"] if a.get("Name") else _literal(a["Value"]) for a in nodes(node, "Args"))
            self.arithmetic |= {name for name in names if name}

    def _note_assigns(self, assigns: list[Node]) -> None:
        for assign in assigns:
            for part in ("Value", "Array"):
                if assign.get("Name") and assign.get(part):
                    self.assignments.append((assign["Name"]["Value"], assign[part]))

    def close_arithmetic(self) -> None:
        """bash evaluates what it finds in a variable again, so the names in there count too: `y=x; echo $((y))`."""
        names: dict[str, set[str]] = {}
        for name, word in self.assignments:
            names.setdefault(name, set()).update(_names_evaluated(word))
        pending = list(self.arithmetic)
        while pending:
            new = names.get(pending.pop(), set()) - self.arithmetic
            self.arithmetic |= new
            pending += new

    def spread(self, *, through_commands: bool) -> dict[str, frozenset[int]]:
        """Variable -> placeholders, after following copies of copies; without those that hold none."""
        held: dict[str, set[int]] = {}
        copies: list[tuple[str, str]] = []
        for name, word in self.assignments:
            for part in contents(word, through_commands=through_commands):
                held.setdefault(name, set()).update(marker.number for marker in markers_at(part, self.source))
                if yields_content(part):
                    copies.append((name, parameter(part)))
        changed = True
        while changed:
            changed = False
            for name, other in copies:
                before = len(held[name])
                held[name] |= held.get(other, set())
                changed = changed or len(held[name]) != before
        return {name: frozenset(numbers) for name, numbers in held.items() if numbers}


def _input_of(redirect: Node) -> Iterator[Node]:
    """Here-string, here-document, or the commands of a process substitution: not a file's name, whose text is read."""
    op, word = operator(redirect), redirect.get("Word") or {}
    if op == "<<<":
        yield word
    elif op in ("<<", "<<-"):
        yield redirect.get("Hdoc") or {}
    elif op == "<":
        yield from (part for part in nodes(word, "Parts") if kind(part) == "ProcSubst")


def yields_content(part: Node) -> bool:
    """Whether the node expands to what is in a variable, rather than its length or the keys of an array."""
    if kind(part) != "ParamExp" or part.get("Length") or part.get("Names"):
        return False
    return not (part.get("Excl") and is_whole_array(part))


def is_whole_array(expansion: Node) -> bool:
    """`${a[@]}`, `${a[*]}` and `$@`."""
    index = nodes(expansion.get("Index") or {}, "Parts")
    return parameter(expansion) == "@" or any(part.get("Value") in ("@", "*") for part in index)


def markers_at(node: Node, source: MarkedText) -> list[Marker]:
    """The markers that this node itself is or holds as plain characters; its children are not looked at."""
    if kind(node) == "ParamExp":
        marker = source.at(start(node))
        return [marker] if marker and marker.end == end(node) else []
    return source.within(start(node), end(node)) if isinstance(node.get("Value"), str) else []


def contents(word: Node, *, through_commands: bool) -> Iterator[Node]:
    """The node and all below it, substitutions of commands only if asked for."""
    if kind(word) in ("CmdSubst", "ProcSubst") and not through_commands:
        return
    yield word
    for _, child in children(word):
        yield from contents(child, through_commands=through_commands)


def _names_evaluated(expression: Node) -> Iterator[str]:
    """The names in an expression that bash evaluates, whether or not a dollar sign stands before them."""
    value = expression.get("Value")
    if isinstance(value, str):
        yield from _IDENTIFIER.findall(value)
    if yields_content(expression):
        yield parameter(expression)
    for name, child in children(expression):
        if name != "Param" and kind(child) not in ("CmdSubst", "ProcSubst"):
            yield from _names_evaluated(child)


def _literal(word: Node) -> str | None:
    parts = nodes(word, "Parts")
    return str(parts[0]["Value"]) if len(parts) == 1 and kind(parts[0]) == "Lit" else None
