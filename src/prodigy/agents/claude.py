"""Claude Code, run headless with a stream of JSON events (measured with 2.1.197)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prodigy.agents import fields
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
    Usage,
    Used,
    Verdict,
)
from prodigy.agents.claude_verdict import Result, Seen, judge
from prodigy.agents.counting import added
from prodigy.agents.invoking import ListensToStdout, mcp_json, prompt_bytes, unfit_for_argument
from prodigy.agents.reset_time import reset_time
from prodigy.agents.texts import limit_told
from prodigy.agents.variables import is_on
from prodigy.errors import EnvironmentProblem

_MCP_FILE = "mcp.json"
_SHARES_PROMPT = (2, 1, 197)
_ABILITIES = Abilities(
    cost="reported", tokens=True, reset_time=True, resume=True, cost_cap=True, mcp=True, system_prompt=True,
    live=True, prompt_cache=True,
)  # fmt: skip
# Subagents mix their messages; a message comes in several events, and its usage counts once.
_REMEMBERED_MESSAGES = 16
_JUNK_LINES = 3
# Not its settings, commands, plugins and hooks.
_KEPT = ("projects/", "todos/", "session-env/", "shell-snapshots/", "file-history/", "statsig/", ".credentials.json")
_VARIABLES = (
    "ANTHROPIC_*", "CLAUDE_*", "IS_SANDBOX", "API_TIMEOUT_MS", "BASH_DEFAULT_TIMEOUT_MS", "BASH_MAX_OUTPUT_LENGTH",
    "BASH_MAX_TIMEOUT_MS", "DISABLE_*", "ENABLE_TOOL_SEARCH", "MAX_MCP_OUTPUT_TOKENS", "MAX_THINKING_TOKENS",
    "MCP_TIMEOUT", "MCP_TOOL_TIMEOUT", "USE_BUILTIN_RIPGREP",
)  # fmt: skip
# What is read besides, by what switches it on.
SWITCHES = {
    "CLAUDE_CODE_USE_BEDROCK": ("AWS_*",),
    "CLAUDE_CODE_USE_VERTEX": ("CLOUDSDK_*", "CLOUD_ML_*", "GCLOUD_PROJECT", "GOOGLE_*", "VERTEX_*"),
    "CLAUDE_CODE_USE_FOUNDRY": ("AZURE_*",),
    "CLAUDE_CODE_ENABLE_TELEMETRY": ("OTEL_*",),
}
# Which part of a tool's input tells most, best first.
_TELLING = ("command", "file_path", "notebook_path", "pattern", "url", "query", "skill", "description", "prompt")


@dataclass(frozen=True)
class Claude(ListensToStdout):
    """The adapter; see `base.Agent`."""

    name: str = "claude"
    program: str = "claude"
    install_hint: str = "install Claude Code (`npm install --global @anthropic-ai/claude-code`)"
    abilities: Abilities = _ABILITIES
    state = (StateDirectory("~/.claude", _KEPT, "CLAUDE_CONFIG_DIR"),)
    tells_version = True

    def variables(self, environment: Mapping[str, str]) -> Sequence[str]:
        """The credentials of a cloud only where its models are used."""
        clouds = [names for switch, names in SWITCHES.items() if is_on(environment, switch)]
        return (*_VARIABLES, *(name for names in clouds for name in names))

    def start(self, request: AgentRequest) -> Invocation:
        """The prompt is one argument, or standard input when it is large or could be taken for an option.

        A permission mode takes the place of `--dangerously-skip-permissions`; so does `--permission-mode` among the
        request's arguments. Raises EnvironmentProblem where the program would refuse to skip permissions.
        """
        prompt = prompt_bytes(request.prompt)
        by_stdin = unfit_for_argument(prompt)
        # Straight after -p: an option that takes several values would swallow the prompt.
        argv = [*(request.command or (self.program,)), "-p", *([] if by_stdin else [request.prompt])]
        argv += ["--output-format", "stream-json", "--verbose"]
        if request.permission_mode is not None:
            argv += ["--permission-mode", request.permission_mode]
        elif not any(argument.split("=")[0] == "--permission-mode" for argument in request.args):
            argv.append("--dangerously-skip-permissions")
        if request.as_root and request.env.get("IS_SANDBOX") != "1" and _skips_permissions(argv, request.args):
            raise EnvironmentProblem(
                "Claude Code refuses to skip permissions when it runs as root",
                hint="run as another user; or, in a container that holds nothing else, set IS_SANDBOX=1; or say what it"
                " may do: `agents: {claude: {permission_mode: acceptEdits}}`",
            )
        if request.model is not None:
            argv += ["--model", request.model]
        if request.max_cost_usd is not None:
            argv += ["--max-budget-usd", f"{request.max_cost_usd:.6f}"]
        if request.resume_session is not None:
            argv += ["--resume", request.resume_session]
        if request.version >= _SHARES_PROMPT:
            # Agents of a run then share tools and system prompt, and pay for them once.
            argv.append("--exclude-dynamic-system-prompt-sections")
        if request.system_prompt is not None:
            argv += ["--append-system-prompt", request.system_prompt]
        files = {}
        if request.mcp:
            files[_MCP_FILE] = mcp_json(request.mcp)
            argv.append(f"--mcp-config={request.files}/{_MCP_FILE}")  # it would take more words as further files
        return Invocation((*argv, *request.args), prompt if by_stdin else b"", files=files)

    def new_state(self) -> Seen:
        return Seen()

    def fold(self, state: Seen, line: bytes, now: float) -> tuple[Seen, list[AgentEvent]]:
        event = fields.event(line)
        if event is None:
            return _junk(state, line, now), []
        match fields.string(event.get("type")):
            case "system":
                return _system(state, event, now)
            case "assistant":
                return _assistant(state, event, now)
            case "user":
                return _user(state, event), []
            case "rate_limit_event":
                return _limit_event(state, event)
            case "result":
                return _result(state, event, now)
        return state, []

    def verdict(self, state: Seen, exit_code: int | None, stderr: str = "") -> Verdict:
        return judge(state, exit_code, stderr)

    def tool_output(self, line: bytes) -> str | None:
        event = fields.event(line)
        if event is None or event.get("type") != "user":
            return None
        found = [_result_text(block) for block in _blocks(event) if block.get("type") == "tool_result"]
        return "\n".join(text for text in found if text) or None

    def describe(self, line: bytes) -> str | None:
        event = fields.event(line)
        if event is None:
            text = line.decode("utf-8", errors="replace").strip()
            return None if text.startswith("{") else fields.printable(text) or None
        match fields.string(event.get("type")):
            case "system":
                return _describe_system(event)
            case "assistant" | "user":
                shown = [told for block in _blocks(event) if (told := _describe_block(block))]
                return shown[-1] if shown else None
            case "result":
                return _describe_result(event)
        return None


def _result_text(block: dict[str, Any]) -> str:
    content = block.get("content")
    if isinstance(content, str):
        return fields.string(content)
    parts = (fields.mapping(part) for part in fields.entries(content))
    return "\n".join(fields.string(part.get("text")) for part in parts)


def _skips_permissions(argv: list[str], args: tuple[str, ...]) -> bool:
    words = [*argv, *args]
    return "--dangerously-skip-permissions" in words or any(
        word == "--permission-mode=bypassPermissions" or (word, after) == ("--permission-mode", "bypassPermissions")
        for word, after in zip(words, [*words[1:], ""], strict=True)
    )


def _blocks(event: dict[str, Any]) -> list[dict[str, Any]]:
    content = fields.mapping(event.get("message")).get("content")
    return [block for block in fields.entries(content) if isinstance(block, dict)]


def _junk(state: Seen, line: bytes, now: float) -> Seen:
    """Plain text on standard output is worth keeping in case nothing better comes; pieces of JSON are not."""
    text = fields.printable(line.decode("utf-8", errors="replace"))
    if not text or text.startswith("{"):
        return state
    resets_at = reset_time(text, now) if limit_told(text) else None
    return replace(state, junk=(*state.junk, text)[-_JUNK_LINES:], resets_at=resets_at or state.resets_at)


def _system(state: Seen, event: dict[str, Any], now: float) -> tuple[Seen, list[AgentEvent]]:
    if event.get("subtype") == "api_retry" and event.get("error_status") == 429:
        delay_ms = fields.number(event.get("retry_delay_ms"))
        return state, [RateLimited(None if delay_ms is None else now + delay_ms / 1000)]
    if event.get("subtype") != "init":
        return state, []
    session = fields.string(event.get("session_id")) or None
    model = fields.string(event.get("model")) or None
    wants_structured = "StructuredOutput" in fields.entries(event.get("tools"))
    return replace(state, session=session, wants_structured=wants_structured), [Started(session, model)]


def _assistant(state: Seen, event: dict[str, Any], now: float) -> tuple[Seen, list[AgentEvent]]:
    error = fields.string(event.get("error"))
    own = event.get("parent_tool_use_id") is None  # not a subagent's
    if error:
        if not own:
            return state, []
        told = "\n".join(fields.string(block.get("text")) for block in _blocks(event))
        state = replace(state, error=error, error_text=told)
        if error != "rate_limit":
            return state, []
        state = replace(state, resets_at=reset_time(told, now) or state.resets_at)
        return state, [RateLimited(state.resets_at, fields.last_line(told))]
    events: list[AgentEvent] = []
    for block in _blocks(event):
        if block.get("type") == "text" and (text := fields.string(block.get("text"))):
            events.append(Text(text))
        elif block.get("type") == "tool_use":
            events.append(ToolCall(_tool_name(block), _summary(block)))
    usage = _usage(state, event)
    if usage is not None:
        state = _counted(state, event, usage)
        events.append(usage)
    return (replace(state, error=None, error_text="") if own else state), events


def _usage(state: Seen, event: dict[str, Any]) -> Usage | None:
    """What the message used, None when that is unknown or was counted with an earlier part of the message."""
    message = fields.mapping(event.get("message"))
    tokens = _tokens(fields.mapping(message.get("usage")))
    seen = fields.string(message.get("id")) in state.messages
    return None if seen or not tokens.total else Usage(fields.string(message.get("model")) or None, tokens)


def _counted(state: Seen, event: dict[str, Any], usage: Usage) -> Seen:
    identity = fields.string(fields.mapping(event.get("message")).get("id"))
    messages = (*state.messages, identity)[-_REMEMBERED_MESSAGES:]
    return replace(state, used=added(state.used, Used(usage.model, usage.tokens)), messages=messages)


def _tokens(usage: dict[str, Any]) -> Tokens:
    return Tokens(
        input=fields.count(usage.get("input_tokens")),
        output=fields.count(usage.get("output_tokens")),
        cache_read=fields.count(usage.get("cache_read_input_tokens")),
        cache_write=fields.count(usage.get("cache_creation_input_tokens")),
    )


def _user(state: Seen, event: dict[str, Any]) -> Seen:
    results = (block for block in _blocks(event) if block.get("type") == "tool_result")
    return replace(state, worked=True) if any(not block.get("is_error") for block in results) else state


def _limit_event(state: Seen, event: dict[str, Any]) -> tuple[Seen, list[AgentEvent]]:
    """Subscriptions tell after each answer how they stand; only `rejected` is a limit."""
    info = fields.mapping(event.get("rate_limit_info"))
    if info.get("status") != "rejected" or info.get("isUsingOverage") is True:
        return state, []
    resets_at = fields.number(info.get("resetsAt"))
    return replace(state, resets_at=resets_at or state.resets_at), [RateLimited(resets_at)]


def _result(state: Seen, event: dict[str, Any], now: float) -> tuple[Seen, list[AgentEvent]]:
    result = Result(
        ok=event.get("is_error", event.get("subtype") != "success") is False,
        subtype=fields.string(event.get("subtype")),
        text=fields.string(event.get("result")),
        errors=tuple(text for entry in fields.entries(event.get("errors")) if (text := fields.string(entry))),
        status=fields.count(event.get("api_error_status")) or None,
        reason=fields.string(event.get("terminal_reason")),
        turns=fields.count(event.get("num_turns")),
        cost_usd=fields.number(event.get("total_cost_usd")),
        used=_by_model(state, event),
        denied=_denied(event),
        structured="structured_output" in event,
    )
    if state.result is not None and state.result.ok and result.reason.startswith("aborted"):
        return state, []  # it was done before it was interrupted
    announced = state.error == "rate_limit"
    session = fields.string(event.get("session_id")) or state.session
    if not result.ok and not announced:
        told = " ".join([result.text, *result.errors])
        if result.status == 429 or limit_told(told):
            state = replace(state, resets_at=reset_time(told, now) or state.resets_at)
    state = replace(state, result=result, session=session)
    verdict = judge(state, None)
    events: list[AgentEvent] = []
    if verdict.kind == "rate_limited" and not announced:
        events.append(RateLimited(state.resets_at, fields.last_line(verdict.message)))
    return state, [*events, Finished(verdict.kind is None, verdict.cost_usd, verdict.tokens, verdict.kind)]


def _by_model(state: Seen, event: dict[str, Any]) -> tuple[Used, ...] | None:
    """Of all models: `usage` leaves out subagents, and the last turn when a limit ended the run."""
    by_model = fields.mapping(event.get("modelUsage"))
    if by_model:
        entries = {fields.string(name): fields.mapping(entry) for name, entry in by_model.items()}
        return tuple(
            Used(
                name or None,
                Tokens(
                    input=fields.count(entry.get("inputTokens")),
                    output=fields.count(entry.get("outputTokens")),
                    cache_read=fields.count(entry.get("cacheReadInputTokens")),
                    cache_write=fields.count(entry.get("cacheCreationInputTokens")),
                ),
                fields.number(entry.get("costUSD")),
            )
            for name, entry in entries.items()
        )
    if not isinstance(event.get("usage"), dict):
        return None
    model = state.used[-1].model if state.used else None
    return (Used(model, _tokens(event["usage"]), fields.number(event.get("total_cost_usd"))),)


def _denied(event: dict[str, Any]) -> tuple[str, ...]:
    denials = (fields.mapping(entry) for entry in fields.entries(event.get("permission_denials")))
    return tuple(dict.fromkeys(fields.printable(fields.string(entry.get("tool_name"))) or "?" for entry in denials))


def _tool_name(block: dict[str, Any]) -> str:
    return fields.printable(fields.string(block.get("name"))) or "?"


def _summary(block: dict[str, Any]) -> str:
    arguments = fields.mapping(block.get("input"))
    telling = [arguments.get(name) for name in _TELLING] + list(arguments.values())
    return next((shown for value in telling if (shown := fields.printable(fields.string(value), 120))), "")


def _describe_block(block: dict[str, Any]) -> str | None:
    match block.get("type"):
        case "text":
            return fields.last_line(fields.string(block.get("text"))) or None
        case "tool_use":
            return f"{_tool_name(block)}: {_summary(block)}".rstrip(": ")
        case "tool_result" if block.get("is_error"):
            return f"tool failed: {fields.printable(fields.string(block.get('content')))}".rstrip(": ")
    return None


def _describe_system(event: dict[str, Any]) -> str | None:
    match event.get("subtype"):
        case "init":
            return f"session started, model {fields.printable(fields.string(event.get('model'))) or 'unknown'}"
        case "api_retry":
            status = fields.count(event.get("error_status")) or fields.printable(fields.string(event.get("error")))
            delay = (fields.number(event.get("retry_delay_ms")) or 0) / 1000
            tries = f"{fields.count(event.get('attempt'))} of {fields.count(event.get('max_retries'))}"
            return f"the API failed ({status or 'unknown'}): retry {tries} in {delay:.1f} s"
        case "model_fallback":
            model = fields.printable(fields.string(event.get("fallback_model")))
            return fields.printable(fields.string(event.get("content"))) or f"goes on with the model {model}"
    return None


def _describe_result(event: dict[str, Any]) -> str:
    turns, cost = fields.count(event.get("num_turns")), fields.number(event.get("total_cost_usd"))
    after = f"after {turns} turn" if turns == 1 else f"after {turns} turns"
    price = "" if cost is None else f", {cost:.4f} USD"
    if event.get("is_error") is False:
        return f"finished {after}{price}"
    texts = [fields.string(event.get("result")), *map(fields.string, fields.entries(event.get("errors")))]
    why = next((shown for text in texts if (shown := fields.printable(text))), "no reason given")
    return f"failed {after}{price}: {why}"
