"""Google's Gemini CLI, run headless with a stream of JSON events (measured with 0.61.0)."""

from __future__ import annotations

import json
import re
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
    RateLimited,
    Started,
    StateDirectory,
    Text,
    Tokens,
    ToolCall,
    Used,
    Verdict,
)
from prodigy.agents.invoking import ListensToStdout, mcp_entry, prompt_bytes, unfit_for_argument
from prodigy.agents.reset_time import reset_time

_ABILITIES = Abilities(
    cost="estimated", tokens=True, reset_time=True, resume=True, mcp=True, live=True, prompt_cache=True
)
_SETTINGS = "gemini-settings.json"
# What it says on standard error while it waits by itself.
_RETRY = re.compile(r"Retrying after (\d+(?:\.\d+)?)ms")
# Exit codes with a meaning of their own.
_BY_CODE = {41: "permission", 42: "validation_failed", 52: "validation_failed", 53: "resource_exhausted"}


@dataclass(frozen=True)
class Seen:
    """What a run has shown so far. ok: how it ended by its own word, None while it has not. asking: whether the next
    text begins an answer."""

    session: str | None = None
    model: str | None = None
    text: str = ""
    asking: bool = True
    ok: bool | None = None
    error: str = ""
    used: tuple[Used, ...] = ()
    resets_at: float | None = None


@dataclass(frozen=True)
class Gemini(ListensToStdout):
    """The adapter; see `base.Agent`. Its cost is estimated from the tokens of each model."""

    name: str = "gemini"
    program: str = "gemini"
    install_hint: str = "install Gemini CLI (`npm install --global @google/gemini-cli`)"
    abilities: Abilities = _ABILITIES
    state = (StateDirectory("~/.gemini", ("tmp/", "oauth_creds.json", "google_accounts.json")),)

    def variables(self, environment: Mapping[str, str]) -> Sequence[str]:  # noqa: ARG002
        return ("GEMINI_*", "GOOGLE_*")

    def start(self, request: AgentRequest) -> Invocation:
        """A permission mode is one of its approval modes; without one it approves all (`yolo`). Servers of tools stand
        in a settings file of the system's level, which those of the user and of the project complete."""
        prompt = prompt_bytes(request.prompt)
        by_stdin = unfit_for_argument(prompt)
        argv = [*(request.command or (self.program,)), *([] if by_stdin else ["-p", request.prompt])]
        argv += ["--output-format", "stream-json", "--skip-trust"]
        argv += ["--approval-mode", request.permission_mode or "yolo"]
        if request.model is not None:
            argv += ["--model", request.model]
        if request.resume_session is not None:
            argv += ["--resume", request.resume_session]
        env, files = dict[str, str](), dict[str, bytes]()
        if request.mcp:
            servers = {server.name: _mcp(mcp_entry(server)) for server in request.mcp}
            files[_SETTINGS] = json.dumps({"mcpServers": servers}).encode()
            env["GEMINI_CLI_SYSTEM_SETTINGS_PATH"] = f"{request.files}/{_SETTINGS}"
        return Invocation((*argv, *request.args), prompt if by_stdin else b"", env, files)

    def new_state(self) -> Seen:
        return Seen()

    def fold(self, state: Seen, line: bytes, now: float) -> tuple[Seen, list[AgentEvent]]:
        event = fields.event(line)
        if event is None:
            return state, []
        match fields.string(event.get("type")):
            case "init":
                session, model = fields.string(event.get("session_id")), fields.string(event.get("model"))
                state = replace(state, session=session or None, model=model or None)
                return state, [Started(state.session, state.model)]
            case "message" if event.get("role") == "assistant":
                text = fields.string(event.get("content"))
                whole = text if state.asking else state.text + text
                return replace(state, text=whole, asking=False), [Text(text)]
            case "tool_use":
                name = fields.printable(fields.string(event.get("tool_name"))) or "?"
                return replace(state, asking=True), [ToolCall(name, _summary(event))]
            case "error":
                return replace(state, error=fields.string(event.get("message"))), []
            case "result":
                return _result(state, event, now)
        return state, []

    def hear_stderr(self, line: bytes, now: float) -> list[AgentEvent]:
        """That it is refused, it tells there, while it tries again by itself."""
        text = line.decode("utf-8", errors="replace")
        if found := _RETRY.search(text):
            return [RateLimited(now + float(found[1]) / 1000, fields.printable(text))] if texts.limit_told(text) else []
        if text.startswith("Attempt ") and texts.limit_told(text):
            return [RateLimited(reset_time(text, now), fields.printable(text))]
        return []

    def verdict(self, state: Seen, exit_code: int | None, stderr: str = "") -> Verdict:
        kind, message, transient = _judge(state, exit_code, stderr)
        return Verdict(
            kind,
            message[:2000],
            text=state.text,
            tokens=sum(one.tokens.total for one in state.used) if state.used else None,
            used=state.used,
            session=state.session,
            resets_at=state.resets_at if kind == "rate_limited" else None,
            transient=transient,
        )

    def tool_output(self, line: bytes) -> str | None:
        event = fields.event(line)
        return fields.string(event.get("output")) or None if event and event.get("type") == "tool_result" else None

    def describe(self, line: bytes) -> str | None:
        event = fields.event(line)
        if event is None:
            return None
        match fields.string(event.get("type")):
            case "message" if event.get("role") == "assistant":
                return fields.last_line(fields.string(event.get("content"))) or None
            case "tool_use":
                return f"{fields.printable(fields.string(event.get('tool_name')))}: {_summary(event)}".rstrip(": ")
            case "error":
                return f"warning: {fields.printable(fields.string(event.get('message')))}"
            case "result":
                tokens = fields.count(fields.mapping(event.get("stats")).get("total_tokens"))
                if event.get("status") == "success":
                    return f"finished, {tokens:,} tokens"
                return f"failed: {fields.printable(_told(event))}"
        return None


def _result(state: Seen, event: dict[str, Any], now: float) -> tuple[Seen, list[AgentEvent]]:
    ok, told = event.get("status") == "success", _told(event)
    models = fields.mapping(fields.mapping(event.get("stats")).get("models"))
    used = tuple(Used(fields.string(name), _tokens(fields.mapping(entry))) for name, entry in models.items())
    used = tuple(one for one in used if one.tokens.total)
    state = replace(state, ok=ok, error="" if ok else told, used=used)
    events: list[AgentEvent] = []
    if not ok and texts.limit_told(told):
        state = replace(state, resets_at=reset_time(told, now))
        events.append(RateLimited(state.resets_at, fields.last_line(told)))
    kind = None if ok else texts.meaning(told).kind
    return state, [*events, Finished(ok, None, sum(one.tokens.total for one in used), kind)]


def _told(event: dict[str, Any]) -> str:
    return fields.string(fields.mapping(event.get("error")).get("message"))


def _judge(state: Seen, exit_code: int | None, stderr: str) -> tuple[str | None, str, bool]:
    if state.ok and exit_code in (0, None):
        return None, "", False
    if state.ok:
        return "command_failed", f"{texts.ended(exit_code)} after it had reported success", False
    told = state.error or fields.last_line(stderr, 500)
    message = (
        told if state.ok is False else f"{texts.ended(exit_code)} without a result" + (f": {told}" if told else "")
    )
    if state.ok is None and not exit_code:
        return "unknown", message, False
    found = texts.meaning(told)
    kind = _BY_CODE.get(exit_code or 0, found.kind) if found.kind == "command_failed" else found.kind
    return kind, message or texts.ended(exit_code), found.transient


def _tokens(entry: dict[str, Any]) -> Tokens:
    cached, whole = fields.count(entry.get("cached")), fields.count(entry.get("input_tokens"))
    output = fields.count(entry.get("output_tokens"))
    rest = max(0, fields.count(entry.get("total_tokens")) - whole - output)  # thoughts are paid as output
    return Tokens(max(0, whole - cached), output + rest, cached)


def _summary(event: dict[str, Any]) -> str:
    given = fields.mapping(event.get("parameters"))
    telling = (given.get("command"), given.get("file_path"), *given.values())
    return next((shown for value in telling if (shown := fields.printable(fields.string(value), 120))), "")


def _mcp(entry: dict[str, object]) -> dict[str, object]:
    return {"httpUrl": entry["url"], "headers": entry["headers"]} if "url" in entry else entry
