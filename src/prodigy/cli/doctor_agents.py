"""The part of `doctor` that asks for the configuration, and for each agent that it or a workflow names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from prodigy.agents import agent
from prodigy.agents.base import find_program
from prodigy.cli.doctor_checks import Finding, Level
from prodigy.cli.given import configuration, read_given
from prodigy.engine.opening import agents_used
from prodigy.engine.refs import BRANCH_PREFIX
from prodigy.engine.spec import request_of
from prodigy.errors import ProdigyError, UsageError, WorkflowError
from prodigy.executors import sandbox
from prodigy.store.checked import CheckedScripts
from prodigy.workflow.agent_settings import Agents, AgentSettings
from prodigy.workflow.configuration import Configuration
from prodigy.workflow.load import load

_FIRST = 3  # problems that are named


def configured_findings(workflow: Path | None) -> Iterator[Finding]:
    """What is wrong with the configuration, and whether the agents of it and of the workflow would start.

    Raises UsageError when there is no such workflow."""
    configured = Configuration()
    try:
        configured = configuration(Path())
        yield Finding("configuration", "ok", "in order; `prodigy config trace` shows it")
    except WorkflowError as error:
        shown = "; ".join(f"{one.place(error.file)}: {one.message}" for one in error.problems[:_FIRST])
        yield Finding("configuration", "problem", shown, "`prodigy config trace --diagnose` shows all of it.")
    except UsageError as error:
        yield Finding("configuration", "problem", str(error), None)
    agents, needed = configured.agents, set[str]()
    wanted = {name: agents.settings(name) for name in _names(agents)}
    if workflow is not None:
        try:
            loaded = load(workflow, CheckedScripts(), read_given((), None, None, configured)).workflow
        except WorkflowError as error:
            yield Finding("workflow", "problem", error.what, f"prodigy validate {workflow}")
        else:
            agents = loaded.agents
            used = {settings.name: settings for settings in agents_used(loaded)}
            wanted, needed = wanted | used, set(used)
    for name, settings in wanted.items():
        is_alone = name in needed and agents.default in ((), (name,))
        yield agent_finding(settings, agents, "problem" if is_alone else "warning")


def branch_prefix() -> str:
    """What the names of a run's branches would begin with here."""
    try:
        return configuration(Path()).branch_prefix or BRANCH_PREFIX
    except UsageError:
        return BRANCH_PREFIX  # what is wrong is told as a finding of its own


def _names(agents: Agents) -> list[str]:
    return list(dict.fromkeys((*(settings.name for settings in agents.known), *agents.default)))


def agent_finding(settings: AgentSettings, agents: Agents, level: Level) -> Finding:
    """Whether an agent would start here: its program, its settings, its sandbox. level: of one that would not."""
    name, kind = settings.name, agents.kind(settings.name)
    env = {**os.environ, **dict(settings.env)}
    try:
        adapter = agent(kind)
        program = find_program(adapter, settings.command, env.get("PATH", os.defpath))
        adapter.start(request_of(settings, agents, env, prompt="?"))
    except ProdigyError as problem:
        return Finding(f"agent {name}", level, f"{kind}: {problem.what}", problem.hint)
    confined = settings.sandbox
    if confined is not None and confined.use == "bwrap" and (why := sandbox.problem()):
        what = f"its sandbox is not possible here: {why}"
        return Finding(f"agent {name}", level, what, "`sandbox: auto` goes without.")
    is_confined = "no sandbox" if confined is None else f"sandbox: {confined.use}"
    return Finding(f"agent {name}", "ok", f"{kind}, {program}, {is_confined}")
