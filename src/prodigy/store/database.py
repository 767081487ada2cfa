"""SQLite as we use it: write-ahead log, every commit on disk, numbered migrations."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

SCHEMA_VERSION = 7


def now() -> str:
    """The present as RFC 3339 in UTC with milliseconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


BUSY_TIMEOUT_S = 30.0  # how long we wait for another process that writes


def connect(path: Path, timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """Open a database, made when it is not there. timeout_s: for locks of others. Raises sqlite3.Error."""
    db = sqlite3.connect(path, isolation_level=None, timeout=timeout_s)
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")  # on macOS a plain fsync stops at the drive's cache
        db.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error:
        db.close()
        raise
    return db


def prepared(db: sqlite3.Connection, schema: str) -> sqlite3.Connection:
    """The database with what `schema` creates where it is not there. Raises sqlite3.Error, with the database closed."""
    try:
        db.executescript(schema)
    except sqlite3.Error:
        db.close()
        raise
    return db


def damage(db: sqlite3.Connection) -> str | None:
    """What is wrong with the pages of a database, None when nothing is. Reads all of it. Raises sqlite3.Error."""
    found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    return None if found == "ok" else found


class _Commits:
    """How many transactions this process has committed; overhead is judged by it."""

    count = 0


def commits() -> int:
    """Transactions committed so far by this process."""
    return _Commits.count


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk rolls back by itself, unless it is the commit that finds it full
            db.execute("ROLLBACK")
        raise
    _Commits.count += 1


def migrate(db: sqlite3.Connection) -> None:
    """Apply every numbered migration that the database has not seen, each in one transaction."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    folder = resources.files("prodigy.store") / "migrations"
    for script in sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda e: e.name):
        number = int(script.name[:4])
        if number > version:
            db.executescript(f"BEGIN IMMEDIATE;\n{script.read_text()}\nPRAGMA user_version = {number};\nCOMMIT;")


def migrated_copy(db: sqlite3.Connection) -> sqlite3.Connection:
    """The database in memory, in today's schema: whoever only looks at an older run changes nothing of it."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    copy.row_factory = sqlite3.Row
    db.backup(copy)
    migrate(copy)
    return copy
