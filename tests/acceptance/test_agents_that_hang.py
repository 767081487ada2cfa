"""How agent programs go wrong in the field. Each ends in time, leaves no process, and what it was paid for is kept."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

import pytest

from agent_support import script, stand_in_path
from support import Project, processes_of

COMMIT = {"sh": "echo hi > made.txt && git add -A && git commit -qm made"}
SHARED = "agents: {claude: {pass_env: [SHARED]}}\n"
NEVER = {"sleep_until_file": "/nowhere"}


@pytest.fixture
def agents(project: Project) -> Project:
    project.env = {
        "PATH": f"{stand_in_path(project.folder)}:{project.environment()['PATH']}",
        "CLAUDE_STAND_IN_LOG": str(project.folder / "calls"),
    }
    return project


def run(project: Project, *steps: dict[str, Any], step: str = "idle_timeout: 3s", top: str = "") -> dict[str, Any]:
    """A run of one item; the summary, with how the item ended."""
    text = f"{top}\nmap:\n  input: printf 'a\\n'\n  agent_template:\n    - claude: '{script(*steps)}'\n      {step}\n"
    done = project.prodigy("run", project.workflow(text), "--json")
    assert done.code in (0, 3), done.err
    assert processes_of(project.folder) == []
    letters = project.prodigy("dlq", "list", "latest", "--json").json
    last = letters[0]["failure_history"][-1] if letters else {"error_type": None, "error_message": ""}
    return {**done.json, "kind": last["error_type"], "message": last["error_message"]}


def test_one_that_hangs_after_its_result_has_done_its_work(agents: Project) -> None:
    ended = run(agents, COMMIT, {"text": "done"}, {"result": {}}, NEVER)
    assert (ended["kind"], ended["cost_usd"]) == (None, 0.0125)
    assert "made.txt" in agents.files(agents.run_branch())


def test_one_that_hangs_after_its_result_is_not_waited_for_until_its_timeout(agents: Project) -> None:
    begun = time.monotonic()
    ended = run(agents, COMMIT, {"text": "done"}, {"result": {}}, NEVER, step="timeout: 1h")
    assert (ended["kind"], ended["items"]["successful"]) == (None, 1)
    assert time.monotonic() - begun < 3600  # it would have been an hour


def test_one_that_hangs_without_a_result_is_ended_and_its_tokens_are_kept(agents: Project) -> None:
    ended = run(agents, {"text": "thinking"}, NEVER)
    assert ended["kind"] == "agent_hung"
    assert ended["tokens"] > 0
    assert ended["cost_usd"] != 0


def test_one_that_is_silent_while_its_own_log_grows_is_ended_too(agents: Project) -> None:
    grows = {"sh": "while :; do echo x >> ../session.jsonl; sleep 0.05; done"}
    assert run(agents, grows)["kind"] == "agent_hung"


def test_one_that_prints_for_ever_is_ended_by_its_whole_time(agents: Project) -> None:
    prints = [{"text": "still here"}, {"sh": "sleep 0.3"}]
    assert run(agents, *(prints * 60), step="timeout: 3s")["kind"] == "timeout"


def test_what_an_agents_tools_leave_behind_is_ended(agents: Project) -> None:
    left = {"sh": "setsid sleep 900 > /dev/null 2>&1 & nohup sleep 900 > /dev/null 2>&1 &"}
    assert run(agents, left, COMMIT, {"text": "done"})["kind"] is None


def test_a_program_that_lives_on_when_its_wrapper_is_killed_is_ended(agents: Project) -> None:
    wrapper = agents.folder.parent / "wrapper"
    wrapper.write_text(f'#!/bin/sh\n{shlex.quote(stand_in_path(agents.folder))}/claude "$@" &\nsleep 0.5\nkill -9 $$\n')
    wrapper.chmod(0o755)
    ended = run(
        agents, {"text": "working"}, NEVER, step="timeout: 1h", top=f"agents: {{claude: {{command: {wrapper}}}}}"
    )
    assert ended["kind"] == "command_failed"
    assert "SIGKILL" in ended["message"]


@pytest.mark.parametrize(
    ("size", "line"), [(80_000_000, "yes, " * 100), pytest.param(2_200_000_000, "yes, yes", marks=pytest.mark.chaos)]
)
def test_gigabytes_of_output_are_survived(agents: Project, size: int, line: str) -> None:
    flood = {"flood": size, "of": f"{line}\n"}
    ended = run(agents, COMMIT, flood, {"text": "done"}, step="timeout: 5m")
    assert (ended["kind"], ended["cost_usd"]) == (None, 0.0125)


def test_a_line_of_100_mb_and_bytes_that_are_no_text_are_survived(agents: Project) -> None:
    ended = run(
        agents, {"bytes": "fffe00c328"}, {"flood": 100_000_000, "of": "x"}, {"raw": ""}, COMMIT, {"text": "done"}
    )
    assert (ended["kind"], ended["cost_usd"]) == (None, 0.0125)


@pytest.mark.parametrize("where", ["raw", "stderr"])
def test_an_account_that_is_at_its_limit_before_the_agent_begins_is_waited_for(agents: Project, where: str) -> None:
    when = time.strftime("%H:%M:%S", time.gmtime(time.time() + 4))
    told: dict[str, Any] = {
        where: f"You have hit your session limit · resets {when} (UTC)",
        "unless_file": "$SHARED/begun",
    }
    fail: list[dict[str, Any]] = [
        {"result": None, "unless_file": "$SHARED/begun"},
        {"exit": 1, "unless_file": "$SHARED/begun"},
    ]
    agents.env["SHARED"] = str(agents.folder.parent)
    steps: list[dict[str, Any]] = [told, *fail, COMMIT, {"text": "done"}]
    text = f"{SHARED}map:\n  input: printf 'a\\n'\n  agent_template:\n    - claude: '{script(*steps)}'\n"
    process = agents.start("run", agents.workflow(text), "--json")
    while '"gates": []' in agents.prodigy("status", "latest", "--json").out or not (agents.folder / "calls").exists():
        assert process.poll() is None
        time.sleep(0.05)
    (agents.folder.parent / "begun").touch()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["items"]["successful"] == 1
    assert json.loads(out)["dead_letters"] == 0


def test_a_second_attempt_begins_a_session_of_its_own(agents: Project) -> None:
    fails: dict[str, Any] = {"result": {"is_error": True, "result": "no"}, "unless_file": "$SHARED/once"}
    agents.env["SHARED"] = str(agents.folder.parent)
    steps: list[dict[str, Any]] = [{"sh": "true"}, fails, COMMIT]
    top = f"{SHARED}on_item_failure: retry\nretry_config: {{max_attempts: 2, initial_delay: 0s}}"
    run(agents, *steps, top=top)
    argv = [json.loads(line)["argv"] for line in (agents.folder / "calls").read_text().splitlines()]
    assert len(argv) == 2
    assert not any("--resume" in words for words in argv)
