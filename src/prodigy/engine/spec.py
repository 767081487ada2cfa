"""From a step to the process that runs it: texts filled in, files laid out, and no value parsed by a shell."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from prodigy.agents import agent
from prodigy.agents.base import AgentRequest
from prodigy.engine.captures import Scope
from prodigy.engine.site import Site
from prodigy.errors import ProdigyError
from prodigy.executors.base import DEFAULT_IDLE_TIMEOUT_S, DEFAULT_TIMEOUT_S, ProcessSpec
from prodigy.workflow.interpolate import interpolate_text
from prodigy.workflow.model import Agent, AgentSettings, Shell, Step, agent_settings
from prodigy.workflow.policies import outside
from prodigy.workflow.shell.checks import MAX_VALUE_BYTES, exceeds, unusable
from prodigy.workflow.shell_words import compile_script

DEFAULT_SHELL_OPTIONS = ("-e", "-o", "pipefail")
# What `--args` and `--map` give. In scripts these are plain environment variables; in other texts we put them in.
INPUT_NAMES = frozenset({"ARG", "ARGUMENT", "FILE", "FILE_PATH"})
_BARE_INPUT = re.compile(r"\$(ARG|ARGUMENT|FILE|FILE_PATH)\b")


@dataclass
class _Call:
    """A process in the making."""

    env: dict[str, str]
    files: dict[str, bytes] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    stdin: bytes = b""


def spec_of(step: Step, execution: str, site: Site, shell: str) -> ProcessSpec:
    """The process to start. shell: the path of bash. Raises ProdigyError when a value does not fit its place."""
    directory = site.workspace.directory(execution)
    call = _Call(dict(site.env))
    if site.item is not None:
        call.files["item.json"] = json.dumps(site.item, ensure_ascii=False).encode("utf-8", "surrogatepass")
        call.env["PRODIGY_ITEM_FILE"] = str(directory / "item.json")
    for name, text in step.policy.env:
        call.env[name] = _variable(name, text, site.scope)
    cwd = site.workspace.path
    if step.policy.working_dir is not None:
        cwd /= path_below(step.policy.working_dir, site)
    if isinstance(step.action, Shell):
        _call_shell(call, step.action, directory, site.scope, shell)
    elif isinstance(step.action, Agent):
        _call_agent(call, step.action, agent_settings(site.workflow, step.action.use), cwd, site.scope)
    return ProcessSpec(
        argv=call.argv,
        env=call.env,
        cwd=str(cwd),
        files=call.files,
        stdin=call.stdin,
        timeout_s=step.policy.timeout_s or DEFAULT_TIMEOUT_S,
        idle_timeout_s=step.policy.idle_timeout_s or DEFAULT_IDLE_TIMEOUT_S,
    )


def path_below(text: str, site: Site) -> str:
    """A path that the workflow names, filled in; raises ProdigyError when it is not one below the worktree."""
    path = interpolate_text(text, site.scope, INPUT_NAMES)
    reason = unusable(path)
    problem = f"the path {path!r} {reason}" if reason else outside(path)
    root = site.workspace.path
    if problem is None and not (root / path).resolve().is_relative_to(root.resolve()):
        problem = f"{path} leads out of the worktree"
    if problem:
        raise ProdigyError(problem)
    return path


def _variable(name: str, text: str, scope: Scope) -> str:
    value = interpolate_text(text, scope, INPUT_NAMES)
    if reason := unusable(value):
        raise ProdigyError(f"the value of the variable {name} {reason}")
    if exceeds(value, MAX_VALUE_BYTES):
        what = f"the value of the variable {name} is larger than {MAX_VALUE_BYTES >> 10} KiB, more than it can hold"
        raise ProdigyError(what, hint="give the script a file instead: ${item.x:file}")
    return value


def _call_shell(call: _Call, action: Shell, directory: Path, scope: Scope, shell: str) -> None:
    bound = compile_script(action.text, frozenset(scope) - INPUT_NAMES).bind(scope, str(directory))
    call.files |= {"script": bound.script, **bound.files}
    call.env |= bound.env
    options = DEFAULT_SHELL_OPTIONS if action.options is None else action.options
    call.argv = (shell, "--noprofile", "--norc", *options, str(directory / "script"))


def _call_agent(call: _Call, action: Agent, settings: AgentSettings, cwd: Path, scope: Scope) -> None:
    given = INPUT_NAMES.intersection(scope)
    text = _BARE_INPUT.sub(lambda name: f"${{{name[1]}}}" if name[1] in given else name[0], action.prompt)
    prompt = interpolate_text(text, scope, INPUT_NAMES)
    call.files["prompt.txt"] = prompt.encode("utf-8", "backslashreplace")
    request = AgentRequest(
        prompt=prompt,
        directory=str(cwd),
        command=settings.command,
        model=settings.model,
        args=settings.args,
        as_root=os.geteuid() == 0,
    )
    invocation = agent(action.use).start(request)
    call.env |= invocation.env
    call.argv, call.stdin = invocation.argv, invocation.stdin
