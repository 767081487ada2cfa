"""The stand-in for the `claude` program, which other tests trust, behaves as the real one does."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_support import script, stand_in_path
from prodigy.agents import agent
from prodigy.agents.base import AgentRequest, Verdict, find_program
from prodigy.agents.transcript import read_transcript
from support import IDENTITY, git, wait_until

CLAUDE = agent("claude")
Run = Callable[..., Verdict]


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Start the stand-in on a prompt; its output goes to the file `stdout`."""
    path = f"{stand_in_path(tmp_path)}{os.pathsep}{os.environ['PATH']}"
    (tmp_path / "repo").mkdir()

    def begin(prompt: str, **wishes: Any) -> subprocess.Popen[bytes]:
        sandboxed = {"IS_SANDBOX": "1"}
        call = CLAUDE.start(AgentRequest(prompt, str(tmp_path), as_root=os.geteuid() == 0, env=sandboxed, **wishes))
        env = {**IDENTITY, "PATH": path, "HOME": str(tmp_path), "SHARED": str(tmp_path), **sandboxed, **call.env,
               "CLAUDE_STAND_IN_LOG": str(tmp_path / "log")}  # fmt: skip
        (tmp_path / "stdin").write_bytes(call.stdin)
        with (tmp_path / "stdin").open("rb") as stdin, (tmp_path / "stdout").open("wb") as stdout:
            argv = [find_program(CLAUDE, None, path), *call.argv[1:]]
            return subprocess.Popen(
                argv, cwd=tmp_path / "repo", env=env, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
            )

    return begin


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> Run:
    def call(prompt: str, **wishes: Any) -> Verdict:
        with start(prompt, **wishes) as process:
            stderr = process.communicate(timeout=60)[1].decode()
        return read_transcript(CLAUDE, tmp_path / "stdout", process.returncode, stderr=stderr)

    return call


def test_it_runs_commands_and_reports_as_the_real_program_does(run: Run, tmp_path: Path) -> None:
    git(tmp_path / "repo", "init", "-q")
    seen = run(script({"sh": "echo hi > a && git add a && git commit -qm a"}, {"text": "done"}))
    assert (seen.kind, seen.text, seen.cost_usd, seen.tokens) == (None, "done", 0.0125, 2100)
    assert git(tmp_path / "repo", "log", "--format=%s") == "a"


@pytest.mark.parametrize("prompt", ["plain words", "-dash", "x" * (150 << 10)])
def test_without_a_script_it_answers_with_the_prompt_however_that_came(run: Run, tmp_path: Path, prompt: str) -> None:
    assert run(prompt).text == prompt
    (call,) = (tmp_path / "log").read_text().splitlines()
    assert json.loads(call)["prompt"] == prompt


def test_slash_commands_come_from_the_repository(run: Run, tmp_path: Path) -> None:
    assert run("/fix it").kind == "validation_failed"
    file = tmp_path / "repo" / ".claude" / "commands" / "fix.md"
    file.parent.mkdir(parents=True)
    file.write_text("Fix $ARGUMENTS.")
    assert run("/fix it").text == "Fix it."


@pytest.mark.parametrize(
    ("steps", "kind", "words"),
    [
        ([{"limit": "resets 8pm (UTC)"}], "rate_limited", "session limit"),
        ([{"result": {"is_error": True, "api_error_status": 529, "result": "Overloaded"}}], "command_failed", "Overl"),
        ([{"result": {"permission_denials": [{"tool_name": "Bash"}]}}], "permission", "Bash"),
        ([{"result": None}], "unknown", "without a result"),
        (
            [{"stderr": "broken pipe dream"}, {"exit": 3}],
            "command_failed",
            "code 3 without a result: broken pipe dream",
        ),
        ([{"text": "x"}, {"result": {}}, {"exit": 3}], "command_failed", "code 3 after it had reported success"),
        ([{"raw": "{not json"}, {"raw": "junk"}, {"text": "x"}], None, ""),
        ([{"nonsense": 1}], "validation_failed", "unknown step"),
    ],
)
def test_every_way_to_end(run: Run, steps: list[dict[str, Any]], kind: str | None, words: str) -> None:
    seen = run(script(*steps))
    assert seen.kind == kind
    assert words in seen.message


def test_a_step_can_be_left_out_the_second_time(run: Run) -> None:
    prompt = script({"limit": "resets 8pm (UTC)", "unless_file": "$SHARED/again"}, {"text": "done"})
    assert run(script({"sh": "true"}) + prompt).kind is None  # the first script counts
    assert run(prompt).kind == "rate_limited"
    run(script({"sh": "touch $SHARED/again"}))
    assert run(prompt).text == "done"


def test_it_waits_for_a_file_and_a_signal_ends_it(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    prompt = script({"text": "waiting"}, {"sleep_until_file": "$SHARED/go"})
    with start(prompt) as process:
        wait_until(lambda: b"waiting" in (tmp_path / "stdout").read_bytes(), "the first answer")
        process.terminate()
        process.communicate(timeout=60)
    assert read_transcript(CLAUDE, tmp_path / "stdout", process.returncode).message.startswith(
        "the agent was ended by SIGTERM"
    )
    with start(prompt) as process:
        (tmp_path / "go").touch()
        process.communicate(timeout=60)
    assert read_transcript(CLAUDE, tmp_path / "stdout", process.returncode).text == "waiting"


def test_it_refuses_what_the_real_program_refuses(run: Run) -> None:
    assert "unknown option '--nosuch'" in run("hello", args=("--nosuch",)).message
