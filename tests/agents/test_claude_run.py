"""A whole run with the real Claude Code against a loopback API: map, retry from the queue, reduce, merge."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent_support import script
from agents.mock_anthropic import MockServer
from support import Project, make_project


@pytest.fixture
def project(tmp_path: Path, claude_program: str, anthropic_api: MockServer) -> Project:
    project = make_project(tmp_path)
    project.env = {
        "PATH": f"{Path(claude_program).parent}:{os.environ['PATH']}",
        "CLAUDE_CONFIG_DIR": str(project.folder / "config"),
        "ANTHROPIC_BASE_URL": anthropic_api.url,
        "ANTHROPIC_API_KEY": "dummy",
        "DISABLE_TELEMETRY": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1",
    }
    return project


def bash(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command}, "text": "Working."}


def test_real_agents_commit_fail_are_retried_and_reduced(project: Project) -> None:
    commit = bash("echo hi > $PRODIGY_ITEM_ID.txt && git add -A && git commit -qm $PRODIGY_ITEM_ID")
    check = bash(f"test -e '{project.folder}/go' && {commit['input']['command']}")
    items = [
        {"id": "good", "task": script(commit, {"text": "All done."})},
        {"id": "bad", "task": script(check, {"text": "I tried."})},
    ]
    (project.folder / "items.json").write_text(json.dumps(items))
    text = """
name: real
map:
  input: cat "$SHARED/items.json"
  max_parallel: 2
  agent_template:
    - claude: "Do the task of ${item.id}: ${item.task}"
      id: agent
      commit_required: true
      timeout: 100s
    - shell: echo ${agent} > ${item.id}-said.txt
reduce:
  - shell: cat *-said.txt > report.txt
"""
    done = project.prodigy("run", project.workflow(text), "--yes", "--json")
    assert done.code == 3, done.err
    assert done.json["items"]["successful"] == 1
    assert done.json["cost_usd"] > 0
    assert done.json["tokens"] > 0
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert (letter["item_id"], letter["failure_history"][0]["error_type"]) == ("bad", "commit_validation_failed")
    (project.folder / "go").touch()
    again = project.prodigy("dlq", "retry", "latest", "--yes", "--json")
    assert again.code == 0, again.err
    files = project.files("main")
    assert files["good.txt"] == files["bad.txt"] == "hi"
    assert (files["good-said.txt"], files["bad-said.txt"]) == ("All done.", "I tried.")
    assert again.json["cost_usd"] > done.json["cost_usd"]
    project.assert_nothing_left()


def test_a_key_that_the_api_refuses_is_told_and_not_blamed_on_the_item(project: Project) -> None:
    fail = {"fail": {"status": 401, "type": "authentication_error", "message": "invalid x-api-key", "times": 99}}
    (project.folder / "items.json").write_text(json.dumps([{"id": "a", "task": script({**fail, "text": "x"})}]))
    text = """
map:
  input: cat "$SHARED/items.json"
  agent_template: [{claude: "${item.task}", timeout: 100s}]
"""
    done = project.prodigy("run", project.workflow(text), "--yes")
    assert done.code == 3
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert letter["failure_history"][0]["error_type"] == "permission"
    assert "Invalid API key" in letter["failure_history"][0]["error_message"]
