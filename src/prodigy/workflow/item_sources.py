"""`input: {source: NAME, with: {...}}`: items that an installed package finds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from prodigy import plugins
from prodigy.errors import ProdigyError
from prodigy.workflow import keys
from prodigy.workflow.model import Input
from prodigy.workflow.texts import read_structure
from prodigy.workflow.values import read_keys, read_text, shown
from prodigy.workflow.yaml_nodes import Mapping, Node, Position, Sequence, visible

if TYPE_CHECKING:
    from prodigy.workflow.model import Phase
    from prodigy.workflow.steps import StepReader

_PLACEHOLDER = "${"


def read_item_source(reader: StepReader, node: Mapping, phase: Phase) -> Input | None:
    """The input that `node` asks for; None when something is wrong with it, which is noted."""
    entries = read_keys(node, keys.ITEM_SOURCE, "under `input`", reader.findings)
    if "source" not in entries:
        hint = "write `source: NAME`, or a file, `glob:PATTERN` or a command in the place of the mapping"
        reader.findings.problem(node.at, "`input` has no `source`", hint)
        return None
    name = read_text(entries["source"].value, "source", reader.findings)
    options = entries["with"].value if "with" in entries else Mapping({}, node.at)
    if not isinstance(options, Mapping):
        reader.findings.problem(options.at, f"`with` must be a mapping of options, got {shown(options)}")
        return None
    text = read_structure(options, "with", reader.names(phase), reader.text, reader.findings)
    if name is None or text is None:
        return None
    before = len(reader.findings.problems)
    _check(reader, name, entries["source"].value.at, options, json.loads(text))
    return None if len(reader.findings.problems) > before else Input(kind="source", text=name, values=(text,))


def _check(reader: StepReader, name: str, at: Position, options: Mapping, values: object) -> None:
    """Complain of a source that is not there, or of options that it does not take."""
    known = plugins.names(plugins.ITEM_SOURCES)
    if name not in known:
        nearest = get_close_matches(name[:100], known, 1)
        others = f"did you mean `{nearest[0]}`?" if nearest else f"installed: {', '.join(known) or 'none'}"
        hint = f"{others}; install the package that has it where `prodigy` is installed"
        reader.findings.problem(at, f"there is no item source `{name}`", hint)
        return
    try:
        plugin, source = plugins.load(plugins.ITEM_SOURCES, name)
        found = list(_complaints(plugin, source, values))
    except ProdigyError as error:
        reader.findings.problem(at, error.what, error.hint)
        return
    for complaint in found:
        at = _place(options, complaint.path, key=complaint.key)
        reader.findings.problem(at, f"`source: {name}`: {complaint.message}", complaint.hint)


class _Complaint(NamedTuple):
    """path: of the value in the options. key: the one of its keys that is meant."""

    path: list[str | int]
    message: str
    hint: str | None = None
    key: str | None = None


def _complaints(plugin: plugins.Plugin, source: object, values: object) -> Iterator[_Complaint]:
    """What the source's schema minds. What is a placeholder is not known yet."""
    schema = getattr(source, "schema", None)
    if schema is None:
        return
    from jsonschema import Draft202012Validator  # few workflows have a source, and it takes long to import

    try:
        errors: Iterable[Any] = list(Draft202012Validator(schema).iter_errors(values))
    except Exception as error:
        raise plugins.failure(plugin, "schema", error) from error
    for found in errors:
        if not (isinstance(found.instance, str) and _PLACEHOLDER in found.instance):
            yield from _told(found)


def _told(error: Any) -> Iterator[_Complaint]:
    """An error of the schema as the loader would say it of keys of its own."""
    path = list(error.absolute_path)
    if error.validator == "additionalProperties" and error.validator_value is False:
        known = list(error.schema.get("properties", ()))
        for key in error.instance.keys() - set(known):
            nearest = get_close_matches(key[:100], known, 1)
            hint = f"did you mean `{nearest[0]}`?" if nearest else f"it takes {', '.join(known) or 'none'}"
            yield _Complaint(path, f"unknown option `{visible(key)}`", hint, key)
    elif error.validator == "required":
        yield from [
            _Complaint(path, f"`{key}` is missing") for key in error.validator_value if key not in error.instance
        ]
    else:
        yield _Complaint(path, error.message)


def _place(node: Node, path: list[str | int], *, key: str | None) -> Position:
    """Where the value at `path` stands, or its key, or the nearest that is there."""
    for step in path:
        if isinstance(node, Mapping) and step in node.entries:
            node = node.entries[str(step)].value
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
    return node.entries[key].key.at if isinstance(node, Mapping) and key in node.entries else node.at
