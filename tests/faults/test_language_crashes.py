"""kill -9 inside of loops, validation, named worktrees and the steps of a merge: `resume` goes on there."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.language_scenario import new_project
from faults.scenario import Result, result_of

KILLED = -signal.SIGKILL
EVENTS = ("step_started", "step_finished", "step_settled", "agent_started", "agent_completed", "worktree_merged",
          "phase_started", "items_planned", "fanout_finished", "step_retrying")  # fmt: skip
# The default suite takes a sample of the moments, in setup, in items and in reduce; `make chaos` has all of them.
STRIDE = 20


@dataclass(frozen=True)
class Reference:
    """The undisturbed run, and how often it reached each fault point."""

    result: Result
    reached: Counter[str]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    project, workflow = new_project(tmp_path_factory.mktemp("reference"))
    trace = project.folder / "trace"
    done = project.prodigy("run", workflow, "--yes", env={"PRODIGY_FAULT_TRACE": str(trace)})
    assert done.code == 0, done.err
    return Reference(result_of(project), Counter(trace.read_text().splitlines()))


def test_the_undisturbed_run_does_each_thing_once(reference: Reference) -> None:
    assert reference.result.summary["status"] == "completed"
    assert set(reference.result.tally.values()) == {1}
    assert reference.result.main["both.txt"] == "u\nv"
    assert reference.result.main["complete.txt"] == "100"
    assert reference.result.main["merged.txt"] == "merged"
    assert {"side-p.txt", "side-q.txt", "setup-gamma.txt"} <= reference.result.main.keys()


@pytest.mark.parametrize("event", EVENTS[1:2])
def test_a_crash_inside_changes_nothing(event: str, reference: Reference, tmp_path: Path) -> None:
    count = reference.reached[f"after:{event}"]
    for number in range(STRIDE // 2, count + 1, STRIDE):
        crash_and_compare(tmp_path / str(number), f"after:{event}#{number}", reference.result)


@pytest.mark.chaos
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("event", EVENTS)
def test_a_crash_at_any_moment_inside_changes_nothing(
    side: str, event: str, reference: Reference, tmp_path: Path
) -> None:
    for number in range(1, reference.reached[f"{side}:{event}"] + 1):
        crash_and_compare(tmp_path / str(number), f"{side}:{event}#{number}", reference.result)


def crash_and_compare(folder: Path, fault: str, expected: Result) -> None:
    project, workflow = new_project(folder)
    killed = project.prodigy("run", workflow, "--yes", env={"PRODIGY_FAULT": fault})
    assert killed.code == KILLED, killed.err
    done = project.prodigy("resume", "latest")
    assert done.code == 0, f"{fault}: {done.out}{done.err}"
    assert result_of(project) == expected, fault
