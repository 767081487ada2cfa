"""The shapes of a workflow file, turned into one list of steps."""

from __future__ import annotations

from collections.abc import Sequence as AbstractSequence

from prodigy.workflow import keys
from prodigy.workflow.agent_keys import read_agents
from prodigy.workflow.captures import declared_names
from prodigy.workflow.error_policy import read_error_policy
from prodigy.workflow.failures import ErrorPolicy
from prodigy.workflow.fan_outs import read_fan_out, read_uncommitted, read_workspace
from prodigy.workflow.model import AgentSettings, Step, Workflow, Workspace
from prodigy.workflow.policies import read_shell_options
from prodigy.workflow.scripts import KnownScripts
from prodigy.workflow.steps import Defaults, StepReader
from prodigy.workflow.values import (
    Findings,
    read_bool,
    read_keys,
    read_label,
    read_text,
    read_whole_number,
    shown,
)
from prodigy.workflow.yaml_compose import Document
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence

_EXAMPLE = "a workflow is a list of steps such as `- shell: make test`, or a mapping with `map:` or `steps:`"


def normalise(
    document: Document, source: str, default_name: str, findings: Findings, known: KnownScripts
) -> Workflow | None:
    """The workflow in `document`; None when there is none. Mistakes go to `findings`."""
    root = document.root
    reader = StepReader(document.text, findings, declared_names(root))
    steps: AbstractSequence[Step]
    if isinstance(root, Sequence):
        name, steps = default_name, _list_shape(root, "steps", reader)
    elif isinstance(root, Mapping):
        name, steps = _mapping_shape(root, default_name, reader, findings)
    else:
        _refuse_root(root, findings)
        return None
    agents: tuple[AgentSettings, ...] = ()
    if isinstance(root, Mapping) and "agents" in root.entries:
        agents = read_agents(root.entries["agents"].value, findings)
    workspace = _workspace(reader, root)
    reader.finish(known)
    if findings.problems or document.problems:
        return None
    if not steps:
        findings.problem(root.at, "this workflow has no steps", _EXAMPLE)
        return None
    return Workflow(name=name, steps=tuple(steps), agents=agents, workspace=workspace, source=source)


def _workspace(reader: StepReader, root: Node) -> Workspace:
    """The workflow's `workspace`; below `map` it may stand where there is one map, which says the same."""
    found = list(reader.workspaces)
    if isinstance(root, Mapping) and "workspace" in root.entries:
        found.append(root.entries["workspace"])
    if len(found) > 1:
        first, second = sorted(entry.key.at for entry in found)[:2]
        message = f"`workspace` stands here and on line {first.line}; this version knows one for a workflow"
        reader.findings.problem(second, message)
    return read_workspace(reader, found[0].value) if found else Workspace()


def _refuse_root(root: Scalar | None, findings: Findings) -> None:
    if root is None or root.kind == "null":
        findings.problem(Position(1, 1), "this file has no workflow in it", _EXAMPLE)
    else:
        findings.problem(root.at, f"this file holds only the text {shown(root)}", _EXAMPLE)


def _mapping_shape(
    root: Mapping, default_name: str, reader: StepReader, findings: Findings
) -> tuple[str, AbstractSequence[Step]]:
    entries = read_keys(root, keys.WORKFLOW, "at the top level", findings)
    name = read_label(entries["name"].value, "name", findings) if "name" in entries else None
    reader.defaults = _defaults(entries, reader, findings)
    steps: AbstractSequence[Step] = ()
    if "map" in entries and "steps" in entries:
        at, other = entries["steps"].key.at, entries["steps"].key.value
        findings.problem(
            at,
            f"a workflow has `map` or `{other}`, not both",
            "a `mapreduce` step can stand in a list of steps",
        )
    elif "map" in entries:
        steps = _map_shape(entries, reader)
    elif "steps" in entries:
        for phase in ("setup", "reduce"):
            if phase in entries:
                _refuse_phase(entries[phase], findings)
        steps = _list_shape(entries["steps"].value, entries["steps"].key.value, reader)
    else:
        findings.problem(root.at, "a workflow needs `map` or `steps`", _EXAMPLE)
    if "mode" in entries:
        _check_mode(entries["mode"].value, steps, findings)
    return name or default_name, steps


def _defaults(entries: dict[str, Entry], reader: StepReader, findings: Findings) -> Defaults:
    """What the workflow says once for all its steps; `settings` is the earlier system's place for some of it."""
    settings: dict[str, Entry] = {}
    if "settings" in entries:
        node = entries["settings"].value
        if isinstance(node, Mapping):
            settings = read_keys(node, keys.SETTINGS, "under `settings`", findings)
        else:
            findings.problem(node.at, f"`settings` must be a mapping, got {shown(node)}")
    goes_on: bool | None = True
    if "continue_on_error" in settings:
        goes_on = read_bool(settings["continue_on_error"].value, "continue_on_error", findings)
    parallel = entries.get("parallel_worktrees") or settings.get("parallel_worktrees")
    options = entries.get("shell_options")
    retry, handler = reader.retry(entries["retry_defaults"].value, "") if "retry_defaults" in entries else (None, None)
    return Defaults(
        shell_options=read_shell_options(options.value, findings) if options else None,
        retry=retry,
        retry_handler=handler,
        max_parallel=read_whole_number(parallel.value, "parallel_worktrees", findings) if parallel else None,
        on_uncommitted=read_uncommitted(entries, findings),
        errors=read_error_policy(entries, ErrorPolicy(continue_on_failure=goes_on is not False), findings),
    )


def _refuse_phase(entry: Entry, findings: Findings) -> None:
    where = "at the beginning of the list" if entry.key.value == "setup" else "in the `mapreduce` step"
    findings.problem(entry.key.at, f"`{entry.key.value}` goes with `map`", f"in a list of steps, write it {where}")


def _map_shape(entries: dict[str, Entry], reader: StepReader) -> list[Step]:
    steps = list(reader.steps(entries["setup"].value, "setup", "setup")) if "setup" in entries else []
    at = entries["map"].key.at
    fan_out = read_fan_out(reader, entries["map"], entries.get("reduce"), at, "", reader.defaults.errors)
    return [*steps, fan_out] if fan_out else steps


def _list_shape(node: Node, key: str, reader: StepReader) -> list[Step]:
    """What stands before the `mapreduce` step is the setup, as in the other shape."""
    if not isinstance(node, Sequence):
        return list(reader.steps(node, key, ""))
    fan_outs = [number for number, item in enumerate(node.items) if _is_fan_out(item)]
    first = fan_outs[0] if fan_outs else 0
    steps: list[Step] = []
    for number, item in enumerate(node.items):
        reader.add(item, steps, "setup" if number < first else "")
    return steps


def _is_fan_out(node: Node) -> bool:
    return isinstance(node, Mapping) and "mapreduce" in node.entries


def _check_mode(node: Node, steps: AbstractSequence[Step], findings: Findings) -> None:
    mode = read_text(node, "mode", findings)
    if mode is None:
        return
    if mode not in ("mapreduce", "sequential"):
        findings.problem(node.at, f"`mode` must be mapreduce or sequential, got {shown(node)}")
    fans_out = any(step.action.kind == "mapreduce" for step in steps)
    if steps and fans_out != (mode == "mapreduce"):
        has = "has" if fans_out else "has no"
        findings.warn(node.at, f"`mode` is {mode}, but the workflow {has} `map`; the steps decide", "remove `mode`")
