"""Rewrites what is deprecated in the text of a workflow: everything else keeps its characters.

One place is changed after the other, each by its offsets in the text, and each change counts only if the workflow then
means the same as before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from prodigy.errors import Problem, ProdigyError
from prodigy.workflow import keys
from prodigy.workflow.load import Loaded, parse
from prodigy.workflow.load_options import NOTHING_GIVEN, LoadOptions
from prodigy.workflow.migrate_edits import Edit, renamed, unwrapped, without_entry, without_test
from prodigy.workflow.scripts import KnownScripts

# Under these keys stand lists of steps, which may have `commands` around them.
_LISTS = frozenset({"setup", "agent_template", "operation", "reduce", "merge", "steps", "tasks", "do"})
# What stands below these is not of the language, or has names that the author chose.
_FREE = frozenset(
    {
        *("env", "profiles", "secrets", "options", "args", "expected_schema", "parameters", "defaults", "with"),
        *("override", "inputs", "metadata", "config", "variables", "agents", "analyze", "analysis", "outputs"),
        "capture_outputs",
    }
)
_TOP = {"commands": "steps", "tasks": "steps"}
_MAP = {"parallel": "max_parallel", "operation": "agent_template"}
_STEP = {"cwd": "working_dir", "output": "output_file", "capture_output": "capture"}


@dataclass(frozen=True)
class Migrated:
    """The new text, what was changed in it, and what is deprecated still."""

    text: str
    changes: tuple[str, ...]
    left: tuple[Problem, ...]


def migrate(text: str, file: str, known: KnownScripts | None = None, given: LoadOptions = NOTHING_GIVEN) -> Migrated:
    """The text of the workflow `file` with the current words of the language.

    known, given: as in `load`. Raises as it does when the workflow is not in order as it is.
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    loaded = parse(text, file, known, given)
    changes: list[str] = []
    refused: set[str] = set()  # of the text as it is; after a change, all are tried again
    while (edit := next((e for e in _edits(text) if e.what not in refused), None)) is not None:
        new = f"{text[: edit.start]}{edit.text}{text[edit.end :]}"
        after = _loaded(new, file, known, given)
        if after is None or meaning(after) != meaning(loaded):
            refused.add(edit.what)
            continue
        text, loaded, refused = new, after, set()
        changes.append(edit.what)
    left = tuple(warning for warning in loaded.warnings if "deprecated" in warning.message)
    return Migrated(mark + text, tuple(changes), left)


def is_workflow(text: str) -> bool:
    """Whether a YAML text is meant as a workflow, whatever is wrong with it."""
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except Exception:  # noqa: BLE001 - ruamel raises many kinds; what is no YAML is no workflow
        return False
    if isinstance(root, MappingNode):
        names = {name for name, _, _ in _entries(root)}
        return bool(names & {"steps", "commands", "tasks"}) or ("map" in names and "services" not in names)
    if isinstance(root, SequenceNode) and root.value:
        return all(isinstance(item, MappingNode) and _is_step(item) for item in root.value)
    return False


def meaning(loaded: Loaded) -> object:
    """A workflow without the lines at which its steps stand."""
    return _without_lines(loaded.workflow.model_dump(mode="json"))


def _without_lines(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_lines(part) for name, part in value.items() if name != "line"}
    return [_without_lines(part) for part in value] if isinstance(value, list) else value


def _loaded(text: str, file: str, known: KnownScripts | None, given: LoadOptions) -> Loaded | None:
    try:
        return parse(text, file, known, given)
    except ProdigyError:
        return None


# What there is to change -------------------------------------------------------------------------------------


def _edits(text: str) -> Iterator[Edit]:
    """What may be changed, in the order of the text; offsets hold for the first of them only."""
    root = YAML(typ="safe", pure=True).compose(text)
    if isinstance(root, MappingNode):
        yield from _renames(root, _TOP)
        for name, key, value in _entries(root):
            if name == "mode" and (edit := without_entry(text, key, value)):
                yield edit
    if root is not None:
        yield from _inside(text, root, set())


def _inside(text: str, node: Node, seen: set[int]) -> Iterator[Edit]:
    if id(node) in seen or isinstance(node, ScalarNode):
        return  # aliases make one node stand in many places
    seen.add(id(node))
    if isinstance(node, SequenceNode):
        for item in node.value:
            yield from _inside(text, item, seen)
    elif isinstance(node, MappingNode):
        yield from _inside_mapping(text, node, seen)


def _inside_mapping(text: str, node: MappingNode, seen: set[int]) -> Iterator[Edit]:
    if _is_step(node):
        yield from _renames(node, _STEP)
    for name, key, value in _entries(node):
        if name in _LISTS and isinstance(value, MappingNode) and (edit := unwrapped(text, key, value)):
            yield edit
        if name == "map" and isinstance(value, MappingNode):
            yield from _renames(value, _MAP)
        if name == "test" and isinstance(value, MappingNode) and (edit := without_test(text, node, key, value)):
            yield edit
        if name not in _FREE:
            yield from _inside(text, value, seen)


def _renames(node: MappingNode, names: dict[str, str]) -> Iterator[Edit]:
    there = {name for name, _, _ in _entries(node)}
    for name, key, value in _entries(node):
        new = names.get(name)
        if new is None or new in there or (name == "capture_output" and _is_switch(value)):
            continue
        yield renamed(key, new)


def _is_switch(value: Node) -> bool:
    return not isinstance(value, ScalarNode) or (value.tag or "").endswith(":bool")


def _is_step(node: MappingNode) -> bool:
    return any(name in keys.ACTIONS_RUN or name == "analyze" for name, _, _ in _entries(node))


def _entries(node: MappingNode) -> list[tuple[str, ScalarNode, Node]]:
    return [(key.value, key, value) for key, value in node.value if isinstance(key, ScalarNode)]
