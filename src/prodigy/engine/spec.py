"""From a step to the process that runs it: texts filled in, files laid out, and no value parsed by a shell."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from prodigy.agents.base import AgentRequest, McpServer
from prodigy.engine.admission import Admission
from prodigy.engine.captures import Scope
from prodigy.engine.confinement import confinement_of
from prodigy.engine.documents import laid_out, laid_out_value
from prodigy.engine.environment import not_in_scripts, with_secrets
from prodigy.engine.site import Site
from prodigy.engine.specials import FILE as SPECIALS
from prodigy.engine.time_limits import usual_timeout_s
from prodigy.errors import ProdigyError
from prodigy.executors.base import DEFAULT_IDLE_TIMEOUT_S, Confinement, ProcessSpec
from prodigy.state.trace_ids import is_wanted, traceparent
from prodigy.workflow.agent_settings import Agents, AgentSettings
from prodigy.workflow.catalogue import IN_ENVIRONMENT
from prodigy.workflow.interpolate import fill_json, interpolate_text
from prodigy.workflow.model import Agent, Shell, Step, WriteFile
from prodigy.workflow.policies import outside
from prodigy.workflow.shell.checks import MAX_VALUE_BYTES, exceeds, unusable
from prodigy.workflow.shell_words import compile_script

DEFAULT_SHELL_OPTIONS = ("-e", "-o", "pipefail")
# What `--args` and `--map` give. In scripts these are plain environment variables; in other texts we put them in.
INPUT_NAMES = frozenset({"ARG", "ARGUMENT", "FILE", "FILE_PATH"})
# What a `write_file` step runs: no value is in it.
_WRITER = b"""if [ "$4" = yes ]; then mkdir -p -- "$(dirname -- "$2")"; fi
cat -- "$1" > "$2"
chmod -- "$3" "$2"
printf '%s\\n' "$5"
"""
# What an agent is told in a session that a limit has stopped.
_GO_ON = "A limit of your account has stopped you. It is over now: go on with the task where you stopped."
_BARE = re.compile(r"(?<![\\$])\$([A-Za-z_]\w*)", re.ASCII)


@dataclass
class _Call:
    """A process in the making."""

    env: dict[str, str]
    files: dict[str, bytes] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    stdin: bytes = b""
    confinement: Confinement | None = None


def spec_of(
    step: Step, execution: str, site: Site, env: Mapping[str, str], shell: str, admission: Admission | None = None
) -> ProcessSpec:
    """The process to start. env: what it gets beside the step's own variables. shell: the path of bash. admission: the
    agent that is to do it. Raises ProdigyError when a value does not fit its place."""
    directory = site.workspace.directory(execution)
    call = _Call(dict(env))
    if is_wanted(os.environ) and (run_id := env.get("PRODIGY_RUN_ID")):
        call.env["TRACEPARENT"] = traceparent(run_id, execution)  # for programs that trace themselves
    if site.item is not None:
        call.files["item.json"] = json.dumps(site.item, ensure_ascii=False).encode("utf-8", "surrogatepass")
        call.env["PRODIGY_ITEM_FILE"] = str(directory / "item.json")
    environment = site.workflow.environment
    kept = {secret.name for secret in environment.secrets}  # nothing stands above a secret
    for name, text in step.policy.env:
        if name not in kept:
            call.env[name] = _variable(name, text, site, with_secrets(site.scope, site))
    call.env.pop("OLDPWD", None)
    limits: tuple[float | None, float | None] = None, None
    cwd = site.workspace.path
    if step.policy.working_dir is not None:
        cwd /= path_below(step.policy.working_dir, site)
    call.env["PWD"] = str(cwd)  # some programs believe it rather than look, and ours is the user's checkout
    if isinstance(step.action, Shell):
        ours = frozenset(site.scope) - IN_ENVIRONMENT - not_in_scripts(environment)
        _call_shell(call, step.action, directory, site.scope, shell, ours)
    elif isinstance(step.action, WriteFile):
        _call_writer(call, step.action, directory, site, shell)
    elif admission is not None and isinstance(step.action, Agent):
        settings = site.workflow.agents.settings(admission.name)
        _call_agent(call, step.action, directory, cwd, site, admission, settings)
        spans = (settings.timeout_s, step.policy.budget.duration_s if step.policy.budget else None)
        limits = min((span for span in spans if span is not None), default=None), settings.idle_timeout_s
    if site.scope.specials is not None and site.scope.specials.kept:
        call.files[SPECIALS] = json.dumps(site.scope.specials.kept).encode()
    return ProcessSpec(
        argv=call.argv,
        env=call.env,
        cwd=str(cwd),
        files=call.files,
        stdin=call.stdin,
        timeout_s=step.policy.timeout_s or limits[0] or usual_timeout_s(site.workflow),
        idle_timeout_s=step.policy.idle_timeout_s or limits[1] or DEFAULT_IDLE_TIMEOUT_S,
        confinement=call.confinement,
    )


def path_below(text: str, site: Site) -> str:
    """A path that the workflow names, filled in; raises ProdigyError when it is not one below the worktree."""
    path = _filled(text, site, site.scope)
    reason = unusable(path)
    problem = f"the path {path!r} {reason}" if reason else outside(path)
    root = site.workspace.path
    if problem is None and not (root / path).resolve().is_relative_to(root.resolve()):
        problem = f"{path} leads out of the worktree"
    if problem:
        raise ProdigyError(problem)
    return path


def _filled(text: str, site: Site, scope: Scope) -> str:
    """A text that no shell reads, with its values. `$NAME` is what a shell would find in its environment: what the call
    gives, the workflow's `env` and its parameters."""
    found = IN_ENVIRONMENT | not_in_scripts(site.workflow.environment) | {name for name, _ in site.workflow.parameters}
    given = found & scope.keys()
    return interpolate_text(
        _BARE.sub(lambda name: f"${{{name[1]}}}" if name[1] in given else name[0], text), scope, INPUT_NAMES
    )


def _variable(name: str, text: str, site: Site, scope: Scope) -> str:
    value = _filled(text, site, scope)
    if reason := unusable(value):
        raise ProdigyError(f"the value of the variable {name} {reason}")
    if exceeds(value, MAX_VALUE_BYTES):
        what = f"the value of the variable {name} is larger than {MAX_VALUE_BYTES >> 10} KiB, more than it can hold"
        raise ProdigyError(what, hint="give the script a file instead: ${item.x:file}")
    return value


def _call_shell(call: _Call, action: Shell, directory: Path, scope: Scope, shell: str, ours: frozenset[str]) -> None:
    bound = compile_script(action.text, ours).bind(scope, str(directory))
    call.files |= {"script": bound.script, **bound.files}
    call.env |= bound.env
    options = DEFAULT_SHELL_OPTIONS if action.options is None else action.options
    call.argv = (shell, "--noprofile", "--norc", *options, str(directory / "script"))


def _call_writer(call: _Call, action: WriteFile, directory: Path, site: Site, shell: str) -> None:
    """The file is laid out here; the step's process only puts it in its place, so that a resume adopts it as any."""
    path = path_below(action.path, site)
    if action.structured:
        content = laid_out_value(fill_json(action.content, lambda text: _filled(text, site, site.scope)), action.format)
    else:
        content = laid_out(_filled(action.content, site, site.scope), action.format)
    call.files |= {"script": _WRITER, "content": content.encode("utf-8", "surrogateescape")}
    mode = f"{0o644 if action.mode is None else action.mode:04o}"
    target = str(site.workspace.path / path)
    dirs = "yes" if action.create_dirs else "no"
    call.argv = (
        *(shell, "--noprofile", "--norc", "-e", str(directory / "script")),
        *(str(directory / "content"), target, mode, dirs, path),
    )


def _call_agent(
    call: _Call,
    action: Agent,
    directory: Path,
    cwd: Path,
    site: Site,
    admission: Admission,
    settings: AgentSettings,
) -> None:
    prompt = _filled(action.prompt, site, site.scope)
    call.env |= dict(settings.env)
    if admission.session is not None:
        prompt = _GO_ON
    note = None if action.fresh or admission.session else site.failed_before
    if note and prompt.startswith("/") and admission.adapter.abilities.system_prompt:
        # What stands behind a slash command is its arguments.
        settings = settings.model_copy(update={"system_prompt": _joined(settings.system_prompt, note)})
    elif note:
        prompt = _joined(prompt, note)
    call.files["prompt.txt"] = prompt.encode("utf-8", "backslashreplace")
    request = request_of(settings, site.workflow.agents, call.env, prompt=prompt)
    request = replace(
        request,
        directory=str(cwd),
        files=str(directory),
        max_cost_usd=admission.reservation.limit_usd,
        version=admission.version,
        resume_session=admission.session,
    )
    invocation = admission.adapter.start(request)
    call.env |= invocation.env
    call.files |= invocation.files
    call.argv, call.stdin = invocation.argv, invocation.stdin
    call.confinement = confinement_of(settings, admission.adapter, call.env)


def _joined(text: str | None, note: str) -> str:
    return f"{text}\n\n{note}" if text else note


def request_of(settings: AgentSettings, agents: Agents, env: Mapping[str, str], *, prompt: str) -> AgentRequest:
    """What an agent is asked to do, as far as the workflow says it. env: of its process."""
    servers = tuple(
        McpServer(server.name, server.command, dict(server.env), server.url, dict(server.headers))
        for server in agents.mcp
    )
    return AgentRequest(
        prompt=prompt,
        directory=".",
        command=settings.command,
        model=settings.model,
        args=settings.args,
        as_root=os.geteuid() == 0,
        system_prompt=settings.system_prompt,
        permission_mode=settings.permission_mode,
        mcp=servers,
        env=env,
    )
