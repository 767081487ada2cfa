"""All runs: an index that can be thrown away, since every run's directory holds the whole truth about it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import ProdigyError, UsageError
from prodigy.home import home
from prodigy.store.database import connect, now, prepared, transaction
from prodigy.store.paths import run_directory
from prodigy.store.rows import RunRow
from prodigy.store.store import Store
from prodigy.store.trouble import is_outside

# For the locks of other processes. Seconds; we can do without the index, and the caller can't do without an answer.
_PATIENCE_S = 2.0

LATEST = "latest"
_WHERE_RUNS_ARE = "`prodigy status` lists the runs; `latest` is the newest one."

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    id TEXT PRIMARY KEY, workflow TEXT NOT NULL, file TEXT, common_dir TEXT NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL, status TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS spending (
    day TEXT NOT NULL, run_id TEXT NOT NULL, spent REAL NOT NULL, reserved REAL NOT NULL, PRIMARY KEY (day, run_id)
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True)
class IndexRow:
    id: str
    workflow: str
    file: str | None
    common_dir: str
    created_at: str
    updated_at: str
    status: str


def note(row: RunRow) -> None:
    """Put the run's present state into the index; trouble with the index never stops a run."""
    try:
        with closing(opened()) as db, transaction(db):
            _put(db, row)
    except sqlite3.Error as error:
        discard_damaged(error)  # rebuilt by whoever looks next


def forget(run_id: str) -> None:
    """Take a run out whose directory is gone. What it spent stays: the day's budget counts it."""
    try:
        with closing(opened()) as db, transaction(db):
            db.execute("DELETE FROM run WHERE id = ?", (run_id,))
    except sqlite3.Error as error:
        discard_damaged(error)


def runs(common_dir: str | None = None) -> list[IndexRow]:
    """Every run, newest first; only those of one repository when its common directory is given.

    The index is rebuilt when it is damaged, and done without when it can't be written.
    """
    if not (home() / "runs").is_dir():
        return []
    try:
        rows = _rows(common_dir, opened)
    except sqlite3.Error as error:
        discard_damaged(error)
        try:
            rows = _rows(common_dir, opened)
        except sqlite3.Error:
            rows = _rows(common_dir, _open_in_memory)
    return [row for row in rows if run_directory(row.id).is_dir()]


def _rows(common_dir: str | None, opening: Callable[[], sqlite3.Connection]) -> list[IndexRow]:
    with closing(opening()) as db:
        _add_missing(db)
        found = db.execute(
            "SELECT * FROM run WHERE common_dir = coalesce(?, common_dir) ORDER BY created_at DESC, id DESC",
            (common_dir,),
        ).fetchall()
    return [IndexRow(**dict(row)) for row in found]


def by_id(reference: str) -> str | None:
    """The run, of whatever repository, that has this id or is the only one whose id begins so; None when none does.

    Raises UsageError when the reference is empty, or more than one id begins so.
    """
    if not reference:
        raise UsageError("an empty text names no run", hint=_WHERE_RUNS_ARE)
    ids = directories()  # also those that can't be read now, so that it is their trouble that is told
    if reference in ids:
        return reference
    prefixed = [run_id for run_id in ids if run_id.startswith(reference)]
    if len(prefixed) > 1:
        raise UsageError(f"{reference} fits {len(prefixed)} runs", hint="They are " + ", ".join(prefixed[:8]))
    return prefixed[0] if prefixed else None


def by_name(reference: str, common_dir: str | None) -> str:
    """The latest run of this repository (of any, when None) that `reference` means: `latest`, a workflow's file or
    name. Raises UsageError when there is none.
    """
    known = runs()
    file = str(Path(reference).absolute())
    named = known if reference == LATEST else [row for row in known if reference == row.workflow or file == row.file]
    here = [row for row in named if common_dir is None or row.common_dir == common_dir]
    if here:
        return here[0].id
    if reference == LATEST:
        where = "" if common_dir is None else " of this repository"
        raise UsageError(f"there is no run{where} yet", hint="Start one with `prodigy run WORKFLOW`.")
    if named:
        raise UsageError(
            f"no run of this repository is called {reference}",
            hint=f"One of {named[0].common_dir} is: name it by its id, {named[0].id}.",
        )
    raise UsageError(f"no run is called {reference}", hint=_WHERE_RUNS_ARE)


def directories() -> list[str]:
    """The ids of all runs that have a directory, sorted."""
    folder = home() / "runs"
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def _path() -> Path:
    return home() / "prodigy.db"


def opened() -> sqlite3.Connection:
    """The index, for who closes it. Raises sqlite3.Error."""
    return prepared(connect(_path(), _PATIENCE_S), _SCHEMA)


def _open_in_memory() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.row_factory = sqlite3.Row
    return prepared(db, _SCHEMA)


def discard_damaged(error: sqlite3.Error) -> None:
    """Remove an index that nobody can read any more. One that is only locked, or on a full disk, stays."""
    if not is_outside(error):
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):  # a directory that can't be written: whoever looks does without the index
                _path().with_name(_path().name + suffix).unlink(missing_ok=True)


def _put(db: sqlite3.Connection, row: RunRow) -> None:
    db.execute(
        "INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row.id, row.workflow, row.file, row.common_dir, row.created_at, now(), row.status),
    )


def _add_missing(db: sqlite3.Connection) -> None:
    """Runs whose directories are there and whose rows are not: the index was lost, or they were imported."""
    known = {row["id"] for row in db.execute("SELECT id FROM run")}
    for run_id in directories():
        if run_id in known:
            continue
        try:
            with closing(Store.open(run_directory(run_id))) as store:
                row = store.run()
        except ProdigyError:
            continue  # unreadable here; it is named when somebody asks for it
        with transaction(db):
            _put(db, row)
