"""What holds for every agent program, with the real ones: commits, failures, hangs, kills, limits."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest

from agents import rigs
from agents.rigs import Rig
from prodigy.executors import sandbox
from support import Project, make_project, wait_until

Make = Callable[[Path], AbstractContextManager[Rig]]
COMMIT = "echo hi > made.txt && git add -A && git commit -qm made"
WAITS_S = 600
ALL = [pytest.param(make, id=make.__name__) for make in (*rigs.FAST, *rigs.SLOW)]


@pytest.fixture(params=ALL)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Project, Rig]]:
    project = make_project(tmp_path)
    with request.param(project.folder) as made:
        project.env = dict(made.env)
        yield project, made


def run(
    project: Project, rig: Rig, items: dict[str, list[dict[str, Any]]], more: str = ""
) -> dict[str, dict[str, Any]]:
    """A run with an item for each script; how each ended, by item: state, error kind, message, attempts."""
    values = [{"id": name, "task": rig.say(steps)} for name, steps in items.items()]
    (project.folder / "items.json").write_text(json.dumps(values))
    text = f"""
map:
  input: cat "$SHARED/items.json"
  max_parallel: 2
  agent_template: [{{claude: "Do it. ${{item.task}}", timeout: {rig.slow_s:g}s}}]
{more}
"""
    done = project.prodigy("run", project.workflow(rig.workflow(text)), "--json")
    assert done.code in (0, 3), done.err
    lines = project.prodigy("events", "ls", "--json").out.splitlines()
    found: dict[str, dict[str, Any]] = {}
    for event in (json.loads(line)["event"] for line in lines):
        if event["event_type"] == "agent_completed":
            found[event["item_id"]] = {"kind": None, **event}
        elif event["event_type"] == "agent_failed":
            found[event["item_id"]] = event
    found[""] = done.json
    return found


def test_it_commits_and_what_it_used_is_told_as_far_as_it_can(rig: tuple[Project, Rig]) -> None:
    project, agent = rig
    ended = run(project, agent, {"good": [{"sh": COMMIT, "text": "Working."}, {"text": "All done."}]})
    assert ended["good"]["kind"] is None, ended["good"]
    assert "made.txt" in project.files(project.run_branch())
    summary = ended[""]
    if agent.costs:
        assert summary["cost_usd"] > 0
        assert summary["tokens"] > 0
        assert summary["spend"]["of_unknown_cost"] == 0
    else:  # never 0
        assert summary["cost_usd"] is None
        assert summary["spend"]["of_unknown_cost"] == 1
    project.assert_nothing_left()


@pytest.mark.skipif(sandbox.problem() is not None, reason=f"no sandbox here: {sandbox.problem()}")
@pytest.mark.parametrize("settings_in", ["a place of its own", "the home"])
def test_in_a_sandbox_it_works_and_its_own_settings_stay(rig: tuple[Project, Rig], settings_in: str) -> None:
    project, agent = rig
    agent.agents["sandbox"] = "bwrap"
    if agent.name == "by-acp":  # which program it is, is not known
        places = [f"~/{place}/opencode" for place in (".local/share", ".local/state", ".cache", ".config")]
        agent.agents["sandbox"] = {"write": places, "read": [str(rigs.SLOW_MODULES)]}
    if settings_in == "the home":
        if agent.name != "claude":
            pytest.skip("where its settings are makes no difference to it")
        del project.env["CLAUDE_CONFIG_DIR"]
    plant = (
        'for d in .claude .codex .gemini .config/opencode; do mkdir -p ~/$d; echo "{}" > ~/$d/planted.json; done; true'
    )
    ended = run(project, agent, {"good": [{"sh": f"{plant}; {COMMIT}", "text": "Working."}, {"text": "All done."}]})
    assert ended["good"]["kind"] is None, ended["good"]
    assert "made.txt" in project.files(project.run_branch())
    assert not list(project.folder.rglob("planted.json")) or agent.name == "by-acp"
    project.assert_nothing_left()


def test_it_fails_by_what_its_service_says(rig: tuple[Project, Rig]) -> None:
    project, agent = rig
    refused = {"fail": {"status": 401, "type": "authentication_error", "message": "invalid x-api-key: unauthorized"}}
    ended = run(project, agent, {"bad": [{**refused, "text": "x"}]})
    if agent.name == "player":
        assert ended["bad"]["kind"] == "command_failed"
    else:
        assert ended["bad"]["kind"] == "permission", ended["bad"]
    assert ended["bad"]["error"]
    project.assert_nothing_left()


def test_one_that_hangs_and_one_that_is_killed_leave_nothing_behind(rig: tuple[Project, Rig]) -> None:
    project, agent = rig
    killer = threading.Thread(target=kill_the_agent, args=(project,))
    killer.start()
    try:
        waits = [{"text": "x", "delay": WAITS_S}]
        ended = run(project, agent, {"killed": waits, "hangs": waits})
    finally:
        killer.join()
    assert ended["hangs"]["kind"] == "timeout"
    assert ended["killed"]["kind"] in ("command_failed", "unknown"), ended["killed"]
    project.assert_nothing_left()


def kill_the_agent(project: Project) -> None:
    """The process that its step has started, as soon as it listens to its service or has begun otherwise."""
    needle = b"PRODIGY_ITEM_ID=killed"

    def first() -> int | None:
        """Of those in the step's environment, the one that no other of them started: pids may have begun anew."""
        found = set()
        for entry in Path("/proc").iterdir():
            try:
                if not entry.name.isdigit():
                    continue
                environment = (entry / "environ").read_bytes()
                if needle in environment.split(b"\0") and os.fsencode(project.folder) in environment:
                    found.add(int(entry.name))
            except OSError:
                continue  # it ended while we looked
        return next((pid for pid in found if psutil.pid_exists(pid) and psutil.Process(pid).ppid() not in found), None)

    def killed() -> bool:
        try:
            if (pid := first()) is None:
                return False
            os.kill(pid, signal.SIGKILL)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return False  # it ended while we looked
        return True

    wait_until(killed, "the agent starts", 90)


def test_a_refusal_is_waited_for_and_no_try_is_counted(rig: tuple[Project, Rig]) -> None:
    project, agent = rig
    words = "Rate limit reached, too many requests"
    limit = {"status": 429, "type": "rate_limit_error", "message": words, "headers": {"retry-after": "2"}, "times": 1}
    if agent.name == "gemini":
        limit["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2s"}]
    if agent.name == "claude":
        agent.server.limit = (0, 2.0)  # each of its runs is a session of its own
        limit["times"] = 0
    if agent.name == "codex":
        limit = {
            "status": 429,
            "message": f"{words}. Please try again in 2s.",
            "headers": {"retry-after": "2"},
            "times": 1,
        }
    ended = run(project, agent, {"limited": [{"fail": limit, "text": "After it.", "sh": "true"}, {"text": "done"}]})
    assert ended["limited"]["kind"] is None, ended["limited"]
    assert ended["limited"]["attempt"] == 1
    project.assert_nothing_left()


def test_what_it_spends_over_its_cap_is_seen(rig: tuple[Project, Rig]) -> None:
    project, agent = rig
    steps = [*({"sh": "true", "text": f"again {number}"} for number in range(15)), {"text": "done"}]
    ended = run(project, agent, {"dear": steps}, "budget: {max_cost_usd_per_item: 0.005}")
    if agent.tells_live:
        assert ended["dear"]["kind"] == "budget_exceeded", ended["dear"]
        assert 0.005 < ended[""]["cost_usd"] < 0.05
    elif agent.name == "aider":
        assert ended["dear"]["kind"] is None  # one answer is all it gives
    elif agent.costs:
        assert ended[""]["cost_usd"] > 0.005
    else:  # what it can't tell is charged as it was set aside
        assert (ended[""]["cost_usd"], ended[""]["spend"]["estimated_usd"]) == (0.005, 0.005)
    project.assert_nothing_left()


def test_it_starts_the_servers_of_tools_that_the_workflow_declares(rig: tuple[Project, Rig]) -> None:
    project, agent = rig
    if agent.name in ("player", "aider"):
        pytest.skip(f"{agent.name} takes no servers of tools")
    if agent.name == "gemini" and any(folder.stat().st_mode & 0o022 for folder in project.folder.parents):
        pytest.skip("gemini reads no settings below a directory that others can write")
    probe = project.folder.parent / "probe"
    probe.write_text(f'#!/bin/sh\necho "$LEVEL" > {probe}.started\nexec cat > /dev/null\n')
    probe.chmod(0o755)
    more = f"mcp_servers: {{probe: {{command: {probe}, env: {{LEVEL: high}}}}}}"
    ended = run(project, agent, {"good": [{"sh": "true", "text": "Working."}, {"text": "done"}]}, more)
    assert ended["good"]["kind"] in (None, "timeout"), ended["good"]  # a server that says nothing may hold it up
    assert probe.with_suffix(".started").read_text() == "high\n"


def test_an_addition_to_the_system_prompt_reaches_the_model(rig: tuple[Project, Rig]) -> None:
    project, agent = rig
    if agent.name not in ("claude", "codex", "opencode"):
        pytest.skip(f"{agent.name} takes no addition to its system prompt")
    agent.agents["system_prompt"] = "Say nothing about lemons."
    log = project.folder / "asked"
    if hasattr(agent.server, "logfile"):
        agent.server.logfile = log
    ended = run(project, agent, {"good": [{"text": "done"}]})
    assert ended["good"]["kind"] is None, ended["good"]
    asked = log.read_text() if log.exists() else json.dumps(agent.server.requests)
    assert "nothing about lemons" in asked
