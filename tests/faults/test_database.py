"""The database of a run, or the index of all runs, is locked, damaged or gone: said clearly, and nothing else is hurt.

What a run does meanwhile is disturbed by shell commands at fault points, so that the moment is exact.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest

from prodigy.errors import CorruptState, EnvironmentProblem
from prodigy.state import events as ev
from prodigy.store.database import connect, transaction
from prodigy.store.rows import RunRow
from prodigy.store.store import Store
from support import Done, Project, git, processes_of, wait_until

ENVIRONMENT = 5
WITH_FAILURES = 3
KILLED = -signal.SIGKILL

WORKFLOW = r"""
name: stored
steps:
  - shell: |
      echo setup >> "$TALLY"
      eval "${IN_SETUP:-}"
      echo made > made.txt
  - mapreduce:
      map:
        input: printf '{"id":"%s"}\n' a b bad
        max_parallel: 1
        agent_template:
          - shell: |
              echo "$PRODIGY_ITEM_ID" >> "$TALLY"
              [ $PRODIGY_ITEM_ID != b ] || eval "${IN_ITEM:-}"
              echo work > "$PRODIGY_ITEM_ID.txt"
              [ $PRODIGY_ITEM_ID != bad ]
      reduce:
        - shell: echo reduce >> "$TALLY"
"""
ONCE = Counter(["setup", "a", "b", "bad", "reduce"])


def run_disturbed(project: Project, moment: str, command: str | None = None, **more: str) -> Done:
    """Run the workflow; at the moment, do the command, or kill the process without one."""
    disturbance = {"PRODIGY_FAULT": moment} | ({} if command is None else {"PRODIGY_FAULT_COMMAND": command})
    return project.prodigy("run", project.workflow(WORKFLOW), "--yes", env=disturbance | more)


def stopped_run(project: Project, moment: str = "after:worktree_merged#2") -> Path:
    """A run that was killed in the middle; its database, with everything in the one file."""
    killed = run_disturbed(project, moment)
    assert killed.code == KILLED, killed.err
    wait_until(lambda: not processes_of(project.folder), "its processes end")
    path = project.home / "runs" / project.run_id() / "run.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def database(project: Project) -> Path:
    return project.home / "runs" / project.run_id() / "run.db"


def assert_environment(done: Done, *words: str) -> None:
    assert done.code == ENVIRONMENT, done.out + done.err
    assert "Traceback" not in done.err
    assert "bug" not in done.err
    for word in words:
        assert word in done.err


def resumed_to_the_end(project: Project, tally: Counter[str] = ONCE) -> None:
    done = project.prodigy("resume", "latest", "--yes")
    assert done.code == WITH_FAILURES, done.out + done.err
    assert project.tally() == tally
    letters = project.prodigy("dlq", "list", "latest", "--json").json
    assert [letter["item_id"] for letter in letters] == ["bad"]
    assert project.files("main")["b.txt"] == "work"
    project.assert_nothing_left()


# Locked --------------------------------------------------------------------------------------------------------


def lock_command(pattern: Path, *, seconds: float = 600.0) -> str:
    """Shell text that locks a database in the background, until a file `unlock` is there or so long."""
    code = (
        "import glob, os, sqlite3, sys, time\n"
        "folder = os.environ['SHARED']\n"
        f"(path,) = glob.glob(glob.escape(folder) + '/{pattern}')\n"
        "db = sqlite3.connect(path, isolation_level=None, timeout=60)\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "open(folder + '/locked', 'w').close()\n"
        f"end = time.monotonic() + {seconds}\n"
        "while time.monotonic() < end and not os.path.exists(folder + '/unlock'):\n"
        "    time.sleep(0.05)\n"
    )
    wait = 'until [ -e "$SHARED/locked" ]; do sleep 0.05; done'
    return f"'{sys.executable}' -I -c \"{code}\" >/dev/null 2>&1 & {wait}"


RUN_DB = Path("home/runs/*/run.db")
INDEX = Path("home/prodigy.db")


def test_a_run_waits_for_a_process_that_locks_its_database_for_a_while(project: Project) -> None:
    done = run_disturbed(project, "before:agent_started#2", lock_command(RUN_DB, seconds=2))
    assert (project.folder / "locked").exists()
    assert done.code == WITH_FAILURES, done.err
    assert project.tally() == ONCE
    wait_until(lambda: not processes_of(project.folder), "the locker ends")
    project.assert_nothing_left()


@pytest.mark.chaos
def test_a_run_whose_database_stays_locked_stops_and_can_be_resumed(project: Project) -> None:
    done = run_disturbed(project, "before:agent_started#2", lock_command(RUN_DB))
    assert_environment(done, "run.db", "locked", "resume")
    (project.folder / "unlock").touch()
    wait_until(lambda: not processes_of(project.folder), "the locker ends")
    resumed_to_the_end(project)


def test_a_lock_that_lasts_too_long_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with closing(new_store(tmp_path / "r")) as store, closing(sqlite3.connect(tmp_path / "r" / "run.db")) as other:
        store._db.execute("PRAGMA busy_timeout = 50")  # the real one is half a minute
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(EnvironmentProblem, match="locked") as refused:
            store.record(ev.Warned(message="hello"))
        with pytest.raises(EnvironmentProblem, match="locked"):
            store.add_request("cancel")
        other.rollback()
        assert refused.value.where == str(tmp_path / "r" / "run.db")
        assert "prodigy resume r" in (refused.value.hint or "")
        store.record(ev.Warned(message="hello"))
        assert [record["event"] for record in store.events()] == [{"event_type": "warned", "message": "hello"}]


# Full at the worst moments ---------------------------------------------------------------------------------------


def new_store(directory: Path) -> Store:
    row = RunRow(
        id="r", workflow="w", file=None, repo="/r", common_dir="/r/.git", base="b", branch="refs/heads/x",
        target=None, options="{}", created_at="2026-01-01T00:00:00Z", tip="b",
    )  # fmt: skip
    return Store.create(directory, row, "{}")


BIG = ev.Warned(message="x" * 200_000)


@pytest.mark.parametrize("room_after", [1, 2])
def test_a_write_that_finds_no_room_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room_after: int
) -> None:
    with closing(new_store(tmp_path / "r")) as store:
        limit(store, 0)
        pauses: list[float] = []

        def make_room(pause_s: float) -> None:
            pauses.append(pause_s)
            if len(pauses) == room_after:
                limit(store, 1000)

        monkeypatch.setattr("prodigy.store.store.time.sleep", make_room)
        store.record(BIG)
        assert len(pauses) == room_after
        assert len(list(store.events())) == 1


def test_a_write_that_never_finds_room_is_an_error_and_leaves_the_store_usable(tmp_path: Path) -> None:
    with closing(new_store(tmp_path / "r")) as store:
        limit(store, 0)
        with pytest.raises(EnvironmentProblem, match="full") as refused:
            store.record(BIG)
        assert "Make room, then: prodigy resume r" in (refused.value.hint or "")
        limit(store, 1000)
        store.record(BIG)
        assert len(list(store.events())) == 1


def test_a_commit_that_fails_leaves_no_transaction_open(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "db")) as db:
        db.executescript(
            "CREATE TABLE owner (id INTEGER PRIMARY KEY);"
            "CREATE TABLE thing (owner INTEGER REFERENCES owner DEFERRABLE INITIALLY DEFERRED)"
        )
        # The constraint is looked at in the commit only, which then fails as it does on a full disk.
        with pytest.raises(sqlite3.IntegrityError), transaction(db):
            db.execute("INSERT INTO thing VALUES (1)")
        with transaction(db):
            db.execute("INSERT INTO owner VALUES (1)")
        assert db.execute("SELECT (SELECT count(*) FROM owner), (SELECT count(*) FROM thing)").fetchone()[:] == (1, 0)


def limit(store: Store, pages: int) -> None:
    """Let the database grow by so many pages."""
    (used,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {used + pages}")


# Damaged -------------------------------------------------------------------------------------------------------


def overwrite_a_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xa5" * 4096
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_text(path: Path) -> None:
    path.write_text("what was here has gone to a better place\n" * 300)


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [overwrite_a_page, truncate, replace_by_text, delete])
def test_a_damaged_database_is_named_with_the_way_to_the_work_and_hurts_no_other_run(
    project: Project, harm: Callable[[Path], None]
) -> None:
    path = stopped_run(project)
    run_id = path.parent.name
    harm(path)
    before = path.read_bytes() if path.exists() else None
    for command in (("resume", run_id), ("resume", run_id, "--detach")):
        done = project.prodigy(*command)
        assert_environment(done, f"prodigy/{run_id}/run")
    assert (path.read_bytes() if path.exists() else None) == before, "a damaged file is left for whoever can mend it"
    assert "work" in project.files(f"prodigy/{run_id}/run")["a.txt"]
    project.tally_file.unlink()
    other = project.prodigy("run", project.workflow(WORKFLOW), "--yes")
    assert other.code == WITH_FAILURES, other.err
    assert project.tally() == ONCE
    listed = project.prodigy("status", "--json")
    assert listed.code == 0
    assert "completed_with_failures" in [summary["status"] for summary in listed.json]
    assert "bug" not in listed.err
    assert processes_of(project.folder) == []


def test_a_page_overwritten_anywhere_is_found_before_anything_is_run(project: Project, tmp_path: Path) -> None:
    whole = stopped_run(project).read_bytes()
    directory = tmp_path / "copy"
    directory.mkdir()
    unused = unused_pages(tmp_path, whole)
    passed = []
    for page in range(len(whole) // 4096):
        data = bytearray(whole)
        data[page * 4096 : (page + 1) * 4096] = b"\xa5" * 4096
        for file in directory.iterdir():
            file.unlink()
        (directory / "run.db").write_bytes(data)
        try:
            with closing(Store.open(directory)) as store:
                store.migrate()
        except CorruptState:
            continue
        passed.append(page + 1)
    assert set(passed) <= unused


def unused_pages(folder: Path, data: bytes) -> set[int]:
    """Pages of the free list, whose content means nothing."""
    path = folder / "whole.db"
    path.write_bytes(data)
    with closing(sqlite3.connect(path)) as db:
        (count,) = db.execute("PRAGMA freelist_count").fetchone()
    return set(range(1, len(data) // 4096 + 1)) if count else set()


# Other versions ------------------------------------------------------------------------------------------------


def test_a_newer_database_is_refused_and_left_as_it_is(project: Project) -> None:
    path = stopped_run(project)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    done = project.prodigy("resume", "latest")
    assert done.code == 2, done.err
    assert "newer version" in done.err
    assert "Update Prodigy" in done.err
    assert path.read_bytes() == before
    assert "setup" in project.tally()
    assert "reduce" not in project.tally()


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_database_is_brought_up_to_date_by_a_resume(project: Project, version: int) -> None:
    path = stopped_run(project, "before:agent_started#2")
    downgrade(path, version)
    assert project.prodigy("status", project.run_id()).code == 0
    assert user_version(path) == version, "whoever only looks changes nothing"
    resumed_to_the_end(project)
    assert user_version(path) > version


def user_version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def downgrade(path: Path, version: int) -> None:
    """Make the database one that an earlier Prodigy would have written: with the columns it knew."""
    old = path.with_name("old.db")
    with closing(sqlite3.connect(old, isolation_level=None)) as db:
        folder = resources.files("prodigy.store") / "migrations"
        for script in sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))[:version]:
            db.executescript((folder / script).read_text())
        db.execute("ATTACH ? AS new", (str(path),))
        tables = db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        for (table,) in tables.fetchall():
            known = {row[1] for row in db.execute(f"PRAGMA new.table_info({table})")}
            names = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})") if row[1] in known)
            db.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
        db.execute(f"PRAGMA user_version = {version}")
    old.replace(path)


# Deleted while the run is going -----------------------------------------------------------------------------------

DATABASE_FILES = {
    "all three files": 'rm "$SHARED"/home/runs/*/run.db*',
    "only run.db": 'rm "$SHARED"/home/runs/*/run.db',
}


@pytest.mark.parametrize("files", DATABASE_FILES)
@pytest.mark.parametrize("where", ["IN_SETUP", "IN_ITEM"])
def test_a_database_that_a_step_deletes_is_written_anew_and_the_run_stops(
    project: Project, files: str, where: str
) -> None:
    once = f'[ -e "$SHARED/deleted" ] || {{ touch "$SHARED/deleted"; {DATABASE_FILES[files]}; }}'
    project.env[where] = once
    done = project.prodigy("run", project.workflow(WORKFLOW), "--yes")
    assert_environment(done, "run.db", "was deleted while the run was going", "prodigy resume")
    assert project.prodigy("status", "latest", "--json").json["status"] == "interrupted"
    resumed_to_the_end(project)


def test_a_database_that_is_deleted_just_before_the_end_does_not_end_as_completed(project: Project) -> None:
    done = run_disturbed(project, "before:job_completed", DATABASE_FILES["all three files"])
    assert_environment(done, "was deleted while the run was going")
    resumed_to_the_end(project)


def test_something_else_in_the_place_of_the_database_is_left_there(project: Project) -> None:
    command = f'{DATABASE_FILES["all three files"]}; for d in "$SHARED"/home/runs/*; do echo mine > "$d/run.db"; done'
    done = run_disturbed(project, "before:agent_started#2", command)
    assert_environment(done, "something else", f"prodigy/{project.run_id()}/run")
    assert database(project).read_text() == "mine\n"


def test_a_run_whose_whole_directory_is_deleted_stops_and_names_its_branch(project: Project) -> None:
    command = 'mv "$SHARED"/home/runs/* "$SHARED/gone"; rm -rf "$SHARED/gone"'
    done = run_disturbed(project, "before:agent_started#2", command)
    assert_environment(done, "directory was deleted", "git log prodigy/")
    branch = git(project.repo, "branch", "--list", "prodigy/*/run", "--format=%(refname:short)")
    assert branch in done.err
    assert project.files(branch)["a.txt"] == "work"
    wait_until(lambda: not processes_of(project.folder), "its processes end")
    assert list((project.home / "runs").rglob("run.db")) == []
    cleaned = project.prodigy("worktree", "clean", "--force")
    assert cleaned.code == 0, cleaned.err
    project.assert_nothing_left()


# The log beside the database -------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["after:step_started#4", "after:merging#2", "after:worktree_merged#2"])
def test_a_log_that_is_deleted_between_two_processes_is_missed_before_anything_is_run(
    project: Project, moment: str
) -> None:
    killed = run_disturbed(project, moment)
    assert killed.code == KILLED, killed.err
    wait_until(lambda: not processes_of(project.folder), "its processes end")
    kept = project.folder / "kept"
    kept.mkdir()
    before = project.tally()
    for suffix in ("", "-wal", "-shm"):
        file = database(project).with_name(f"run.db{suffix}")
        shutil.copy(file, kept)
        if suffix:
            file.unlink()
    done = project.prodigy("resume", "latest")
    assert_environment(done, "has lost its last", "run.db-wal", f"prodigy/{project.run_id()}/run")
    assert project.tally() == before
    for file in kept.iterdir():
        shutil.copy(file, database(project).parent)
    resumed_to_the_end(project)


def test_a_database_of_an_earlier_moment_is_not_taken_for_the_present(project: Project) -> None:
    command = 'for d in "$SHARED"/home/runs/*; do cp "$d"/run.db* "$SHARED"; done'
    assert run_disturbed(project, "after:merging#2", command).code == WITH_FAILURES
    for file in project.folder.glob("run.db*"):
        shutil.copy(file, database(project).parent)
    assert_environment(project.prodigy("resume", "latest"), "has lost its last", "older copy")
    assert project.tally() == ONCE


def test_the_number_of_the_last_event_is_no_condition_for_anything(project: Project) -> None:
    path = stopped_run(project)
    path.with_name("last-event").write_text("no number")
    resumed_to_the_end(project)


# The index -----------------------------------------------------------------------------------------------------

INDEX_HARM = {
    "deleted": 'rm "$SHARED"/home/prodigy.db*',
    "damaged": 'for i in 1 2 3 4 5 6 7 8 9; do echo "this is no database at all"; done > "$SHARED/home/prodigy.db"',
    "a directory": 'rm "$SHARED"/home/prodigy.db*; mkdir "$SHARED/home/prodigy.db"',
    "locked": lock_command(INDEX),
}


@pytest.mark.parametrize("harm", INDEX_HARM)
def test_trouble_with_the_index_never_stops_a_run(project: Project, harm: str) -> None:
    done = run_disturbed(project, "after:step_started#1", INDEX_HARM[harm])
    assert done.code == WITH_FAILURES, done.err
    assert project.tally() == ONCE
    listed = project.prodigy("status", "--json")
    assert listed.code == 0, listed.err
    assert [summary["status"] for summary in listed.json] == ["completed_with_failures"]
    (project.folder / "unlock").touch()
    wait_until(lambda: not processes_of(project.folder), "the locker ends")
    project.assert_nothing_left()


# Homes ---------------------------------------------------------------------------------------------------------


def test_a_home_that_became_a_file_is_told(project: Project) -> None:
    assert project.prodigy("run", project.workflow(WORKFLOW), "--yes").code == WITH_FAILURES
    shutil.rmtree(project.home)
    project.home.write_text("not a directory")
    assert_environment(project.prodigy("run", project.workflow(WORKFLOW)), "PRODIGY_HOME")
    for command in ("status", "resume"):
        done = project.prodigy(command)
        assert done.code in (0, 2), done.err
        assert "bug" not in done.err
