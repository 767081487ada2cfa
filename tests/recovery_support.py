"""What the tests of recovery share: ways to stop a run, what its journal says, and a database with ids twice."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from prodigy.store.lock import is_held
from support import Project, Running, wait_until

# How an attempt may end.
ENDS = {"agent_completed", "agent_failed", "agent_interrupted"}


# Stopping --------------------------------------------------------------------------------------------------


def kill(running: Running) -> None:
    """kill -9 for the coordinator; the steps live on."""
    running.kill()
    running.communicate()


def kill_when(project: Project, running: Running, *lines: str) -> None:
    """kill -9 for the coordinator as soon as steps have left all of these lines."""
    wait_for_lines(project, *lines)
    kill(running)


def interrupt(running: Running) -> None:
    """Two Ctrl-C: the second when the first has been heard."""
    assert running.stderr is not None
    running.send_signal(signal.SIGINT)
    for line in running.stderr:
        if b"stopping" in line:
            break
    running.send_signal(signal.SIGINT)
    running.communicate()
    assert running.returncode == 130


def terminate(running: Running) -> None:
    """SIGTERM, as a machine that goes down sends it; the steps live on."""
    running.terminate()
    running.communicate()
    assert running.returncode == 143


# The journal -----------------------------------------------------------------------------------------------


def run_directory(project: Project) -> Path:
    return project.home / "runs" / project.run_id()


def events(project: Project, *types: str) -> list[dict[str, Any]]:
    """The events of the one run as a user gets them, oldest first; of these types, if any are named."""
    wanted = [word for name in types for word in ("--event-type", name)]
    done = project.prodigy("events", "ls", project.run_id(), "--json", *wanted)
    assert done.code == 0, done.err
    return [json.loads(line)["event"] for line in done.out.splitlines()]


def attempts(project: Project) -> dict[str, list[int]]:
    """The numbers of the attempts of each item, in the order in which they began."""
    found: dict[str, list[int]] = {}
    for event in events(project, "agent_started"):
        found.setdefault(event["item_id"], []).append(event["attempt"])
    return found


def warnings(project: Project) -> list[str]:
    return [event["message"] for event in events(project, "warned")]


def letters(project: Project) -> dict[str, dict[str, Any]]:
    """The dead letters by item id."""
    done = project.prodigy("dlq", "list", project.run_id(), "--json")
    assert done.code == 0, done.err
    return {letter["item_id"]: letter for letter in done.json}


def history(letter: Mapping[str, Any]) -> list[int]:
    """The numbers of the attempts that failed."""
    return [failure["attempt_number"] for failure in letter["failure_history"]]


def assert_every_attempt_has_ended(project: Project) -> None:
    """No attempt is left without an end, in the tables and in the journal, and none has two."""
    with closing(sqlite3.connect(run_directory(project) / "run.db")) as db:
        rows = db.execute("SELECT fanout, ordinal, number, state FROM attempt").fetchall()
    assert [row for row in rows if row[3] == "running"] == []
    journal = events(project, "agent_started", *ENDS)
    keys = [(event["fanout"], event["ordinal"], event["attempt"]) for event in journal]
    begun = Counter(key for key, event in zip(keys, journal, strict=True) if event["event_type"] == "agent_started")
    ended = Counter(key for key, event in zip(keys, journal, strict=True) if event["event_type"] in ENDS)
    assert set(begun.values()) <= {1}, "an attempt was begun twice"
    assert begun == ended
    assert begun.keys() == {tuple(row[:3]) for row in rows}


def assert_free(project: Project) -> None:
    """Nobody holds the run, and nothing of it is left behind."""
    assert not is_held(run_directory(project))
    project.assert_nothing_left()


# A database as no version of ours writes it ----------------------------------------------------------------


def add_items(project: Project, *rows: Mapping[str, object]) -> None:
    """Add items to the run's fan-out whose ids may be there already, as a damaged or foreign database could have them.

    Each of `rows` is an item's data with an `id`; the new item is pending. The run must not be held by anybody.
    """
    with closing(sqlite3.connect(run_directory(project) / "run.db", isolation_level=None)) as db:
        (table,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'item'").fetchone()
        loose = table.replace(",\n    UNIQUE (fanout, item_id)", "").replace("TABLE item", "TABLE loose", 1)
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("BEGIN IMMEDIATE")
        if "UNIQUE" in table:
            assert "UNIQUE" not in loose
            db.execute(loose)
            db.execute("INSERT INTO loose SELECT * FROM item")
            db.execute("DROP TABLE item")
            db.execute("ALTER TABLE loose RENAME TO item")
            db.execute("CREATE INDEX item_by_state ON item (fanout, state)")
        fanout, last = db.execute("SELECT fanout, max(ordinal) FROM item").fetchone()
        for ordinal, data in enumerate(rows, last + 1):
            db.execute(
                "INSERT INTO item (fanout, ordinal, item_id, label, data) VALUES (?, ?, ?, ?, ?)",
                (fanout, ordinal, data["id"], data["id"], json.dumps(data)),
            )
        db.execute("COMMIT")
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


def item_states(project: Project) -> list[tuple[str, str]]:
    """(id, state) of every row, in order."""
    with closing(sqlite3.connect(run_directory(project) / "run.db")) as db:
        return db.execute("SELECT item_id, state FROM item ORDER BY fanout, ordinal").fetchall()


def wait_for_lines(project: Project, *lines: str) -> None:
    """Wait until steps have left all of these lines."""
    wait_until(lambda: set(lines) <= set(project.tally()), f"the steps leave {lines}")


# A run to disturb ------------------------------------------------------------------------------------------


def flow(project: Project, items: list[dict[str, Any]], policy: str = "", parallel: int = 1) -> Path:
    """A workflow with two steps for each of these items, whose course files decide.

    Every step leaves `ID NUMBER` in the tally, the second one also `ID data DATA`, then it waits for the file `go` when
    there is `hold-ID`, and fails when there is `fail-ID`. What an item makes is `ID.txt`, with a commit of each step.
    """
    (project.folder / "items.json").write_text(json.dumps(items))
    return project.workflow(f"""
name: recovery
{policy}
map:
  input: cat "$SHARED/items.json"
  max_parallel: {parallel}
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"
        echo one > "$PRODIGY_ITEM_ID.txt"
        git add -A
        git commit -q -m "one of $PRODIGY_ITEM_ID"
    - shell: |
        echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
        echo "$PRODIGY_ITEM_ID data "${{item.data}} >> "$TALLY"
        if [ -e "$SHARED/hold-$PRODIGY_ITEM_ID" ]; then until [ -e "$SHARED/go" ]; do sleep 0.05; done; fi
        if [ -e "$SHARED/fail-$PRODIGY_ITEM_ID" ]; then echo "no luck with $PRODIGY_ITEM_ID" >&2; exit 1; fi
        echo two >> "$PRODIGY_ITEM_ID.txt"
        git commit -q -a -m "two of $PRODIGY_ITEM_ID"
""")


def items(names: str) -> list[dict[str, Any]]:
    """An item for each letter."""
    return [{"id": name, "data": "first"} for name in names]


def put(project: Project, *names: str) -> None:
    for name in names:
        (project.folder / name).touch()


def take(project: Project, *names: str) -> None:
    for name in names:
        (project.folder / name).unlink()


def times(project: Project, step: int) -> dict[str, int]:
    """How often this step ran, by item."""
    found = {}
    for line, count in sorted(project.tally().items()):
        item, _, what = line.partition(" ")
        if what == str(step):
            found[item] = count
    return found
