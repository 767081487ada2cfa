"""A database whose file was deleted under our hands: while we have it open, everything is still there."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from prodigy.store.database import connect
from prodigy.store.trouble import damaged


def rescued(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """Write the open database to `path`, where its file was, and open that one; `db` is closed.

    Raises CorruptState when that can't be done: then `db` stays open, and what it knows ends with the process.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        with closing(sqlite3.connect(part)) as copy:
            db.backup(copy)
        part.chmod(0o600)
        _sync(part)
        db.close()  # which may delete the log by its name: before another one has that name
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        os.link(part, path)  # never in place of something that was put there meanwhile
        part.unlink()
        _sync(path.parent)
        return connect(path)
    except (OSError, sqlite3.Error) as error:
        raise damaged(
            path.parent, f"the run's database was deleted while the run was going, and can't be written anew: {error}"
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
