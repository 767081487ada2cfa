"""`map` and `reduce` from YAML nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodigy.workflow import keys
from prodigy.workflow.agent_keys import read_budget
from prodigy.workflow.agent_settings import Budget
from prodigy.workflow.error_policy import read_error_policy
from prodigy.workflow.failures import ErrorPolicy, Retry
from prodigy.workflow.inputs import classify, refusal
from prodigy.workflow.json_path import JsonPathError, compile_json_path, rooted
from prodigy.workflow.loops import read_values
from prodigy.workflow.merging import read_map_merge, usual_merging
from prodigy.workflow.model import Input, MapReduce, Phase, Step, Uncommitted, Workspace
from prodigy.workflow.selections import read_priority, read_selection, read_variables
from prodigy.workflow.timeouts import check_places, read_item_limits
from prodigy.workflow.values import (
    Findings,
    later,
    read_choice,
    read_keys,
    read_text,
    read_whole_number,
    shown,
)
from prodigy.workflow.workspaces import read_workspace
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

DEFAULT_MAX_PARALLEL = 10
_UNCOMMITTED: tuple[Uncommitted, ...] = ("commit", "discard", "fail")


def read_step(reader: StepReader, entries: dict[str, Entry], phase: Phase) -> Step | None:
    """A step with `mapreduce:`."""
    key, body = entries["mapreduce"]
    for name, entry in entries.items():
        if name not in ("mapreduce", "id", "name", "description", "when"):
            reader.findings.problem(entry.key.at, later(name) + " on a `mapreduce` step")
    step_id, label = reader.captures.id(entries), reader.label(entries)
    when = reader.condition(entries, phase)
    if not isinstance(body, Mapping):
        reader.findings.problem(body.at, f"`mapreduce` must be a mapping with `map`, got {shown(body)}")
        return None
    parts = read_keys(body, keys.MAPREDUCE, "under `mapreduce`", reader.findings)
    errors = read_error_policy(parts, reader.defaults.errors, reader.findings)
    if "map" not in parts:
        reader.findings.problem(body.at, "`mapreduce` has no `map`")
        return None
    outer = reader.workspace
    if "workspace" in parts:
        reader.workspace = read_workspace(reader, parts["workspace"], outer)
    budget = read_budget(parts, reader.findings, items=True)
    step = read_fan_out(reader, parts["map"], parts.get("reduce"), key.at, phase, errors, step_id, budget)
    own, reader.workspace = reader.workspace, outer
    if step is None:
        return None
    if isinstance(step.action, MapReduce) and step.action.workspace is None and own is not outer:
        step = step.model_copy(update={"action": step.action.model_copy(update={"workspace": own})})
    return step.model_copy(update={"id": step_id, "name": label, "when": when})


def read_fan_out(
    reader: StepReader,
    map_: Entry,
    reduce: Entry | None,
    at: Position,
    phase: Phase,
    errors: ErrorPolicy,
    step_id: str | None = None,
    budget: Budget | None = None,
) -> Step | None:
    """The step that runs `map` and then `reduce`. errors, budget: those that count where `map` has none of its own."""
    if phase in ("map", "reduce"):
        message = "a `mapreduce` step cannot stand inside another one"
        reader.findings.problem(at, message, "put it behind the other one, in the list of `steps`")
        return None
    if not reader.may_fan_out(phase):
        message = "a `mapreduce` step cannot stand inside another step, in `merge` or in the setup of worktrees"
        reader.findings.problem(at, message, "put it into the list of `steps`")
        return None
    action = _read_map(reader, map_.value, errors, budget)
    reader.after_fan_out(step_id, [name for name, _ in action.variables] if action else ())
    reduce_steps = reader.steps(reduce.value, "reduce", "reduce") if reduce else ()
    if action is None:
        return None
    action = action.model_copy(update={"reduce": reduce_steps})
    return Step(action=action, phase="map", line=at.line, file=at.file or None)


def _read_map(reader: StepReader, node: Node, errors: ErrorPolicy, budget: Budget | None) -> MapReduce | None:
    if not isinstance(node, Mapping):
        message = f"`map` must be a mapping with `input` and `agent_template`, got {shown(node)}"
        reader.findings.problem(node.at, message)
        return None
    entries = read_keys(node, keys.MAP, "under `map`", reader.findings)
    errors = read_error_policy(entries, errors, reader.findings)
    if errors.retry != Retry() and errors.on_item_failure != "retry":
        at = entries["retry_config"].key.at if "retry_config" in entries else node.at
        reader.findings.warn(at, "`retry_config` does nothing alone", "add `on_item_failure: retry`")
    for required in ("input", "agent_template"):
        if required not in entries:
            reader.findings.problem(node.at, f"`map` has no `{required}`")
    source = _input(reader, entries["input"].value) if "input" in entries else None
    json_path = _json_path(reader, entries["json_path"].value) if "json_path" in entries else None
    if source is not None and source.kind in ("glob", "values") and json_path is not None:
        what = "`glob:`" if source.kind == "glob" else "a list of items"
        reader.findings.problem(entries["json_path"].key.at, f"`json_path` does not go with {what}")
    select = read_selection(entries, reader.text, reader.findings)
    variables = read_variables(entries["variables"], reader.text, reader.findings) if "variables" in entries else ()
    max_parallel = None
    if "max_parallel" in entries:
        key, value = entries["max_parallel"]
        max_parallel = read_whole_number(value, key.value, reader.findings)
    merge, on_conflict = read_map_merge(reader, entries["merge"]) if "merge" in entries else (usual_merging(reader), ())
    priority = read_priority(entries["priority"], reader.text, reader.findings) if "priority" in entries else None
    workspace = read_workspace(reader, entries["workspace"], reader.workspace) if "workspace" in entries else None
    uncommitted = read_uncommitted(entries, reader.findings) or reader.defaults.on_uncommitted
    template = _template(reader, entries["agent_template"]) if "agent_template" in entries else ()
    limits = read_item_limits(entries, reader.findings)
    if "timeout_config" in entries:
        check_places(limits, template, entries["timeout_config"], reader.findings)
    if source is None or not template:
        return None
    return MapReduce(
        input=source,
        json_path=json_path,
        select=select,
        variables=variables,
        max_parallel=max_parallel or reader.defaults.max_parallel or _usual_parallel(workspace or reader.workspace),
        on_uncommitted=None if uncommitted == "commit" else uncommitted,
        errors=errors,
        limits=limits,
        template=template,
        workspace=workspace,
        budget=read_budget(entries, reader.findings, items=True) or budget,
        on_conflict=on_conflict,
        merge=merge,
        priority=priority,
    )


def _usual_parallel(workspace: Workspace) -> int:
    """How many items run at a time where nobody says it. A named worktree is one, unless more are asked for."""
    return DEFAULT_MAX_PARALLEL if workspace.name is None else 1


def _template(reader: StepReader, entry: Entry) -> tuple[Step, ...]:
    before = len(reader.findings.problems)
    with reader.inner():
        template = reader.steps(entry.value, entry.key.value, "map")
    if not template and len(reader.findings.problems) == before:
        reader.findings.problem(entry.value.at, f"`{entry.key.value}` has no step")
    return template


def _input(reader: StepReader, node: Node) -> Input | None:
    if isinstance(node, Mapping):
        from prodigy.workflow.item_sources import read_item_source  # few workflows have one

        return read_item_source(reader, node, "")
    if isinstance(node, Sequence):
        return read_values(reader, node, "input", "")
    text = read_text(node, "input", reader.findings)
    if text is None or not isinstance(node, Scalar):
        return None
    source = classify(text)
    if refused := refusal(source):
        reader.findings.problem(node.at, *refused)
    elif source.kind == "command":
        reader.check_script(node, "")
        return source.model_copy(update={"options": reader.defaults.shell_options})
    return source


def _json_path(reader: StepReader, node: Node) -> str | None:
    if isinstance(node, Scalar) and node.kind == "str" and not node.value:
        return None  # the earlier system's way to say "none"
    text = read_text(node, "json_path", reader.findings)
    if text is None or not isinstance(node, Scalar):
        return None
    try:
        compile_json_path(text)
    except JsonPathError as error:
        at = reader.text.inside(node, 1, error.column)
        hint = "placeholders are not replaced in it" if "${" in text else "see RFC 9535, e.g. `$.items[*]`"
        reader.findings.problem(at, f"`json_path` is not a JSONPath: {error.message}", hint)
    return rooted(text)


def read_uncommitted(entries: dict[str, Entry], findings: Findings) -> Uncommitted | None:
    if "on_uncommitted" not in entries:
        return None
    return read_choice(entries["on_uncommitted"].value, "on_uncommitted", _UNCOMMITTED, findings)
