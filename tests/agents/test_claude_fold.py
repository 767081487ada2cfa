"""What Claude Code's output means, by the outcomes that were seen with the real program."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import stream_lines as say
from prodigy.agents import agent
from prodigy.agents.base import AgentEvent, Finished, RateLimited, Started, Text, Tokens, ToolCall, Usage, Used, Verdict
from prodigy.agents.reset_time import reset_time
from prodigy.agents.transcript import Lines, read_transcript

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC).timestamp()
CLAUDE = agent("claude")
DONE = [
    say.init(),
    say.assistant(say.text("Writing.")),
    say.assistant(say.bash("git commit -qm a")),
    say.tool_result("(Bash completed with no output)"),
    say.assistant(say.text("All done."), message="msg_2"),
    say.result(),
]


def fold(lines: list[bytes], now: float = NOW) -> tuple[Any, list[AgentEvent]]:
    state, events = CLAUDE.new_state(), []
    for line in lines:
        state, more = CLAUDE.fold(state, line, now)
        events += more
    return state, events


def verdict(lines: list[bytes], exit_code: int | None, stderr: str = "") -> Verdict:
    return CLAUDE.verdict(fold(lines)[0], exit_code, stderr)


def test_a_run_that_went_well_gives_text_cost_tokens_and_session() -> None:
    used = (Used("claude-opus-4-8[1m]", Tokens(2000, 100), 0.0125),)
    assert verdict(DONE, 0) == Verdict(
        None, "", text="All done.", cost_usd=0.0125, tokens=2100, used=used, session=say.SESSION
    )  # fmt: skip


def test_a_run_is_told_as_events() -> None:
    _, events = fold(DONE)
    assert events == [
        Started(say.SESSION, "claude-opus-4-8[1m]"),
        Text("Writing."),
        Usage("claude-opus-4-8", Tokens(1000, 1)),
        ToolCall("Bash", "git commit -qm a"),  # the same message: its usage was told
        Text("All done."),
        Usage("claude-opus-4-8", Tokens(1000, 1)),
        Finished(ok=True, cost_usd=0.0125, tokens=2100, kind=None),
    ]


@pytest.mark.parametrize(
    ("words", "error", "status", "kind", "transient"),
    [
        ("API Error: Request rejected (429) · slow", "rate_limit", 429, "rate_limited", True),
        ("API Error: 529 Overloaded.", "server_error", 529, "command_failed", True),
        ("API Error: 500 mock failure", "server_error", 500, "command_failed", True),
        ("API Error: Unable to connect to API (ConnectionRefused)", "server_error", None, "command_failed", True),
        ("Failed to authenticate. API Error: 401 bad key", "authentication_failed", 401, "permission", False),
        ("Credit balance is too low", "billing_error", 400, "resource_exhausted", False),
        ("There's an issue with the selected model (x).", "model_not_found", 404, "validation_failed", False),
        ("Prompt is too long · the request is ~300000 tokens", "invalid_request", 400, "validation_failed", False),
    ],
)
def test_an_api_error_is_known_by_the_agents_own_fields(
    words: str, error: str, status: int | None, kind: str, transient: bool
) -> None:
    seen = verdict(say.refused(words, error, status), 1)
    assert (seen.kind, seen.transient) == (kind, transient)
    assert seen.message.startswith(words)
    assert seen.cost_usd == 0.0


def test_a_server_error_is_named_so_that_a_retry_policy_finds_it() -> None:
    assert "server error" in verdict(say.refused("API Error: 529 Overloaded.", "server_error", 529), 1).message


def test_subtype_success_does_not_hide_an_error() -> None:
    assert verdict([say.init(), say.failed("API Error: something", None)], 1).kind == "command_failed"


def test_an_error_is_an_error_whatever_the_exit_code() -> None:
    assert verdict([say.init(), say.failed("API Error: something", None)], 0).kind == "command_failed"


@pytest.mark.parametrize(
    ("subtype", "told", "kind"),
    [
        ("error_max_turns", "Reached maximum number of turns (2)", "resource_exhausted"),
        ("error_max_budget_usd", "Reached maximum budget ($0.01)", "budget_exceeded"),
        ("error_max_structured_output_retries", "Failed to provide valid structured output", "validation_failed"),
        ("error_during_execution", "No conversation found with session ID: 6f0a", "command_failed"),
    ],
)
def test_a_limit_of_the_run_itself_is_told_apart(subtype: str, told: str, kind: str) -> None:
    end = say.result(subtype=subtype, is_error=True, errors=[told], result=None)
    seen = verdict([say.init(), end], 1)
    assert (seen.kind, seen.message, seen.cost_usd) == (kind, told, 0.0125)


def test_tokens_are_those_of_all_models_not_of_the_last_turn() -> None:
    """With --max-budget-usd the usage of the result is that of the last turn only."""
    end = say.result(subtype="error_max_budget_usd", is_error=True, usage={"input_tokens": 1000, "output_tokens": 50})
    assert verdict([say.init(), end], 1).tokens == 2100


def test_tokens_without_a_list_of_models_are_those_of_the_result() -> None:
    end = say.result(modelUsage={}, usage={"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 7})
    assert verdict([end], 0).tokens == 22


def test_an_unknown_slash_command_is_a_failure_though_the_exit_code_is_0() -> None:
    words = "Unknown command: /nope"
    end = say.result(result=words, num_turns=0, total_cost_usd=0, usage=say.NO_TOKENS, modelUsage={})
    seen = verdict([say.init(), say.synthetic(words), end], 0)
    assert seen.kind == "validation_failed"
    assert words in seen.message


def test_an_answer_that_only_speaks_of_unknown_commands_is_a_success() -> None:
    assert verdict([say.result(result="Unknown command: /nope", num_turns=1)], 0).kind is None


DENIED = {"permission_denials": [{"tool_name": "Bash", "tool_input": {}}, {"tool_name": "Bash"}, {"tool_name": "Edit"}]}


def test_denied_tools_are_named_after_a_success() -> None:
    seen = verdict([say.init(), say.assistant(say.bash("ls")), say.tool_result("a"), say.result(**DENIED)], 0)
    assert (seen.kind, seen.denied) == (None, ("Bash", "Edit"))
    assert seen.message == "tools were denied to the agent: Bash, Edit"


def test_an_agent_of_which_no_tool_call_succeeded_for_lack_of_permission_has_failed() -> None:
    lines = [say.init(), say.assistant(say.bash("ls")), say.tool_result("denied", is_error=True), say.result(**DENIED)]
    seen = verdict(lines, 0)
    assert (seen.kind, seen.denied) == ("permission", ("Bash", "Edit"))
    assert "Bash, Edit" in seen.message


def test_a_failed_tool_alone_is_no_failure() -> None:
    lines = [say.init(), say.assistant(say.bash("false")), say.tool_result("Exit code 1", is_error=True), say.result()]
    assert verdict(lines, 0).kind is None


def test_an_answer_without_the_structure_that_was_asked_for_is_a_failure() -> None:
    asked = say.init(tools=["Bash", "StructuredOutput"])
    assert verdict([asked, say.result()], 0).kind == "validation_failed"
    assert verdict([asked, say.result(structured_output={"a": 3}, result='{"a":3}')], 0).kind is None


def test_no_result_is_a_failure_though_the_exit_code_is_0() -> None:
    seen = verdict(DONE[:-1], 0)
    assert (seen.kind, seen.message) == ("unknown", "the agent ended without a result")
    assert seen.cost_usd is None
    assert seen.tokens == 2002  # what its messages show


def test_an_agent_that_said_nothing_has_no_cost_and_no_tokens() -> None:
    seen = verdict([], 1)
    assert (seen.kind, seen.cost_usd, seen.tokens, seen.session) == ("command_failed", None, None, None)


@pytest.mark.parametrize(("code", "name"), [(143, "SIGTERM"), (137, "SIGKILL"), (-9, "SIGKILL"), (130, "SIGINT")])
def test_a_signal_is_named(code: int, name: str) -> None:
    seen = verdict(DONE[:3], code)
    assert seen.kind == "command_failed"
    assert seen.message == f"the agent was ended by {name} (exit code {code}) without a result"


def test_an_exit_code_outweighs_a_good_result() -> None:
    seen = verdict(DONE, 3)
    assert (seen.kind, seen.text) == ("command_failed", "All done.")
    assert "code 3" in seen.message


def test_without_an_exit_code_the_result_decides() -> None:
    """An agent that hangs after its last word is ended by us."""
    assert verdict(DONE, None).kind is None


@pytest.mark.parametrize(
    "stderr",
    [
        "error: unknown option '--nosuch'\n",
        "warning: old\n\nerror: unknown option '--nosuch'\n\n",
    ],
)
def test_a_refusal_on_standard_error_gets_into_the_message(stderr: str) -> None:
    seen = verdict([], 1, stderr)
    assert seen.message == "the agent exited with code 1 without a result: error: unknown option '--nosuch'"


def test_an_interrupted_first_answer_has_an_unknown_cost_not_0() -> None:
    """Interrupted while it streams, the program says 0, but the request is paid."""
    end = say.failed(None, None, subtype="error_during_execution", terminal_reason="aborted_streaming",
                     errors=["[ede_diagnostic] result_type=user"])  # fmt: skip
    seen = verdict([say.init(), say.assistant(say.text("a ")), end], 0)
    assert (seen.kind, seen.cost_usd, seen.tokens) == ("command_failed", None, 1001)
    assert "interrupted" in seen.message


@pytest.mark.parametrize("cost", [None, "0.1", True, -1, float("nan"), float("inf"), 10**400, [], {}])
def test_a_cost_that_is_no_amount_is_unknown(cost: object) -> None:
    assert verdict([say.result(total_cost_usd=cost)], 0).cost_usd is None


def test_a_result_without_a_cost_has_none() -> None:
    assert verdict([b'{"type":"result","subtype":"success","is_error":false,"result":"ok"}'], 0) == Verdict(
        None, "", text="ok"
    )


LIMIT = "You've hit your session limit · resets 8pm (America/New_York)"
EVENING = datetime(2026, 11, 25, 20, 0, tzinfo=ZoneInfo("America/New_York")).timestamp()


def test_a_usage_limit_is_told_with_its_reset_time() -> None:
    state, events = fold(say.refused(LIMIT, "rate_limit", 429))
    seen = CLAUDE.verdict(state, 1)
    assert (seen.kind, seen.resets_at, seen.transient) == ("rate_limited", EVENING, True)
    assert [event for event in events if isinstance(event, RateLimited)] == [RateLimited(EVENING, LIMIT)]
    assert events[-1] == Finished(ok=False, cost_usd=0.0, tokens=0, kind="rate_limited")


def test_a_usage_limit_is_known_by_its_text_when_nothing_else_tells() -> None:
    state, events = fold([say.init(), say.failed(LIMIT, None)])
    seen = CLAUDE.verdict(state, 1)
    assert (seen.kind, seen.resets_at) == ("rate_limited", EVENING)
    assert RateLimited(EVENING, LIMIT) in events


def test_a_usage_limit_as_plain_text_at_the_start_is_known() -> None:
    seen = verdict([LIMIT.encode()], 1)
    assert (seen.kind, seen.resets_at) == ("rate_limited", EVENING)


def test_an_answer_that_speaks_of_a_usage_limit_is_no_limit() -> None:
    seen = verdict([say.init(), say.assistant(say.text(LIMIT)), say.result(result=LIMIT)], 0)
    assert (seen.kind, seen.resets_at) == (None, None)


def test_a_subagents_limit_is_not_the_runs_end() -> None:
    hit = say.line(
        "assistant", message={"content": [say.text(LIMIT)]}, parent_tool_use_id="toolu_1", error="rate_limit"
    )
    assert verdict([say.init(), hit, say.failed("boom", None)], 1).kind == "command_failed"


def test_an_error_that_was_overcome_is_forgotten() -> None:
    lines = [say.init(), say.synthetic(LIMIT, "rate_limit"), say.assistant(say.text("on")), say.failed("boom", None)]
    assert verdict(lines, 1).kind == "command_failed"


def test_the_limit_event_of_subscriptions_gives_the_reset_time() -> None:
    info = {"status": "rejected", "resetsAt": 1795659000, "rateLimitType": "five_hour", "isUsingOverage": False}
    told = say.line("rate_limit_event", rate_limit_info=info)
    state, events = fold([told, *say.refused("You've hit your limit", "rate_limit", 429)])
    assert events[0] == RateLimited(1795659000.0)
    assert CLAUDE.verdict(state, 1).resets_at == 1795659000.0


@pytest.mark.parametrize("status", ["allowed", "allowed_warning", None])
def test_a_limit_event_that_only_informs_is_ignored(status: str | None) -> None:
    told = say.line("rate_limit_event", rate_limit_info={"status": status, "resetsAt": 1795659000})
    assert fold([told])[1] == []


def test_a_retry_after_429_closes_the_gate_for_as_long_as_the_agent_waits() -> None:
    assert fold([say.retry(429, "rate_limit", 4000)])[1] == [RateLimited(NOW + 4)]
    assert fold([say.retry(529, "overloaded")])[1] == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("resets 8pm (America/New_York)", "2026-11-26T01:00:00+00:00"),
        ("resets 8:30am (UTC)", "2026-11-26T08:30:00+00:00"),
        ("resets 12am (UTC)", "2026-11-26T00:00:00+00:00"),
        ("resets 12pm (UTC)", "2026-11-25T12:00:00+00:00"),
        ("resets 11:30am (UTC)", "2026-11-25T11:30:00+00:00"),  # only just passed: a stale message
        ("resets 23:00:05 (UTC)", "2026-11-25T23:00:05+00:00"),
        ("resets at 9pm (Europe/Berlin)", "2026-11-25T20:00:00+00:00"),
        ("resets Mon 12:00am (UTC)", "2026-11-30T00:00:00+00:00"),
        ("resets Dec 2 at 1pm (Asia/Seoul)", "2026-12-02T04:00:00+00:00"),
        ("resets Jan 3, 5am (America/Sao_Paulo)", "2027-01-03T08:00:00+00:00"),
        ("resets Nov 24, 5am (UTC)", "2026-11-24T05:00:00+00:00"),
        ("resets 2026-11-27T10:00:00Z", "2026-11-27T10:00:00+00:00"),
        ("resets in 2h 30m", "2026-11-25T14:30:00+00:00"),
        ("try again in 45 minutes", "2026-11-25T12:45:00+00:00"),
        ("Claude AI usage limit reached|1795659000", "2026-11-26T02:10:00+00:00"),
        ("resets 8pm", None),  # in which zone?
        ("resets 8pm (Nowhere/Land)", None),
        ("resets 8pm (../../etc/passwd)", None),
        ("resets 8pm (America)", None),
        ("resets 27:00 (UTC)", None),
        ("resets 13pm (UTC)", None),
        ("resets Feb 30, 1pm (UTC)", None),
        ("resets Feb 29, 1pm (UTC)", None),  # not in the years about now
        ("resets soon", None),
    ],
)
def test_reset_times(words: str, expected: str | None) -> None:
    moment = reset_time(f"You've hit your limit · {words}", NOW)
    assert (moment and datetime.fromtimestamp(moment, UTC).isoformat()) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (say.init(), "session started, model claude-opus-4-8[1m]"),
        (say.assistant(say.text("First.\nThen the rest.\n")), "Then the rest."),
        (say.assistant(say.bash("git commit -m x\n\ngit push")), "Bash: git commit -m x git push"),
        (say.assistant(say.text("evil \x1b[2J\x07 text")), "evil [2J text"),
        (say.assistant(), None),
        (say.tool_result("fine"), None),
        (say.tool_result("Exit code 7", is_error=True), "tool failed: Exit code 7"),
        (say.retry(429, "rate_limit"), "the API failed (429): retry 1 of 10 in 0.6 s"),
        (say.retry(None, "unknown"), "the API failed (unknown): retry 1 of 10 in 0.6 s"),
        (say.result(), "finished after 2 turns, 0.0125 USD"),
        (say.failed("API Error: 500", 500), "failed after 1 turn, 0.0000 USD: API Error: 500"),
        (b"plain words", "plain words"),
        (b'{"type":"assist', None),
        (b"", None),
        (b'{"type":"stream_event"}', None),
    ],
)
def test_a_line_for_people(line: bytes, expected: str | None) -> None:
    assert CLAUDE.describe(line) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["type", "subtype", "message", "content", "text", "name", "input", "usage", "error", "result", "is_error",
        "total_cost_usd", "modelUsage", "permission_denials", "tool_name", "rate_limit_info", "status", "resetsAt",
        "errors", "api_error_status", "num_turns", "tools", "session_id", "parent_tool_use_id", "id",
        "retry_delay_ms"]  # fmt: skip
KINDS = ["system", "assistant", "user", "result", "rate_limit_event", "init", "api_retry", "text", "tool_use",
         "tool_result", "rejected", "model_fallback", LIMIT, "\ud800"]  # fmt: skip
shaped = st.recursive(
    st.sampled_from(KINDS) | st.sampled_from([429, 529, -1, 1e308, 10**400]) | json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)
events = st.dictionaries(st.sampled_from(KEYS), shaped, max_size=8)
kinds_of_event = st.sampled_from(["system", "assistant", "user", "result", "rate_limit_event"])


@given(st.lists(st.binary(max_size=60) | st.sampled_from(DONE), max_size=8), st.none() | st.integers())
def test_whatever_is_on_a_line_there_is_a_verdict(lines: list[bytes], exit_code: int | None) -> None:
    seen = verdict(lines, exit_code)
    assert seen.kind is None or seen.message
    for line in lines:
        shown = CLAUDE.describe(line)
        assert shown is None or shown.isprintable()


@settings(max_examples=40)
@given(st.lists(st.tuples(kinds_of_event, events), max_size=4), st.sampled_from([0, 1, None]))
def test_whatever_an_event_holds_there_is_a_verdict(made: list[tuple[str, dict[str, Any]]], code: int | None) -> None:
    lines = [json.dumps({**event, "type": kind}).encode() for kind, event in made]
    seen = verdict(lines, code)
    assert seen.kind is None or seen.message
    seen.text.encode()
    seen.message.encode()
    for line in lines:
        shown = CLAUDE.describe(line)
        assert shown is None or (shown.isprintable() and shown.encode())


@given(st.data())
def test_where_the_stream_is_cut_into_chunks_makes_no_difference(data: st.DataObject) -> None:
    stream = b"\n".join(data.draw(st.lists(st.sampled_from([*DONE, b"junk \xff", b"", LIMIT.encode()]), max_size=8)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    splitter, lines = Lines(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        lines += splitter.feed(stream[start:end])
    assert fold([*lines, splitter.rest()]) == fold(stream.split(b"\n"))


def test_deep_nesting_is_junk_not_a_crash() -> None:
    assert verdict([b'{"type":' + b"[" * 100_000], 0).kind == "unknown"


def test_half_of_a_surrogate_pair_is_replaced() -> None:
    assert verdict([say.result(result="a\ud800b")], 0).text == "a?b"


def test_a_line_over_the_limit_is_left_out_and_the_next_one_is_not() -> None:
    lines = Lines(limit=5)
    assert lines.feed(b"123456\nab") == []
    assert lines.feed(b"cde\n123") == [b"abcde"]
    assert lines.feed(b"456789") == []
    assert lines.rest() == b""


def test_a_transcript_with_junk_a_huge_line_and_a_torn_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    with path.open("wb") as file:
        file.write(b"warning: \xff\xfe\n" + DONE[0] + b"\r\n")
        file.write(b'{"type":"user","x":"')
        for _ in range(20):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n' + say.result() + b'\n{"type":"assistant","mess')
    seen = read_transcript(CLAUDE, path, 0)
    assert (seen.kind, seen.text, seen.session) == (None, "All done.", say.SESSION)


def test_a_result_without_a_line_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    path.write_bytes(b"\n".join(DONE))
    assert read_transcript(CLAUDE, path, 0) == verdict(DONE, 0)


def test_an_old_transcript_is_read_as_of_when_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "stdout"
    path.write_bytes(b"\n".join(say.refused(LIMIT, "rate_limit", 429)))
    os.utime(path, (NOW, NOW))
    assert read_transcript(CLAUDE, path, 1).resets_at == EVENING
