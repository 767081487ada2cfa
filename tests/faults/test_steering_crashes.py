"""kill -9 around what steers a run: either it was never asked, or it holds; no step runs twice."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from support import Project, wait_until

FLOW = """
map:
  input: printf '%s\\n' bad slow other
  max_parallel: 2
  agent_template:
    - shell: echo ${item} >> "$TALLY"; test ${item} != bad || test -e "$SHARED/mended"
    - shell: until [ -e "$SHARED/go" ]; do sleep 0.02; done; echo ${item} > ${item}
"""
STEERED = {
    "job_held": ["pause"],
    "job_steered": ["steer", "--max-parallel", "3"],
    "dlq_items_reprocessed": ["steer", "--retry", "bad"],
}


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("event", STEERED)
def test_a_crash_while_a_run_is_steered_loses_nothing(project: Project, let_go: None, event: str, side: str) -> None:
    running = project.start("run", project.workflow(FLOW), env={"PRODIGY_FAULT": f"{side}:{event}"})
    wait_until(lambda: project.tally() == Counter(["bad", "slow", "other"]), "the others")
    wait_until(lambda: project.prodigy("status", "latest", "--json").json["dead_letters"] == 1, "a dead letter")
    (project.folder / "mended").touch()
    project.prodigy(*STEERED[event])
    _, said = running.communicate()
    assert running.returncode == -signal.SIGKILL, said
    told = project.prodigy("status", "latest", "--json").json
    assert told["status"] == ("paused" if (side, event) == ("after", "job_held") else "interrupted")
    (project.folder / "go").touch()
    done = project.prodigy("resume", "--include-dlq", "--yes", "--json")
    assert done.code == 0, done.err
    assert project.tally() == Counter({"bad": 2, "slow": 1, "other": 1})
    assert done.json["items"]["successful"] == 3
    assert {"bad", "slow", "other"} <= project.files("main").keys()
    project.assert_nothing_left()
