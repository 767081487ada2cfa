"""`foreach` in both its forms: one value after another in the same worktree, or as a fan-out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prodigy.workflow import keys
from prodigy.workflow.failures import ErrorPolicy
from prodigy.workflow.inputs import GLOB, classify, refusal
from prodigy.workflow.legacy import scalar
from prodigy.workflow.merging import usual_merging
from prodigy.workflow.model import Foreach, Input, MapReduce, Phase, Step
from prodigy.workflow.policies import read_shell_options
from prodigy.workflow.selection import Selection
from prodigy.workflow.texts import check_plain_text, read_structure
from prodigy.workflow.values import read_bool, read_keys, read_text, read_whole_number, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

DEFAULT_PARALLEL = 10
ITEM = frozenset(
    {"item", "item_id", "item_index", "item_total", "index", "total", "foreach.item", "foreach.index", "foreach.total"}
)
_ONE_VALUE = re.compile(r"\s*\$\{[^{}]*\}\s*")
# What a fan-out takes beside the keys of the loop itself.
_OF_A_FAN_OUT = keys.FOREACH.runs | {"id", "name", "description", "when", "shell_options"}


def flat(reader: StepReader, entries: dict[str, Entry]) -> dict[str, Entry]:
    """`foreach: {foreach, parallel, do, ...}` is the same as its keys in the step."""
    key, body = entries["foreach"]
    if not isinstance(body, Mapping):
        return entries
    parts = read_keys(body, keys.FOREACH, "under `foreach`", reader.findings)
    for name in parts.keys() & entries.keys() - {"foreach"}:
        at = entries[name].key.at
        reader.findings.problem(at, f"`{name}` stands both in this step and under its `foreach`", "write it once")
    if "foreach" not in parts:
        message, hint = "`foreach` says of nothing what it runs for", "add `items` with a command or a list"
        reader.findings.problem(body.at, message, hint)
        parts["foreach"] = Entry(key, Sequence((), body.at))
    return {**entries, **parts}


def read_foreach(reader: StepReader, entries: dict[str, Entry], phase: Phase) -> Foreach | None:
    """The loop that runs one value after another. entries: those of the step, flat."""
    source, do = _input(reader, entries, phase), _do(reader, entries, phase)
    most = _max_items(reader, entries)
    if source is None or not do:
        return None
    return Foreach(input=source, do=do, max_items=most, continue_on_error=_goes_on(reader, entries) or None)


def read_parallel(reader: StepReader, entries: dict[str, Entry], phase: Phase, at: Position, width: int) -> Step | None:
    """The step as a fan-out of `width` values at a time; None when it has mistakes."""
    when, step_id, label = reader.condition(entries, phase), reader.captures.id(entries), reader.label(entries)
    source, do = _input(reader, entries, phase), _do(reader, entries, "map")
    most, uncommitted = _max_items(reader, entries), reader.defaults.on_uncommitted
    reader.after_fan_out(step_id)
    if source is None or not do:
        return None
    action = MapReduce(
        input=source,
        select=Selection(max_items=most) if most else None,
        merge=usual_merging(reader),
        max_parallel=width,
        on_uncommitted=None if uncommitted == "commit" else uncommitted,
        errors=ErrorPolicy(continue_on_failure=_goes_on(reader, entries)),
        template=do,
    )
    phase, file = phase or "map", at.file or None
    return Step(action=action, when=when, id=step_id, name=label, phase=phase, line=at.line, file=file)


def width(reader: StepReader, entries: dict[str, Entry], phase: Phase) -> int:
    """How many values at a time; 1: no fan-out. Warns where one is meant that can't be."""
    number = _parallel(reader, entries["parallel"].value) if "parallel" in entries else 1
    if number < 2:
        return 1
    at = entries["parallel"].key.at
    slow = "the values run one after another"
    if not reader.may_fan_out(phase):
        where = "in `merge`" if phase == "merge" else "inside of another step or an item"
        reader.findings.warn(at, f"`parallel` does nothing {where}: {slow}", "remove it, or move the step out")
        return 1
    if others := sorted(name for name in entries if name not in _OF_A_FAN_OUT):
        named = ", ".join(f"`{name}`" for name in others)
        message = f"`parallel` does not go with {named} in one step: {slow}"
        reader.findings.warn(at, message, "put them into the steps of `do`")
        return 1
    return number


def _parallel(reader: StepReader, node: Node) -> int:
    if isinstance(node, Scalar) and node.kind == "bool":
        return (reader.defaults.max_parallel or DEFAULT_PARALLEL) if node.value.lower() == "true" else 1
    return read_whole_number(node, "parallel", reader.findings) or 1


def _goes_on(reader: StepReader, entries: dict[str, Entry]) -> bool:
    entry = entries.get("continue_on_error")
    return entry is not None and bool(read_bool(entry.value, "continue_on_error", reader.findings))


def _max_items(reader: StepReader, entries: dict[str, Entry]) -> int | None:
    entry = entries.get("max_items")
    return read_whole_number(entry.value, "max_items", reader.findings) if entry else None


def _do(reader: StepReader, entries: dict[str, Entry], phase: Phase) -> tuple[Step, ...]:
    if "do" not in entries:
        key = entries["foreach"].key
        reader.findings.problem(key.at, "this `foreach` has no `do`", "give it the steps that run for each value")
        return ()
    key, node = entries["do"]
    if phase == "map" or "index" in reader.names(phase).available:
        reader.findings.strict(key.at, "inside this `do`, `${item}` is the value of the `foreach`, not the outer item")
    before = len(reader.findings.problems)
    with reader.inner(ITEM), reader.inside_a_step():
        do = reader.steps(node, "do", phase)
    if not do and len(reader.findings.problems) == before:
        reader.findings.problem(node.at, "`do` has no step")
    return do


def _input(reader: StepReader, entries: dict[str, Entry], phase: Phase) -> Input | None:
    """A list of values, or the text of a shell command that prints one on each line."""
    node = entries["foreach"].value
    options = reader.defaults.shell_options
    if "shell_options" in entries:
        options = read_shell_options(entries["shell_options"].value, reader.findings)
    if isinstance(node, Sequence):
        return read_values(reader, node, "foreach", phase)
    text = read_text(node, "foreach", reader.findings)
    if text is None or not isinstance(node, Scalar):
        return None
    if text.strip().startswith(GLOB):
        source = classify(text)
        if refused := refusal(source):
            reader.findings.problem(node.at, *refused)
        return source
    if _ONE_VALUE.fullmatch(text):
        text = f"printf '%s\\n' {text.strip()}"  # the value's lines, or its elements when it is a list
        node = scalar(text, node)
    reader.check_script(node, phase)
    return Input(kind="command", text=text, options=options)


def read_values(reader: StepReader, node: Sequence, key: str, phase: Phase) -> Input:
    """The values that a list under `key` names, with their placeholders."""
    if not node.items:
        reader.findings.warn(node.at, f"this `{key}` has no values, so it does nothing")
    structured = not all(isinstance(item, Scalar) for item in node.items)
    read = _structure if structured else _value
    values = tuple(read(reader, item, key, phase) for item in node.items)
    return Input(kind="values", values=values, structured=structured or None)


def _structure(reader: StepReader, node: Node, key: str, phase: Phase) -> str:
    return read_structure(node, key, reader.names(phase), reader.text, reader.findings) or "null"


def _value(reader: StepReader, node: Node, key: str, phase: Phase) -> str:
    if not isinstance(node, Scalar) or node.kind == "null":
        reader.findings.problem(node.at, f"a value of `{key}` must be text, got {shown(node)}")
        return ""
    check_plain_text(node, reader.names(phase), reader.text, reader.findings)
    return node.value
