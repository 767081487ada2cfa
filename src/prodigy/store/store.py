"""The database of one run: what was decided and what happened. A change is a transaction with its events."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from prodigy import faults
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.secrets import MASKS
from prodigy.state import events as ev
from prodigy.state.event_data import masked, storable
from prodigy.store import trail
from prodigy.store.database import SCHEMA_VERSION, connect, damage, migrate, migrated_copy, now, transaction
from prodigy.store.last_event import LastEvent
from prodigy.store.project import project
from prodigy.store.questions import Questions
from prodigy.store.rescue import rescued
from prodigy.store.rows import Request, RunRow
from prodigy.store.trouble import damaged, passes, trouble

_Answer = TypeVar("_Answer")

# Pauses before a transaction is tried again that failed for want of room. Seconds; nothing else happens meanwhile.
_AGAIN_S = (0.1, 0.4)


class Store(Questions):
    """An open run database. `record` is the only way in; the rest are questions."""

    def __init__(self, directory: Path, db: sqlite3.Connection, view: sqlite3.Connection | None = None) -> None:
        super().__init__(directory, view or db)
        self._db = db
        self._place, self._file = directory.stat(), (directory / "run.db").stat()
        self._last_event = LastEvent(directory)
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
            shutil.rmtree(staging, ignore_errors=True)
            hint = "Mend that, then start it again; nothing of it was kept."
            raise EnvironmentProblem(f"the run can't be stored: {error}", where=str(directory), hint=hint) from error
        return cls.open(directory)

    @classmethod
    def open(cls, directory: Path) -> Store:
        """Open an existing run.

        Raises UsageError when there is none or it is a newer Prodigy's, EnvironmentProblem when something around the
        database is in the way, CorruptState when it is damaged.
        """
        path = directory / "run.db"
        if not directory.is_dir():
            raise UsageError(f"there is no run {directory.name}", hint="`prodigy status` lists the runs.")
        if not path.is_file():
            raise damaged(directory, "the run's database is gone")
        if path.stat().st_size == 0:
            raise damaged(directory, "the run's database is empty")
        with ExitStack() as on_failure:
            try:
                db = connect(path)
                on_failure.callback(db.close)
                version = int(db.execute("PRAGMA user_version").fetchone()[0])
                view = migrated_copy(db) if 0 < version < SCHEMA_VERSION else None
            except sqlite3.Error as error:
                raise trouble(directory, "read", error) from error
            if version < 1:
                raise damaged(directory, "the run's database is empty")
            if version > SCHEMA_VERSION:
                raise UsageError(
                    f"run {directory.name} was written by a newer version of Prodigy",
                    hint="Update Prodigy, then try again.",
                )
            store = cls(directory, db, view)
            MASKS.learn(directory)  # whoever opens it will show something of it
            on_failure.pop_all()
            return store

    def migrate(self) -> None:
        """Look whether the database is whole and has all that was written, and bring an older schema up to date.

        Only the holder of the run's lock may call it. Raises as `open` does; a damaged database is left as it is.
        """
        try:
            if found := damage(self._db):
                raise damaged(self.directory, f"the run's database is damaged: {found}")
            self._last_event.check(int(self._db.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]))
            migrate(self._db)
        except sqlite3.Error as error:
            raise trouble(self.directory, "read", error) from error
        self._view = self._db

    def close(self) -> None:
        self._last_event.close()
        self._view.close()
        self._db.close()

    # The one way in ----------------------------------------------------------------------------------------

    def record(self, *events: ev.Event) -> None:
        """Append the events and move the tables, in one transaction that is on disk when this returns."""
        self._write(events, None)

    def plan_items(
        self, fanout: str, items: Iterable[tuple[int, str, str, str, float]], event: ev.ItemsPlanned
    ) -> None:
        """Store a fan-out's items (ordinal, id, label, JSON, priority) for good, with the event that says so."""
        rows = [(fanout, *item) for item in items]
        into = "INSERT INTO item (fanout, ordinal, item_id, label, data, priority) VALUES (?, ?, ?, ?, ?, ?)"
        self._write((event,), (into, rows))

    def change_workflow(self, workflow_json: str, event: ev.WorkflowChanged) -> None:
        """Store another version of the workflow, with the event that says so."""
        row = (event.version, workflow_json, now())
        self._write((event,), ("INSERT INTO workflow_version VALUES (?, ?, ?)", [row]))

    def keep_setup_leftovers(self, paths: Iterable[str], event: ev.PhaseStarted) -> None:
        """Remember the untracked files that setup left: they stay visible and are never committed."""
        rows = [(os.fsencode(path),) for path in paths]
        self._write((event,), ("INSERT OR IGNORE INTO setup_leftover VALUES (?)", rows))

    def cut_trail(self, event: ev.RunCleaned) -> None:
        """Remove the events that nothing is asked of once the run is over, with the one that says so, and give the
        room back. The tables stay as they are."""
        self._write((event,), (f"DELETE FROM event WHERE {trail.SPARE}", [()]))  # noqa: S608 - our own condition
        try:
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise trouble(self.directory, "made smaller", error) from error

    def _write(self, events: Iterable[ev.Event], rows: tuple[str, Sequence[tuple[object, ...]]] | None) -> None:
        events = tuple(masked(storable(event)) for event in events)
        at = now()
        for event in events:
            faults.point(f"before:{event.type}")

        def write(db: sqlite3.Connection) -> int | None:
            seq = None
            for event in events:
                project(db, event, at)
                seq = db.execute(
                    "INSERT INTO event (id, at, type, data) VALUES (?, ?, ?, ?)",
                    (str(uuid.uuid4()), at, event.type, json.dumps(event.data())),
                ).lastrowid
            if rows is not None:
                db.executemany(*rows)
            return seq

        if (seq := self._in_transaction(write)) is not None:
            self._last_event.note(seq)
        for event in events:
            faults.point(f"after:{event.type}")
            self.listener(event)

    def _in_transaction(self, write: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
        """Write all or nothing, also when the disk is full for a moment. Raises EnvironmentProblem, CorruptState."""
        self._look_for_file()
        pauses = iter(_AGAIN_S)
        while True:
            try:
                with transaction(self._db):
                    return write(self._db)
            except sqlite3.Error as error:
                pause_s = next(pauses, None)
                if pause_s is None or not passes(error):
                    raise trouble(self.directory, "written", error) from error
            time.sleep(pause_s)

    def _look_for_file(self) -> None:
        """What SQLite writes into a deleted file is gone with us, and it does not notice: so we look.

        Raises EnvironmentProblem when the file had to be written anew, CorruptState when that can't be done.
        """
        path = self.directory / "run.db"
        with suppress(OSError):
            if os.path.samestat(self._file, path.stat()):
                return
        if not (self.directory.is_dir() and os.path.samestat(self._place, self.directory.stat())):
            # Another one may be there by now: git's and the launcher's files are made when they are missed.
            raise damaged(self.directory, "the run's directory was deleted while the run was going")
        if path.exists():
            raise damaged(self.directory, "something else was put in the place of the run's database")
        self._db = self._view = rescued(self._db, path)
        self._file = path.stat()
        raise EnvironmentProblem(
            "the run's database was deleted while the run was going; it has been written anew, nothing is missing",
            where=str(path),
            hint=f"Find out what deletes files there, then: prodigy resume {self.directory.name}",
        )

    def add_request(self, kind: str, data: dict[str, object] | None = None) -> int:
        """Ask the run's coordinator for something (`cancel`); any process may. The request's number."""
        values = (now(), kind, json.dumps(data or {}))
        insert = "INSERT INTO request (at, kind, data) VALUES (?, ?, ?)"
        return int(self._in_transaction(lambda db: db.execute(insert, values).lastrowid) or 0)

    def requests(self) -> list[Request]:
        """Those that nobody has done yet, oldest first."""
        rows = self._all("SELECT id, kind, data FROM request WHERE handled_at IS NULL ORDER BY id")
        return [Request(row["id"], row["kind"], json.loads(row["data"])) for row in rows]

    def close_requests(self, until: int | None = None) -> None:
        """The requests up to that number, or all, are done with."""
        update = "UPDATE request SET handled_at = ? WHERE handled_at IS NULL AND (? IS NULL OR id <= ?)"
        self._in_transaction(lambda db: db.execute(update, (now(), until, until)))


def _nobody(_: ev.Event) -> None:
    """Listens to nothing."""
