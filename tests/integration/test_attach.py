"""`prodigy attach`: following a run that another process drives."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from prodigy.report.history import history
from prodigy.state.items import ItemState
from prodigy.store.store import Store
from support import Done, Project, wait_until

# What a view shows; times are compared by themselves.
SHOWN = (
    "workflow", "state", "error", "phase", "phases", "failure_count", "failures", "warnings", "cost_usd", "tokens",
    "gates", "queued", "checking", "merges", "merged_into", "held_by", "budget_usd", "max_parallel", "_waiting",
)  # fmt: skip
ATTACH = "from prodigy.cli.main import main; main()"
GATED = """
name: gated
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n{"id":"c"}\\n'
  max_parallel: 3
  agent_template:
    - shell: |
        echo "working on "${item.id}
        echo ${item.id} >> "$TALLY"
        until test ${item.id} = a || test -e "$SHARED/gate"; do sleep 0.05; done
        test ${item.id} != b || { echo "b is bad" >&2; exit 3; }
"""


class Driven:
    """A run that another process drives and that waits for its gate: item a is done, b and c are not."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.process = project.start("run", project.workflow(GATED), "--no-merge")

    def wait_at_the_gate(self) -> None:
        wait_until(lambda: len(self.project.tally()) == 3 or self.process.poll() is not None, "all items have begun")
        assert self.process.poll() is None, self.process.communicate()
        with closing(Store.open(self.directory)) as store:
            wait_until(lambda: store.counts()[ItemState.SUCCEEDED] == 1, "item a is done")

    @property
    def directory(self) -> Path:
        return self.project.home / "runs" / self.project.run_id()

    def open_the_gate(self) -> None:
        (self.project.folder / "gate").touch()

    def attach(self, terminal: int | None = None, **env: str) -> subprocess.Popen[bytes]:
        """Start `attach latest`; with its stderr on the terminal, if one is given."""
        return subprocess.Popen(
            [sys.executable, "-c", ATTACH, "attach"],
            cwd=self.project.repo, env=self.project.environment(env), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE if terminal is None else terminal, start_new_session=True,
        )  # fmt: skip


@pytest.fixture
def driven(project: Project) -> Iterator[Driven]:
    run = Driven(project)
    try:
        run.wait_at_the_gate()
        yield run
    finally:
        run.open_the_gate()
        run.process.communicate()


def finish(process: subprocess.Popen[bytes]) -> Done:
    out, err = process.communicate(timeout=60)
    return Done(process.returncode, out.decode(), (err or b"").decode())


def read_until(process: subprocess.Popen[bytes], text: str) -> None:
    """Read the process's stderr up to the line with the text."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line.decode())
        if text in seen[-1]:
            return
    raise AssertionError(f"{text!r} never came: {seen}")


def test_attach_follows_a_run_to_its_end_and_exits_with_its_status(driven: Driven) -> None:
    watching = driven.attach()
    read_until(watching, "1 of 3 items were done")
    driven.open_the_gate()
    done = finish(watching)
    assert done.code == 3, done.err
    assert "done   c, nothing to merge" in done.err
    assert "FAILED b: exited with code 3: b is bad" in done.err
    assert "[3/3]" in done.err
    assert "start" not in done.err, "what happened before is not told again"
    assert "gated: completed with failures" in done.out
    assert "items: 3 (2 successful, 1 failed)" in done.out


def test_ctrl_c_ends_the_watching_and_not_the_run(driven: Driven) -> None:
    watching = driven.attach()
    read_until(watching, "1 of 3 items were done")
    watching.send_signal(signal.SIGINT)
    done = finish(watching)
    assert done.code == 0, done.err
    assert f"the run goes on; stop it with: prodigy cancel {driven.project.run_id()}" in done.err
    assert driven.process.poll() is None
    driven.open_the_gate()
    driven.process.communicate()
    assert driven.process.returncode == 3


def test_a_run_whose_driver_was_killed_ends_the_watching(driven: Driven) -> None:
    watching = driven.attach()
    read_until(watching, "1 of 3 items were done")
    driven.process.kill()
    done = finish(watching)
    assert done.code == 130, done.err
    assert "gated: interrupted" in done.out
    assert "go on with: prodigy resume" in done.out
    driven.open_the_gate()
    assert driven.project.prodigy("resume", "latest").code == 3


def test_a_run_that_has_ended_is_summed_up_at_once(driven: Driven) -> None:
    driven.open_the_gate()
    driven.process.communicate()
    done = finish(driven.attach())
    assert done.code == 3
    assert "gated: completed with failures" in done.out
    assert done.err == ""


def test_the_view_is_rebuilt_from_the_events(driven: Driven) -> None:
    with closing(Store.open(driven.directory)) as store:
        view, seen = history(store)
        last = max(int(str(record["seq"])) for record in store.events())
    assert (view.workflow, view.phase, view.state, seen) == ("gated", "map", "running", last)
    assert view.batch is not None
    assert (view.batch.total, view.batch.done, view.batch.failed) == (3, 1, 0)
    assert sorted(line.label for line in view.lines.values()) == ["b", "c"]


def test_on_a_terminal_the_run_is_drawn_in_place(driven: Driven) -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    watching = driven.attach(slave, TERM="xterm", CI="", NO_COLOR="1")
    os.close(slave)
    output = ""
    while not ("working on b" in output and "working on c" in output):
        output += os.read(master, 65536).decode(errors="replace")
    assert "1/3" in output
    assert "gated" in output
    driven.open_the_gate()
    while "\x1b[?25h" not in output:  # it gives the cursor back
        output += os.read(master, 65536).decode(errors="replace")
    done = finish(watching)
    os.close(master)
    assert done.code == 3
    assert "FAILED b: exited with code 3: b is bad" in output
    assert "gated: completed with failures" in done.out


def test_rich_is_not_imported_without_a_terminal(project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import prodigy.cli.attach, sys; print('rich' in sys.modules)"],
        env=project.environment(), capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert done.stdout == "False\n"


def test_a_very_long_history_is_told_by_the_tables_and_the_same(driven: Driven) -> None:
    driven.wait_at_the_gate()
    with closing(Store.open(driven.directory)) as store:
        told(store)
        driven.open_the_gate()
        driven.process.communicate()
        told(store)


def told(store: Store) -> None:
    """Whether a view of all events and one of the tables show the same."""
    view, seen = history(store)
    short, newest = history(store, folded=0)
    assert newest == seen
    for name in SHOWN:
        assert getattr(short, name) == getattr(view, name), name
    assert view.batch is not None
    assert short.batch is not None
    for name in ("fanout", "total", "done", "failed", "timed"):
        assert getattr(short.batch, name) == getattr(view.batch, name), name
    assert short.batch.timed_s == pytest.approx(view.batch.timed_s)
    assert short.lines.keys() == view.lines.keys()
    for path, line in view.lines.items():
        other = short.lines[path]
        assert (other.label, other.attempt, other.begun, other.merging) == (
            line.label, line.attempt, line.begun, line.merging,
        )  # fmt: skip
        assert (other.step and (other.step.path, other.step.label, other.step.agent, other.step.adapter)) == (
            line.step and (line.step.path, line.step.label, line.step.agent, line.step.adapter)
        )
        assert other.since == pytest.approx(line.since, abs=0.1)
    assert short.started_at == pytest.approx(view.started_at or 0.0, abs=0.1)
