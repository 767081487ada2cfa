"""What SQLite's errors mean for a run: what can be mended and waited for, and what is lost with the file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from prodigy.errors import CorruptState, EnvironmentProblem, ProdigyError

# Another process may be about to make room, or a file system to come back: worth asking again in a moment.
_PASSING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL})
# The file is as it was, and something around it is in the way.
_OUTSIDE = {
    sqlite3.SQLITE_FULL: "Make room",
    sqlite3.SQLITE_BUSY: "End the process that holds it (`fuser` names it)",
    sqlite3.SQLITE_LOCKED: "End the process that holds it (`fuser` names it)",
    sqlite3.SQLITE_PROTOCOL: "End the process that holds it (`fuser` names it)",
    sqlite3.SQLITE_READONLY: "Make it and its directory writable",
    sqlite3.SQLITE_PERM: "Make it and its directory readable and writable",
    sqlite3.SQLITE_CANTOPEN: "Make room for files, and its directory writable",
    sqlite3.SQLITE_IOERR: "Make room, or mend the disk",
    sqlite3.SQLITE_NOMEM: "Free memory",
}


def passes(error: sqlite3.Error) -> bool:
    """Whether the same may succeed in a moment."""
    return _code(error) in _PASSING


def is_outside(error: sqlite3.Error) -> bool:
    """Whether the file is as it was, and something around it is in the way."""
    return _code(error) in _OUTSIDE


def trouble(directory: Path, verb: str, error: sqlite3.Error) -> ProdigyError:
    """What to tell the user: a full disk can be mended, a damaged file can't. verb: read, written."""
    what = f"the run's database can't be {verb}: {error}"
    first = _OUTSIDE.get(_code(error))
    if first is None:
        return damaged(directory, what)
    hint = f"{first}, then: prodigy resume {directory.name}. Nothing is lost."
    return EnvironmentProblem(what, where=str(directory / "run.db"), hint=hint)


def damaged(directory: Path, what: str) -> CorruptState:
    """The error of a database that nothing brings back, with the way to the work that is in git."""
    return CorruptState(what, where=str(directory / "run.db"), hint=way_out(directory.name))


def way_out(run_id: str) -> str:
    """How to go on without a run's database: what was merged is in the run branch, the rest in branches of items."""
    return (
        f"No other run is concerned, and the commits are safe: `git log prodigy/{run_id}/run` shows what was merged,"
        f" `git branch --list '*/{run_id}/*'` lists the rest (with another git.branch_prefix, it stands in the place of"
        f" prodigy). To go on: `git merge prodigy/{run_id}/run`, then `prodigy run` with the items that are left."
    )


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 when it is Python that can't read what SQLite found."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
