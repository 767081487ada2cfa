"""OpenAI's Codex CLI, run headless with a stream of JSON events (measured with 0.169.0)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prodigy.agents import fields, texts
from prodigy.agents.base import (
    Abilities,
    AgentEvent,
    AgentRequest,
    Finished,
    Invocation,
    McpServer,
    RateLimited,
    Started,
    StateDirectory,
    Text,
    Tokens,
    ToolCall,
    Usage,
    Used,
    Verdict,
)
from prodigy.agents.invoking import ListensToStdout, prompt_bytes, unfit_for_argument
from prodigy.agents.reset_time import reset_time

_ABILITIES = Abilities(
    cost="estimated", tokens=True, reset_time=True, resume=True, mcp=True, system_prompt=True, live=True,
    prompt_cache=True,
)  # fmt: skip
_LONGEST_MESSAGE = 2000
_BYPASS = "--dangerously-bypass-approvals-and-sandbox"


@dataclass(frozen=True)
class Seen:
    """What a run has shown so far. ok: how its turn ended, None while it has not. error: the last one told."""

    session: str | None = None
    text: str = ""
    ok: bool | None = None
    error: str = ""
    tokens: Tokens | None = None
    resets_at: float | None = None
    junk: str = ""


@dataclass(frozen=True)
class Codex(ListensToStdout):
    """The adapter; see `base.Agent`. Its cost is estimated, when the workflow names the model."""

    name: str = "codex"
    program: str = "codex"
    install_hint: str = "install Codex (`npm install --global @openai/codex`)"
    abilities: Abilities = _ABILITIES
    state = (StateDirectory("~/.codex", ("sessions/", "log/", "auth.json"), "CODEX_HOME"),)

    def variables(self, environment: Mapping[str, str]) -> Sequence[str]:  # noqa: ARG002
        return ("OPENAI_*", "CODEX_*", "AZURE_OPENAI_API_KEY")

    def start(self, request: AgentRequest) -> Invocation:
        """A permission mode is one of its sandboxes (`read-only`, `workspace-write`); in those it can't commit, because
        they keep `.git` from being written."""
        prompt = prompt_bytes(request.prompt)
        by_stdin = unfit_for_argument(prompt) or request.prompt.strip() in ("resume", "review", "help")
        argv = [*(request.command or (self.program,)), "exec"]
        if request.resume_session is not None:
            argv += ["resume", request.resume_session]
        argv.append("--json")
        argv += [_BYPASS] if request.permission_mode is None else ["--sandbox", request.permission_mode]
        if request.model is not None:
            argv += ["--model", request.model]
        settings = dict(_mcp(request.mcp))
        if request.system_prompt is not None:
            settings["developer_instructions"] = json.dumps(request.system_prompt)
        argv += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        argv += [*request.args, "-" if by_stdin else request.prompt]
        return Invocation(tuple(argv), prompt if by_stdin else b"")

    def new_state(self) -> Seen:
        return Seen()

    def fold(self, state: Seen, line: bytes, now: float) -> tuple[Seen, list[AgentEvent]]:
        event = fields.event(line)
        if event is None:
            text = fields.printable(line.decode("utf-8", errors="replace"))
            return (replace(state, junk=text) if text and not text.startswith("{") else state), []
        match fields.string(event.get("type")):
            case "thread.started":
                session = fields.string(event.get("thread_id")) or None
                return replace(state, session=session), [Started(session, None)]
            case "item.started" | "item.completed":
                return _item(state, event)
            case "error":
                return _error(state, fields.string(event.get("message")), now)
            case "turn.failed":
                message = fields.string(fields.mapping(event.get("error")).get("message"))
                state, events = _error(replace(state, ok=False), message, now)
                kind = texts.meaning(message).kind
                return state, [*events, Finished(False, None, None, kind)]
            case "turn.completed":
                tokens = _tokens(fields.mapping(event.get("usage")))
                state = replace(state, ok=True, error="", tokens=tokens)
                return state, [Usage(None, tokens), Finished(True, None, tokens.total, None)]
        return state, []

    def verdict(self, state: Seen, exit_code: int | None, stderr: str = "") -> Verdict:
        used = (Used(None, state.tokens),) if state.tokens else ()
        tokens = state.tokens.total if state.tokens else None
        kind, message, transient = _judge(state, exit_code, stderr)
        return Verdict(
            kind,
            message[:_LONGEST_MESSAGE],
            text=state.text,
            tokens=tokens,
            used=used,
            session=state.session,
            resets_at=state.resets_at if kind == "rate_limited" else None,
            transient=transient,
        )

    def tool_output(self, line: bytes) -> str | None:
        event = fields.event(line)
        if event is None or event.get("type") != "item.completed":
            return None
        return fields.string(fields.mapping(event.get("item")).get("aggregated_output")) or None

    def describe(self, line: bytes) -> str | None:
        event = fields.event(line)
        if event is None:
            return None
        match fields.string(event.get("type")):
            case "item.started" | "item.completed":
                return _describe_item(event)
            case "error":
                return fields.printable(fields.string(event.get("message"))) or None
            case "turn.failed":
                message = fields.string(fields.mapping(event.get("error")).get("message"))
                return f"failed: {fields.printable(message)}"
            case "turn.completed":
                return f"finished, {_tokens(fields.mapping(event.get('usage'))).total:,} tokens"
        return None


def _judge(state: Seen, exit_code: int | None, stderr: str) -> tuple[str | None, str, bool]:
    if state.ok and exit_code in (0, None):
        return None, "", False
    if state.ok:
        return "command_failed", f"{texts.ended(exit_code)} after it had reported success", False
    if state.error and (state.ok is False or exit_code):
        found = texts.meaning(state.error)
        return found.kind, state.error, found.transient
    return texts.without_result(exit_code, fields.last_line(stderr, 500) or state.junk)


def _item(state: Seen, event: dict[str, Any]) -> tuple[Seen, list[AgentEvent]]:
    item = fields.mapping(event.get("item"))
    done = event.get("type") == "item.completed"
    match fields.string(item.get("type")):
        case "agent_message" if done:
            text = fields.string(item.get("text"))
            return replace(state, text=text, error=""), [Text(text)]
        case "error" if done:  # a warning, such as of a model without metadata
            return state, []
        case "command_execution" | "file_change" | "mcp_tool_call" | "web_search" as kind if not done:
            return replace(state, error=""), [ToolCall(kind, _summary(item))]
    return state, []


def _error(state: Seen, message: str, now: float) -> tuple[Seen, list[AgentEvent]]:
    if not texts.limit_told(message):
        return replace(state, error=message), []
    resets_at = reset_time(message, now)
    return replace(state, error=message, resets_at=resets_at or state.resets_at), [
        RateLimited(resets_at, fields.last_line(message))
    ]


def _tokens(usage: dict[str, Any]) -> Tokens:
    """Its input tokens hold those of the cache."""
    read, written = fields.count(usage.get("cached_input_tokens")), fields.count(usage.get("cache_write_input_tokens"))
    whole = fields.count(usage.get("input_tokens"))
    return Tokens(max(0, whole - read - written), fields.count(usage.get("output_tokens")), read, written)


def _summary(item: dict[str, Any]) -> str:
    telling = (item.get("command"), item.get("query"), item.get("tool"), item.get("changes"))
    return next((shown for value in telling if (shown := fields.printable(_words(value), 120))), "")


def _words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(fields.string(fields.mapping(entry).get("path")) for entry in value)
    return fields.string(value)


def _describe_item(event: dict[str, Any]) -> str | None:
    item = fields.mapping(event.get("item"))
    done = event.get("type") == "item.completed"
    match fields.string(item.get("type")):
        case "agent_message" if done:
            return fields.last_line(fields.string(item.get("text"))) or None
        case "command_execution" if done and item.get("status") == "failed":
            return f"tool failed: {_summary(item)}"
        case "command_execution" | "file_change" | "mcp_tool_call" | "web_search" as kind if not done:
            return f"{kind}: {_summary(item)}".rstrip(": ")
    return None


def _mcp(servers: tuple[McpServer, ...]) -> list[tuple[str, str]]:
    """As settings: TOML values that JSON writes alike."""
    found: list[tuple[str, str]] = []
    for server in servers:
        name = f"mcp_servers.{server.name}"
        if server.url is not None:
            found.append((f"{name}.url", json.dumps(server.url)))
            found += [(f"{name}.http_headers.{key}", json.dumps(value)) for key, value in server.headers.items()]
            continue
        found.append((f"{name}.command", json.dumps(server.command[0])))
        found.append((f"{name}.args", json.dumps(list(server.command[1:]))))
        found += [(f"{name}.env.{key}", json.dumps(value)) for key, value in server.env.items()]
    return found
