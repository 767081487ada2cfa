"""A workflow out of several files: imports, bases, templates, and the values of its parameters.

The order: what is imported, over it what is extended, over it the template, over it the file's own keys; then the
parameters get their values; then `use` is replaced by steps. All of it works on nodes, so every place in a message is
the one in the file where it is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from prodigy.workflow import keys
from prodigy.workflow.load_options import LoadOptions
from prodigy.workflow.merge_nodes import merged, overridden
from prodigy.workflow.other_files import (
    Chain,
    Opened,
    base_named,
    beside,
    is_file,
    named,
    open_first,
    path_named,
    template_named,
)
from prodigy.workflow.parameters import (
    Given,
    Parameter,
    named_values,
    read_parameters,
    resolve,
    still_fitting,
)
from prodigy.workflow.step_templates import Expander, Template
from prodigy.workflow.substitute import with_parameters
from prodigy.workflow.values import Findings, read_keys, read_label, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence, visible

_COMPOSED = ("imports", "extends", "template", "templates", "parameters", "defaults")
_STEPS = ("steps", "commands", "tasks")
_IMPORTED = ("env", "agents", "profiles", "secrets", "workflows")
# What a template says of itself.
_ABOUT = frozenset({"author", "tags", "created_at", "updated_at", "version", "description", "metadata"})
_TEMPLATE_BODY = keys.KeyTable(runs=frozenset({"parameters", "description", *_STEPS}), later=frozenset(), synonyms={})
_OF_A_TEMPLATE = frozenset({"parameters", *_STEPS})  # none of them is a key of a step


def compose_workflow(
    root: Node, file: str, findings: Findings, given: LoadOptions, chain: Chain | None
) -> tuple[Node, dict[str, object]]:
    """The one mapping that a file and those that it names make, and the values that its steps have by name.

    file: the file's name for messages. chain: the files that are being read, this one last; None for the main one.
    Mistakes go to `findings`. Raises UsageError for values of the command line.
    """
    if isinstance(root, Scalar):
        return root, {}
    composer = _Composer(findings, file)
    part = composer.part(root, chain or Chain().then(file))
    values = _values(part, given, findings)
    expander = Expander(findings, composer.in_registry)
    node = expander.node(part.root, part.templates)
    return node, {**values, **expander.values}


@dataclass(frozen=True)
class _Part:
    """What a file gives, and what it got from others.

    root: without the keys of composition. fixed: what `template: {with}` gave.
    """

    root: Mapping
    templates: dict[str, Template] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    defaults: dict[str, Given] = field(default_factory=dict)
    fixed: dict[str, Given] = field(default_factory=dict)

    def over(self, base: _Part) -> _Part:
        return _Part(
            merged(base.root, self.root),
            base.templates | self.templates,
            base.parameters | self.parameters,
            base.defaults | self.defaults,
            base.fixed | self.fixed,
        )


def _values(part: _Part, given: LoadOptions, findings: Findings) -> dict[str, object]:
    """The values of the parameters, from the last that gives one: default, `defaults`, `with`, the user."""
    unnamed = {n: Parameter(n, d.at or part.root.at, required=False) for n, d in part.defaults.items()}
    declared = unnamed | part.parameters
    before = still_fitting(declared, given.before)
    user = {name: Given(value, given.places.get(name)) for name, value in given.parameters.items()}
    values = resolve(declared, [part.defaults, part.fixed, before, user], findings)
    # What a file says may name other parameters; what the user says is data.
    for name, parameter in declared.items():
        written = part.fixed.get(name) or part.defaults.get(name) or parameter.default
        text = values[name]
        if written and name not in before and name not in user and isinstance(text, str) and "${" in text:
            values[name] = with_parameters(text, {n: v for n, v in values.items() if n != name})
    return values


class _Composer:
    """Reads files and puts them together. file: the main one's name."""

    def __init__(self, findings: Findings, file: str) -> None:
        self._findings = findings
        self._file = file
        self._start = Chain().then(file)
        self._registry: dict[str, Template | None] = {}

    def part(self, root: Node | None, chain: Chain) -> _Part:
        """What a file gives. chain: the files that are being read, this one last."""
        if isinstance(root, Sequence):
            key = Scalar("steps", "str", root.at, 0, 0)
            root = Mapping({"steps": Entry(key, root)}, root.at)
        if not isinstance(root, Mapping):
            at = root.at if root is not None else Position(1, 1, self._foreign(chain))
            self._findings.problem(at, "this file has no workflow in it", "write a mapping or a list of steps")
            return _Part(Mapping({}, at))
        entries = root.entries
        own = _Part(
            self._own(root, self._foreign(chain)),
            dict(self._templates(entries["templates"].value)) if "templates" in entries else {},
            read_parameters(entries["parameters"].value, self._findings) if "parameters" in entries else {},
            named_values(entries, "defaults", self._findings),
        )
        base = _Part(Mapping({}, root.at))
        for other in self._others(entries, chain):
            base = other.over(base)
        whole = own.over(base)
        for template in own.templates.values():
            template.scope = whole.templates
        return whole

    def _foreign(self, chain: Chain) -> str:
        """The name of the file that is read; "" for the main one."""
        return chain.links[-1][1] if len(chain.links) > 1 else ""

    def _own(self, root: Mapping, foreign: str) -> Mapping:
        """The keys that are no composition, with paths as they are from the main file."""
        entries = {name: entry for name, entry in root.entries.items() if name not in _COMPOSED}
        if foreign and "env_files" in entries:
            key, node = entries["env_files"]
            items = node.items if isinstance(node, Sequence) else (node,)
            entries["env_files"] = Entry(key, Sequence(tuple(self._moved(item, foreign) for item in items), node.at))
        return Mapping(entries, root.at)

    def _moved(self, node: Node, foreign: str) -> Node:
        if not isinstance(node, Scalar) or node.value.startswith(("/", "~", "$")) or not node.value.strip():
            return node
        try:
            return replace(node, value=os.path.relpath(Path(foreign).parent / node.value, Path(self._file).parent))
        except ValueError:  # a NUL character, which is refused where it is read
            return node

    # Files that a file names -------------------------------------------------------------------------------

    def _others(self, entries: dict[str, Entry], chain: Chain) -> Iterator[_Part]:
        """The lowest first."""
        if "imports" in entries:
            node = entries["imports"].value
            for item in node.items if isinstance(node, Sequence) else (node,):
                if not (item is node and isinstance(node, Scalar) and node.kind == "null"):
                    yield from self._import(item, chain)
        if "extends" in entries:
            node = entries["extends"].value
            for item in node.items if isinstance(node, Sequence) else (node,):
                if (text := named(item, "extends", self._findings)) is not None:
                    places = base_named(text, beside(item.at, self._file))
                    if opened := open_first(places, item, "base", chain, self._findings):
                        yield self._opened(opened)
        if "template" in entries:
            yield from self._template(entries["template"].value, chain)

    def _opened(self, opened: Opened) -> _Part:
        return self.part(opened.document.root, opened.chain)

    def _import(self, node: Node, chain: Chain) -> Iterator[_Part]:
        findings = self._findings
        entries: dict[str, Entry] = {}
        where = node
        if isinstance(node, Mapping):
            entries = read_keys(node, keys.IMPORT, "under `imports`", findings)
            if "path" not in entries:
                findings.problem(node.at, "this import has no `path`", "e.g. {path: lib/steps.yml}")
                return
            where = entries["path"].value
        text = named(where, "path", findings)
        if text is None:
            return
        opened = open_first(path_named(text, beside(where.at, self._file)), where, "file", chain, findings)
        if opened is None:
            return
        part = self._opened(opened)
        alias = read_label(entries["alias"].value, "alias", findings) if "alias" in entries else None
        part = self._contribution(part, alias or Path(opened.file).stem)
        if "selective" in entries:
            part = self._selected(part, entries["selective"].value, opened.file)
        yield _aliased(part, alias) if alias else part

    def _contribution(self, part: _Part, name: str) -> _Part:
        """What an importing file gets: no steps that run by themselves, but templates that have them."""
        entries = {key: entry for key, entry in part.root.entries.items() if key in _IMPORTED}
        templates = {template.name: template for template in _of_steps(part, name)} | part.templates
        return replace(part, root=Mapping(entries, part.root.at), templates=templates, fixed={})

    def _selected(self, part: _Part, node: Node, file: str) -> _Part:
        items = node.items if isinstance(node, Sequence) else (node,)
        below = {key: entry.value for key, entry in part.root.entries.items() if isinstance(entry.value, Mapping)}
        known = {*part.templates, *part.parameters, *part.defaults}
        known |= {name for body in below.values() for name in body.entries}
        wanted = set()
        for item in items:
            if isinstance(item, Scalar) and item.value in known:
                wanted.add(item.value)
            else:
                text = item.value if isinstance(item, Scalar) else ""
                nearest = get_close_matches(text[:100], known, 1)
                hint = f"did you mean `{nearest[0]}`?" if nearest else f"it has {', '.join(sorted(known)) or 'nothing'}"
                self._findings.problem(item.at, f"{file} has no {shown(item)} that could be imported", hint)
        entries = {}
        for key, body in below.items():
            kept = {name: entry for name, entry in body.entries.items() if name in wanted}
            entries[key] = Entry(part.root.entries[key].key, Mapping(kept, body.at))
        return replace(
            part,
            root=Mapping(entries, part.root.at),
            templates={name: each for name, each in part.templates.items() if name in wanted},
            parameters={name: each for name, each in part.parameters.items() if name in wanted},
            defaults={name: each for name, each in part.defaults.items() if name in wanted},
        )

    def _template(self, node: Node, chain: Chain) -> Iterator[_Part]:
        """`template: NAME` or `{name, source, with, override}`."""
        findings = self._findings
        entries: dict[str, Entry] = {}
        where = node
        if isinstance(node, Mapping):
            entries = read_keys(node, keys.TEMPLATE, "under `template`", findings)
            found = entries.get("source") or entries.get("name")
            if found is None:
                findings.problem(node.at, "this `template` has no `name`", "e.g. {name: lint, with: {target: src}}")
                return
            where = found.value
            if isinstance(where, Mapping) and where.entries.keys() == {"file"}:
                where = where.entries["file"].value
        text = named(where, "template", findings)
        if text is None:
            return
        places = template_named(text, beside(where.at, self._file))
        opened = open_first(places, where, "template", chain, findings)
        if opened is None:
            return
        part = self._opened(opened)
        root = Mapping({k: e for k, e in part.root.entries.items() if k not in _ABOUT}, part.root.at)
        if "override" in entries:
            root = self._overridden(root, entries["override"].value)
        given = named_values(entries, "with", findings)
        for name in given.keys() - part.parameters.keys() - part.defaults.keys():
            nearest = get_close_matches(name[:100], part.parameters, 1)
            hint = f"did you mean `{nearest[0]}`?" if nearest else f"it has {', '.join(part.parameters) or 'none'}"
            findings.problem(given[name].at or node.at, f"the template has no parameter `{visible(name)}`", hint)
        known = {name: each for name, each in given.items() if name in part.parameters or name in part.defaults}
        yield replace(part, root=root, fixed=part.fixed | known)

    def _overridden(self, root: Mapping, node: Node) -> Mapping:
        if isinstance(node, Mapping):
            return overridden(root, node, self._findings)
        self._findings.problem(node.at, f"`override` must be a mapping of keys and values, got {shown(node)}")
        return root

    # Step templates ----------------------------------------------------------------------------------------

    def _templates(self, node: Node) -> Iterator[tuple[str, Template]]:
        if not isinstance(node, Mapping):
            self._findings.problem(node.at, f"`templates` must be a mapping of names, got {shown(node)}")
            return
        for name, (key, body) in node.entries.items():
            parameters: dict[str, Parameter] = {}
            steps: Node = body
            if isinstance(body, Mapping) and not _OF_A_TEMPLATE.isdisjoint(body.entries):
                entries = read_keys(body, _TEMPLATE_BODY, f"under the template `{name}`", self._findings)
                found = next((entries[each] for each in _STEPS if each in entries), None)
                if found is None:
                    self._findings.problem(body.at, f"the template `{name}` has no `steps`")
                    continue
                steps = found.value
                if "parameters" in entries:
                    parameters = read_parameters(entries["parameters"].value, self._findings)
            yield name, Template(name, steps, key.at, parameters)

    def in_registry(self, node: Scalar, scope: AbstractMapping[str, Template]) -> Template | None:
        """A template that is a file; None, with a problem, when there is none. scope: those that have names."""
        text = named(node, "use", self._findings)
        if text is None:
            return None
        places = template_named(text, beside(node.at, self._file))
        where = str(places[0])
        if where not in self._registry:
            if self._findings.incomplete:
                return None  # it may stand in the file that could not be read
            if scope and not any(is_file(place) for place in places):
                nearest = get_close_matches(text[:100], scope, 1)
                hint = f"did you mean `{nearest[0]}`?" if nearest else f"there are {', '.join(sorted(scope))}"
                self._findings.problem(node.at, f"there is no template {visible(text)}", hint)
                return None
            self._registry[where] = self._from_file(text, places, node)
        return self._registry[where]

    def _from_file(self, name: str, places: list[Path], node: Scalar) -> Template | None:
        opened = open_first(places, node, "template", self._start, self._findings)
        if opened is None:
            return None
        part = self._opened(opened)
        found = next((part.root.entries[key] for key in _STEPS if key in part.root.entries), None)
        if found is None:
            hint = "it is a whole workflow: write `template:` at the top level"
            self._findings.problem(node.at, f"the template {visible(name)} has no list of steps", hint)
            return None
        return Template(name, found.value, found.key.at, part.parameters, part.templates)


def _of_steps(part: _Part, name: str) -> Iterator[Template]:
    """The steps of a file as templates: all of them under the file's name, each under its own."""
    found = next((part.root.entries[key] for key in _STEPS if key in part.root.entries), None)
    if found is None:
        return
    items = found.value.items if isinstance(found.value, Sequence) else (found.value,)
    for item in items:
        if not isinstance(item, Mapping):
            continue
        for key in ("name", "id"):
            label = item.entries.get(key)
            if label is not None and isinstance(label.value, Scalar):
                yield Template(label.value.value, Sequence((item,), item.at), item.at, {}, part.templates)
    yield Template(name, found.value, found.key.at, {}, part.templates)


def _aliased(part: _Part, alias: str) -> _Part:
    """With the names of templates and workflows behind the alias; the file's own steps are the alias itself."""
    templates = {name if name == alias else f"{alias}.{name}": each for name, each in part.templates.items()}
    entries = dict(part.root.entries)
    if "workflows" in entries and isinstance(body := entries["workflows"].value, Mapping):
        renamed = {
            f"{alias}.{name}": Entry(replace(entry.key, value=f"{alias}.{name}"), entry.value)
            for name, entry in body.entries.items()
        }
        entries["workflows"] = Entry(entries["workflows"].key, Mapping(renamed, body.at))
    return replace(part, root=Mapping(entries, part.root.at), templates=templates)
