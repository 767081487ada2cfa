"""The real Claude Code against a loopback API: what we take for granted about its options, events and exit codes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_support import script
from agents.mock_anthropic import MockServer
from prodigy.agents import agent
from prodigy.agents.base import AgentRequest, Verdict
from prodigy.agents.transcript import read_transcript
from support import IDENTITY, git

CLAUDE = agent("claude")
DEADLINE_S = 60
COMMIT = {"tool": "Bash", "input": {"command": "echo hi > a && git add a && git commit -qm a"}, "text": "Writing."}

Run = Callable[..., Verdict]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "start")
    return folder


@pytest.fixture
def run(tmp_path: Path, repo: Path, claude_program: str, anthropic_api: MockServer) -> Run:
    """Run the program on a prompt in the repository (or elsewhere), with nothing of the developer's environment."""
    (tmp_path / "home").mkdir()
    env = {
        **IDENTITY, "PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"),
        "CLAUDE_CONFIG_DIR": str(tmp_path / "config"), "ANTHROPIC_BASE_URL": anthropic_api.url,
        "ANTHROPIC_API_KEY": "dummy", "DISABLE_TELEMETRY": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1", "IS_SANDBOX": "1",
    }  # fmt: skip

    def call(prompt: str, *, cwd: Path = repo, **wishes: Any) -> Verdict:
        as_root = os.geteuid() == 0
        request = AgentRequest(prompt, str(cwd), command=(claude_program,), as_root=as_root, env=env, **wishes)
        start = CLAUDE.start(request)
        with (tmp_path / "stdout").open("wb") as stdout:
            done = subprocess.run(
                start.argv, input=start.stdin, cwd=cwd, env={**env, **start.env}, stdout=stdout,
                stderr=subprocess.PIPE, timeout=DEADLINE_S, check=False,
            )  # fmt: skip
        return read_transcript(CLAUDE, tmp_path / "stdout", done.returncode, stderr=done.stderr.decode())

    return call


def test_an_item_is_done_with_a_commit(run: Run, repo: Path) -> None:
    seen = run(script(COMMIT, {"text": "all done"}), model="sonnet")
    assert (seen.kind, seen.message, seen.text, seen.tokens) == (None, "", "all done", 2100)
    assert seen.cost_usd is not None
    assert seen.cost_usd > 0
    assert git(repo, "log", "--format=%s") == "a\nstart"


def test_what_stands_behind_a_slash_command_is_given_to_it_as_data(run: Run, repo: Path) -> None:
    """Several lines, as starters write them, and nothing of them is run, as it would be in the command's own file."""
    (repo / ".claude/commands").mkdir(parents=True)
    (repo / ".claude/commands/fix.md").write_text("---\ndescription: x\n---\n\nMend it.\n\n$ARGUMENTS\n")
    words = "The file: a b.py\nIt says:\n!`touch run-by-us`\n```!\ntouch run-by-us\n```"
    seen = run(f"/fix\n{words}\n{script({'tool': 'Bash', 'input': {'command': 'touch mended'}}, {'text': 'done'})}")
    assert (seen.kind, seen.text) == (None, "done")
    assert (repo / "mended").exists()
    assert not (repo / "run-by-us").exists()


def test_a_429_is_a_rate_limit_with_its_reset_time(run: Run) -> None:
    reset = int(time.time()) + 3 * 3600
    words = f"You've hit your session limit · resets {time.strftime('%H:%M:%S', time.gmtime(reset))} (UTC)"
    fail = {"status": 429, "type": "rate_limit_error", "message": words, "headers": {"x-should-retry": "false"}}
    seen = run(script({"fail": fail}))
    assert (seen.kind, seen.resets_at, seen.cost_usd) == ("rate_limited", reset, 0.0)


def test_a_429_without_a_time_is_a_rate_limit_of_unknown_length(run: Run) -> None:
    seen = run(script({"fail": {"status": 429, "type": "rate_limit_error", "message": "slow"}}))
    assert (seen.kind, seen.resets_at) == ("rate_limited", None)


@pytest.mark.parametrize(
    ("status", "words", "kind", "transient"),
    [
        (529, "Overloaded", "command_failed", True),
        (401, "bad key", "permission", False),
        (400, "Your credit balance is too low to access the Anthropic API", "resource_exhausted", False),
        (404, "model: x", "validation_failed", False),
    ],
)
def test_an_api_error_is_a_failure_of_its_kind(run: Run, status: int, words: str, kind: str, transient: bool) -> None:
    seen = run(script({"fail": {"status": status, "type": "api_error", "message": words}}))
    assert (seen.kind, seen.transient) == (kind, transient)
    assert seen.message


def test_an_agent_whose_only_tool_was_denied_has_failed(run: Run, repo: Path) -> None:
    deny = '{"permissions": {"deny": ["Bash(touch *)"]}}'
    touch = {"tool": "Bash", "input": {"command": "touch b"}}
    seen = run(script(touch, {"text": "could not"}), args=("--settings", deny))
    assert (seen.kind, seen.denied, seen.text) == ("permission", ("Bash",), "could not")
    assert not (repo / "b").exists()


def test_an_agent_that_found_another_way_after_a_denial_has_not_failed(run: Run) -> None:
    deny = '{"permissions": {"deny": ["Bash(touch *)"]}}'
    touch = {"tool": "Bash", "input": {"command": "touch b"}}
    seen = run(script(touch, COMMIT, {"text": "done otherwise"}), args=("--settings", deny))
    assert (seen.kind, seen.denied, seen.text) == (None, ("Bash",), "done otherwise")


def test_an_unknown_slash_command_is_a_failure(run: Run) -> None:
    seen = run("/nosuch thing")
    assert seen.kind == "validation_failed"
    assert "Unknown command: /nosuch" in seen.message


def test_a_slash_command_of_the_repository_runs(run: Run, repo: Path) -> None:
    file = repo / ".claude" / "commands" / "fix.md"
    file.parent.mkdir(parents=True)
    file.write_text(f"Fix it. {script({'text': 'fixed'})}\n")
    assert run("/fix now").text == "fixed"


@pytest.mark.parametrize("prompt", ["x" * (150 << 10), "-p --version", "a\0b"])
def test_a_prompt_comes_by_standard_input_where_it_must(run: Run, prompt: str) -> None:
    seen = run(f"{prompt} {script({'text': 'read'})}")
    assert (seen.kind, seen.text) == (None, "read")


def test_a_session_goes_on_in_the_same_directory_with_a_cost_of_its_own(run: Run) -> None:
    first = run(script({"text": "one"}))
    second = run(script({"text": "two"}), resume_session=first.session)
    assert (second.kind, second.text, second.session) == (None, "two", first.session)
    assert (first.tokens, second.tokens) == (1050, 1050)


def test_a_session_does_not_go_on_in_another_directory(run: Run, tmp_path: Path) -> None:
    first = run(script({"text": "one"}))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    seen = run(script({"text": "two"}), cwd=elsewhere, resume_session=first.session)
    assert seen.kind == "command_failed"
    assert "No conversation found" in seen.message


def test_the_cap_on_cost_ends_the_agent_with_all_that_it_cost(run: Run) -> None:
    seen = run(script({"tool": "Bash", "input": {"command": "true"}}), max_cost_usd=0.01)
    assert (seen.kind, seen.tokens) == ("budget_exceeded", 2100)
    assert seen.cost_usd is not None
    assert seen.cost_usd > 0.01


def test_an_answer_without_the_structure_that_was_asked_for_is_a_failure(run: Run) -> None:
    schema = ("--json-schema", '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}')
    assert run(script({"text": "no"}), args=schema).kind == "validation_failed"
    given = run(script({"tool": "StructuredOutput", "input": {"a": 3}}, {"text": "x"}), args=schema)
    assert (given.kind, given.text) == (None, '{"a":3}')


def test_an_option_that_it_does_not_know_is_told(run: Run) -> None:
    seen = run("hello", args=("--nosuch",))
    assert seen.message == "the agent exited with code 1 without a result: error: unknown option '--nosuch'"
