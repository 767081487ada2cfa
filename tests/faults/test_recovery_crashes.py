"""kill -9 at every event of automatic retries, skipped items and `dlq retry`; the end must equal an undisturbed one.

Two scenes. In the first, items are retried and skipped by the workflow's rules. In the second, a completed and merged
run has its dead letters retried from the failed step, with an edited workflow, with reduce, and with a final merge
into a checkout that has changes of its own.
"""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults.scenario import Result, result_of
from support import Done, Project, git, make_project, sampled

KILLED = -signal.SIGKILL
WORKFLOW = r"""
name: recovery
steps:
  - shell: echo setup >> "$TALLY"
  - mapreduce:
      on_item_failure: retry
      retry_config: {max_attempts: 2, backoff: fixed, initial_delay: 0}
      map:
        input: printf '{"id":"%s"}\n' flaky good hard
        max_parallel: 1
        agent_template:
          - shell: |
              echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"
              echo one > "$PRODIGY_ITEM_ID.txt"
              git add -A
              git commit -qm "one for $PRODIGY_ITEM_ID"
          - shell: |
              echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
              echo two >> "$PRODIGY_ITEM_ID.txt"
              case "$PRODIGY_ITEM_ID" in
                flaky) test "$(grep -c '^flaky 2' "$TALLY")" -ge 2 ;;
                hard) false ;;
              esac
      reduce:
        - shell: |
            echo reduce >> "$TALLY"
            echo "${map.successful} of ${map.total}" > report.txt
  - mapreduce:
      on_item_failure: skip
      map:
        input: printf '{"id":"%s"}\n' left-out taken
        max_parallel: 1
        agent_template:
          - shell: echo "$PRODIGY_ITEM_ID" >> "$TALLY"; echo x > "$PRODIGY_ITEM_ID.txt"; [ "$PRODIGY_ITEM_ID" = taken ]
"""
RETRY = ("dlq", "retry", "latest", "--from-failed-step", "--reduce", "--yes", "--workflow")
RULES = ["agent_failed", "agent_retrying", "agent_skipped", "dlq_item_added"]
RETRYING = [
    "workflow_changed", "job_resumed", "dlq_items_reprocessed", "step_retired", "worktree_created", "agent_started",
    "step_started", "step_finished", "merging", "worktree_merged", "agent_completed", "dlq_item_removed",
    "fanout_finished", "phase_started", "final_merge_started", "final_merge_finished", "job_completed",
]  # fmt: skip


def points(events: list[str]) -> list[str]:
    return [f"{side}:{event}" for event in events for side in ("before", "after")]


def new_project(folder: Path) -> Project:
    project = make_project(folder)
    project.workflow(WORKFLOW)
    project.workflow(WORKFLOW.replace("hard) false", "hard) true"), "edited.yml")
    return project


def run(project: Project, fault: str | None = None) -> Done:
    env = {"PRODIGY_FAULT": fault} if fault else {}
    return project.prodigy("run", project.folder / "flow.yml", "--yes", env=env)


def retry(project: Project, fault: str | None = None, trace: Path | None = None) -> Done:
    env = ({"PRODIGY_FAULT": fault} if fault else {}) | ({"PRODIGY_FAULT_TRACE": str(trace)} if trace else {})
    return project.prodigy(*RETRY, project.folder / "edited.yml", env=env)


def ran(project: Project) -> Project:
    """A run that has ended and is merged, with one dead letter; the user goes on working in the checkout."""
    assert run(project).code == 3
    project.write("README.md", "changed by hand\n")
    project.write("notes.txt", "not in git\n")
    return project


@dataclass(frozen=True)
class Reference:
    run: Result
    retried: Result
    reached: Counter[str]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    project = ran(new_project(tmp_path_factory.mktemp("reference")))
    first = result_of(project)
    trace = project.folder / "trace"
    done = retry(project, trace=trace)
    assert done.code == 0, done.err
    return Reference(first, result_of(project), Counter(trace.read_text().splitlines()))


def test_the_undisturbed_run_and_retry_do_what_the_scenes_say(reference: Reference) -> None:
    run, retried = reference.run, reference.retried
    assert run.summary["items"] == {
        "total": 5, "successful": 3, "failed": 1, "skipped": 1, "running": 0, "pending": 0,
    }  # fmt: skip
    assert run.items == {"flaky": 2, "good": 1, "hard": 2, "left-out": 1, "taken": 1}
    assert [failure["attempt_number"] for failure in run.dead["hard"]["history"]] == [1, 2]
    assert run.main["report.txt"] == "2 of 3"
    assert retried.summary["status"] == "completed"
    assert retried.dead == {}
    assert retried.main["report.txt"] == "3 of 3"
    assert retried.main["hard.txt"] == "one\ntwo"
    assert retried.tally - run.tally == Counter({"hard 2": 1, "reduce": 1})


def test_the_retry_reaches_every_listed_point(reference: Reference) -> None:
    assert set(points(RETRYING)) <= set(reference.reached)


@pytest.mark.parametrize("point", sampled(f"after:{event}" for event in RULES))
def test_a_crash_among_retried_and_skipped_items_changes_nothing(
    point: str, reference: Reference, tmp_path: Path
) -> None:
    project = new_project(tmp_path)
    assert run(project, point).code == KILLED
    done = project.prodigy("resume", "latest")
    assert done.code == 3, done.err
    assert result_of(project) == reference.run


SAMPLE = [
    "workflow_changed", "dlq_items_reprocessed", "agent_started", "step_finished", "worktree_merged",
    "dlq_item_removed", "phase_started", "final_merge_started", "job_completed",
]  # fmt: skip


@pytest.mark.parametrize("point", sampled([*(f"before:{event}" for event in SAMPLE), "final_merge:checked_out"]))
def test_a_crash_during_dlq_retry_changes_nothing(point: str, reference: Reference, tmp_path: Path) -> None:
    crash_retry_and_compare(tmp_path, point, reference)


@pytest.mark.chaos
@pytest.mark.parametrize("point", sorted(set(points(RETRYING)) - {f"before:{event}" for event in SAMPLE}))
def test_a_crash_at_any_event_of_dlq_retry_changes_nothing(point: str, reference: Reference, tmp_path: Path) -> None:
    crash_retry_and_compare(tmp_path, point, reference)


def crash_retry_and_compare(tmp_path: Path, point: str, reference: Reference) -> None:
    project = ran(new_project(tmp_path))
    assert retry(project, point).code == KILLED
    begun = _recorded(project, "dlq_items_reprocessed")
    done = project.prodigy("resume", "latest") if begun else retry(project)
    assert done.code == 0, done.err
    assert result_of(project) == reference.retried
    assert (project.repo / "README.md").read_text() == "changed by hand\n"
    assert (project.repo / "notes.txt").read_text() == "not in git\n"
    assert git(project.repo, "status", "--porcelain") == "M README.md\n?? notes.txt"


def _recorded(project: Project, event: str) -> bool:
    """Whether an event made it into the run's database."""
    db = sqlite3.connect(project.home / "runs" / project.run_id() / "run.db")
    found = db.execute("SELECT count(*) FROM event WHERE type = ?", (event,)).fetchone()[0]
    db.close()
    return bool(found)
