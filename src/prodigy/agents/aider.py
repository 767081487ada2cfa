"""Aider, given one message (measured with 0.86.2). It commits by itself and prints text only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prodigy.agents import fields, texts
from prodigy.agents.base import (
    Abilities,
    AgentEvent,
    AgentRequest,
    Invocation,
    RateLimited,
    StateDirectory,
    Tokens,
    Usage,
    Used,
    Verdict,
)
from prodigy.agents.invoking import ListensToStdout, prompt_bytes
from prodigy.agents.reset_time import reset_time
from prodigy.agents.variables import PROVIDERS

_ABILITIES = Abilities(cost="reported", tokens=True, reset_time=True, live=True)
_MESSAGE = "message.txt"
# Its whole history would be a part of every worktree, and it asks about these when it may.
_QUIET = (
    "--yes-always", "--no-pretty", "--no-stream", "--no-check-update", "--no-show-release-notes",
    "--no-show-model-warnings", "--no-analytics", "--no-gitignore", "--no-suggest-shell-commands",
    "--no-detect-urls",
)  # fmt: skip
# `Tokens: 2.1k sent, 1.0k cache write, 500 cache hit, 50 received. Cost: $0.01 message, $0.02 session.`
_TOKENS = re.compile(r"^Tokens: (?P<sent>[\d.,]+[kM]?) sent,(?P<cache>.*?) ?(?P<received>[\d.,]+[kM]?) received\.")
_CACHE = re.compile(r"([\d.,]+[kM]?) cache (write|hit)")
_COST = re.compile(r"\$(?P<message>[\d.]+) message, \$(?P<session>[\d.]+) session")
_FAILED = re.compile(r"^(?:litellm\.\w*(?:Error|Exception)|The API provider|.*\b\w+(?:APIError|Error): litellm)")
_KEPT_LINES = 200


@dataclass(frozen=True)
class Seen:
    """The end of what it printed. answered: whether an answer came after the last error."""

    lines: tuple[str, ...] = ()
    error: str = ""
    tokens: Tokens | None = None
    cost_usd: float | None = None
    resets_at: float | None = None


@dataclass(frozen=True)
class Aider(ListensToStdout):
    """The adapter; see `base.Agent`. It ends with exit code 0 also when its service refused it: its words decide."""

    name: str = "aider"
    program: str = "aider"
    install_hint: str = "install Aider (`pip install aider-chat`)"
    abilities: Abilities = _ABILITIES
    state = (StateDirectory("~/.aider"),)

    def variables(self, environment: Mapping[str, str]) -> Sequence[str]:  # noqa: ARG002
        return ("AIDER_*", "LITELLM_*", *PROVIDERS)

    def start(self, request: AgentRequest) -> Invocation:
        """Files to edit are named by the request's arguments, or found by Aider in the prompt."""
        argv = [*(request.command or (self.program,)), "--message-file", f"{request.files}/{_MESSAGE}", *_QUIET]
        histories = {"--chat-history-file": "chat.md", "--input-history-file": "input", "--llm-history-file": "llm"}
        argv += [word for flag, name in histories.items() for word in (flag, f"{request.files}/aider-{name}")]
        if request.model is not None:
            argv += ["--model", request.model]
        return Invocation((*argv, *request.args), files={_MESSAGE: prompt_bytes(request.prompt)})

    def new_state(self) -> Seen:
        return Seen()

    def fold(self, state: Seen, line: bytes, now: float) -> tuple[Seen, list[AgentEvent]]:
        text = line.decode("utf-8", errors="replace").rstrip("\r")
        state = replace(state, lines=(*state.lines, text)[-_KEPT_LINES:])
        if found := _TOKENS.match(text):
            tokens = _tokens(found)
            cost = _COST.search(text)
            state = replace(
                state,
                error="",
                tokens=(state.tokens or Tokens()) + tokens,
                cost_usd=float(cost["session"]) if cost else state.cost_usd,
            )
            return state, [Usage(None, tokens)]
        if _FAILED.match(text):
            state = replace(state, error=f"{state.error} {text}".strip())
            if texts.limit_told(text):
                state = replace(state, resets_at=reset_time(text, now) or state.resets_at)
                return state, [RateLimited(state.resets_at, fields.printable(text))]
            return state, []
        return state, []

    def verdict(self, state: Seen, exit_code: int | None, stderr: str = "") -> Verdict:
        kind, message, transient = _judge(state, exit_code, stderr)
        return Verdict(
            kind,
            message[:2000],
            text="\n".join(state.lines).strip(),
            cost_usd=state.cost_usd,
            tokens=state.tokens.total if state.tokens else None,
            used=(Used(None, state.tokens, state.cost_usd),) if state.tokens else (),
            resets_at=state.resets_at if kind == "rate_limited" else None,
            transient=transient,
        )

    def describe(self, line: bytes) -> str | None:
        return fields.printable(line.decode("utf-8", errors="replace")) or None


def _judge(state: Seen, exit_code: int | None, stderr: str) -> tuple[str | None, str, bool]:
    if state.error:
        found = texts.meaning(state.error)
        return found.kind, state.error, found.transient
    if exit_code == 0:
        if state.tokens is None:
            told = fields.last_line("\n".join(state.lines), 500) or fields.last_line(stderr, 500)
            return "unknown", f"the agent ended without an answer: {told}".rstrip(": "), False
        return None, "", False
    told = fields.last_line(stderr, 500) or fields.last_line("\n".join(state.lines), 500)
    message = texts.ended(exit_code) + (f": {told}" if told else "")
    if exit_code is None:
        return "unknown", message, False
    found = texts.meaning(told)
    return found.kind, message, found.transient


def _tokens(found: re.Match[str]) -> Tokens:
    """What is sent holds what the cache has; rounded as Aider prints it."""
    cache = {what: _number(amount) for amount, what in _CACHE.findall(found["cache"])}
    hit, write = cache.get("hit", 0), cache.get("write", 0)
    return Tokens(max(0, _number(found["sent"]) - hit - write), _number(found["received"]), hit, write)


def _number(text: str) -> int:
    scale = {"k": 1_000, "M": 1_000_000}.get(text[-1], 1)
    try:
        return round(float(text.rstrip("kM").replace(",", "")) * scale)
    except ValueError:
        return 0
