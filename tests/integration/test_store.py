"""The database of a run: events and tables say the same, and bad databases are refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from faults.scenario import WORKFLOW, assert_events_give_the_tables
from prodigy.errors import CorruptState, UsageError
from prodigy.state import events as ev
from prodigy.store.rows import RunRow
from prodigy.store.store import Store
from support import Project


def test_folding_the_events_gives_the_tables(project: Project) -> None:
    done = project.prodigy("run", project.workflow(WORKFLOW), "--yes")
    assert done.code == 3, done.err
    project.prodigy("dlq", "retry", "latest")
    assert_events_give_the_tables(project.home / "runs" / project.run_id())


def new_store(directory: Path) -> Store:
    row = RunRow(
        id="r", workflow="w", file=None, repo="/r", common_dir="/r/.git", base="b", branch="refs/heads/x",
        target=None, options="{}", created_at="2026-01-01T00:00:00Z", tip="b",
    )  # fmt: skip
    return Store.create(directory, row, "{}")


def test_a_transaction_that_fails_leaves_neither_event_nor_state(tmp_path: Path) -> None:
    with closing(new_store(tmp_path / "r")) as store:
        before = len(list(store.events()))
        with pytest.raises(CorruptState):
            store.record(
                ev.Warned(message="rolled back as well"),
                ev.WorktreeMerged(path="it1/1", old="a", new="b"),
            )
        assert len(list(store.events())) == before


def test_a_newer_database_is_refused_with_a_message(tmp_path: Path) -> None:
    new_store(tmp_path / "r").close()
    with closing(sqlite3.connect(tmp_path / "r" / "run.db")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="newer version"):
        Store.open(tmp_path / "r")


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    new_store(tmp_path / "r").close()
    (tmp_path / "r" / "run.db").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(CorruptState, match="can't be read"):
        Store.open(tmp_path / "r")


def test_the_index_is_rebuilt_from_the_runs(project: Project) -> None:
    workflow = project.workflow("name: one\nsteps:\n  - shell: 'true'\n")
    assert project.prodigy("run", workflow).code == 0
    run_id = project.run_id()
    for file in project.home.glob("prodigy.db*"):
        file.unlink()
    assert [row["run_id"] for row in project.prodigy("status", "--json").json] == [run_id]
    (project.home / "prodigy.db").write_bytes(b"garbage" * 1000)
    assert [row["run_id"] for row in project.prodigy("status", "--json").json] == [run_id]


@pytest.mark.parametrize("reference", ["latest", "one", "flow.yml", "id", "prefix"])
def test_a_run_is_found_by_id_prefix_name_file_and_latest(project: Project, reference: str) -> None:
    workflow = project.workflow("name: one\nsteps:\n  - shell: 'true'\n")
    assert project.prodigy("run", workflow).code == 0
    run_id = project.run_id()
    named = {"id": run_id, "prefix": run_id[:17], "flow.yml": str(workflow)}.get(reference, reference)
    assert project.prodigy("status", named, "--json").json["run_id"] == run_id


def test_a_run_that_is_not_there_is_a_usage_error(project: Project) -> None:
    done = project.prodigy("resume", "nothing")
    assert done.code == 2
    assert "no run is called nothing" in done.err


def test_a_database_with_damaged_pages_is_named_and_hides_no_other_run(project: Project) -> None:
    workflow = project.workflow("name: one\nsteps:\n  - shell: 'true'\n")
    assert project.prodigy("run", workflow).code == 0
    damaged = project.run_id()
    assert project.prodigy("run", workflow).code == 0
    path = project.home / "runs" / damaged / "run.db"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    for name in ("run.db-wal", "run.db-shm"):
        path.with_name(name).unlink(missing_ok=True)
    for command in (("status", damaged), ("resume", damaged), ("dlq", "list", damaged)):
        done = project.prodigy(*command)
        assert done.code == 5, done.err
        assert "run.db" in done.err
        assert "bug" not in done.err
    listing = project.prodigy("status", "--json")
    assert listing.code == 0
    assert len(listing.json) == 1
