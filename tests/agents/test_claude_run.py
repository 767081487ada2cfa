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


def requests(log: Path) -> list[dict[str, Any]]:
    """The bodies of what was asked of the API, in order."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["body"] for line in lines if line["path"].startswith("/v1/messages")]


def test_agents_of_a_run_share_the_beginning_of_their_prompts(project: Project, anthropic_api: MockServer) -> None:
    """What they share is read from the cache by all but the first, which goes ahead."""
    anthropic_api.logfile = log = project.folder / "requests"
    text = f"""
map:
  input: printf 'a\\nb\\nc\\n'
  max_parallel: 3
  agent_template: [{{claude: '${{item}} {script({"text": "done", "delay": 1.0})}', timeout: 100s}}]
"""
    done = project.prodigy("run", project.workflow(text), "--json")
    assert done.code == 0, done.err
    first, *others = requests(log)
    assert len(others) == 2
    for other in others:
        assert other["tools"] == first["tools"]
        assert other["system"] == first["system"]  # the directory of each stands behind it
    times = [json.loads(line) for line in log.read_text().splitlines()]
    begun = [line["t"] for line in times if line["path"].startswith("/v1/messages")]
    assert min(begun[1:]) - begun[0] >= 1.0  # the others began when the first had its answer


def test_an_agent_goes_on_with_its_session_after_a_limit(project: Project, anthropic_api: MockServer) -> None:
    anthropic_api.logfile = log = project.folder / "requests"
    anthropic_api.limit = (1, 3.0)  # the second request of the first agent is refused
    work = bash("echo begun > a.txt")
    finish = bash("git add -A && git commit -qm all")
    text = f"""
map:
  input: printf 'a\\n'
  agent_template: [{{claude: '{script(work, finish, {"text": "done"})}', timeout: 100s}}]
"""
    done = project.prodigy("run", project.workflow(text), "--yes", "--json")
    assert done.code == 0, done.err
    assert project.files("main")["a.txt"] == "begun"
    last = json.dumps(requests(log)[-1]["messages"])
    assert "go on with the task where you stopped" in last
    assert "echo begun" in last  # the session knows what it did
    events = [json.loads(line)["event"] for line in project.prodigy("events", "ls", "--json").out.splitlines()]
    assert [e["attempt"] for e in events if e["event_type"] == "agent_completed"] == [1]
    assert done.json["spend"]["wasted_usd"] > 0  # what the first try cost is told apart


def test_a_transcript_is_read_as_text_with_secrets_masked(project: Project) -> None:
    steps = [bash("echo from the tool; echo $TOKEN"), {"text": "First line.\nSecond line."}]
    text = f"""
secrets: {{TOKEN: "${{env:MY_TOKEN}}"}}
map:
  input: printf 'a\\n'
  agent_template: [{{claude: '{script(*steps)}', timeout: 100s}}]
"""
    project.env["MY_TOKEN"] = "hush-hush-hush"
    assert project.prodigy("run", project.workflow(text), "--json").code == 0
    item = project.prodigy("dlq", "list", "--json")
    assert item.json == []
    (label,) = [row["item_id"] for row in project.prodigy("logs", "latest", "--json").json if row["item_id"]][:1]
    shown = project.prodigy("logs", "latest", label).out
    for words in ("> Bash: echo from the tool", "    from the tool", "First line.\nSecond line.", "= finished", "USD"):
        assert words in shown
    assert "hush-hush" not in shown
    assert '{"type"' not in shown
    assert '{"type"' in project.prodigy("logs", "latest", label, "--raw").out
