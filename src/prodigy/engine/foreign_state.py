"""A run's database that came from elsewhere: taken over row by row into one of our own making, and looked through.

What runs when a run is resumed is its workflow, which anybody who imports it has to trust as a script. The rest must
not be able to do more than that: no trigger, no path out of the run's directory, no ref or worktree that is not the
run's own.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from pydantic import ValidationError

from prodigy.engine import refs
from prodigy.engine.archive import DATABASE, STEPS
from prodigy.engine.run import Options
from prodigy.errors import UsageError
from prodigy.executors import warden
from prodigy.git.refs import is_oid, is_ref_name
from prodigy.store.database import SCHEMA_VERSION, connect, migrate, migrated_copy, transaction
from prodigy.workflow.model import Workflow

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_SLOT = re.compile(r"run|s\d{1,6}|(?:named|dedicated)-[a-z0-9][A-Za-z0-9_.-]{0,80}")
_WORD = re.compile(r"[a-z_]+")
_TOKEN = re.compile(r"[0-9a-f]{32}")

# Every column that holds a commit.
COMMITS: Mapping[str, tuple[str, ...]] = {
    "run": ("base", "tip", "merged", "head", "snapshot"),
    "attempt": ("base", "head", "merged", "start_head", "start_snapshot", "queued"),
    "step": ("head", "snapshot", "before_head", "before_snapshot"),
    "dead_letter": ("snapshot",),
    "merge_check": ("base",),
    "merge_intent": ("old", "new"),
    "final_merge_intent": ("old", "new"),
}
# Every column that becomes part of a path, a ref or the name of a step.
_PATHS: Mapping[str, tuple[str, ...]] = {
    "run": ("failed_path",),
    "phase": ("path",),
    "fanout": ("path",),
    "item": ("fanout",),
    "attempt": ("fanout", "step", "log"),
    "step": ("path", "reused_from"),
    "dead_letter": ("fanout",),
    "merge_check": ("fanout", "step"),
    "merge_intent": ("path",),
}
_COUNTED: Mapping[str, tuple[str, ...]] = {
    "item": ("ordinal",),
    "attempt": ("ordinal", "number"),
    "step": ("try",),
    "dead_letter": ("ordinal",),
    "merge_check": ("number",),
}


def take_over(source: Path, target: Path, run_id: str) -> None:
    """Copy the rows of the database `source` into a new one in the directory `target`, and look through them.

    source: written by this or an older version of Prodigy; it is only read. Raises UsageError for whatever a run's
    database would not have.
    """
    (target / DATABASE).touch(mode=0o600)
    try:
        with closing(_opened(source)) as old, closing(connect(target / DATABASE)) as new:
            migrate(new)
            with transaction(new):
                new.execute("PRAGMA defer_foreign_keys = ON")
                for table in _tables(new):
                    _copy(old, new, table)
            _look_through(new, run_id)
    except sqlite3.Error as error:
        raise _odd(str(error)) from error
    _look_at_steps(target / STEPS)


def _odd(what: str) -> UsageError:
    return UsageError(
        f"the run's database in the archive is not in order: {what}", hint="Nothing was changed. Export the run again."
    )


def _opened(path: Path) -> sqlite3.Connection:
    """The database, read-only and in today's schema."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    try:
        db.row_factory = sqlite3.Row
        version = _checked_version(db)
        if version == SCHEMA_VERSION:
            return db
        copy = migrated_copy(db)
    except BaseException:
        db.close()
        raise
    db.close()
    return copy


def _checked_version(db: sqlite3.Connection) -> int:
    """The version of its schema, if it is sound and has nothing but tables."""
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise UsageError("the run was written by a newer version of Prodigy", hint="Update Prodigy, then try again.")
    if version < 1:
        raise _odd("it has no version")
    _require_plain_tables(db)
    problem = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if problem != "ok":
        raise _odd(str(problem))
    return version


def _require_plain_tables(db: sqlite3.Connection) -> None:
    for row in db.execute("SELECT type, name, sql FROM sqlite_schema"):
        sql = str(row["sql"] or "").lstrip().upper()
        if row["type"] not in ("table", "index") or sql.startswith("CREATE VIRTUAL"):
            raise _odd(f"it has a {row['type']} of its own, {row['name']!r}")


def _tables(db: sqlite3.Connection) -> list[str]:
    rows = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()
    return [str(row["name"]) for row in rows]


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> None:
    names = [str(row["name"]) for row in new.execute(f"PRAGMA table_info({table})")]
    columns, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
    rows = old.execute(f"SELECT {columns} FROM {table}")  # noqa: S608 - names of our own schema
    new.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", map(tuple, rows))  # noqa: S608


# Looking through -------------------------------------------------------------------------------------------


def _look_through(db: sqlite3.Connection, run_id: str) -> None:
    _every(db, COMMITS, lambda value: is_oid(str(value)), "a commit")
    _every(db, _PATHS, lambda value: _PLAIN_PATH.fullmatch(str(value)) is not None, "a path of a step")
    _every(db, _COUNTED, lambda value: isinstance(value, int) and value > 0, "a number from 1")
    _every(db, {"attempt": ("worktree",), "run": ("slot",)}, lambda value: _is_slot(str(value)), "a worktree")
    _every(db, {"event": ("type",), "run": ("status",)}, lambda value: _is_word(str(value)), "a word")
    _every(db, {"event": ("data",), "request": ("data",)}, lambda value: isinstance(_json(value), dict), "JSON")
    _every(db, {"item": ("data",)}, lambda value: _json(value) is not _NONE, "JSON")
    branch = _look_at_run(db, run_id)
    for row in db.execute("SELECT workflow FROM workflow_version"):
        try:
            Workflow.model_validate_json(row["workflow"])
        except (ValidationError, RecursionError) as error:
            raise _odd("its workflow is none") from error
    own = refs.own_prefixes(run_id, branch)[0].removeprefix("refs/heads/")
    for row in db.execute("SELECT branch FROM dead_letter WHERE branch IS NOT NULL"):
        if not (row["branch"].startswith(own) and is_ref_name(f"refs/heads/{row['branch']}")):
            raise _odd(f"a dead letter names a branch that is not the run's: {row['branch']!r}")


def _every(
    db: sqlite3.Connection, columns: Mapping[str, tuple[str, ...]], holds: Callable[[object], bool], what: str
) -> None:
    for table, names in columns.items():
        for row in db.execute(f"SELECT {', '.join(names)} FROM {table}"):  # noqa: S608 - names of our own schema
            for name in names:
                if row[name] is not None and not holds(row[name]):
                    raise _odd(f"{table}.{name} is not {what}: {row[name]!r}")


def _look_at_run(db: sqlite3.Connection, run_id: str) -> str:
    """Look at the one row of the run, and return its branch."""
    rows = db.execute("SELECT * FROM run").fetchall()
    if len(rows) != 1 or rows[0]["id"] != run_id:
        raise _odd(f"it is not the one of run {run_id}")
    row = rows[0]
    branch = str(row["branch"])
    if branch != refs.run_branch(run_id, refs.prefix_of(branch)) or not refs.is_of_a_run(branch):
        raise _odd(f"its branch is not the run's: {row['branch']!r}")
    target = row["target"]
    own = refs.own_prefixes(run_id, branch)[0]
    if target is not None and not (is_ref_name(target) and target.startswith("refs/heads/") and own not in target):
        raise _odd(f"what it is to be merged into is no branch: {target!r}")
    if any(intent["target"] != target for intent in db.execute("SELECT target FROM final_merge_intent")):
        raise _odd("it was to be merged into another branch than its own target")
    if not _are_options(row["options"]):
        raise _odd("its options are none")
    return branch


def _are_options(text: str) -> bool:
    try:
        options = Options.from_json(text)
    except (ValueError, TypeError, RecursionError):
        return False
    return (
        options.merge in ("ask", "yes", "no")
        and (options.max_parallel is None or (type(options.max_parallel) is int and options.max_parallel > 0))
        and isinstance(options.started_in, str)
        and "\0" not in options.started_in
        and type(options.max_iterations) is int
        and all(isinstance(text, str) for text in (*options.args, *options.files))
    )


_NONE = object()


def _json(value: object) -> object:
    try:
        return json.loads(str(value))
    except (ValueError, RecursionError):
        return _NONE


def _is_slot(text: str) -> bool:
    return _SLOT.fullmatch(text) is not None


def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


def _look_at_steps(folder: Path) -> None:
    """The token of a step that was lost says which processes are to be killed: it must be one, whole."""
    for file in folder.rglob(warden.COMMAND):
        found = _json(file.read_bytes().decode(errors="replace"))
        if not (isinstance(found, dict) and isinstance(token := found.get("token"), str) and _TOKEN.fullmatch(token)):
            raise UsageError(
                f"a step in the archive has no token: {file.relative_to(folder.parent)}",
                hint="Nothing was changed. Export the run again.",
            )
