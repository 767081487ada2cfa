"""Every key of a step does what the reference says, as a step of a sequence, of an item, and of reduce."""

from __future__ import annotations

import json
import os
import textwrap
import time
from pathlib import Path

import pytest

from acceptance.step_key_rows import ROWS
from agent_support import stand_in_path
from prodigy.workflow import keys
from support import make_project

HEAD = "name: keys\nagents: {claude: {pass_env: OUT}}\n"
PLACES = ("steps", "map", "reduce")
# `max_iterations` stands in the row of `validate`; the others need more than steps: see the composed workflows.
ELSEWHERE = {"max_iterations", "use", "with", "workflow"}


def test_every_key_has_a_row() -> None:
    assert keys.STEP.runs - ELSEWHERE == ROWS.keys()


@pytest.mark.parametrize("key", ROWS)
@pytest.mark.parametrize("place", PLACES)
def test_a_key_does_what_it_says(place: str, key: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    row = ROWS[key]
    if place not in row.places:
        pytest.skip(f"such a step cannot stand in {place}; see the tests of what is refused")
    found = evidence(place, tmp_path_factory)[key]
    # A row has its lines side by side.
    assert " ".join(found.split("\n")) == row.lines


def evidence(place: str, factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the rows left in this place. One run serves all tests, in whatever process they are."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    result = shared / f"every-key-{place}.json"
    try:
        (shared / f"every-key-{place}.lock").mkdir()
    except FileExistsError:
        deadline = time.monotonic() + 100
        while not result.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    else:
        staged = result.with_suffix(".new")
        staged.write_text(json.dumps(_run(place, shared / f"every-key-{place}")))
        staged.rename(result)
    found: dict[str, str] = json.loads(result.read_text())
    return found


def _run(place: str, folder: Path) -> dict[str, str]:
    project = make_project(folder)
    out = folder / "out"
    out.mkdir()
    project.env |= {"OUT": str(out), "PATH": f"{stand_in_path(folder)}:{os.environ['PATH']}"}
    done = project.prodigy("run", project.workflow(_workflow(place)), "--yes")
    found = {key: (out / key).read_text().rstrip("\n") if (out / key).exists() else "" for key in ROWS}
    return {**found, "": f"{done.code}: {done.out}{done.err}"}


def _workflow(place: str) -> str:
    rows = [_steps(key, place) for key, row in ROWS.items() if place in row.places]
    steps = "\n".join(rows)
    if place == "steps":
        return f"{HEAD}steps:\n{textwrap.indent(steps, '  ')}\n"
    item, reduce = (steps, "- shell: 'true'") if place == "map" else ("- shell: 'true'", steps)
    head = f"{HEAD}map:\n  input: echo only\n  agent_template:\n"
    return f"{head}{textwrap.indent(item, '    ')}\nreduce:\n{textwrap.indent(reduce, '  ')}\n"


def _steps(key: str, place: str) -> str:
    return textwrap.dedent(ROWS[key].steps).strip("\n").replace("@", key).replace("#", place)


@pytest.mark.parametrize("place", PLACES)
def test_the_rows_run_to_the_end(place: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert evidence(place, tmp_path_factory)[""].startswith("0: ")
