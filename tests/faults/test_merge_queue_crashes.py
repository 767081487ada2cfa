"""kill -9 around everything that the merge queue records. Then a resume: the same is merged, and nothing runs twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from faults.scenario import assert_events_give_the_tables
from support import Project, git, make_project

KILLED = -9
# The first check waits until all others are in the queue: from then on the queue does the same each time. The item
# `bad` is merged alone with what was merged before, and mends itself when it is tried again.
FLOW = """
map:
  input: printf '{"id":"%s"}\\n' one two bad four
  max_parallel: 1
  merge:
    batch: 8
    check:
      - shell: |
          until [ "$(ls "$SHARED" | grep -c '^done-')" = 4 ]; do sleep 0.05; done
          echo "check ${check.items:csv}" >> "$TALLY"
          ! grep -q wrong *.txt
      - shell: echo "second ${check.items:csv}" >> "$TALLY"
  agent_template:
    - shell: |
        echo "${item.id} a step" >> "$TALLY"
        word=right
        if [ ${item.id} = bad ] && [ ! -e "$SHARED/again" ]; then word=wrong; fi
        echo $word > ${item.id}.txt; git add -A; git commit -qm ${item.id}
    - shell: |
        if [ ${item.id} = bad ]; then touch "$SHARED/again"; fi
        touch "$SHARED/done-${item.id}"
"""
POINTS = [
    "after:agent_queued#1", "before:merge_check_started#2", "after:merge_check_started#3",
    "after:merge_check_finished#1", "before:merge_check_finished#2", "after:merge_check_finished#2", "after:merging#2",
    "before:agent_failed#1",
]  # fmt: skip
MORE = [
    f"{side}:{event}#{number}"
    for side in ("before", "after")
    for event, most in (
        ("agent_queued", 5), ("merge_check_started", 6), ("merge_check_finished", 6), ("merging", 4),
        ("worktree_merged", 4), ("agent_failed", 1),
    )
    for number in range(1, most + 1)
    if f"{side}:{event}#{number}" not in POINTS
]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def ran(project: Project) -> Counter[str]:
    return project.tally()


def events(project: Project, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line)["event"] for line in project.prodigy("events", "ls", "--json").out.splitlines()]
    return [event for event in found if event["event_type"] == kind]


def assert_as_undisturbed(project: Project) -> None:
    files = project.files("main")
    assert {name: files[name] for name in files if name.endswith(".txt") and name != "shared.txt"} == {
        "one.txt": "right", "two.txt": "right", "bad.txt": "right", "four.txt": "right",
    }  # fmt: skip
    merged = events(project, "agent_completed")
    assert Counter(event["item_id"] for event in merged) == {"one": 1, "two": 1, "bad": 1, "four": 1}
    assert all(git(project.repo, "merge-base", "--is-ancestor", event["merged"], "main") == "" for event in merged)
    assert [event["kind"] for event in events(project, "agent_failed")] == ["check_rejected"]
    items = {line: count for line, count in ran(project).items() if line.endswith("a step")}
    assert items == {"one a step": 1, "two a step": 1, "bad a step": 2, "four a step": 1}
    project.assert_nothing_left()


def test_undisturbed(project: Project) -> None:
    done = project.prodigy("run", project.workflow(FLOW), "--yes", "--json")
    assert done.code == 0, done.err
    assert_as_undisturbed(project)
    assert max(ran(project)[f"check {which}"] for which in ("one", "two,bad,four", "two")) == 1


@pytest.mark.parametrize("point", [*POINTS, *(pytest.param(point, marks=pytest.mark.chaos) for point in MORE)])
def test_a_crash_in_the_merge_queue_merges_the_same_and_repeats_nothing(project: Project, point: str) -> None:
    killed = project.prodigy("run", project.workflow(FLOW), "--yes", "--json", env={"PRODIGY_FAULT": point})
    assert killed.code == KILLED, killed.err
    assert_events_give_the_tables(project.home / "runs" / project.run_id())
    done = project.prodigy("resume", "--yes", "--json")
    assert done.code == 0, done.err
    assert_as_undisturbed(project)
    # A batch is made of what waits when it begins, and a crash may let one begin earlier or later; but no check of the
    # same items is made twice, nor any of its steps, but of `bad`, which is tried twice.
    checks = {line: count for line, count in ran(project).items() if not line.endswith("a step") and "bad" not in line}
    assert set(checks.values()) == {1}, checks


def test_the_second_crash_in_a_row(project: Project) -> None:
    flow = project.workflow(FLOW)
    point = {"PRODIGY_FAULT": "after:merge_check_started#3"}
    assert project.prodigy("run", flow, "--yes", env=point).code == KILLED
    assert project.prodigy("resume", "--yes", env={"PRODIGY_FAULT": "before:merge_check_finished#1"}).code == KILLED
    done = project.prodigy("resume", "--yes", "--json")
    assert done.code == 0, done.err
    assert_as_undisturbed(project)
