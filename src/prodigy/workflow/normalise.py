"""The shapes of a workflow file, turned into one list of steps."""

from __future__ import annotations

import json
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prodigy.workflow import keys
from prodigy.workflow.agent_keys import read_agents, read_budget, refuse_unknown_agents
from prodigy.workflow.agent_settings import Agents, with_agents_of
from prodigy.workflow.captures import declared_names
from prodigy.workflow.environment import NOTHING, names, with_profile
from prodigy.workflow.environment_keys import read_environment, refuse_names_twice, refuse_secrets_in_texts
from prodigy.workflow.error_policy import read_error_policy
from prodigy.workflow.failures import ErrorPolicy
from prodigy.workflow.fan_outs import read_fan_out, read_uncommitted
from prodigy.workflow.load_options import NOTHING_GIVEN, LoadOptions
from prodigy.workflow.merging import read_merge
from prodigy.workflow.model import NOTHING_CONFIGURED, Step, Workflow, Workspace
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
from prodigy.workflow.walk import every_step
from prodigy.workflow.workspaces import read_workspace
from prodigy.workflow.yaml_compose import Document
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence

if TYPE_CHECKING:
    from prodigy.workflow.other_files import Chain

_EXAMPLE = "a workflow is a list of steps such as `- shell: make test`, or a mapping with `map:` or `steps:`"

# Keys that earlier files have, and what is to be done with them.
_MEANS_NOTHING = {
    "config": "write what is meant under `settings`, `map` or `.prodigy/config.yml`",
    "version": "remove it",
}


@dataclass(frozen=True)
class Outside:
    """What stands around a workflow that is a part of another one.

    inner: whether it is one. names: of values that its steps get from there. texts: of variables that texts other than
    the shell's may use too. chain: the files that are being read. directory: of its steps, below the worktree.
    """

    inner: bool = False
    names: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    chain: Chain | None = None
    directory: str | None = None


ALONE = Outside()


def normalise(
    document: Document,
    source: str,
    default_name: str,
    findings: Findings,
    known: KnownScripts,
    outside: Outside = ALONE,
    parameters: AbstractMapping[str, object] | None = None,
    given: LoadOptions = NOTHING_GIVEN,
) -> Workflow | None:
    """The workflow in `document`; None when there is none. Mistakes go to `findings`.

    parameters: their values. given: the profile that the user chose, and what the configuration says. Raises
    UsageError for a profile that there is not.
    """
    root, values = document.root, parameters or {}
    reader = StepReader(document.text, findings, declared_names(root))
    reader.configured = configured = given.configured or NOTHING_CONFIGURED
    reader.defaults = Defaults(retry=configured.retry, max_parallel=configured.max_parallel)
    reader.workspace = Workspace() if outside.inner else configured.workspace
    reader.fixed = frozenset(values) | outside.names
    environment = read_environment(root.entries, reader) if isinstance(root, Mapping) else NOTHING
    environment = with_profile(environment, given.profile) if given.profile else environment
    reader.given |= names(environment) | outside.texts
    if outside.inner:
        from prodigy.workflow.parts import complain_of_env, take_env

        take_env(reader, environment, values, outside.directory)
        complain_of_env(reader, root, environment)
    if isinstance(root, Mapping) and "workflows" in root.entries:
        from prodigy.workflow.subflows import Subflows  # few workflows have others in them

        reader.subflows = Subflows(reader, root, source, known, outside, values)
    steps: AbstractSequence[Step]
    if isinstance(root, Sequence):
        name, steps = default_name, _list_shape(root, "steps", reader)
    elif isinstance(root, Mapping):
        name, steps = _mapping_shape(root, default_name, reader, findings)
    else:
        _refuse_root(root, findings)
        return None
    agents = read_agents(root, findings, given.agents)
    if reader.subflows:
        agents = reader.subflows.with_agents(agents)
    agents = with_agents_of(agents, given.agents)
    if not outside.inner:
        refuse_unknown_agents(reader.agents_named, agents, findings)
    _refuse_shared_worktrees(reader.shared_at, agents, findings)
    merge = read_merge(reader, root)
    reader.finish(known)
    if findings.problems or document.problems:
        return None
    if not steps:
        findings.problem(root.at, "this workflow has no steps", _EXAMPLE)
        return None
    workflow = Workflow(
        name=name,
        steps=tuple(steps),
        agents=agents,
        budget=read_budget(root.entries, findings, items=True) if isinstance(root, Mapping) else None,
        parameters=tuple((name, json.dumps(value, ensure_ascii=False)) for name, value in sorted(values.items())),
        workspace=reader.workspace,
        environment=environment,
        merge=merge,
        max_iterations=_iterations(root, findings),
        limits=tuple(reader.limits.items()),
        configured=configured,
        source=source,
    )
    refuse_secrets_in_texts(every_step(workflow), environment, findings)
    if isinstance(root, Mapping):
        refuse_names_twice(environment, declared_names(root), root, findings)
        _refuse_names_of_parameters(values, root, findings)
    return None if findings.problems else workflow


def _refuse_shared_worktrees(places: AbstractSequence[Position], agents: Agents, findings: Findings) -> None:
    """From a worktree an agent reaches the git directory that all share, which no sandbox can give it without risk."""
    confined = [settings.name for settings in agents.known if settings.sandbox is not None]
    for at in places if confined else ():
        message = f"the agent `{confined[0]}` has a sandbox, and `isolation: worktree` lets it into the repository"
        findings.problem(at, message, "write `isolation: clone`, or leave it out")


def _iterations(root: Node | None, findings: Findings) -> int | None:
    if not isinstance(root, Mapping) or "max_iterations" not in root.entries:
        return None
    return read_whole_number(root.entries["max_iterations"].value, "max_iterations", findings)


def _refuse_names_of_parameters(values: AbstractMapping[str, object], root: Mapping, findings: Findings) -> None:
    """`${NAME}` would be either of the two."""
    declared = declared_names(root)
    env = root.entries.get("env")
    variables = env.value.entries if env is not None and isinstance(env.value, Mapping) else {}
    for name in values:
        if name in variables:
            findings.problem(variables[name].key.at, f"`{name}` is a parameter too", "choose another name")
        elif name in declared:
            findings.problem(root.at, f"`{name}` is a parameter and the id or capture of a step", "rename one of them")


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
    if "workspace" in entries:
        reader.workspace = read_workspace(reader, entries["workspace"], reader.workspace)
    first = reader.subflows.first() if reader.subflows else []
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
    elif not reader.subflows and not findings.incomplete:
        findings.problem(root.at, "a workflow needs `map` or `steps`", _EXAMPLE)
    for key, hint in _MEANS_NOTHING.items():
        if key in entries:
            findings.warn(entries[key].key.at, f"`{key}` at the top level does nothing here", hint)
    if "mode" in entries:
        _check_mode(entries["mode"].value, steps, findings)
    return name or default_name, [*first, *steps]


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
    retry, handler = reader.defaults.retry, None
    if "retry_defaults" in entries:
        retry, handler = reader.retry(entries["retry_defaults"].value, "")
    return Defaults(
        shell_options=read_shell_options(options.value, findings) if options else None,
        retry=retry,
        retry_handler=handler,
        max_parallel=read_whole_number(parallel.value, "parallel_worktrees", findings)
        if parallel
        else reader.defaults.max_parallel,
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
    if mode not in ("mapreduce", "sequential", "standard"):
        findings.problem(node.at, f"`mode` must be mapreduce or sequential, got {shown(node)}")
    fans_out = any(step.action.kind == "mapreduce" for step in steps)
    if steps and fans_out != (mode == "mapreduce"):
        has = "has" if fans_out else "has no"
        findings.warn(node.at, f"`mode` is {mode}, but the workflow {has} `map`; the steps decide", "remove `mode`")
