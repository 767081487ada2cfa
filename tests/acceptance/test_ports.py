"""Steps have the number of their slot and ports of its own, over crashes, and side by side with other runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from agent_support import script, stand_in_path
from support import Project, git, wait_until

TELL = 'echo "$PRODIGY_SLOT $PRODIGY_PORT_BASE ${env.PRODIGY_PORT_BASE} $PWD"'
MEET = 'touch "$SHARED/in-${item}"; until [ "$(ls "$SHARED" | grep -c ^in-)" = 3 ]; do sleep 0.02; done'


def registered(project: Project) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(project.home / "ports.db")) as db:
        return [(str(slot), int(base)) for slot, base in db.execute("SELECT slot, base FROM block ORDER BY base")]


def lines(project: Project, name: str) -> list[list[str]]:
    return [line.split(maxsplit=3) for line in (project.folder / name).read_text().splitlines()]


def test_items_side_by_side_have_ports_of_their_own_and_the_steps_around_them_the_same(project: Project) -> None:
    flow = f"""
workspace:
  setup: ['{TELL} >> "$SHARED/around"']
  teardown: ['{TELL} >> "$SHARED/around"']
map:
  input: printf 'a\\nb\\nc\\n'
  max_parallel: 3
  agent_template: [{{shell: '{TELL} >> "$SHARED/items"; {MEET}'}}]
reduce: [{{shell: '{TELL} >> "$SHARED/reduce"'}}]
"""
    done = project.prodigy("run", project.workflow(flow), "--yes")
    assert done.code == 0, done.err
    items = lines(project, "items")
    assert sorted(slot for slot, *_ in items) == ["1", "2", "3"]
    bases = {base for _, base, *_ in items}
    assert len(bases) == 3
    assert all(base == in_text for _, base, in_text, _ in items)
    assert all(path.endswith(f"-s{slot}") for slot, *_, path in items)
    ((slot, base, *_),) = lines(project, "reduce")
    assert slot == "0"
    assert base not in bases
    by_place = {path: (slot, base) for slot, base, _, path in [*items, *lines(project, "reduce")]}
    around = lines(project, "around")
    assert len(around) == 8
    assert all(by_place[path] == (slot, base) for slot, base, _, path in around)
    assert registered(project) == []  # the run is over


def test_two_runs_at_once_share_no_ports_and_agents_see_them(project: Project) -> None:
    project.env = {"PATH": f"{stand_in_path(project.folder)}:{project.environment()['PATH']}"}
    told = script({"sh": "echo $PRODIGY_PORT_BASE > port.txt"}, {"text": "done"})
    flow = f"""
- claude: '{told}'
- shell: cat port.txt >> "$SHARED/ports"; until [ "$(wc -l < "$SHARED/ports")" = 2 ]; do sleep 0.02; done
"""
    running = [project.start("run", project.workflow(flow), "--no-merge") for _ in range(2)]
    for process in running:
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
    first, second = (int(line) for line in (project.folder / "ports").read_text().split())
    assert abs(first - second) >= 20


def test_a_run_that_was_killed_has_the_same_ports_again(project: Project) -> None:
    flow = f"""
- shell: {TELL} >> "$SHARED/before"
- shell: {TELL} >> "$SHARED/after"; touch "$SHARED/there"; until [ -e "$SHARED/go" ]; do sleep 0.02; done
- shell: {TELL} >> "$SHARED/after"
"""
    running = project.start("run", project.workflow(flow), "--yes")
    wait_until(lambda: (project.folder / "there").exists(), "the second step works")
    running.kill()
    running.wait()
    running.communicate()
    held = registered(project)
    assert [slot for slot, _ in held] == ["run"]
    (project.folder / "go").touch()
    done = project.prodigy("resume", "--yes")
    assert done.code == 0, done.err
    told = [base for _, base, *_ in lines(project, "before") + lines(project, "after")]
    assert told == [str(held[0][1])] * 3
    assert registered(project) == []
    assert git(project.repo, "status", "--porcelain") == ""


def test_without_ports_the_run_stops_and_says_so(project: Project) -> None:
    project.home.mkdir()
    for number in range(600):
        (project.home / "runs" / f"old{number // 100}").mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(project.home / "ports.db")) as db:
        db.execute(
            "CREATE TABLE block (base INTEGER PRIMARY KEY, run_id TEXT NOT NULL, slot TEXT NOT NULL,"
            " number INTEGER NOT NULL, UNIQUE (run_id, slot)) STRICT"
        )
        rows = [(20_000 + number * 20, f"old{number // 100}", f"s{number}", number) for number in range(600)]
        db.executemany("INSERT INTO block VALUES (?, ?, ?, ?)", rows)
        db.commit()
    done = project.prodigy("run", project.workflow("- shell: echo hello > made.txt\n"), "--yes")
    assert done.code == 5
    assert "all 600 blocks of ports of this home are taken by runs that are not over" in done.err
    for folder in (project.home / "runs").glob("old*"):
        folder.rmdir()
    done = project.prodigy("resume", "--yes")
    assert done.code == 0, done.err
    assert project.files("main")["made.txt"] == "hello"
