"""The coordinator dies while a step runs: the step goes on, and is picked up instead of being started again."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from support import Project, processes_of, wait_until

PHASES = """
name: phases
setup:
  - shell: |
      echo setup >> "$TALLY"
      [ $PHASE != setup ] || { touch "$SHARED/inside"; until [ -e "$SHARED/go" ]; do sleep 0.05; done; }
      echo setup-ended >> "$TALLY"
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n'
  max_parallel: 2
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        [ $PHASE != map ] || { touch "$SHARED/inside"; until [ -e "$SHARED/go" ]; do sleep 0.05; done; }
        echo "$PRODIGY_ITEM_ID" > "$PRODIGY_ITEM_ID"
        echo "$PRODIGY_ITEM_ID-ended" >> "$TALLY"
reduce:
  - shell: |
      echo reduce >> "$TALLY"
      [ $PHASE != reduce ] || { touch "$SHARED/inside"; until [ -e "$SHARED/go" ]; do sleep 0.05; done; }
      echo "${map.successful}" > sum
      echo reduce-ended >> "$TALLY"
"""
ONCE = Counter(
    f"{name}{end}" for name in ("setup", "a", "b", "reduce") for end in ("", "-ended")
)  # fmt: skip


@pytest.mark.parametrize("phase", ["setup", "map", "reduce"])
@pytest.mark.parametrize("when", ["while it still runs", "after it ended"])
def test_a_running_step_is_adopted(project: Project, phase: str, when: str) -> None:
    project.env["PHASE"] = phase
    first = project.start("run", project.workflow(PHASES), "--yes")
    wait_until(lambda: (project.folder / "inside").exists(), "a step runs")
    first.kill()
    first.communicate()
    if when == "after it ended":
        (project.folder / "go").touch()
        wait_until(lambda: not processes_of(project.folder), "the step ends without its coordinator")
        done = project.prodigy("resume", "latest")
    else:
        resumed = project.start("resume", "latest", "--json")
        wait_until(lambda: "step_adopted" in project.prodigy("events", "ls", "latest").out, "the step is adopted")
        (project.folder / "go").touch()
        out, err = resumed.communicate()
        assert resumed.returncode == 0, (out, err)
        done = project.prodigy("status", "latest")
    assert done.code == 0, done.err
    assert project.tally() == ONCE
    assert project.files("main")["sum"] == "2"
    project.assert_nothing_left()


def test_sigterm_leaves_the_step_running_and_exits_with_143(project: Project) -> None:
    project.env["PHASE"] = "map"
    first = project.start("run", project.workflow(PHASES), "--yes")
    wait_until(lambda: (project.folder / "inside").exists(), "a step runs")
    first.send_signal(signal.SIGTERM)
    first.communicate()
    assert first.returncode == 143
    (project.folder / "go").touch()
    assert project.prodigy("resume", "latest").code == 0
    assert project.tally() == ONCE


def test_ctrl_c_once_lets_the_step_end_and_starts_nothing_new(project: Project) -> None:
    project.env["PHASE"] = "setup"
    first = project.start("run", project.workflow(PHASES), "--yes")
    wait_until(lambda: (project.folder / "inside").exists(), "a step runs")
    first.send_signal(signal.SIGINT)
    (project.folder / "go").touch()
    first.communicate()
    assert first.returncode == 130
    assert project.tally() == Counter(["setup", "setup-ended"])
    assert project.prodigy("status", "latest", "--json").json["status"] == "interrupted"
    assert project.prodigy("resume", "latest").code == 0
    assert project.tally() == ONCE


def test_ctrl_c_twice_ends_the_step_and_the_item_goes_on_where_it_stood(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: printf '{"id":"a"}\\n'
  agent_template:
    - shell: |
        echo one >> "$TALLY"
        echo draft > draft.txt
    - shell: |
        echo two >> "$TALLY"
        touch "$SHARED/inside"
        until [ -e "$SHARED/go" ]; do sleep 0.05; done
        test -e draft.txt
""")
    first = project.start("run", workflow, "--yes")
    wait_until(lambda: (project.folder / "inside").exists(), "the second step runs")
    first.send_signal(signal.SIGINT)
    assert first.stderr is not None
    while b"stopping" not in first.stderr.readline():
        pass
    first.send_signal(signal.SIGINT)
    first.communicate()
    assert first.returncode == 130
    assert not processes_of(project.folder)
    (project.folder / "go").touch()
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert done.json["steps_reused"] == 1
    assert project.tally() == Counter({"one": 1, "two": 2})
    assert project.files("main")["draft.txt"] == "draft"


def test_cancel_ends_the_run_from_another_process(project: Project) -> None:
    project.env["PHASE"] = "map"
    first = project.start("run", project.workflow(PHASES), "--json")
    wait_until(lambda: (project.folder / "inside").exists(), "a step runs")
    assert project.prodigy("cancel", "latest").code == 0
    out, _ = first.communicate()
    assert first.returncode == 130
    assert b'"status": "cancelled"' in out
    assert not processes_of(project.folder)
    assert project.prodigy("cancel", "latest").code == 2


def test_an_interrupted_step_of_the_run_does_not_find_its_own_half_done_work(project: Project) -> None:
    workflow = project.workflow("""
steps:
  - shell: echo start > log.txt; git add -A; git commit -q -m start
  - shell: |
      echo x >> log.txt
      touch "$SHARED/inside"
      until [ -e "$SHARED/go" ]; do sleep 0.05; done
""")
    first = project.start("run", workflow, "--yes")
    wait_until(lambda: (project.folder / "inside").exists(), "the second step runs")
    assert project.prodigy("cancel", "latest").code == 0
    first.communicate()
    (project.folder / "go").touch()
    assert project.prodigy("resume", "latest").code == 0
    assert project.files("main")["log.txt"] == "start\nx"


def test_cancel_ends_what_a_killed_coordinator_left_running(project: Project) -> None:
    project.env["PHASE"] = "map"
    first = project.start("run", project.workflow(PHASES), "--yes")
    wait_until(lambda: (project.folder / "inside").exists(), "a step runs")
    first.kill()
    first.communicate()
    assert processes_of(project.folder)
    assert project.prodigy("cancel", "latest").code == 0
    assert not processes_of(project.folder)
    (project.folder / "go").touch()
    assert project.prodigy("resume", "latest").code == 0
    assert {"a", "b", "sum"} <= set(project.files("main"))


def test_a_stale_cancel_does_not_end_the_next_resume(project: Project) -> None:
    project.env["PHASE"] = "setup"
    first = project.start("run", project.workflow(PHASES), "--yes")
    wait_until(lambda: (project.folder / "inside").exists(), "a step runs")
    first.send_signal(signal.SIGSTOP)
    cancel = project.start("cancel", "latest")
    wait_until(lambda: _asked(project), "the request is on record")
    first.kill()
    first.communicate()
    cancel.communicate()
    assert cancel.returncode == 0
    (project.folder / "go").touch()
    assert project.prodigy("resume", "latest").code == 0


def _asked(project: Project) -> bool:
    """Whether somebody has asked the run for something."""
    with closing(sqlite3.connect(project.home / "runs" / project.run_id() / "run.db")) as db:
        return bool(db.execute("SELECT count(*) FROM request").fetchone()[0])
