"""Limits of accounts: one gate for all agents of a run, no try counted, nothing lost, everything told."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from agent_support import script, stand_in_path
from support import Project, wait_until

COMMIT = {"sh": "echo $PRODIGY_ITEM_ID > $PRODIGY_ITEM_ID && git add -A && git commit -qm $PRODIGY_ITEM_ID"}


@pytest.fixture
def limited(project: Project) -> Project:
    """Agents are the stand-in; every call leaves a line in `calls`."""
    project.env = {
        "PATH": f"{stand_in_path(project.folder)}:{project.environment()['PATH']}",
        "CLAUDE_STAND_IN_LOG": str(project.folder / "calls"),
    }
    return project


def limit(project: Project, **facts: Any) -> Path:
    """From so many calls on (`after`) the account is refused for some `seconds`."""
    path = project.folder / "limit"
    path.write_text(json.dumps(facts))
    project.env["CLAUDE_STAND_IN_LIMIT"] = str(path)
    return path


def workflow(items: int, parallel: int, more: str = "") -> str:
    return f"""
map:
  input: seq 1 {items}
  max_parallel: {parallel}
  agent_template:
    - claude: '${{item}} {script(COMMIT, {"text": "done"})}'
      commit_required: true
{more}
"""


def calls(project: Project) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (project.folder / "calls").read_text().splitlines()]


def events(project: Project, *types: str) -> list[dict[str, Any]]:
    lines = project.prodigy("events", "ls", "--json").out.splitlines()
    found = [json.loads(line)["event"] for line in lines]
    return [event for event in found if not types or event["event_type"] in types]


def test_a_limit_stops_all_starts_and_every_item_succeeds_after_it(limited: Project) -> None:
    file = limit(limited, after=4, seconds=3)
    done = limited.prodigy("run", limited.workflow(workflow(64, 8)), "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json["items"] == {
        "total": 64, "successful": 64, "failed": 0, "skipped": 0, "running": 0, "pending": 0
    }  # fmt: skip
    refused = json.loads(file.read_text())["refused"]
    assert 1 <= refused <= 8  # those that were in flight
    assert len(calls(limited)) == 64 + refused
    failed = events(limited, "agent_failed", "dlq_item_added")
    assert failed == []
    assert {event["attempt"] for event in events(limited, "agent_completed")} == {1}
    closed = events(limited, "agent_gate_closed")
    assert closed[0]["account"] == "claude"
    assert closed[0]["told"] is True
    assert "session limit" in closed[0]["message"]
    assert len(events(limited, "agent_gate_opened")) == 1
    limited.assert_nothing_left()


def test_status_says_until_when_and_why_and_a_kill_forgets_nothing(limited: Project) -> None:
    limit(limited, after=1, seconds=6)
    process = limited.start("run", limited.workflow(workflow(6, 2)), "--yes", "--json")
    wait_until(lambda: limited.prodigy("status", "--json").out.count("rate_limit") > 0, "the limit is hit")
    status = limited.prodigy("status", "latest").out
    assert "claude is at its limit until" in status
    assert "session limit" in status
    process.kill()
    process.communicate()
    before = len(calls(limited))
    done = limited.prodigy("resume", "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json["items"]["successful"] == 6
    assert len(calls(limited)) <= before + 6  # nobody asked while it was closed
    assert events(limited, "agent_failed") == []
    assert limited.prodigy("status", "latest", "--json").json["gates"] == []


def test_a_limit_in_a_step_outside_of_items_is_waited_for_too(limited: Project) -> None:
    limit(limited, after=0, seconds=2)
    text = f"- claude: '{script({'text': 'planned'})}'\n  id: plan\n- shell: echo ${{plan}} > plan.txt\n"
    done = limited.prodigy("run", limited.workflow(text), "--yes", "--json")
    assert done.code == 0, done.err
    assert limited.files("main")["plan.txt"] == "planned"
    assert len(calls(limited)) == 2


def test_a_limit_for_longer_than_a_day_pauses_the_run(limited: Project) -> None:
    day = time.strftime("%b %d", time.gmtime(time.time() + 3 * 86400))
    limit(limited, after=0, seconds=3 * 86400, says=f"resets {day} at 11:00 (UTC)")
    done = limited.prodigy("run", limited.workflow(workflow(3, 2)), "--yes", "--json")
    assert done.code == 6, done.err
    assert (done.json["status"], done.json["stop_reason"]) == ("paused", "rate_limit")
    assert "until" in done.json["error"]
    assert done.json["items"]["failed"] == 0
    (limited.folder / "limit").write_text(json.dumps({"after": 99, "seconds": 0}))
    again = limited.prodigy("resume", "--yes", "--json")
    assert again.code == 6  # it is still closed, and nobody asks


def test_ctrl_c_while_everything_waits_ends_at_once(limited: Project) -> None:
    limit(limited, after=0, seconds=3000)
    process = limited.start("run", limited.workflow(workflow(3, 2)), "--yes", "--json")
    wait_until(lambda: "rate_limit" in limited.prodigy("status", "--json").out, "the limit is hit")
    process.send_signal(2)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(out)["items"]["failed"] == 0


def test_another_agent_takes_over_while_the_first_is_limited(limited: Project) -> None:
    limit(limited, after=2, seconds=3000)
    other = limited.folder / "other"
    other.write_text(
        "#!/bin/sh\ncat > /dev/null\necho $PRODIGY_ITEM_ID > $PRODIGY_ITEM_ID\ngit add -A\ngit commit -qm x\n"
    )
    other.chmod(0o755)
    text = workflow(8, 2, f"agents:\n  default: [claude, other]\n  other: {{kind: command, command: '{other}'}}")
    done = limited.prodigy("run", limited.workflow(text), "--yes", "--json")
    assert done.code == 0, done.err
    started = events(limited, "step_started")
    agents = [(event["agent"], event["adapter"]) for event in started if event["agent"]]
    assert agents.count(("claude", None)) + agents.count(("other", "command")) == len(agents)
    assert agents.count(("other", "command")) >= 5
    assert {event["attempt"] for event in events(limited, "agent_completed")} == {1}


def test_another_agent_takes_over_when_the_first_is_down_or_missing(limited: Project) -> None:
    other = limited.folder / "other"
    other.write_text("#!/bin/sh\ncat > /dev/null\necho $PRODIGY_ITEM_ID > $PRODIGY_ITEM_ID\n")
    other.chmod(0o755)
    down = {"result": {"is_error": True, "api_error_status": 529, "result": "API Error: 529 Overloaded."}}
    text = f"""
agents:
  default: [nowhere, claude, other]
  nowhere: {{kind: codex, command: /nowhere/codex}}
  other: {{kind: command, command: '{other}'}}
map:
  input: seq 1 4
  max_parallel: 1
  agent_template: [{{claude: '{script(down)}'}}]
"""
    done = limited.prodigy("run", limited.workflow(text), "--yes", "--json")
    assert done.code == 0, done.err
    assert len(calls(limited)) == 1  # the first item's; then its account is closed
    agents = [event["agent"] for event in events(limited, "step_started") if event["agent"]]
    assert agents == ["claude", *["other"] * 4]
    assert "nowhere" in done.err
