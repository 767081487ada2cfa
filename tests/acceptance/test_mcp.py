"""`prodigy mcp` as an agent meets it: over real pipes, with the client of the protocol's own package."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp_types import TextContent, Tool

from support import Project, git, make_project

TOKEN = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
FLOW = f"""
name: letters
map:
  input: items.json
  agent_template:
    - shell: echo "token={TOKEN}"; test "${{item.id}}" != b -o -e "$SHARED/go"
    - shell: echo ${{item.id}} > ${{item.id}}.txt
"""
LOOKING = {
    "validate_workflow", "list_runs", "run_status", "wait_for_run", "list_dead_letters", "inspect_dead_letter",
    "item_log", "run_report",
}  # fmt: skip


class Session:
    """An agent's session with the server."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def tools(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in (await self.client.list_tools()).tools}

    async def ask(self, tool: str, **arguments: Any) -> Any:
        """The structured answer; the test fails when it is an error."""
        done = await self.client.call_tool(tool, arguments)
        assert not done.is_error, done.content
        (content,) = done.content
        assert isinstance(content, TextContent)
        assert json.loads(content.text) == done.structured_content  # for clients that know texts only
        return done.structured_content

    async def refusal(self, tool: str, **arguments: Any) -> str:
        """The text of an error."""
        done = await self.client.call_tool(tool, arguments)
        assert done.is_error
        (content,) = done.content
        assert isinstance(content, TextContent)
        return content.text


def talk(
    project: Project, what: Callable[[Session], Awaitable[None]], *options: str, env: dict[str, str] | None = None
) -> None:
    """Start the server as an agent does, and talk to it."""

    @asynccontextmanager
    async def session() -> AsyncIterator[Session]:
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "prodigy.cli.main", "mcp", *options],
            env=project.environment(env), cwd=project.repo,
        )  # fmt: skip
        async with Client(server) as client:
            yield Session(client)

    async def main() -> None:
        async with session() as found:
            await what(found)

    asyncio.run(main())


@pytest.fixture
def flow(project: Project) -> str:
    project.write("flows/letters.yml", FLOW)
    project.write("items.json", json.dumps([{"id": "a"}, {"id": "b", "note": f"log in with {TOKEN}"}]))
    project.commit("a workflow")
    return "flows/letters.yml"


def test_a_run_from_its_start_to_the_merge(project: Project, flow: str) -> None:
    async def work(agent: Session) -> None:
        assert (await agent.ask("validate_workflow", file=flow)) == {
            "valid": True, "name": "letters", "problems": [], "warnings": [],
        }  # fmt: skip
        started = await agent.ask("start_run", workflow=flow, max_parallel=2)
        run = started["run_id"]
        waited = await agent.ask("wait_for_run", run=run, until="end", after_event=0, timeout_s=60)
        assert waited["ended"]
        assert {"agent_completed", "agent_failed", "job_completed"} <= {event["type"] for event in waited["events"]}
        assert waited["status"]["items"] == {
            "total": 2, "successful": 1, "failed": 1, "skipped": 0, "running": 0, "pending": 0,
        }  # fmt: skip
        (letter,) = (await agent.ask("list_dead_letters", run=run))["letters"]
        assert (letter["label"], letter["kind"]) == ("b", "command_failed")
        whole = await agent.ask("inspect_dead_letter", run=run, item=letter["item_id"])
        assert (whole["item"]["id"], len(whole["attempts"])) == ("b", 1)
        assert TOKEN not in json.dumps(whole)  # no secret leaves, whatever it stands in
        (step,) = (await agent.ask("item_log", run=run, item="b"))["steps"]
        assert step["output"].startswith("token=***")
        assert (await agent.ask("run_report", run=run))["failures"] == {"command_failed": 1}

        (project.folder / "go").touch()
        again = await agent.ask("retry_dead_letters", run=run, items=[letter["item_id"]])
        waited = await agent.ask("wait_for_run", run=run, until="end", after_event=again["status"]["last_event"])
        assert waited["status"]["status"] == "completed"
        (hint,) = (hint for hint in waited["status"]["next_steps"] if hint.startswith("resume_run with merge=true"))
        await agent.ask("resume_run", run=run, merge=True)
        waited = await agent.ask("wait_for_run", run=run, until="end")
        assert waited["status"]["merged"], hint
        assert [line["run_id"] for line in (await agent.ask("list_runs"))["runs"]] == [run]

    talk(project, work)
    assert {"a.txt", "b.txt"} <= project.files("main").keys()
    project.assert_nothing_left()


def test_waiting_tells_of_each_change_and_of_a_time_that_is_over(project: Project) -> None:
    project.write("wait.yml", "steps: [{shell: 'until test -e \"$SHARED/go\"; do sleep 0.05; done'}]\n")
    project.commit()

    async def work(agent: Session) -> None:
        run = (await agent.ask("start_run", workflow="wait.yml"))["run_id"]
        seen = (await agent.ask("wait_for_run", run=run, after_event=0))["status"]["last_event"]
        while not (waited := await agent.ask("wait_for_run", run=run, timeout_s=0, after_event=seen))["timed_out"]:
            seen = waited["status"]["last_event"]
        assert (waited["ended"], waited["events"], waited["status"]["is_driven"]) == (False, [], True)
        assert "this changes nothing" in await agent.refusal("steer_run", run=run)
        await agent.ask("steer_run", run=run, max_parallel=3, budget_usd=2.5)
        paused = (await agent.ask("pause_run", run=run))["status"]
        assert (paused["status"], paused["next_steps"]) == ("paused", ["resume_run: it was paused"])
        assert (await agent.ask("resume_run", run=run))["status"]["status"] == "running"
        heard = await agent.ask("wait_for_run", run=run, timeout_s=0, after_event=seen)
        assert [event["type"] for event in heard["events"]] == [
            "job_steered",
            "job_steered",
            "job_held",
            "job_released",
        ]
        assert (await agent.ask("cancel_run", run=run))["done"] == "It is cancelled."
        assert "a run is cancelled by its id" in await agent.refusal("cancel_run", run="latest")
        (project.folder / "go").touch()
        await agent.ask("resume_run", run=run)
        assert (await agent.ask("wait_for_run", run=run, until="end"))["status"]["status"] == "completed"

    talk(project, work)


def test_tools_say_what_they_are_and_what_they_answer(project: Project) -> None:
    async def work(agent: Session) -> None:
        tools = await agent.tools()
        for tool in tools.values():
            assert tool.description is not None
            assert 40 < len(tool.description) < 700
            assert tool.output_schema is not None
            assert tool.annotations is not None
        reading = {name for name, tool in tools.items() if tool.annotations and tool.annotations.read_only_hint}
        ending = {name for name, tool in tools.items() if tool.annotations and tool.annotations.destructive_hint}
        assert reading == LOOKING
        assert ending == {"cancel_run"}
        assert "validate_workflow, start_run, wait_for_run" in (agent.client.instructions or "")

    talk(project, work)


def test_a_server_that_only_looks_has_no_other_tools(project: Project) -> None:
    async def work(agent: Session) -> None:
        assert set(await agent.tools()) == LOOKING
        assert "Unknown tool" in await agent.refusal("start_run", workflow="flow.yml")

    talk(project, work, "--read-only")


def test_in_a_step_of_a_run_it_only_looks(project: Project) -> None:
    async def work(agent: Session) -> None:
        assert set(await agent.tools()) == LOOKING
        assert "a step of run 20260101-000000-abcd" in (agent.client.instructions or "")

    talk(project, work, env={"PRODIGY_RUN_ID": "20260101-000000-abcd"})


def test_workflows_and_runs_from_elsewhere_are_refused(project: Project, tmp_path: Path, flow: str) -> None:
    outside = project.workflow(FLOW)
    (project.repo / "link.yml").symlink_to(outside)
    (tmp_path / "other").mkdir()
    other = make_project(tmp_path / "other")
    ran = other.prodigy(
        "run", other.workflow("steps: [{shell: ls}]\n"), "--json", env={"PRODIGY_HOME": str(project.home)}
    )

    async def work(agent: Session) -> None:
        for name in (str(outside), "../flow.yml", "link.yml"):
            assert "is not in the repository" in await agent.refusal("start_run", workflow=name)
            assert "is not in the repository" in await agent.refusal("validate_workflow", file=name)
        assert "belongs to another repository" in await agent.refusal("run_status", run=ran.json["run_id"])
        assert (await agent.ask("list_runs"))["runs"] == []

    talk(project, work)


def test_errors_say_what_to_do(project: Project) -> None:
    project.write("bad.yml", "steps:\n  - shel: ls\n")

    async def work(agent: Session) -> None:
        found = await agent.ask("validate_workflow", file="bad.yml")
        assert [(one["file"], one["line"]) for one in found["problems"]] == [(str(project.repo / "bad.yml"), 2)]
        assert "did you mean `shell`?" in await agent.refusal("start_run", workflow="bad.yml")
        assert "there is no run of this repository yet" in await agent.refusal("run_status")
        assert "give either file or text" in await agent.refusal("validate_workflow")
        assert "greater than or equal to 1" in await agent.refusal("list_runs", limit=0)

    talk(project, work)


def test_nothing_but_the_protocol_is_on_standard_output(project: Project) -> None:
    hello = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }  # fmt: skip
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_runs", "arguments": {}}}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    server = subprocess.Popen(
        [sys.executable, "-m", "prodigy.cli.main", "mcp"], cwd=project.repo, env=project.environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    answers = []
    for message in (hello, ready, call):
        server.stdin.write(json.dumps(message).encode() + b"\n")
        server.stdin.flush()
        if "id" in message:
            answers.append(json.loads(server.stdout.readline()))
    rest, err = server.communicate(timeout=60)
    assert [answer["id"] for answer in answers] == [1, 2]
    assert (rest, server.returncode) == (b"", 0)
    assert b"Traceback" not in err


def test_ctrl_c_ends_the_server_though_it_waits_for_input(project: Project) -> None:
    argv = [sys.executable, "-m", "prodigy.cli.main", "mcp"]
    with subprocess.Popen(
        argv, cwd=project.repo, env=project.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["id"] == 1
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == -signal.SIGINT


def test_outside_of_a_repository_the_server_says_so(project: Project, tmp_path: Path) -> None:
    done = project.prodigy("mcp", where=tmp_path)
    assert done.code == 5
    assert "not a git repository" in done.err


def test_without_the_package_the_command_says_how_to_get_it(project: Project, tmp_path: Path) -> None:
    (tmp_path / "mcp.py").write_text("raise ModuleNotFoundError(\"No module named 'mcp'\", name='mcp')\n")
    done = project.prodigy("mcp", env={"PYTHONPATH": str(tmp_path)})
    assert done.code == 5
    assert "pip install 'prodigy-agents[mcp]'" in done.err
    assert git(project.repo, "status", "--porcelain") == ""
