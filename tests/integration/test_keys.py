"""Keys in the live view, pressed on a real terminal; and the terminal, which is given back as it was."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from prodigy.state.items import ItemState
from prodigy.store.lock import is_held
from prodigy.store.store import Store
from support import Project, wait_until

PROGRAM = [sys.executable, "-c", "from prodigy.cli.main import main; main()"]
FLOW = """
name: keyed
map:
  input: printf '%s\\n' a b c d
  max_parallel: 2
  agent_template:
    - shell: |
        echo ${item} >> "$TALLY"
        echo "first line of "${item}
        echo "second line of "${item}
        if test ${item} = a; then test -e "$SHARED/mended"; exit; fi
        until test -e "$SHARED/go"; do sleep 0.02; done
"""
FOOT = "q quit"  # of the line about keys


class Seat:
    """Somebody at a terminal of their own, and what they see."""

    def __init__(self, project: Project, *argv: str, columns: int = 100, rows: int = 30) -> None:
        self.project = project
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (rows, columns))
        self.before = termios.tcgetattr(slave)
        self.seen = ""
        env = project.environment({"TERM": "xterm", "CI": "", "NO_COLOR": "1", "PS1": "$ "})
        self.process = subprocess.Popen(
            argv, cwd=project.repo, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self.slave = slave  # kept open: the terminal is looked at when nobody uses it any more

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def look(self) -> str:
        while select.select([self.master], [], [], 0.02)[0]:
            self.seen += os.read(self.master, 65536).decode(errors="replace")
        return self.seen

    def expect(self, text: str) -> None:
        """Wait until it is on the terminal; what came before is forgotten."""
        wait_until(lambda: text in self.look(), f"{text!r} on the terminal: {self.seen[-3000:]!r}")
        self.seen = self.seen.partition(text)[2]

    def attributes(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def echoes(self) -> bool:
        return bool(self.attributes()[3] & termios.ECHO)

    def end(self) -> int:
        wait_until(lambda: self.look() is not None and self.process.poll() is not None, "the process ends")
        self.look()
        return self.process.wait()

    def leave(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        wait_until(lambda: self.look() is not None and self.process.poll() is not None, "the process ends")
        os.close(self.master)
        os.close(self.slave)

    # The run -------------------------------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        return self.project.home / "runs" / self.project.run_id()

    def events(self, *types: str) -> list[dict[str, Any]]:
        with closing(Store.open(self.directory)) as store:
            return [cast("dict[str, Any]", record["event"]) for record in store.events(types=types)]

    def counts(self, state: ItemState) -> int:
        with closing(Store.open(self.directory)) as store:
            return store.counts()[state]


def wait_for_dead(seat: Seat) -> None:
    """The item a is dead, and two others run."""
    wait_until(lambda: sum(seat.project.tally().values()) == 3 or seat.process.poll() is not None, "three have begun")
    assert seat.process.poll() is None, seat.look()
    wait_until(lambda: seat.counts(ItemState.DEAD) == 1, "a is dead")
    seat.expect(FOOT)


@pytest.fixture
def seat(project: Project, let_go: None) -> Iterator[Seat]:
    """At the terminal that drives a run."""
    seat = Seat(project, *PROGRAM, "run", str(project.workflow(FLOW)), "--no-merge")
    wait_for_dead(seat)
    yield seat
    seat.leave()


@pytest.fixture
def watcher(project: Project, let_go: None) -> Iterator[Seat]:
    """At another terminal than the one that drives the run."""
    assert project.prodigy("run", project.workflow(FLOW), "--no-merge", "--detach").code == 0
    seat = Seat(project, *PROGRAM, "attach")
    wait_for_dead(seat)
    yield seat
    seat.leave()
    (project.folder / "go").touch()
    project.prodigy("resume") if seat.events("job_held") else None
    wait_until(lambda: not is_held(seat.directory), "the run ends")


def go(seat: Seat) -> None:
    (seat.project.folder / "go").touch()


# Each key --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["seat", "watcher"])
def test_p_pauses_and_lets_go_on(where: str, request: pytest.FixtureRequest) -> None:
    seat: Seat = request.getfixturevalue(where)
    seat.press("p")
    seat.expect("what runs may finish; p: go on")
    assert seat.project.prodigy("status", "latest", "--json").json["status"] == "paused"
    seat.press("p")
    wait_until(lambda: len(seat.events("job_released")) == 1, "it goes on")
    (held,) = seat.events("job_held")
    assert held["by"].endswith(" via live view")
    go(seat)
    assert seat.end() == 3


def test_l_follows_what_an_item_prints_and_any_key_returns(seat: Seat) -> None:
    seat.press("l")
    seat.expect("any key: back")
    seat.expect("first line of b")
    seat.expect("second line of b")
    with (seat.directory / "steps" / "it1/1/i0002/a1/1/t1" / "stdout").open("a") as file:
        file.write("printed later\n")
    seat.expect("printed later")
    seat.press("x")
    seat.expect(FOOT)


@pytest.mark.parametrize("keys", ["2l", "\x1b[B\x1b[Bl", "\x1bOB\x1b[B\x1b[B\r", "jj\x1b[A\x1b[Bl"])
def test_arrows_and_numbers_select_the_item_whose_log_is_shown(seat: Seat, keys: str) -> None:
    seat.press(keys)
    seat.expect("any key: back")
    seat.expect("first line of c")


def test_r_runs_failed_items_again(seat: Seat) -> None:
    (seat.project.folder / "mended").touch()
    seat.press("r")
    wait_until(lambda: len(seat.events("dlq_items_reprocessed")) == 1, "a is to run again")
    go(seat)
    assert seat.end() == 0
    assert seat.project.tally()["a"] == 2


def test_plus_and_minus_change_how_many_run_at_a_time(seat: Seat) -> None:
    seat.expect("+/- at a time (2)")
    seat.press("+")
    wait_until(lambda: seat.project.tally()["d"] == 1, "one more begins")
    seat.expect("+/- at a time (3)")
    seat.press("--")
    seat.expect("+/- at a time (1)")
    seat.press("-")
    seat.expect("one item at a time is the least")
    wait_until(lambda: len(seat.events("job_steered")) == 3, "each was obeyed")


def test_a_question_mark_lists_the_keys(seat: Seat) -> None:
    seat.press("?")
    seat.expect("keys (any key: back)")
    seat.expect("pause: nothing new starts")
    seat.press("?")
    seat.expect(FOOT)


def test_q_asks_and_another_key_is_no_answer(seat: Seat) -> None:
    seat.press("q")
    seat.expect("quit (any other key: back)")
    seat.press("x")
    seat.expect(FOOT)
    assert seat.process.poll() is None
    go(seat)
    assert seat.end() == 3


def test_q_and_d_leave_the_run_to_the_background(seat: Seat) -> None:
    seat.press("qd")
    assert seat.end() == 0
    assert "the run goes on in the background" in seat.seen
    assert is_held(seat.directory)
    go(seat)
    assert seat.project.prodigy("attach").code == 3
    assert set(seat.project.tally().values()) == {1}


def test_q_and_s_let_what_runs_finish(seat: Seat) -> None:
    seat.press("qs")
    seat.expect("stopping: what runs may finish")
    seat.press("qs")  # once more is not Ctrl-C twice
    seat.press("?")
    seat.expect("keys (any key: back)")
    go(seat)
    assert seat.end() == 130
    assert seat.events("agent_interrupted") == []
    assert seat.project.tally()["d"] == 0


def test_q_and_c_end_what_runs(seat: Seat) -> None:
    seat.press("qc")
    assert seat.end() == 130
    assert seat.events("job_paused")[0]["status"] == "cancelled"
    assert len(seat.events("agent_interrupted")) == 2


def test_q_only_ends_the_watching(watcher: Seat) -> None:
    watcher.press("q")
    assert watcher.end() == 0
    assert "the run goes on; stop it with: prodigy cancel" in watcher.seen
    assert is_held(watcher.directory)
    assert watcher.attributes() == watcher.before


def test_keys_that_mean_nothing_do_nothing(seat: Seat) -> None:
    seat.press("\x1b[15~\x1b[1;5Cz\x1b\x00\x7fü")
    seat.press("?")
    seat.expect("keys (any key: back)")
    assert seat.events("job_held", "job_steered", "dlq_items_reprocessed") == []


# The terminal ----------------------------------------------------------------------------------------------


def test_keys_are_not_echoed_and_the_terminal_is_as_before_at_the_end(seat: Seat) -> None:
    assert not seat.echoes()
    seat.press("zzzz")
    go(seat)
    assert seat.end() == 3
    assert "zzzz" not in seat.seen
    assert seat.attributes() == seat.before
    assert seat.seen.rfind("\x1b[?25h") > seat.seen.rfind("\x1b[?25l"), "the cursor is there again"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("where", ["seat", "watcher"])
def test_the_terminal_is_as_before_when_the_process_is_told_to_end(
    where: str, number: signal.Signals, request: pytest.FixtureRequest
) -> None:
    seat: Seat = request.getfixturevalue(where)
    seat.process.send_signal(number)
    assert seat.end() == 143
    assert seat.attributes() == seat.before


def test_ctrl_c_is_what_it_was(seat: Seat) -> None:
    seat.press("\x03")
    seat.expect("stopping: what runs may finish; Ctrl-C again ends it")
    seat.press("\x03")
    assert seat.end() == 130
    assert seat.attributes() == seat.before


def test_the_merge_question_gets_its_answer_and_not_the_keys(project: Project) -> None:
    workflow = project.workflow("- shell: echo x > made.txt\n")
    seat = Seat(project, *PROGRAM, "run", str(workflow))
    try:
        seat.expect("Merge this into main?")
        assert seat.attributes() == seat.before
        seat.press("y\n")
        assert seat.end() == 0
    finally:
        seat.leave()
    assert (project.repo / "made.txt").exists()


def test_a_child_that_is_killed_changes_nothing(seat: Seat) -> None:
    pids = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _status(int(entry.name), "PPid") == str(seat.process.pid)
    ]
    assert pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    go(seat)
    seat.end()
    assert seat.attributes() == seat.before


def _status(pid: int, name: str) -> str:
    try:
        text = (Path("/proc") / str(pid) / "status").read_text()
    except OSError:
        return ""
    found = re.search(rf"^{name}:\s+(\S+)", text, re.MULTILINE)
    return found[1] if found else ""


# Under a shell with job control ----------------------------------------------------------------------------


@pytest.fixture
def shell(project: Project, let_go: None) -> Iterator[Seat]:
    """At a shell, with a run in the background."""
    assert project.prodigy("run", project.workflow(FLOW), "--no-merge", "--detach").code == 0
    wait_until(lambda: sum(project.tally().values()) == 3, "three have begun")
    script = project.folder / "watch"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from prodigy.cli.main import main; main()' attach\n")
    script.chmod(0o755)
    seat = Seat(project, "bash", "--norc", "--noediting", "-i")
    seat.expect("$ ")
    yield seat
    seat.leave()
    go(seat)
    wait_until(lambda: not is_held(seat.directory), "the run ends")


def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_again(shell: Seat) -> None:
    shell.press('"$SHARED/watch"\n')
    shell.expect(FOOT)
    assert not shell.echoes()
    shell.look()
    shell.press("\x1a")
    shell.expect("\x1b[?25h")  # the cursor; the shell brings back the rest itself
    shell.expect("Stopped")
    assert shell.echoes()
    shell.press("echo it is $((6*7))\n")
    shell.expect("it is 42")
    shell.press("fg\n")
    shell.expect(FOOT)
    wait_until(lambda: not shell.echoes(), "keys are read again")
    shell.press("?")
    shell.expect("keys (any key: back)")
    shell.press("xq")
    shell.expect("the run goes on")
    wait_until(shell.echoes, "the terminal is the shell's")


def test_a_view_in_the_background_takes_no_keys_and_is_not_stopped(shell: Seat) -> None:
    shell.press('"$SHARED/watch" & echo begun\n')
    shell.expect("begun")
    shell.expect(f"run {shell.project.run_id()}")
    pid = _watching(shell)
    shell.press("echo typed for the shell: $((6*7))\n")
    shell.expect("typed for the shell: 42")
    assert _status(pid, "State") != "T", "it was not stopped for reading"
    assert shell.echoes()
    go(shell)
    shell.press("wait $!; echo ended with $?\n")
    shell.expect("ended with 3")


def _watching(shell: Seat) -> int:
    """The process that watches, once it has its threads: one that draws and one that reads keys."""
    found: list[int] = []

    def looks() -> bool:
        found[:] = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit()
            and _status(int(entry.name), "PPid") == str(shell.process.pid)
            and _status(int(entry.name), "Threads") not in ("", "1", "2")
        ]
        return bool(found)

    wait_until(looks, "somebody watches")
    return found[0]
