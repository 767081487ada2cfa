"""How Claude Code is started, and what is said when it is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent_support import stand_in_path
from prodigy.agents import agent
from prodigy.agents.base import AgentRequest, McpServer, find_program
from prodigy.errors import EnvironmentProblem, UsageError

CLAUDE = agent("claude")
OPTIONS = ("--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions")


def test_the_prompt_is_one_argument() -> None:
    started = CLAUDE.start(AgentRequest("/fix 'a' $(b)\nc", "/repo"))
    assert started.argv == ("claude", "-p", "/fix 'a' $(b)\nc", *OPTIONS)
    assert (started.stdin, dict(started.env)) == (b"", {})


@pytest.mark.parametrize("prompt", ["-x", "--version", "ä" * 60_000, "a\0b"])
def test_a_prompt_that_cannot_be_an_argument_comes_by_standard_input(prompt: str) -> None:
    started = CLAUDE.start(AgentRequest(prompt, "/repo"))
    assert started.argv == ("claude", "-p", *OPTIONS)
    assert started.stdin == prompt.encode()


@pytest.mark.parametrize("prompt", ["", " \n", "\ud800"])
def test_a_prompt_that_is_no_text_is_refused(prompt: str) -> None:
    with pytest.raises(UsageError, match="the prompt for the agent"):
        CLAUDE.start(AgentRequest(prompt, "/repo"))


def test_everything_a_request_can_ask_for() -> None:
    request = AgentRequest(
        "go", "/repo", command=("nice", "claude"), model="sonnet", args=("--max-turns", "9"), max_cost_usd=0.00005,
        resume_session="6f0a", system_prompt="Be brief.", mcp=(McpServer("docs", ("docs-mcp", "-v"), {"A": "b"}),),
        files="/step",
    )  # fmt: skip
    started = CLAUDE.start(request)
    assert started.argv == (
        "nice", "claude", "-p", "go", *OPTIONS, "--model", "sonnet", "--max-budget-usd", "0.000050",
        "--resume", "6f0a", "--append-system-prompt", "Be brief.", "--mcp-config=/step/mcp.json", "--max-turns", "9",
    )  # fmt: skip
    servers = {"docs": {"command": "docs-mcp", "args": ["-v"], "env": {"A": "b"}}}
    assert json.loads(started.files["mcp.json"]) == {"mcpServers": servers}


def test_as_root_it_is_told_before_the_program_would_refuse() -> None:
    with pytest.raises(EnvironmentProblem, match=r"as root\n  run as another user; .* IS_SANDBOX=1"):
        CLAUDE.start(AgentRequest("go", "/repo", as_root=True))
    wishes: list[dict[str, Any]] = [
        {"env": {"IS_SANDBOX": "1"}}, {"permission_mode": "acceptEdits"}, {"args": ("--permission-mode", "plan")},
    ]  # fmt: skip
    for wish in wishes:
        assert CLAUDE.start(AgentRequest("go", "/repo", as_root=True, **wish)).argv


@pytest.mark.parametrize("args", [("--permission-mode", "plan"), ("--permission-mode=plan",)])
def test_a_permission_mode_of_the_users_own_is_not_overridden(args: tuple[str, ...]) -> None:
    assert CLAUDE.start(AgentRequest("go", "/repo", args=args)).argv == ("claude", "-p", "go", *OPTIONS[:3], *args)


def test_the_program_is_found_on_the_path_it_will_run_with(tmp_path: Path) -> None:
    directory = stand_in_path(tmp_path)
    assert find_program(CLAUDE, None, f"/nowhere:{directory}") == f"{directory}/claude"
    assert find_program(CLAUDE, (f"{directory}/claude", "-x"), "/nowhere") == f"{directory}/claude"


def test_a_missing_program_is_told_with_what_to_do() -> None:
    with pytest.raises(
        EnvironmentProblem,
        match=r"'claude' .* is not on the PATH\n  install Claude Code .*`agents: \{claude: \{command: /path",
    ):
        find_program(CLAUDE, None, "/nowhere")
    with pytest.raises(EnvironmentProblem, match=r"'/nowhere/claude' .* is not there\n  correct its `command`"):
        find_program(CLAUDE, ("/nowhere/claude",), "/bin")


def test_an_unknown_kind_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        UsageError,
        match="no agent of kind 'gemni'\n  known kinds: acp, aider, claude, codex, command, gemini, opencode",
    ):
        agent("gemni")
