"""`agents:`, `mcp_servers:` and `budget:` from YAML nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping as AbstractMapping
from difflib import get_close_matches
from functools import cache

from prodigy import plugins
from prodigy.workflow import keys
from prodigy.workflow.agent_settings import (
    NO_AGENTS,
    Agents,
    AgentSettings,
    Budget,
    McpServer,
    with_agents_of,
)
from prodigy.workflow.policies import read_env
from prodigy.workflow.sandbox_keys import read_sandbox
from prodigy.workflow.values import (
    Findings,
    read_bool,
    read_choice,
    read_duration,
    read_keys,
    read_label,
    read_number,
    read_text,
    read_whole_number,
    shown,
)
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence

DEFAULT = "default"
_PASSED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?|\*")


@cache
def kinds() -> tuple[str, ...]:
    """The names of all adapters: ours, and those of installed packages."""
    return (*keys.AGENT_KINDS, *(name for name in plugins.names(plugins.AGENTS) if name not in keys.AGENT_KINDS))


def read_agents(root: Node | None, findings: Findings, configured: Agents = NO_AGENTS) -> Agents:
    """`agents: {default: NAME | [NAMES], NAME: {kind, command, ...}}` and `mcp_servers: {NAME: {command | url}}`.

    configured: others that `default` may name.
    """
    entries = root.entries if isinstance(root, Mapping) else {}
    mcp = _servers(entries["mcp_servers"].value, findings) if "mcp_servers" in entries else ()
    push = _flag(entries, "push_credentials", findings)
    if "agents" not in entries:
        return Agents(mcp=mcp, push_credentials=push)
    node = entries["agents"].value
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`agents` must be a mapping of names, got {shown(node)}")
        return Agents(mcp=mcp, push_credentials=push)
    found = [_agent(key, body, findings, push) for name, (key, body) in node.entries.items() if name != DEFAULT]
    known = tuple(settings for settings in found if settings is not None)
    default = _default(node.entries[DEFAULT].value, findings) if DEFAULT in node.entries else ()
    agents = Agents(known=known, default=tuple(name for name, _ in default), mcp=mcp, push_credentials=push)
    refuse_unknown_agents(default, with_agents_of(agents, configured), findings)
    return agents


def refuse_unknown_agents(named: Iterable[tuple[str, Position]], agents: Agents, findings: Findings) -> None:
    """Complain of names that are neither under `agents` nor a kind."""
    own = [settings.name for settings in agents.known]
    for name, at in named:
        if name in own or name in kinds():
            continue
        nearest = get_close_matches(name[:100], [*own, *kinds()], 1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known: {', '.join([*own, *kinds()])}"
        findings.problem(at, f"there is no agent `{name}`", f"{hint} Others are declared under `agents`")


def _default(node: Node, findings: Findings) -> tuple[tuple[str, Position], ...]:
    items = node.items if isinstance(node, Sequence) else (node,)
    if not items:
        findings.problem(node.at, "`default` names no agent")
    names = [(read_label(item, DEFAULT, findings), item.at) for item in items]
    return tuple((name, at) for name, at in names if name is not None)


def _agent(key: Scalar, body: Node, findings: Findings, push: bool | None) -> AgentSettings | None:
    """push: what the workflow says of push_credentials."""
    name = read_label(key, "agents", findings)
    if name is None:
        return None
    if isinstance(body, Scalar) and body.kind == "null":
        body = Mapping({}, body.at)
    if not isinstance(body, Mapping):
        findings.problem(body.at, f"`{name}` must be a mapping with `kind`, `command` or `model`, got {shown(body)}")
        return None
    entries = read_keys(body, keys.AGENT, f"under `{name}`", findings)
    kind = read_choice(entries["kind"].value, "kind", kinds(), findings) if "kind" in entries else None
    if "kind" not in entries and name not in kinds():
        hint = f"say which program it is: `kind: {get_close_matches(name, kinds(), 1, 0)[0]}`"
        findings.problem(key.at, f"the agent `{name}` has no `kind`", hint)
    if (kind or name) in keys.KINDS_OF_ANY_PROGRAM and "command" not in entries:
        what = "speaks the Agent Client Protocol" if (kind or name) == "acp" else "takes the prompt"
        findings.problem(key.at, f"the agent `{name}` has no `command`", f"name the program that {what}")
    own_push = _flag(entries, "push_credentials", findings)
    may_push = push if own_push is None else own_push
    return AgentSettings(
        name=name,
        kind=kind if kind != name else None,
        command=_of(entries, "command", findings) or None,
        model=_text(entries, "model", findings),
        args=_of(entries, "args", findings),
        env=_texts(entries["env"].value, findings) if "env" in entries else (),
        pass_env=_passed(entries["pass_env"].value, findings, bool(may_push)) if "pass_env" in entries else (),
        timeout_s=_time(entries, "timeout", findings),
        idle_timeout_s=_time(entries, "idle_timeout", findings),
        system_prompt=_text(entries, "system_prompt", findings),
        permission_mode=_text(entries, "permission_mode", findings),
        sandbox=read_sandbox(entries["sandbox"], findings) if "sandbox" in entries else None,
        push_credentials=own_push,
    )


def _passed(node: Node, findings: Findings, may_push: bool) -> tuple[str, ...]:
    found = []
    for item in node.items if isinstance(node, Sequence) else (node,):
        name = read_text(item, "pass_env", findings)
        if name is not None and not _PASSED.fullmatch(name):
            hint = "write a name, `PREFIX_*` for all that begin so, or `*`; values stand under `env`"
            findings.problem(item.at, f"`pass_env`: {name} is no name of a variable", hint)
        elif name is not None:
            if name in keys.PUSH_CREDENTIALS and not may_push:
                message = f"`pass_env`: {name} is there to push with, and is withheld all the same"
                findings.warn(item.at, message, "say `push_credentials: true`")
            found.append(name)
    return tuple(found)


def _servers(node: Node, findings: Findings) -> tuple[McpServer, ...]:
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`mcp_servers` must be a mapping of names, got {shown(node)}")
        return ()
    found = []
    for key, body in node.entries.values():
        name = read_label(key, "mcp_servers", findings)
        if not isinstance(body, Mapping):
            findings.problem(body.at, f"`{key.value}` must be a mapping with `command` or `url`, got {shown(body)}")
            continue
        entries = read_keys(body, keys.MCP_SERVER, f"under `{key.value}`", findings)
        if ("command" in entries) is ("url" in entries):
            findings.problem(key.at, f"`{key.value}` needs one of `command` and `url`")
            continue
        program = (*_of(entries, "command", findings), *_of(entries, "args", findings))
        if name is not None:
            found.append(
                McpServer(
                    name=name,
                    command=program,
                    env=_texts(entries["env"].value, findings) if "env" in entries else (),
                    url=_text(entries, "url", findings),
                    headers=_headers(entries["headers"].value, findings) if "headers" in entries else (),
                )
            )
    return tuple(found)


def read_budget(entries: AbstractMapping[str, Entry], findings: Findings, *, items: bool = False) -> Budget | None:
    """`budget: {max_cost_usd, max_cost_usd_per_item, max_tokens, max_duration, on_exceeded}`. items: whether there are
    items at this place, which may have a limit each."""
    if "budget" not in entries:
        return None
    node = entries["budget"].value
    if not isinstance(node, Mapping):
        hint = "e.g. `budget: {max_cost_usd: 20}`"
        findings.problem(node.at, f"`budget` must be a mapping, got {shown(node)}", hint)
        return None
    found = read_keys(node, keys.BUDGET, "under `budget`", findings)
    usd = {
        field: read_number(found[key].value, key, findings, least=keys.LEAST_USD) if key in found else None
        for key, field in (("max_cost_usd", "usd"), ("max_cost_usd_per_item", "usd_per_item"))
    }
    if "max_cost_usd_per_item" in found and not items:
        findings.problem(found["max_cost_usd_per_item"].key.at, "a step has no items", "write `max_cost_usd`")
    tokens = read_whole_number(found["max_tokens"].value, "max_tokens", findings) if "max_tokens" in found else None
    duration_s = _time(found, "max_duration", findings)
    exceeded = (
        read_choice(found["on_exceeded"].value, "on_exceeded", ("drain", "kill"), findings)
        if "on_exceeded" in found
        else None
    )
    if not found and not node.entries:
        findings.problem(node.at, "`budget` says no limit", "e.g. `budget: {max_cost_usd: 20}`")
    return Budget(**usd, tokens=tokens, duration_s=duration_s, kill=True if exceeded == "kill" else None)


def _texts(node: Node, findings: Findings) -> tuple[tuple[str, str], ...]:
    return tuple((name, "" if value.kind == "null" else value.value) for name, value in read_env(node, findings))


def _headers(node: Node, findings: Findings) -> tuple[tuple[str, str], ...]:
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`headers` must be a mapping of names, got {shown(node)}")
        return ()
    texts = [(name, read_text(body, name, findings)) for name, (_, body) in node.entries.items()]
    return tuple((name, text) for name, text in texts if text is not None)


def _of(entries: AbstractMapping[str, Entry], key: str, findings: Findings) -> tuple[str, ...]:
    """The words of a key, none without it."""
    return _words(entries[key].value, key, findings) if key in entries else ()


def _text(entries: AbstractMapping[str, Entry], key: str, findings: Findings) -> str | None:
    return read_text(entries[key].value, key, findings) if key in entries else None


def _flag(entries: AbstractMapping[str, Entry], key: str, findings: Findings) -> bool | None:
    return read_bool(entries[key].value, key, findings) if key in entries else None


def _time(entries: AbstractMapping[str, Entry], key: str, findings: Findings) -> float | None:
    return read_duration(entries[key].value, key, findings) if key in entries else None


def _words(node: Node, key: str, findings: Findings) -> tuple[str, ...]:
    """A program or an argument, or a list of them; nothing is split at spaces."""
    items = node.items if isinstance(node, Sequence) else (node,)
    texts = [read_text(item, key, findings) for item in items]
    return tuple(text for text in texts if text is not None)
