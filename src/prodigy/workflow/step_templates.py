"""`use: NAME`: the steps of a template in the place of one step.

A value that `with` gives is data: it becomes a value of the run under a name of its own (`path--1a2b3c4d`, made of its
content), and the template's `${path}` names that. A text that is one placeholder, such as `${item.path}`, takes the
place of the parameter's, and is filled in when the step runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field, replace

from prodigy.workflow import keys
from prodigy.workflow.canonical import canonical_json, short_hash
from prodigy.workflow.interpolate import Placeholder, parse_placeholders
from prodigy.workflow.parameters import Given, Parameter, read_values, resolve
from prodigy.workflow.substitute import FIXED, words
from prodigy.workflow.values import Findings, read_keys, read_text, shown
from prodigy.workflow.yaml_compose import MAX_DEPTH
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence, visible

MAX_NODES = 100_000  # of all steps that templates give
# Keys below which one step may stand in the place of a list.
_ONE_STEP = words(
    """
    setup reduce merge agent_template operation steps commands tasks do on_failure on_success on_incomplete validate
    fallback teardown on_conflict check
    """
)
# What stands below these is no step.
_NO_STEPS = words("env with parameters defaults secrets profiles agents outputs variables expected_schema")
# A text below these is for no shell and no expression, so that any text may stand in it.
_PLAIN = words("claude prompt content path working_dir output_file output message_template description")
_HARMLESS = re.compile(r"[\w@%+=:,./-]*")
_ONE = re.compile(r"\$\{[^{}]*\}")
_BARE = re.compile(r"(?<![\\$])\$([A-Za-z_]\w*)")
_HEAD = re.compile(r"[\w-]*")
_HOW = "give it with `with: {{{name}: VALUE}}`"


@dataclass
class Template:
    """Steps with a name. scope: the templates that they may use by their names."""

    name: str
    body: Node
    at: Position
    parameters: dict[str, Parameter] = field(default_factory=dict)
    scope: AbstractMapping[str, Template] = field(default_factory=dict)


Lookup = Callable[[Scalar, AbstractMapping[str, Template]], Template | None]


@dataclass
class Expander:
    """Puts steps in the place of `use`. values: what the run gets besides, by name. lookup: templates in files.

    chain: the templates that are being used, the outermost first.
    """

    findings: Findings
    lookup: Lookup
    values: dict[str, object] = field(default_factory=dict)
    chain: tuple[str, ...] = ()
    _nodes: int = 0
    _full: bool = False

    def node(self, node: Node, scope: AbstractMapping[str, Template], depth: int = 0) -> Node:
        """The node with every `use` below it replaced."""
        if isinstance(node, Sequence):
            items: list[Node] = []
            for item in node.items:
                if isinstance(item, Mapping) and keys.uses_template(item.entries):
                    items += self._steps(item, scope, depth)
                else:
                    items.append(self.node(item, scope, depth + 1))
            same = len(items) == len(node.items) and all(a is b for a, b in zip(items, node.items, strict=True))
            return node if same else Sequence(tuple(items), node.at)
        if isinstance(node, Scalar):
            return node
        entries = {name: self._entry(name, entry, scope, depth) for name, entry in node.entries.items()}
        same = all(entries[name] is entry for name, entry in node.entries.items())
        return node if same else Mapping(entries, node.at)

    def _entry(self, name: str, entry: Entry, scope: AbstractMapping[str, Template], depth: int) -> Entry:
        value = entry.value
        if name in _NO_STEPS:
            return entry
        if isinstance(value, Mapping) and keys.uses_template(value.entries) and (name in _ONE_STEP or name.isdecimal()):
            found: Node = Sequence(tuple(self._steps(value, scope, depth)), value.at)
        else:
            found = self.node(value, scope, depth + 1)
        return entry if found is value else Entry(entry.key, found)

    # One `use` ---------------------------------------------------------------------------------------------

    def _steps(self, step: Mapping, scope: AbstractMapping[str, Template], depth: int) -> list[Node]:
        entries = read_keys(step, keys.USE, "beside `use`", self.findings)
        node = entries["use"].value
        name = read_text(node, "use", self.findings)
        if name is None or not isinstance(node, Scalar) or self._full:
            return []
        template = scope.get(name) or self.lookup(node, scope)
        if template is None:
            return []
        if circle := self._circle(template):
            self.findings.problem(node.at, f"these templates go round in a circle: {circle}", "take one of them out")
            return []
        body = template.body
        given = self._given(entries, template)
        if given is None:
            return []
        filled = _Filler(self.findings, given, self).node(body, "", depth)
        items = filled.items if isinstance(filled, Sequence) else (filled,)
        before, self.chain = self.chain, (*self.chain, _identity(template))
        try:
            inner = self.node(Sequence(tuple(items), body.at), template.scope, depth)
        finally:
            self.chain = before
        assert isinstance(inner, Sequence)
        when = entries["when"].value if "when" in entries else None
        if when is not None and not (isinstance(when, Scalar) and when.kind != "null"):
            self.findings.problem(when.at, f"`when` must be text, got {shown(when)}")
            when = None
        return [_conditional(item, when) if when is not None else item for item in inner.items]

    def _circle(self, template: Template) -> str | None:
        identity = _identity(template)
        if identity not in self.chain:
            return None
        names = [each.partition("\0")[2] for each in self.chain[self.chain.index(identity) :]]
        return " -> ".join([*names, template.name])

    def count(self, node: Node, depth: int) -> bool:
        """Whether there is room for one more node."""
        self._nodes += 1
        if self._full or (self._nodes <= MAX_NODES and depth <= MAX_DEPTH):
            return not self._full
        self._full = True
        what = "are nested too deep" if depth > MAX_DEPTH else f"give more than {MAX_NODES:,} values"
        self.findings.problem(node.at, f"the templates that are used here {what}")
        return False

    def _given(self, entries: dict[str, Entry], template: Template) -> dict[str, str | Scalar] | None:
        """For each parameter the path of its value, or the text with placeholders that takes its place."""
        texts: dict[str, str | Scalar] = {}
        literal: dict[str, Entry] = {}
        body = entries["with"].value if "with" in entries else Mapping({}, template.at)
        if not isinstance(body, Mapping):
            self.findings.problem(body.at, f"`with` must be a mapping of names and values, got {shown(body)}")
            return None
        for name, entry in body.entries.items():
            if isinstance(entry.value, Scalar) and "${" in entry.value.value:
                texts[name] = entry.value
            elif _has_placeholder(entry.value):
                hint = "give each value by itself"
                self.findings.problem(entry.value.at, f"`{name}`: a placeholder inside a list or mapping", hint)
            else:
                literal[name] = entry
        before = len(self.findings.problems)
        values = read_values(Mapping(literal, body.at), "with", self.findings)
        if not template.parameters:
            self._refuse_unused(template, body)
        declared = template.parameters or {
            name: Parameter(name, entry.key.at, required=False) for name, entry in body.entries.items()
        }
        at = entries["use"].value.at
        here = {
            name: replace(parameter, at=at) if name not in body.entries else parameter
            for name, parameter in declared.items()
        }
        placed = {name: Given("", entry.at) for name, entry in texts.items() if isinstance(entry, Scalar)}
        untyped = {n: replace(p, type="any", validation=None) if n in texts else p for n, p in here.items()}
        whose = f"the template `{template.name}`"
        resolved = resolve(untyped, [values, placed], self.findings, whose, _HOW)
        if len(self.findings.problems) > before:
            return None
        for name, value in resolved.items():
            if name not in texts:
                hidden = f"{name}--{short_hash(canonical_json(value), 8)}"
                self.values[hidden] = value
                texts[name] = hidden
        return texts

    def _refuse_unused(self, template: Template, body: Mapping) -> None:
        for name, entry in body.entries.items():
            if not _mentions(template.body, name):
                message = f"the template `{template.name}` has no `${{{visible(name)}}}`"
                self.findings.problem(entry.key.at, message, "`parameters` in the template say what it takes")


def _mentions(node: Node, name: str) -> bool:
    if isinstance(node, Scalar):
        return any(re.match(rf"{re.escape(name)}(?![\w-])", p.path) for p in parse_placeholders(node.value, {name}))
    parts = node.items if isinstance(node, Sequence) else tuple(entry.value for entry in node.entries.values())
    return any(_mentions(part, name) for part in parts)


def _identity(template: Template) -> str:
    return f"{template.at.file}:{template.at.line}:{template.at.column}\0{template.name}"


def _has_placeholder(node: Node) -> bool:
    if isinstance(node, Scalar):
        return "${" in node.value
    parts = node.items if isinstance(node, Sequence) else tuple(entry.value for entry in node.entries.values())
    return any(map(_has_placeholder, parts))


def _conditional(step: Node, when: Scalar) -> Node:
    """The step, which runs only when the condition of its `use` holds too."""
    if isinstance(step, Scalar):
        text = step.value if step.value.startswith("/") else f"/{step.value}"
        prompt = replace(step, value=text, kind="str")
        key = replace(step, value="claude", kind="str")
        step = Mapping({"claude": Entry(key, prompt)}, step.at)
    if not isinstance(step, Mapping) or list(step.entries) == ["on_failure"]:
        return step
    own = step.entries.get("when")
    if own is not None and isinstance(own.value, Scalar):
        own_when: Node = replace(when, value=f"({when.value}) && ({own.value.value})", is_block=False)
    else:
        own_when = when
    entry = Entry(replace(when, value="when", kind="str"), own_when)
    return Mapping({**step.entries, "when": entry}, step.at)


@dataclass(frozen=True)
class _Filler:
    """Puts what `with` gives in the place of a template's parameters."""

    findings: Findings
    given: AbstractMapping[str, str | Scalar]
    expander: Expander

    def node(self, node: Node, key: str, depth: int) -> Node:
        if not self.expander.count(node, depth):
            return node
        if isinstance(node, Scalar):
            return self._scalar(node, key)
        if isinstance(node, Sequence):
            return Sequence(tuple(self.node(item, key, depth + 1) for item in node.items), node.at)
        entries = {}
        for name, entry in node.entries.items():
            inner = "content" if key == "env" else name  # any text may be the value of a variable
            entries[name] = Entry(entry.key, self.node(entry.value, inner, depth + 1))
        return Mapping(entries, node.at)

    def _scalar(self, node: Scalar, key: str) -> Scalar:
        if "$" not in node.value or not self.given:
            return node
        if key in FIXED and (bare := _BARE.fullmatch(node.value)) and bare[1] in self.given:
            node = replace(node, value=f"${{{bare[1]}}}")
        parts, end = [], 0
        for placeholder in parse_placeholders(node.value, self.given.keys()):
            name = self._name(placeholder)
            if name is not None:
                parts += [node.value[end : placeholder.start], self._placed(node, placeholder, name, key)]
                end = placeholder.end
        for match in _BARE.finditer(node.value):
            if match[1] in self.given and key not in _PLAIN:
                hint = f"write ${{{match[1]}}}; to have it as a variable, add `env: {{{match[1]}: ${{{match[1]}}}}}`"
                self.findings.warn(node.at, f"${match[1]} is not the parameter of the template", hint)
        return replace(node, value="".join([*parts, node.value[end:]])) if parts else node

    def _name(self, placeholder: Placeholder) -> str | None:
        match = _HEAD.match(placeholder.path)
        return match.group() if match and match.group() in self.given else None

    def _placed(self, node: Scalar, placeholder: Placeholder, name: str, key: str) -> str:
        written = node.value[placeholder.start : placeholder.end]
        value = self.given[name]
        if isinstance(value, str):
            return written.replace(name, value, 1)
        if not _ONE.fullmatch(value.value):
            self._check_mixed(value, name, key, plain=written == f"${{{name}}}")
            return value.value
        if written == f"${{{name}}}":
            return value.value
        inner = value.value[2:-1]
        if not re.fullmatch(r"[\w.\[\]\"'-]+", inner):
            message = f"`{written}` can't be filled with {value.value}, which has an operator of its own"
            self.findings.problem(value.at, message, "let the template name the parameter alone")
        return written.replace(name, inner, 1)

    def _check_mixed(self, value: Scalar, name: str, key: str, *, plain: bool) -> None:
        """Text beside placeholders would be code in a shell text."""
        around = _ONE.sub("", value.value)
        if not plain:
            message = f"`{name}` is text with placeholders, and the template takes a part of it"
            self.findings.problem(value.at, message, "let the template name the parameter alone")
        elif key not in _PLAIN and not _HARMLESS.fullmatch(around):
            message = f"`{name}` is text beside placeholders, and the template has it in `{key}`"
            hint = "give one placeholder, or text without any; beside one only letters, digits and @%+=:,./- may stand"
            self.findings.problem(value.at, message, hint)
