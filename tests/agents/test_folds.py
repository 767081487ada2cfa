"""How the outputs of the other agents are read, line by line, from what the real ones have printed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodigy.agents import AGENTS, agent
from prodigy.agents.base import AgentEvent, Finished, RateLimited, Text, Tokens, ToolCall, Usage, Used, Verdict

NOW = 1_800_000_000.0


def fold(kind: str, *lines: object) -> tuple[Any, list[AgentEvent]]:
    adapter = agent(kind)
    state, events = adapter.new_state(), list[AgentEvent]()
    for line in lines:
        data = line if isinstance(line, bytes) else json.dumps(line).encode()
        state, more = adapter.fold(state, data, NOW)
        events += more
    return state, events


def judged(kind: str, exit_code: int | None, *lines: object, stderr: str = "") -> Verdict:
    return agent(kind).verdict(fold(kind, *lines)[0], exit_code, stderr)


CODEX = [
    {"type": "thread.started", "thread_id": "t1"},
    {"type": "item.completed", "item": {"id": "0", "type": "error", "message": "Model metadata not found"}},
    {"type": "turn.started"},
    {"type": "item.started", "item": {"id": "2", "type": "command_execution", "command": "git commit"}},
    {"type": "item.completed", "item": {"id": "3", "type": "agent_message", "text": "All done."}},
    {"type": "turn.completed", "usage": {"input_tokens": 2000, "cached_input_tokens": 500, "output_tokens": 100}},
]  # fmt: skip


def test_codex_that_went_well() -> None:
    seen = judged("codex", 0, *CODEX)
    assert (seen.kind, seen.text, seen.session, seen.tokens) == (None, "All done.", "t1", 2100)
    assert seen.used == (Used(None, Tokens(1500, 100, 500, 0)),)
    _, events = fold("codex", *CODEX)
    assert ToolCall("command_execution", "git commit") in events
    assert events[-1] == Finished(True, None, 2100, None)


@pytest.mark.parametrize(
    ("message", "kind", "resets_at"),
    [
        ("exceeded retry limit, last status: 429 Too Many Requests", "rate_limited", None),
        ("You’ve hit your usage limit. Try again later.", "rate_limited", None),
        ("rate limit exceeded: Please try again in 1.5s.", "rate_limited", NOW + 1.5),
        ("You've hit your usage limit. Try again in 3 days 4 hours 5 minutes.", "rate_limited", NOW + 273_900),
        ("unexpected status 401 Unauthorized: bad key, url: x", "permission", None),
        ("We're currently experiencing high demand", "command_failed", None),
        ("stream disconnected before completion", "command_failed", None),
        ("Codex ran out of room in the model's context window", "resource_exhausted", None),
    ],
)
def test_codex_that_was_refused(message: str, kind: str, resets_at: float | None) -> None:
    seen = judged("codex", 1, {"type": "turn.failed", "error": {"message": message}})
    assert (seen.kind, seen.message, seen.resets_at) == (kind, message, resets_at)


GEMINI = [
    {"type": "init", "session_id": "s", "model": "gemini-2.5-pro"},
    {"type": "message", "role": "user", "content": "do it"},
    {"type": "message", "role": "assistant", "content": "Wri", "delta": True},
    {"type": "message", "role": "assistant", "content": "ting", "delta": True},
    {"type": "tool_use", "tool_name": "run_shell_command", "parameters": {"command": "git commit"}},
    {"type": "tool_result", "status": "success", "output": "ok"},
    {"type": "message", "role": "assistant", "content": "All done", "delta": True},
    {"type": "result", "status": "success", "stats": {"total_tokens": 2150, "models": {
        "gemini-2.5-pro": {"total_tokens": 2150, "input_tokens": 2000, "output_tokens": 100, "cached": 300}}}},
]  # fmt: skip


def test_gemini_that_went_well() -> None:
    seen = judged("gemini", 0, *GEMINI)
    assert (seen.kind, seen.text, seen.session) == (None, "All done", "s")
    assert seen.used == (Used("gemini-2.5-pro", Tokens(1700, 150, 300, 0)),)  # thoughts are paid as output


def test_gemini_tells_on_standard_error_that_it_waits() -> None:
    line = b"Suggested retry after 3s.. Too Many Requests. Retrying after 5392ms..."
    assert agent("gemini").hear_stderr(line, NOW) == [RateLimited(NOW + 5.392, line.decode())]
    assert agent("gemini").hear_stderr(b"Ripgrep is not available.", NOW) == []


def test_gemini_that_failed_by_its_result_and_by_its_exit_code() -> None:
    told = '[API Error: {"error":{"code":401,"message":"API key not valid","status":"UNAUTHENTICATED"}}]'
    assert judged("gemini", 145, {"type": "result", "status": "error", "error": {"message": told}}).kind == "permission"
    assert judged("gemini", 53, stderr="Reached max session turns").kind == "resource_exhausted"
    assert judged("gemini", 1, stderr="Unknown argument").kind == "command_failed"


def opencode(kind: str, **part: Any) -> dict[str, Any]:
    return {"type": kind, "sessionID": "ses_1", "part": part}


def test_opencode_that_went_well_and_what_each_answer_cost() -> None:
    tokens = {"input": 1000, "output": 50, "reasoning": 10, "cache": {"read": 5, "write": 6}}
    lines = [
        opencode("text", text="Writing"),
        opencode("tool_use", tool="bash", state={"input": {"command": "git commit"}, "output": "ok"}),
        opencode("step_finish", reason="tool-calls", tokens=tokens, cost=0.25),
        opencode("text", text="All done"),
        opencode("step_finish", reason="stop", tokens=tokens, cost=0.5),
    ]
    seen = judged("opencode", 0, *lines)
    assert (seen.kind, seen.text, seen.cost_usd, seen.tokens) == (None, "All done", 0.75, 2142)
    _, events = fold("opencode", *lines)
    assert Usage(None, Tokens(1000, 60, 5, 6), 0.25) in events
    assert judged("opencode", 0, *lines[:3]).kind == "unknown"  # it ended in the middle


def test_opencode_whose_model_has_no_price_costs_what_nobody_knows() -> None:
    line = opencode("step_finish", reason="stop", tokens={"input": 10, "output": 1}, cost=0)
    assert judged("opencode", 0, line).cost_usd is None


def test_opencode_that_was_refused() -> None:
    data = {"message": "slow down", "statusCode": 429, "responseHeaders": {"retry-after": "30"}}
    seen = judged("opencode", 1, {"type": "error", "sessionID": "s", "error": {"name": "APIError", "data": data}})
    assert (seen.kind, seen.resets_at, seen.transient) == ("rate_limited", NOW + 30, True)


def test_an_agent_by_acp() -> None:
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "Done"}}
    cost = {"sessionUpdate": "usage_update", "used": 5, "size": 9, "cost": {"amount": 0.5, "currency": "USD"}}
    lines = [
        {"type": "session", "session": "s", "model": None},
        {"type": "update", "update": {"sessionUpdate": "tool_call", "title": "ls", "kind": "execute"}},
        {"type": "update", "update": cost},
        {"type": "update", "update": update},
        {"type": "end", "stop_reason": "end_turn", "usage": {"input_tokens": 10, "output_tokens": 2}},
    ]
    seen = judged("acp", 0, *lines)
    assert (seen.kind, seen.text, seen.cost_usd, seen.tokens, seen.session) == (None, "Done", 0.5, 12, "s")
    assert judged("acp", 1, {"type": "end", "stop_reason": "max_tokens"}).kind == "resource_exhausted"
    assert judged("acp", 1, {"type": "failed", "message": "429 too many requests"}).kind == "rate_limited"
    assert judged("acp", 1, stderr="no such program").kind == "command_failed"


def test_aider_by_its_words() -> None:
    tokens = b"Tokens: 2.1k sent, 500 cache write, 1.0k cache hit, 50 received. Cost: $0.01 message, $0.02 session."
    seen = judged("aider", 0, b"Applied edit to a.txt", tokens)
    assert (seen.kind, seen.cost_usd, seen.used[0].tokens) == (None, 0.02, Tokens(600, 50, 1000, 500))
    refused = b"litellm.RateLimitError: AnthropicException - rate limited"
    assert judged("aider", 0, refused).kind == "rate_limited"
    assert judged("aider", 0, b"litellm.AuthenticationError: invalid x-api-key").kind == "permission"
    assert judged("aider", 0, b"nothing").kind == "unknown"


def test_any_command_by_its_exit_code() -> None:
    assert judged("command", 0, b"429 too many requests, and I went on").kind is None
    failed = judged("command", 3, b"hello", stderr="it broke")
    assert (failed.kind, failed.message) == ("command_failed", "the agent exited with code 3: it broke")
    assert judged("command", 1, stderr="error 429: slow down").kind == "rate_limited"


@pytest.mark.parametrize("kind", list(AGENTS))
@settings(max_examples=25)
@given(st.lists(st.one_of(st.binary(max_size=60), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "part", "item", "error", "usage", "update", "stats", "tokens", "message", "cost"]),
        inner | st.sampled_from(["result", "error", "text", "end", "update", "step_finish", "turn.failed"]),
        max_size=4),
    max_leaves=8)), max_size=5), st.sampled_from([None, 0, 1, 137, -9]))  # fmt: skip
def test_whatever_is_printed_there_is_a_verdict(kind: str, lines: list[Any], exit_code: int | None) -> None:
    seen = judged(kind, exit_code, *lines)
    assert seen.kind is None or seen.message
    for line in lines:
        data = line if isinstance(line, bytes) else json.dumps(line).encode()
        described = agent(kind).describe(data)
        assert described is None or described.isprintable()
        agent(kind).tool_output(data)
        agent(kind).hear_stderr(data, NOW)
    assert Text("x") == Text("x")
