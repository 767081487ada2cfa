"""All runs: an index that can be thrown away, since every run's directory holds the whole truth about it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import CorruptState, UsageError
from prodigy.store.database import connect, now, transaction
from prodigy.store.paths import home, run_directory
from prodigy.store.rows import RunRow
from prodigy.store.store import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    id TEXT PRIMARY KEY, workflow TEXT NOT NULL, file TEXT, common_dir TEXT NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL, status TEXT NOT NULL
) STRICT;
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
        with closing(_open()) as db, transaction(db):
            _put(db, row)
    except sqlite3.Error:
        _path().unlink(missing_ok=True)  # rebuilt by whoever looks next


def runs(common_dir: str | None = None) -> list[IndexRow]:
    """Every run, newest first; only those of one repository when its common directory is given."""
    if not (home() / "runs").is_dir():
        return []
    try:
        with closing(_open()) as db:
            _add_missing(db)
            rows = db.execute(
                "SELECT * FROM run WHERE common_dir = coalesce(?, common_dir) ORDER BY created_at DESC, id DESC",
                (common_dir,),
            ).fetchall()
    except sqlite3.DatabaseError:
        _path().unlink(missing_ok=True)
        with closing(_open()) as db:
            _add_missing(db)
        return runs(common_dir)
    return [IndexRow(**dict(row)) for row in rows if run_directory(row["id"]).is_dir()]


def resolve(reference: str, common_dir: str | None) -> str:
    """The run that `reference` means: an id, a unique prefix of one, `latest`, a workflow's file or name.

    A file or name means its latest run; `latest` the latest of this repository, if the call is made in one.
    Raises UsageError when nothing or more than one run fits.
    """
    known = runs()
    if any(row.id == reference for row in known):
        return reference
    here = [row for row in known if common_dir is None or row.common_dir == common_dir]
    if reference == "latest":
        if not here:
            raise UsageError("there is no run yet", hint="Start one with `prodigy run WORKFLOW`.")
        return here[0].id
    prefixed = [row.id for row in known if row.id.startswith(reference)]
    if len(prefixed) == 1:
        return prefixed[0]
    if prefixed:
        raise UsageError(f"{reference} fits {len(prefixed)} runs", hint="They are " + ", ".join(prefixed[:8]))
    file = str(Path(reference).absolute())
    named = [row.id for row in here or known if reference == row.workflow or file == row.file]
    if named:
        return named[0]
    raise UsageError(
        f"no run is called {reference}", hint="`prodigy status` lists the runs; `latest` is the newest one."
    )


def _path() -> Path:
    return home() / "prodigy.db"


def _open() -> sqlite3.Connection:
    db = connect(_path())
    db.executescript(_SCHEMA)
    return db


def _put(db: sqlite3.Connection, row: RunRow) -> None:
    db.execute(
        "INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row.id, row.workflow, row.file, row.common_dir, row.created_at, now(), row.status),
    )


def _add_missing(db: sqlite3.Connection) -> None:
    """Runs whose directories are there and whose rows are not: the index was lost, or they were imported."""
    known = {row["id"] for row in db.execute("SELECT id FROM run")}
    folder = home() / "runs"
    for directory in sorted(folder.iterdir()):
        if directory.name in known or directory.name.startswith("."):
            continue
        try:
            with closing(Store.open(directory)) as store:
                row = store.run()
        except (UsageError, CorruptState):
            continue  # unreadable here; it is named when somebody asks for it
        with transaction(db):
            _put(db, row)
