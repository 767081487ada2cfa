"""`logs` and `events`: what steps printed and what happened, afterwards and live."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from prodigy.state import events as ev
from prodigy.store.rows import RunRow
from prodigy.store.store import Store
from support import Project, wait_until

PRINTS = r"""
map:
  input: printf '{"id":"good"}\n{"id":"bad"}\n'
  max_parallel: 1
  agent_template:
    - shell: |
        echo first ${item.id}
        printf 'red \033[31m tab\there\n'
    - shell: seq 1 20; echo grumble >&2; test ${item.id} = good
"""

# Prints, then waits until the test opens the gate, then prints more.
WAITS = """
map:
  input: printf '{"id":"a"}\\n'
  agent_template:
    - shell: echo one
    - shell: |
        echo before
        until test -e "$SHARED/gate"; do sleep 0.05; done
        echo after
    - shell: echo last
"""


def on_a_terminal(project: Project, *args: str) -> str:
    """What the command line prints when its standard output is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "prodigy.cli.main", *args], cwd=project.repo, env=project.environment(),
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(theirs)
    chunks = []
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:
            break  # the other side is closed: so Linux tells the end
        if not chunk:
            break
        chunks.append(chunk)
    os.close(ours)
    process.communicate()
    return b"".join(chunks).decode().replace("\r\n", "\n")


def new_store(folder: Path) -> Store:
    row = RunRow(
        "r", "w", None, "/r", "/r/.git", "0" * 40, "refs/heads/b", None, "{}", "2026-01-01T00:00:00Z", "0" * 40
    )
    return Store.create(folder / "r", row, "{}")


def second_step(project: Project, number: int) -> str:
    return f"it1/1/i{number:04d}/a1/2"


class Following:
    """A command that follows, and what it has printed so far."""

    def __init__(self, project: Project, *args: str) -> None:
        self.file = project.folder / "followed"
        with self.file.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prodigy.cli.main", *args], cwd=project.repo, env=project.environment(),
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip

    def text(self) -> str:
        return self.file.read_text()

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.text() or self.process.poll() is not None, f"{text!r} is printed")
        assert text in self.text()

    def end(self) -> int:
        self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture
def printed(project: Project) -> Project:
    """A project with a run that has printed something."""
    done = project.prodigy("run", project.workflow(PRINTS), "--no-merge")
    assert done.code == 3, done.err
    return project


# logs ------------------------------------------------------------------------------------------------------


def test_logs_list_the_executions_of_a_run_in_order(printed: Project) -> None:
    rows = printed.prodigy("logs", "--json").json
    assert [(row["path"], row["item_id"], row["state"], row["exit_code"]) for row in rows] == [
        ("it1/1/0/t1", None, "ok", 0),
        ("it1/1/i0001/a1/1/t1", "good", "ok", 0),
        ("it1/1/i0001/a1/2/t1", "good", "ok", 0),
        ("it1/1/i0002/a1/1/t1", "bad", "ok", 0),
        ("it1/1/i0002/a1/2/t1", "bad", "failed", 1),
    ]
    assert rows[4]["kind"] == "command_failed"
    assert (Path(rows[4]["directory"]) / "stderr").read_text() == "grumble\n"
    lines = printed.prodigy("logs", printed.run_id()).out.splitlines()
    assert lines[8].split()[:2] == ["it1/1/i0002/a1/2/t1", "failed"]
    assert "exit 1" in lines[8]
    assert lines[9].strip() == rows[4]["directory"]
    newest = printed.prodigy("logs", "--latest", "--tail", "1").out.splitlines()
    assert newest == lines[8:]


def test_logs_of_an_item_come_step_by_step(printed: Project) -> None:
    for name in ("bad", "agent-bad"):
        done = printed.prodigy("logs", "--item", name, "--tail", "2")
        assert done.code == 0
        assert done.out == (
            "==> it1/1/i0002/a1/1/t1 (stdout) <==\nfirst bad\nred \033[31m tab\there\n"
            "==> it1/1/i0002/a1/2/t1 (stdout) <==\n19\n20\n"
            "==> it1/1/i0002/a1/2/t1 (stderr) <==\ngrumble\n"
        )
    only = printed.prodigy("logs", "--item", "bad", "--stderr").out
    assert "==> it1/1/i0002/a1/1/t1 printed nothing <==" in only
    assert "grumble" in only
    assert "20" not in only.splitlines()


def test_one_stream_of_one_step_comes_byte_for_byte(printed: Project) -> None:
    for path in (second_step(printed, 1), f"{second_step(printed, 1)}/t1"):
        assert printed.prodigy("logs", "--step", path, "--stdout").out == "".join(f"{n}\n" for n in range(1, 21))
        assert printed.prodigy("logs", "--step", path, "--stderr").out == "grumble\n"


def test_a_terminal_gets_no_control_characters(printed: Project) -> None:
    text = on_a_terminal(printed, "logs", "--step", "it1/1/i0001/a1/1")
    assert "red \\x1b[31m tab\there\n" in text
    assert "\033" not in text


def test_a_wrong_name_is_answered_with_the_right_ones(printed: Project) -> None:
    done = printed.prodigy("logs", "--item", "godo")
    assert (done.code, "Did you mean good?" in done.err) == (2, True)
    done = printed.prodigy("logs", "--item", "zzz")
    assert (done.code, "There are: good, bad" in done.err) == (2, True)
    done = printed.prodigy("logs", "--step", "it1/1/i0001/a1/3")
    assert (done.code, "it1/1/i0001/a1/" in done.err) == (2, True)
    done = printed.prodigy("logs", "--step", "it1/1/i0001/a1/2/t7")
    assert (done.code, "Its newest one is t1" in done.err) == (2, True)
    assert printed.prodigy("logs", "--step", "../../../../etc/passwd").code == 2
    for pair in (("--item", "good", "--step", "x"), ("--follow", "--json"), ("latest", "--latest")):
        assert printed.prodigy("logs", *pair).code == 2


def test_a_summary_counts_what_ended_how(printed: Project) -> None:
    assert printed.prodigy("logs", "--summary", "--json").json["states"] == {"ok": 4, "failed": 1}
    text = printed.prodigy("logs", "--summary").out
    assert "5 executions of steps: 4 ok, 1 failed" in text
    assert "command_failed: 1" in text


def test_what_an_agent_put_in_place_of_a_log_is_not_read(printed: Project) -> None:
    directory = Path(printed.prodigy("logs", "--json").json[2]["directory"])
    (directory / "stdout").unlink()
    os.mkfifo(directory / "stdout")
    (directory / "stderr").unlink()
    (directory / "stderr").mkdir()
    done = printed.prodigy("logs", "--step", second_step(printed, 1))
    assert (done.code, done.out) == (0, f"==> {second_step(printed, 1)}/t1 printed nothing <==\n")


@pytest.mark.parametrize("tail", [1, 2, 70_000])
def test_a_tail_is_found_in_a_large_log(project: Project, tail: int) -> None:
    workflow = project.workflow("steps:\n  - shell: seq 1 100000; printf end\n")
    assert project.prodigy("run", workflow).code == 0
    done = project.prodigy("logs", "--step", "it1/1", "--stdout", "--tail", str(tail))
    assert done.out == "".join(f"{n}\n" for n in range(100_002 - tail, 100_001)) + "end"


def test_an_item_whose_steps_were_taken_over_shows_them_all(project: Project) -> None:
    running = project.start("run", project.workflow(WAITS), "--no-merge")
    wait_until(lambda: "before" in project.prodigy("logs", "--item", "a").out, "the second step runs")
    states = {row["path"]: row["state"] for row in project.prodigy("logs", "--json").json}
    assert states[f"{second_step(project, 1)}/t1"] == "running"
    assert project.prodigy("cancel", project.run_id()).code == 0
    running.communicate()
    (project.folder / "gate").touch()
    assert project.prodigy("resume", "--no-merge").code == 0
    text = project.prodigy("logs", "--item", "a").out
    assert [line for line in text.splitlines() if not line.startswith("==>")] == [
        "one", "before", "before", "after", "last"
    ]  # fmt: skip
    assert "a2/2/" in text
    # Its first step ran in the attempt before.
    assert project.prodigy("logs", "--step", "it1/1/i0001/a2/1", "--stdout").out == "one\n"
    states = {row["path"]: row["state"] for row in project.prodigy("logs", "--json").json}
    assert states[f"{second_step(project, 1)}/t1"] == "lost"


def test_a_skipped_step_is_listed_and_has_printed_nothing(project: Project) -> None:
    workflow = project.workflow("steps:\n  - shell: echo yes\n  - shell: echo no\n    when: 'false'\n")
    assert project.prodigy("run", workflow).code == 0
    rows = project.prodigy("logs", "--json").json
    assert [(row["path"], row["state"]) for row in rows] == [("it1/1/t1", "ok"), ("it1/2/t1", "skipped")]
    assert "printed nothing" in project.prodigy("logs", "--step", "it1/2").out


@pytest.mark.parametrize(
    ("choice", "shown"),
    [
        (["--step", "it1/1/i0001/a1/2", "--stdout"], ["before", "after"]),
        (["--item", "a"], ["one", "before", "after", "last"]),
        ([], ["before", "after", "last"]),
    ],
)
def test_growing_output_is_followed_until_it_ends(project: Project, choice: list[str], shown: list[str]) -> None:
    running = project.start("run", project.workflow(WAITS), "--no-merge")
    wait_until(lambda: "before" in project.prodigy("logs", "--item", "a").out, "the second step runs")
    following = Following(project, "logs", "--follow", *choice)
    following.wait_for("before")
    (project.folder / "gate").touch()
    assert following.end() == 0
    running.communicate()
    assert [line for line in following.text().splitlines() if line and not line.startswith("==>")] == shown


def test_a_step_is_followed_that_outlived_its_coordinator(project: Project) -> None:
    running = project.start("run", project.workflow(WAITS), "--no-merge")
    wait_until(lambda: "before" in project.prodigy("logs", "--item", "a").out, "the second step runs")
    running.kill()
    running.communicate()
    following = Following(project, "logs", "-f")
    following.wait_for("before")
    (project.folder / "gate").touch()
    assert following.end() == 0
    assert following.text().splitlines()[-2:] == ["before", "after"]
    assert project.prodigy("resume", "--no-merge").code == 0


def test_following_a_run_that_has_ended_ends_at_once(printed: Project) -> None:
    assert printed.prodigy("logs", "--follow").out == ""
    done = printed.prodigy("logs", "--follow", "--step", second_step(printed, 2), "--stderr")
    assert (done.code, done.out) == (0, "grumble\n")


def test_ctrl_c_ends_following(project: Project) -> None:
    running = project.start("run", project.workflow(WAITS), "--no-merge")
    wait_until(lambda: "before" in project.prodigy("logs", "--item", "a").out, "the second step runs")
    for command, text in ((("logs", "-f"), "before"), (("events", "follow"), "step_started")):
        following = Following(project, *command)
        following.wait_for(text)
        os.kill(following.process.pid, signal.SIGINT)
        assert following.end() == 0
    (project.folder / "gate").touch()
    running.communicate()
    assert running.returncode == 0


# events ----------------------------------------------------------------------------------------------------


def records(project: Project, *args: str) -> list[dict[str, Any]]:
    done = project.prodigy("events", "ls", "--json", *args)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_events_are_chosen_by_type_item_time_and_number(printed: Project) -> None:
    everything = records(printed)
    assert [record["seq"] for record in everything] == sorted(record["seq"] for record in everything)
    assert everything[0]["event"]["event_type"] == "job_started"
    of_type = records(printed, "--event-type", "agent_started", "--event-type", "agent_failed")
    assert [record["event"]["event_type"] for record in of_type] == ["agent_started", "agent_started", "agent_failed"]
    of_item = records(printed, "--item", "bad")
    assert of_item == records(printed, "--agent-id", "agent-bad")
    assert [
        record for record in everything if "i0002" in json.dumps(record) or '"bad"' in json.dumps(record)
    ] == of_item
    assert {"agent_started", "step_finished", "dlq_item_added"} <= {r["event"]["event_type"] for r in of_item}
    assert records(printed, "--limit", "3") == everything[-3:]
    assert records(printed, "--item", "bad", "--limit", "2") == of_item[-2:]
    assert records(printed, "--since", "1h30m") == records(printed, "--since", "90") == everything
    assert records(printed, "--since", "0") == []
    assert records(printed, "--job-id", printed.run_id()) == everything
    assert printed.prodigy("events", "list", "--json").out == printed.prodigy("events", "ls", "--json").out


def test_a_terminal_gets_the_newest_hundred_events(project: Project) -> None:
    workflow = project.workflow("steps:\n" + "  - shell: 'true'\n" * 60)
    assert project.prodigy("run", workflow).code == 0
    lines = project.prodigy("events", "ls").out.splitlines()
    assert len(lines) > 100
    assert on_a_terminal(project, "events", "ls").splitlines() == lines[-100:]
    assert on_a_terminal(project, "events", "ls", "--limit", "120").splitlines() == lines[-120:]


def test_an_unknown_event_type_is_answered_with_the_nearest(printed: Project) -> None:
    done = printed.prodigy("events", "ls", "--event-type", "agent_stated")
    assert (done.code, "Did you mean agent_started?" in done.err) == (2, True)
    assert printed.prodigy("events", "ls", "latest", "--job-id", printed.run_id()).code == 2
    assert printed.prodigy("events", "ls", "--since", "soon").code == 2


def test_new_events_are_followed_until_the_run_has_ended(project: Project) -> None:
    running = project.start("run", project.workflow(WAITS), "--no-merge")
    wait_until(lambda: "before" in project.prodigy("logs", "--item", "a").out, "the second step runs")
    following = Following(project, "events", "follow", "--json", "--event-type", "job_completed",
                          "--event-type", "agent_started")  # fmt: skip
    following.wait_for("agent_started")
    assert "job_completed" not in following.text()
    (project.folder / "gate").touch()
    assert following.end() == 0
    running.communicate()
    types = [json.loads(line)["event"]["event_type"] for line in following.text().splitlines()]
    assert types == ["agent_started", "job_completed"]


def test_following_nobody_shows_the_last_events_and_ends(printed: Project) -> None:
    done = printed.prodigy("events", "follow")
    assert done.code == 0
    assert done.out.splitlines() == printed.prodigy("events", "ls").out.splitlines()[-10:]
    assert "nobody works on run" in done.err


def test_events_are_read_a_page_at_a_time(tmp_path: Path) -> None:
    row = RunRow(
        "r", "w", None, "/r", "/r/.git", "0" * 40, "refs/heads/b", None, "{}", "2026-01-01T00:00:00Z", "0" * 40
    )
    with closing(Store.create(tmp_path / "r", row, "{}")) as store:
        store.record(*(ev.Warned(message=f"number {n}") for n in range(1, 1302)))
        assert [record["seq"] for record in store.events()] == list(range(1, 1302))
        assert [record["seq"] for record in store.events(1299)] == [1300, 1301]
        assert [record["seq"] for record in store.events(limit=700)] == list(range(602, 1302))
        assert [record["seq"] for record in store.events(limit=5000)] == list(range(1, 1302))
        assert [record["seq"] for record in store.events(1300, limit=7)] == [1301]
        assert list(store.events(types=("job_failed",), limit=7)) == []
        reading = store.events()
        next(reading)
        store.record(ev.Warned(message="while somebody reads"))  # nothing is locked meanwhile
        assert sum(1 for _ in reading) == 1301
