"""The database of one run: what was decided and what happened. A change is a transaction with its events."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from prodigy import faults
from prodigy.errors import CorruptState, EnvironmentProblem, UsageError
from prodigy.state import events as ev
from prodigy.state.events import storable
from prodigy.store.database import SCHEMA_VERSION, connect, migrate, migrated_copy, now, transaction
from prodigy.store.project import project
from prodigy.store.questions import Questions, trouble
from prodigy.store.rows import RunRow


class Store(Questions):
    """An open run database. `record` is the only way in; the rest are questions."""

    def __init__(self, directory: Path, db: sqlite3.Connection, view: sqlite3.Connection | None = None) -> None:
        super().__init__(directory, view or db)
        self._db = db
        self.listener: Callable[[ev.Event], None] = _nobody

    # Opening -----------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, directory: Path, row: RunRow, workflow_json: str) -> Store:
        """Make the run's directory and database whole, or not at all; raises EnvironmentProblem."""
        staging = directory.with_name(f".{directory.name}.new")
        try:
            staging.mkdir(mode=0o700, parents=True)
            db = connect(staging / "run.db")
            try:
                migrate(db)
                columns = vars(row)
                names, marks = ", ".join(columns), ", ".join("?" * len(columns))
                with transaction(db):
                    db.execute(f"INSERT INTO run ({names}) VALUES ({marks})", tuple(columns.values()))  # noqa: S608
                    db.execute("INSERT INTO workflow_version VALUES (1, ?, ?)", (workflow_json, now()))
            finally:
                db.close()
            staging.rename(directory)
        except (OSError, sqlite3.Error) as error:
            raise EnvironmentProblem(f"the run can't be stored: {error}", where=str(directory)) from error
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path) -> Store:
        """Open an existing run; raises UsageError when there is none, CorruptState when it can't be read."""
        path = directory / "run.db"
        if not path.is_file():
            raise UsageError(f"there is no run {directory.name}", hint="`prodigy status` lists the runs.")
        try:
            db = connect(path)
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
        except sqlite3.DatabaseError as error:
            raise CorruptState(f"the run's database can't be read: {error}", where=str(path)) from error
        if version > SCHEMA_VERSION:
            db.close()
            raise UsageError(
                f"run {directory.name} was written by a newer version of Prodigy",
                hint="Update Prodigy, then try again.",
            )
        return cls(directory, db, migrated_copy(db) if 0 < version < SCHEMA_VERSION else None)

    def migrate(self) -> None:
        """Bring an older schema up to date; only the holder of the run's lock may call it."""
        migrate(self._db)
        self._view = self._db

    def close(self) -> None:
        self._view.close()
        self._db.close()

    # The one way in ----------------------------------------------------------------------------------------

    def record(self, *events: ev.Event) -> None:
        """Append the events and move the tables, in one transaction that is on disk when this returns."""
        self._write(events, None)

    def plan_items(self, fanout: str, items: Iterable[tuple[int, str, str, str]], event: ev.ItemsPlanned) -> None:
        """Store a fan-out's items (ordinal, id, label, JSON) for good, with the event that says so."""
        rows = [(fanout, *item) for item in items]
        self._write((event,), ("INSERT INTO item (fanout, ordinal, item_id, label, data) VALUES (?, ?, ?, ?, ?)", rows))

    def keep_setup_leftovers(self, paths: Iterable[str], event: ev.PhaseStarted) -> None:
        """Remember the untracked files that setup left: they stay visible and are never committed."""
        rows = [(os.fsencode(path),) for path in paths]
        self._write((event,), ("INSERT OR IGNORE INTO setup_leftover VALUES (?)", rows))

    def _write(self, events: Iterable[ev.Event], rows: tuple[str, Sequence[tuple[object, ...]]] | None) -> None:
        events = tuple(storable(event) for event in events)
        at = now()
        for event in events:
            faults.point(f"before:{event.type}")
        try:
            with transaction(self._db):
                for event in events:
                    project(self._db, event, at)
                    self._db.execute(
                        "INSERT INTO event (id, at, type, data) VALUES (?, ?, ?, ?)",
                        (str(uuid.uuid4()), at, event.type, json.dumps(event.data())),
                    )
                if rows is not None:
                    self._db.executemany(*rows)
        except sqlite3.Error as error:
            raise trouble(self.directory, "written", error) from error
        for event in events:
            faults.point(f"after:{event.type}")
            self.listener(event)

    def add_request(self, kind: str, data: dict[str, object] | None = None) -> None:
        """Ask the run's coordinator for something (`stop`); any process may."""
        with transaction(self._db):
            self._db.execute(
                "INSERT INTO request (at, kind, data) VALUES (?, ?, ?)", (now(), kind, json.dumps(data or {}))
            )

    def take_requests(self) -> list[str]:
        """The kinds of all requests that nobody has taken yet, oldest first; they are taken now."""
        rows = self._all("SELECT id, kind FROM request WHERE handled_at IS NULL ORDER BY id")
        if rows:
            with transaction(self._db):
                self._db.execute("UPDATE request SET handled_at = ? WHERE handled_at IS NULL", (now(),))
        return [str(row["kind"]) for row in rows]


def _nobody(_: ev.Event) -> None:
    """Listens to nothing."""
