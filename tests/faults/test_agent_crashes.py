"""kill -9 around what is recorded of agents: gates, reservations, costs. Then a resume: nothing is paid twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agent_support import script, stand_in_path
from support import Project, make_project

KILLED = -9
COMMIT = {"sh": "echo $PRODIGY_ITEM_ID > $PRODIGY_ITEM_ID && git add -A && git commit -qm $PRODIGY_ITEM_ID"}
FLOW = f"""
budget: {{max_cost_usd: 1}}
map:
  input: cat "$SHARED/items.json"
  max_parallel: 1
  agent_template:
    - claude: '${{item.id}} {script(COMMIT, {"text": "done"})}'
reduce:
  - claude: 'reduce {script({"text": "all done"})}'
    id: said
  - shell: echo ${{said}} > said.txt
"""
# The second call is refused for a moment.
POINTS = [
    "after:agent_gate_closed#1", "after:step_lost#1", "before:agent_gate_opened#1", "before:step_finished#2",
    "after:step_finished#5",
]  # fmt: skip
MORE = [
    "before:agent_gate_closed#1", "before:step_lost#1", "after:step_started#3", "after:agent_gate_opened#1",
    "after:step_finished#2", "before:step_finished#5",
]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_project(tmp_path)
    (project.folder / "limit").write_text(json.dumps({"after": 1, "seconds": 1.2}))
    (project.folder / "items.json").write_text(json.dumps([{"id": name} for name in "abc"]))
    project.env = {
        "PATH": f"{stand_in_path(project.folder)}:{project.environment()['PATH']}",
        "CLAUDE_STAND_IN_LOG": str(project.folder / "calls"),
        "CLAUDE_STAND_IN_LIMIT": str(project.folder / "limit"),
    }
    return project


def answered(project: Project) -> Counter[str]:
    """How often each prompt was answered: called, but for what was refused."""
    calls = [json.loads(line)["prompt"].split()[0] for line in (project.folder / "calls").read_text().splitlines()]
    refused = json.loads((project.folder / "limit").read_text()).get("refused", 0)
    found = Counter(calls)
    found["b"] -= refused  # the second item alone is refused
    return found


def events(project: Project) -> list[dict[str, Any]]:
    return [json.loads(line)["event"] for line in project.prodigy("events", "ls", "--json").out.splitlines()]


@pytest.mark.parametrize("point", [*POINTS, *(pytest.param(point, marks=pytest.mark.chaos) for point in MORE)])
def test_a_crash_around_an_agent_repeats_nothing_that_is_paid(project: Project, point: str) -> None:
    killed = project.prodigy("run", project.workflow(FLOW), "--yes", "--json", env={"PRODIGY_FAULT": point})
    assert killed.code == KILLED, killed.err
    done = project.prodigy("resume", "--yes", "--json")
    assert done.code == 0, done.err
    assert answered(project) == {"a": 1, "b": 1, "c": 1, "reduce": 1}
    assert done.json["cost_usd"] == pytest.approx(4 * 0.0125)
    assert (done.json["items"]["successful"], done.json["dead_letters"], done.json["gates"]) == (3, 0, [])
    assert {event["attempt"] for event in events(project) if event["event_type"] == "agent_started"} == {1}
    assert {"a", "b", "c", "said.txt"} <= project.files("main").keys()
    project.assert_nothing_left()


CONFLICT = """
map:
  input: printf 'a\\nb\\n'
  max_parallel: 2
  merge: {on_conflict: [{shell: 'echo x >> "$TALLY"; printf "one\\ntwo a and b\\nthree\\n" > shared.txt'}]}
  agent_template:
    - shell: |
        printf 'one\\ntwo %s\\nthree\\n' ${item} > shared.txt
        touch "$SHARED/in-${item}"
        until [ -e "$SHARED/in-a" ] && [ -e "$SHARED/in-b" ]; do sleep 0.05; done
        git commit -qam "Say ${item}"
"""


@pytest.mark.parametrize(
    "point", ["after:step_started#4", "before:step_finished#4", "after:step_finished#4", "before:merging#2"]
)
def test_a_crash_while_a_conflict_is_resolved_changes_nothing(project: Project, point: str) -> None:
    killed = project.prodigy("run", project.workflow(CONFLICT), "--yes", env={"PRODIGY_FAULT": point})
    assert killed.code == KILLED, killed.err
    done = project.prodigy("resume", "--yes", "--json")
    assert done.code == 0, done.err
    assert project.files("main")["shared.txt"] == "one\ntwo a and b\nthree"
    assert project.tally() == {"x": 1}
    project.assert_nothing_left()
