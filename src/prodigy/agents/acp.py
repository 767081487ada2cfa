"""Any agent that speaks the Agent Client Protocol, through a client process of ours (see `acp_client`)."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass, replace
from typing import Any

from prodigy.agents import fields, texts
from prodigy.agents.base import (
    Abilities,
    AgentEvent,
    AgentRequest,
    Finished,
    Invocation,
    RateLimited,
    Started,
    Text,
    Tokens,
    ToolCall,
    Usage,
    Used,
    Verdict,
)
from prodigy.agents.invoking import ListensToStdout, prompt_bytes
from prodigy.agents.reset_time import reset_time
from prodigy.errors import UsageError

_ABILITIES = Abilities(cost="reported", tokens=True, resume=True, mcp=True, live=True)
_REQUEST = "acp.json"
_PROMPT = "acp-prompt.txt"
# `stop_reason` of an answer -> our kind.
_BY_REASON = {"max_tokens": "resource_exhausted", "max_turn_requests": "resource_exhausted"}


@dataclass(frozen=True)
class Seen:
    """What a run has shown so far. asking: whether the next text begins an answer. reason: of its end."""

    session: str | None = None
    model: str | None = None
    text: str = ""
    asking: bool = True
    reason: str = ""
    error: str = ""
    tokens: Tokens | None = None
    cost_usd: float | None = None
    resets_at: float | None = None


@dataclass(frozen=True)
class Acp(ListensToStdout):
    """The adapter; see `base.Agent`. A model is chosen by the program's own arguments: the protocol has no word for it.

    Cost and tokens are optional in the protocol, and it tells no time at which a limit ends.
    """

    name: str = "acp"
    program: str = "acp"
    install_hint: str = "say which program it is"
    abilities: Abilities = _ABILITIES

    def start(self, request: AgentRequest) -> Invocation:
        """Permissions are given as they are asked for; with a permission mode, which is one of the agent's session
        modes, what is asked for is refused."""
        if not request.command:
            hint = "name the program that speaks the Agent Client Protocol"
            raise UsageError("an agent of kind `acp` has no `command`", hint=hint)
        facts = {
            "prompt_file": f"{request.files}/{_PROMPT}",
            "model": request.model,
            "mode": request.permission_mode,
            "session": request.resume_session,
            "mcp": [dataclasses.asdict(server) for server in request.mcp],
        }
        files = {_REQUEST: json.dumps(facts).encode(), _PROMPT: prompt_bytes(request.prompt)}
        client = (sys.executable, "-m", "prodigy.agents.acp_client", f"{request.files}/{_REQUEST}")
        return Invocation((*client, *request.command, *request.args), files=files)

    def new_state(self) -> Seen:
        return Seen()

    def fold(self, state: Seen, line: bytes, now: float) -> tuple[Seen, list[AgentEvent]]:
        event = fields.event(line)
        if event is None:
            return state, []
        match fields.string(event.get("type")):
            case "session":
                session, model = (fields.string(event.get(name)) or None for name in ("session", "model"))
                return replace(state, session=session, model=model), [Started(session, model)]
            case "update":
                return _update(state, fields.mapping(event.get("update")))
            case "failed":
                return _failed(state, fields.string(event.get("message")), now)
            case "end":
                tokens = _tokens(fields.mapping(event.get("usage"))) or state.tokens
                state = replace(state, reason=fields.string(event.get("stop_reason")), tokens=tokens)
                ok = state.reason == "end_turn"
                total = tokens.total if tokens else None
                return state, [Finished(ok, state.cost_usd, total, None if ok else "command_failed")]
        return state, []

    def verdict(self, state: Seen, exit_code: int | None, stderr: str = "") -> Verdict:
        kind, message, transient = _judge(state, exit_code, stderr)
        used = (Used(state.model, state.tokens, state.cost_usd),) if state.tokens else ()
        return Verdict(
            kind,
            message[:2000],
            text=state.text,
            cost_usd=state.cost_usd,
            tokens=state.tokens.total if state.tokens else None,
            used=used,
            session=state.session,
            resets_at=state.resets_at if kind == "rate_limited" else None,
            transient=transient,
        )

    def describe(self, line: bytes) -> str | None:
        event = fields.event(line)
        if event is None:
            return None
        match fields.string(event.get("type")):
            case "update":
                update = fields.mapping(event.get("update"))
                if update.get("sessionUpdate") == "agent_message_chunk":
                    return fields.last_line(fields.string(fields.mapping(update.get("content")).get("text"))) or None
                return _tool(update) if update.get("sessionUpdate") == "tool_call" else None
            case "permission" if not event.get("allowed"):
                return f"denied: {fields.printable(fields.string(event.get('title')))}"
            case "failed":
                return f"failed: {fields.printable(fields.string(event.get('message')))}"
            case "end":
                return f"ended: {fields.printable(fields.string(event.get('stop_reason')))}"
        return None


def _update(state: Seen, update: dict[str, Any]) -> tuple[Seen, list[AgentEvent]]:
    match fields.string(update.get("sessionUpdate")):
        case "agent_message_chunk":
            text = fields.string(fields.mapping(update.get("content")).get("text"))
            whole = text if state.asking else state.text + text
            return replace(state, text=whole, asking=False), [Text(text)]
        case "tool_call":
            name = fields.printable(fields.string(update.get("kind"))) or "tool"
            return replace(state, asking=True), [ToolCall(name, _tool(update) or "")]
        case "usage_update":
            cost = fields.mapping(update.get("cost"))
            dollars = fields.number(cost.get("amount")) if cost.get("currency") == "USD" else None
            more = (dollars or 0.0) - (state.cost_usd or 0.0)
            if more <= 0:
                return state, []
            return replace(state, cost_usd=dollars), [Usage(state.model, Tokens(), more)]  # it tells the sum so far
    return state, []


def _failed(state: Seen, message: str, now: float) -> tuple[Seen, list[AgentEvent]]:
    state = replace(state, error=message)
    events: list[AgentEvent] = []
    if texts.limit_told(message):
        state = replace(state, resets_at=reset_time(message, now))
        events.append(RateLimited(state.resets_at, fields.last_line(message)))
    return state, [*events, Finished(False, None, None, texts.meaning(message).kind)]


def _judge(state: Seen, exit_code: int | None, stderr: str) -> tuple[str | None, str, bool]:
    if state.error:
        told = state.error
        found = texts.meaning(told)
        if found.kind == "command_failed" and not found.transient and stderr:
            found = texts.meaning(stderr)
            told = f"{told} ({fields.last_line(stderr, 300)})"
        return found.kind, told, found.transient
    if state.reason == "end_turn":
        if exit_code in (0, None):
            return None, "", False
        return "command_failed", f"{texts.ended(exit_code)} after it had reported success", False
    if state.reason:
        return _BY_REASON.get(state.reason, "command_failed"), f"the agent stopped: {state.reason}", False
    return texts.without_result(exit_code, fields.last_line(stderr, 500))


def _tokens(usage: dict[str, Any]) -> Tokens | None:
    if not usage:
        return None
    names = ("input_tokens", "output_tokens", "cached_read_tokens", "cached_write_tokens")
    return Tokens(*(fields.count(usage.get(name)) for name in names))


def _tool(update: dict[str, Any]) -> str | None:
    raw = fields.mapping(update.get("rawInput"))
    telling = (raw.get("command"), update.get("title"))
    return next((shown for value in telling if (shown := fields.printable(fields.string(value), 120))), None)
