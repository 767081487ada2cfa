"""OpenCode, run headless with a stream of JSON events (measured with 1.18.33)."""

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
from prodigy.agents.counting import added
from prodigy.agents.invoking import ListensToStdout, prompt_bytes
from prodigy.agents.reset_time import reset_time
from prodigy.agents.variables import PROVIDERS

_ABILITIES = Abilities(
    cost="reported", tokens=True, reset_time=True, resume=True, mcp=True, system_prompt=True, live=True,
    prompt_cache=True,
)  # fmt: skip
_INSTRUCTIONS = "instructions.md"
# Without a title of its own it would ask the model for one.
_TITLE = "prodigy"


@dataclass(frozen=True)
class Seen:
    """What a run has shown so far. done: whether its last answer has come. status: of the HTTP answer that failed."""

    session: str | None = None
    text: str = ""
    done: bool = False
    error: str = ""
    status: int | None = None
    used: tuple[Used, ...] = ()
    cost_usd: float | None = None
    resets_at: float | None = None


@dataclass(frozen=True)
class OpenCode(ListensToStdout):
    """The adapter; see `base.Agent`. The prompt comes by standard input: as an argument its quotes would be changed."""

    name: str = "opencode"
    program: str = "opencode"
    install_hint: str = "install OpenCode (`npm install --global opencode-ai`)"
    abilities: Abilities = _ABILITIES
    state = (
        StateDirectory("~/.local/share/opencode", ("storage/", "log/", "snapshot/", "auth.json")),
        StateDirectory("~/.local/state/opencode"),
        StateDirectory("~/.cache/opencode"),
        StateDirectory("~/.config/opencode"),
    )

    def variables(self, environment: Mapping[str, str]) -> Sequence[str]:  # noqa: ARG002
        return ("OPENCODE_*", *PROVIDERS)

    def start(self, request: AgentRequest) -> Invocation:
        """Permissions that are not denied are given (`--auto`); with a permission mode, whatever its word, what
        would be asked is denied."""
        prompt = prompt_bytes(request.prompt)
        argv = [*(request.command or (self.program,)), "run", "--format", "json", "--title", _TITLE]
        if request.permission_mode is None:
            argv.append("--auto")
        if request.model is not None:
            argv += ["--model", request.model]
        if request.resume_session is not None:
            argv += ["--session", request.resume_session]
        files: dict[str, bytes] = {}
        settings: dict[str, Any] = {}
        if request.mcp:
            settings["mcp"] = {server.name: _mcp(server) for server in request.mcp}
        if request.system_prompt is not None:
            files[_INSTRUCTIONS] = request.system_prompt.encode()
            settings["instructions"] = [f"{request.files}/{_INSTRUCTIONS}"]
        env = {"OPENCODE_DISABLE_AUTOUPDATE": "1"}
        if settings:
            env["OPENCODE_CONFIG_CONTENT"] = json.dumps(settings)
        return Invocation((*argv, *request.args), prompt, env, files)

    def new_state(self) -> Seen:
        return Seen()

    def fold(self, state: Seen, line: bytes, now: float) -> tuple[Seen, list[AgentEvent]]:
        event = fields.event(line)
        if event is None:
            return state, []
        events: list[AgentEvent] = []
        session = fields.string(event.get("sessionID")) or None
        if session and session != state.session:
            state = replace(state, session=session)
            events.append(Started(session, None))
        part = fields.mapping(event.get("part"))
        match fields.string(event.get("type")):
            case "text":
                text = fields.string(part.get("text"))
                return replace(state, text=text, error=""), [*events, Text(text)]
            case "tool_use":
                return replace(state, error=""), [*events, ToolCall(*_tool(part))]
            case "step_finish":
                return _finish(state, part, events)
            case "error":
                return _error(state, fields.mapping(event.get("error")), now, events)
        return state, events

    def verdict(self, state: Seen, exit_code: int | None, stderr: str = "") -> Verdict:
        kind, message, transient = _judge(state, exit_code, stderr)
        return Verdict(
            kind,
            message[:2000],
            text=state.text,
            cost_usd=state.cost_usd,
            tokens=sum(one.tokens.total for one in state.used) if state.used else None,
            used=state.used,
            session=state.session,
            resets_at=state.resets_at if kind == "rate_limited" else None,
            transient=transient,
        )

    def tool_output(self, line: bytes) -> str | None:
        event = fields.event(line)
        if event is None or event.get("type") != "tool_use":
            return None
        return fields.string(fields.mapping(fields.mapping(event.get("part")).get("state")).get("output")) or None

    def describe(self, line: bytes) -> str | None:
        event = fields.event(line)
        if event is None:
            return fields.printable(line.decode("utf-8", errors="replace")) or None
        part = fields.mapping(event.get("part"))
        match fields.string(event.get("type")):
            case "text":
                return fields.last_line(fields.string(part.get("text"))) or None
            case "tool_use":
                name, summary = _tool(part)
                return f"{name}: {summary}".rstrip(": ")
            case "step_finish":
                cost = fields.number(part.get("cost"))
                return f"answered, {_tokens(part).total:,} tokens" + (f", {cost:.4f} USD" if cost is not None else "")
            case "error":
                data = fields.mapping(fields.mapping(event.get("error")).get("data"))
                return f"failed: {fields.printable(fields.string(data.get('message')))}"
        return None


def _finish(state: Seen, part: dict[str, Any], events: list[AgentEvent]) -> tuple[Seen, list[AgentEvent]]:
    tokens, cost = _tokens(part), fields.number(part.get("cost"))
    done = part.get("reason") not in ("tool-calls", None)
    # A model without a price in its table costs 0 there: that is not known, not free.
    known = cost if cost or not tokens.total else None
    total = None if known is None or (state.used and state.cost_usd is None) else (state.cost_usd or 0.0) + known
    state = replace(state, used=added(state.used, Used(None, tokens, known)), cost_usd=total, done=done, error="")
    events.append(Usage(None, tokens, known))
    if done:
        events.append(Finished(True, total, sum(one.tokens.total for one in state.used), None))
    return state, events


def _error(state: Seen, error: dict[str, Any], now: float, events: list[AgentEvent]) -> tuple[Seen, list[AgentEvent]]:
    data = fields.mapping(error.get("data"))
    message = fields.string(data.get("message")) or fields.string(error.get("name")) or "it failed"
    status = fields.count(data.get("statusCode")) or None
    state = replace(state, error=message, status=status, done=False)
    if status == 429 or texts.limit_told(message):
        headers = fields.mapping(data.get("responseHeaders"))
        after = fields.string(headers.get("retry-after"))
        resets_at = now + float(after) if after.isdecimal() else reset_time(message, now)
        state = replace(state, resets_at=resets_at)
        events.append(RateLimited(resets_at, fields.last_line(message)))
    return state, events


def _judge(state: Seen, exit_code: int | None, stderr: str) -> tuple[str | None, str, bool]:
    if state.error:
        if state.status == 429:
            return "rate_limited", state.error, True
        told = f"{state.error} (HTTP status {state.status})" if state.status else state.error
        found = texts.meaning(told)
        return found.kind, told, found.transient
    if state.done and exit_code in (0, None):
        return None, "", False
    if state.done:
        return "command_failed", f"{texts.ended(exit_code)} after it had answered", False
    return texts.without_result(exit_code, fields.last_line(stderr, 500))


def _tokens(part: dict[str, Any]) -> Tokens:
    """Its output does not hold the tokens of reasoning, which are paid alike."""
    tokens = fields.mapping(part.get("tokens"))
    cache = fields.mapping(tokens.get("cache"))
    return Tokens(
        fields.count(tokens.get("input")),
        fields.count(tokens.get("output")) + fields.count(tokens.get("reasoning")),
        fields.count(cache.get("read")),
        fields.count(cache.get("write")),
    )


def _tool(part: dict[str, Any]) -> tuple[str, str]:
    state = fields.mapping(part.get("state"))
    given = fields.mapping(state.get("input"))
    telling = (given.get("command"), given.get("filePath"), given.get("pattern"), *given.values())
    summary = next((shown for value in telling if (shown := fields.printable(fields.string(value), 120))), "")
    return fields.printable(fields.string(part.get("tool"))) or "?", summary


def _mcp(server: McpServer) -> dict[str, object]:
    if server.url is not None:
        return {"type": "remote", "url": server.url, "headers": dict(server.headers), "enabled": True}
    return {"type": "local", "command": list(server.command), "environment": dict(server.env), "enabled": True}
