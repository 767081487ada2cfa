"""kill -9 at every event of a run; what `resume` makes of it must equal a run that nobody disturbed."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import sqlite3
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.scenario import Result, new_project, result_of
from support import Project, make_project, processes_of, sampled, wait_until

KILLED = -signal.SIGKILL
COMPLETED_WITH_FAILURES = 3

# Every event of the scenario; `test_the_scenario_reaches_every_listed_point` keeps the list honest.
EVENTS = [
    "job_started", "phase_started", "step_started", "step_finished", "items_planned", "agent_started", "merging",
    "worktree_merged", "agent_completed", "agent_failed", "dlq_item_added", "fanout_finished",
    "final_merge_started", "final_merge_finished", "job_completed", "worktree_created",
    "step_skipped", "step_retrying", "step_settled", "errors_collected",
]  # fmt: skip
POINTS = [f"{side}:{event}" for event in EVENTS for side in ("before", "after")] + ["final_merge:checked_out"]


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
    assert done.code == COMPLETED_WITH_FAILURES, done.err
    return Reference(result_of(project), Counter(trace.read_text().splitlines()))


def test_the_undisturbed_run_does_what_the_scenario_says(reference: Reference) -> None:
    result = reference.result
    assert result.summary["items"] == {
        "total": 10, "successful": 6, "failed": 4, "skipped": 0, "running": 0, "pending": 0,
    }  # fmt: skip
    assert sorted(result.dead) == ["bad-1", "bad-2", "second-1", "second-2"]
    assert result.dead["bad-1"]["history"][0]["exit_code"] == 7
    assert result.dead["second-1"]["history"][0]["error_type"] == "merge_conflict"
    assert result.main["report.txt"] == "4 of 8, 4 failed"
    assert result.main["fought-over-1.txt"] == "first-1"
    assert result.main["good-1.txt"] == "draft\nleft uncommitted\nseen"
    assert result.main["shared.txt"].endswith("edited")
    assert "items.txt" not in result.main
    assert set(result.tally.values()) == {1}


def test_the_scenario_reaches_every_listed_point(reference: Reference) -> None:
    assert set(reference.reached) == set(POINTS)


AFTER = [point for point in POINTS if not point.startswith("before:")]


@pytest.mark.parametrize("point", sampled(AFTER))
def test_a_crash_changes_nothing(point: str, reference: Reference, tmp_path: Path) -> None:
    """After each event, the last time it happens; `make chaos` has all the others, and the moments before."""
    crash_and_compare(tmp_path, f"{point}#{reference.reached[point]}", reference.result)


@pytest.mark.chaos
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_occurrence_changes_nothing(point: str, reference: Reference, tmp_path: Path) -> None:
    tested = {reference.reached[point]} if point in AFTER else set()
    for number in sorted(set(range(1, reference.reached[point] + 1)) - tested):
        crash_and_compare(tmp_path / str(number), f"{point}#{number}", reference.result)


def crash_and_compare(folder: Path, fault: str, expected: Result) -> None:
    project, workflow = new_project(folder)
    killed = project.prodigy("run", workflow, "--yes", env={"PRODIGY_FAULT": fault})
    assert killed.code == KILLED, killed.err
    resume_to_the_end(project)
    assert result_of(project) == expected


def resume_to_the_end(project: Project) -> None:
    done = project.prodigy("resume", "latest")
    assert done.code == COMPLETED_WITH_FAILURES, done.out + done.err


@pytest.mark.parametrize(
    "point", ["after:step_started#4", "after:agent_started#2", "after:merging#2", "after:step_finished#5"]
)
def test_after_a_reboot_only_running_steps_run_again(point: str, reference: Reference, tmp_path: Path) -> None:
    project, workflow = new_project(tmp_path)
    killed = project.prodigy("run", workflow, "--yes", env={"PRODIGY_FAULT": point})
    assert killed.code == KILLED, killed.err
    end_everything(project)
    may_repeat = Counter(running_steps(project))
    resume_to_the_end(project)
    result = result_of(project)
    repeated = result.tally - reference.result.tally
    assert not repeated - may_repeat, f"steps that had finished ran again: {repeated - may_repeat}"
    assert reference.result.tally - result.tally == Counter()
    assert (result.main, result.branch, result.items) == (
        reference.result.main, reference.result.branch, reference.result.items,
    )  # fmt: skip
    assert sorted(result.dead) == sorted(reference.result.dead)


def end_everything(project: Project) -> None:
    """What a power cut does: wardens, launchers and steps are gone at once."""
    while pids := process_ids(project):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it was quicker
    wait_until(lambda: not processes_of(project.folder), "the processes end")


def process_ids(project: Project) -> list[int]:
    needle = os.fsencode(project.folder)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                in_environment = needle in (entry / "environ").read_bytes()
                alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            except OSError:
                continue  # it ended while we looked
            if in_environment and alive:
                found.append(int(entry.name))
    return found


def running_steps(project: Project) -> list[str]:
    """Tally lines of the steps that were started and have no end on record."""
    with sqlite3.connect(project.home / "runs" / project.run_id() / "run.db") as db:
        paths = [row[0] for row in db.execute("SELECT path FROM step WHERE state = 'started'")]
        names = {
            (fanout, ordinal): name for fanout, ordinal, name in db.execute("SELECT fanout, ordinal, label FROM item")
        }
    db.close()
    lines = []
    for path in paths:
        if in_item := re.fullmatch(r"(.*)/i(\d+)/a\d+/(\d+)(/check/.*)?", path):
            fanout, ordinal, step, check = in_item.groups()
            name = names[fanout, int(ordinal)]
            lines += [f"{name} {'check' if check else step}", f"second {name}"]
        else:
            lines += ["setup", "reduce", "input", "flaky 1", "flaky 2", "failing", "handler 3"]
    return lines


@pytest.mark.chaos
def test_twenty_kills_at_random_moments_in_a_hundred_items(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    count = 100
    workflow = project.workflow(f"""
map:
  input: seq -f '{{"id":"n%g"}}' 1 {count}
  max_parallel: 6
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"
        sleep 0.0$(( $$ % 9 ))
        echo x > "$PRODIGY_ITEM_ID"
    - shell: |
        echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
        git add -A
        git commit -q -m "$PRODIGY_ITEM_ID"
""")
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    for number in range(20):
        running = project.start(*(("resume", "latest") if number else ("run", workflow, "--yes")))
        if number == 0:
            wait_until(lambda: (project.home / "runs").is_dir() and any((project.home / "runs").iterdir()), "a run")
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(moments.uniform(0.6, 1.4))
        running.kill()
        running.communicate()
    done = project.prodigy("resume", "latest")
    assert done.code == 0, f"seed {seed}: {done.out}{done.err}"
    project.assert_nothing_left()
    assert project.tally() == Counter(f"n{item} {step}" for item in range(1, count + 1) for step in (1, 2))
    assert {f"n{item}" for item in range(1, count + 1)} <= set(project.files("main"))
