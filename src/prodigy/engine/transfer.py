"""A run moves house: whole into one file, to go on in another clone, home or machine (`importing`).

Not in the file: the worktrees. An attempt in flight goes on at its last step boundary, as after any loss of a
worktree; files that git ignores were only there. The run's private git directory has no objects of its own and is
made anew.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from prodigy import __version__
from prodigy.engine import archive
from prodigy.engine.archive import BUNDLE, DATABASE, Manifest
from prodigy.engine.bundling import keep_unnamed, make_bundle, refs_of
from prodigy.errors import EnvironmentProblem, RunLocked, UsageError
from prodigy.executors.base import ProcessState
from prodigy.executors.processes import LAUNCHER_LOG, Processes
from prodigy.git.context import repository
from prodigy.git.repo import Repo
from prodigy.state import events as ev
from prodigy.store.database import SCHEMA_VERSION, connect, now
from prodigy.store.lock import RunLock, take_helpers_lock
from prodigy.store.paths import run_directory
from prodigy.store.rows import RunRow
from prodigy.store.store import Store

STDIO = "-"
_NAME_SHOWN = 50  # characters of a file's name that its temporary has too: with four bytes each there is room left
_EXPORT = ".export"  # below a run's directory: what an export writes before it is whole

# Commits that a resume or a retry may need and that no ref has to hold: what was announced, and the boundaries of
# what has not succeeded yet.
_NEEDED = """
SELECT tip AS oid FROM run UNION SELECT head FROM run UNION SELECT snapshot FROM run UNION SELECT merged FROM run
UNION SELECT new FROM merge_intent UNION SELECT old FROM merge_intent
UNION SELECT new FROM final_merge_intent UNION SELECT old FROM final_merge_intent
UNION SELECT snapshot FROM dead_letter
UNION SELECT base FROM attempt WHERE state != 'succeeded' UNION SELECT head FROM attempt WHERE state != 'succeeded'
UNION SELECT start_head FROM attempt WHERE state != 'succeeded'
UNION SELECT start_snapshot FROM attempt WHERE state != 'succeeded'
UNION SELECT step.{column} FROM item CROSS JOIN attempt CROSS JOIN step
    ON attempt.fanout = item.fanout AND attempt.ordinal = item.ordinal AND attempt.number = item.attempt
    AND step.path >= printf('%s/i%04d/a%d/', item.fanout, item.ordinal, item.attempt)
    AND step.path < printf('%s/i%04d/a%d0', item.fanout, item.ordinal, item.attempt)
    WHERE attempt.state != 'succeeded'
UNION SELECT {column} FROM (SELECT {column} FROM step WHERE head IS NOT NULL AND path NOT GLOB '*/i[0-9]*'
    ORDER BY ended DESC LIMIT 1)
"""


@dataclass(frozen=True)
class Exported:
    """A run that was written to a file. size: bytes of the file, None on standard output. members: files of the run."""

    run_id: str
    file: str
    size: int | None
    members: int
    refs: int
    warnings: tuple[str, ...]


def exported_to(store: Store) -> str | None:
    """The file that the run was last exported to from here; None when it never was. Where it was imported since, it
    is at home, and nothing that happened elsewhere counts."""
    newest = next(iter(store.events(types=("job_exported", "job_imported"), limit=1)), None)
    event = newest["event"] if newest else None
    if not isinstance(event, dict) or event["event_type"] != ev.JobExported.type:
        return None
    return str(event["file"])


def export_run(run_id: str, target: Path | IO[bytes], *, overwrite: bool = False) -> Exported:
    """Write the run to a file, whole or not at all, or to a stream.

    A link stays, and what it points at is written. Raises RunLocked when a process works on the run or a step of it
    still runs, UsageError when the file is there already, or is none that could be replaced, EnvironmentProblem when
    git or the disk fails.
    """
    if isinstance(target, Path):
        _require_free(target, overwrite=overwrite)
    directory = run_directory(run_id)
    if not directory.is_dir():
        raise UsageError(f"there is no run {run_id}", hint="`prodigy status` lists the runs.")
    name = str(target.absolute()) if isinstance(target, Path) else STDIO
    with ExitStack() as stack:
        stack.enter_context(RunLock(directory))
        store = stack.enter_context(closing(Store.open(directory)))
        store.migrate()
        helpers = take_helpers_lock(directory)
        stack.callback(os.close, helpers)
        warnings = _require_rest(store)
        staging = stack.enter_context(staged(directory / _EXPORT))
        files, left_out = _files(directory)
        repo = replace(repository(Path(store.run().common_dir)), helpers_fd=helpers)
        refs = _pack(store, repo, staging, name)
        own = [(name, staging / name) for name in (DATABASE, BUNDLE) if (staging / name).exists()]
        files = [*own, *files]
        manifest = _manifest(store.run(), refs, files)
        paths = [path for _, path in files]
        if isinstance(target, Path):
            size = _publish(store, target, manifest, paths, overwrite=overwrite)
        else:
            archive.write(target, manifest, paths, time.time())
            target.flush()
            store.record(ev.JobExported(file=name))
            size = None
    if left_out:
        warnings.append(f"left out, because they are not plain files: {', '.join(left_out[:5])}")
    return Exported(run_id, name, size, len(files), len(refs), tuple(warnings))


def _require_free(target: Path, *, overwrite: bool) -> Path:
    """The file to write: `target`, or what it points at. Only a plain file is ever replaced."""
    try:
        file = Path(os.path.realpath(target))
        if not file.parent.is_dir():
            raise UsageError("there is no such directory", where=str(file.parent), hint="Make it first: mkdir -p.")
        if os.path.lexists(file) and not file.is_file():
            raise UsageError("this is no file that could be replaced", where=str(target), hint="Choose another name.")
    except OSError as error:
        raise UsageError(
            f"it can't be looked at: {error.strerror}", where=str(target), hint="Choose another name."
        ) from error
    if os.path.lexists(target) and not overwrite:
        raise UsageError("it is there already", where=str(target), hint="Choose another name, or give --overwrite.")
    return file


def _require_rest(store: Store) -> list[str]:
    """No step of the run may still run. What should be known of those that have no end on record."""
    processes = Processes(store.directory / archive.STEPS)
    started = store.started_steps()
    for step in started:
        if processes.state(step.execution) is ProcessState.RUNNING:
            run_id = store.directory.name
            raise RunLocked(
                f"step {step.execution} of run {run_id} still runs",
                hint=f"Let it end (`prodigy resume {run_id}`) or end it (`prodigy cancel {run_id}`), then export.",
            )
    asyncio.run(_end_leftovers(processes, [step.execution for step in started]))
    if not started:
        return []
    which = ", ".join(step.execution for step in started[:3])
    more = f" and {len(started) - 3} more" if len(started) > 3 else ""
    return [f"steps that were in flight run again over there, from the end of the step before: {which}{more}"]


async def _end_leftovers(processes: Processes, executions: list[str]) -> None:
    for execution in executions:
        await processes.kill_leftovers(execution)


@contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """An empty directory for the time being; what a process that was killed left there is discarded."""
    try:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)
    except OSError as error:
        raise EnvironmentProblem(
            f"the run can't be staged: {error}", where=str(directory), hint="Make room there, then export it again."
        ) from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _files(directory: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """The run's files as (path in the archive, file), and links, which are left out. Pipes of wardens do not count."""
    extras = ((name, directory / name) for name in archive.EXTRAS)
    found = [(name, path) for name, path in extras if path.is_file()]
    left_out: list[str] = []
    steps = directory / archive.STEPS
    for top in (steps, directory / archive.DISPLACED):
        for folder, folders, names in os.walk(top):
            if Path(folder) == steps:
                folders[:] = [name for name in folders if not name.startswith(".")]  # what is being prepared
            folders.sort()
            paths = [Path(folder, name) for name in (*folders, *sorted(names))]
            left_out += [os.path.relpath(path, directory) for path in paths if path.is_symlink()]
            found += [
                (os.path.relpath(path, directory), path)
                for path in paths
                if path.is_file() and not path.is_symlink() and path != steps / LAUNCHER_LOG
            ]
    return found, left_out


def _pack(store: Store, repo: Repo, staging: Path, name: str) -> dict[str, str]:
    """Database and commits into the staging directory; the run's refs."""
    row = store.run()
    with closing(connect(store.directory / DATABASE)) as db:
        needed = {
            str(found["oid"])
            for column in ("head", "snapshot")
            for found in db.execute(_NEEDED.format(column=column))
            if found["oid"] is not None
        }
        with closing(sqlite3.connect(staging / DATABASE)) as copy:
            db.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
    with closing(Store.open(staging)) as copied:
        copied.record(ev.JobExported(file=name))
    make_one_file(staging / DATABASE)
    keep_unnamed(repo, row.id, row.branch, row.base, needed)
    refs = refs_of(repo, row.id, row.branch)
    make_bundle(repo, staging / BUNDLE, row.base, refs)
    return refs


def make_one_file(path: Path) -> None:
    """Nothing of a database may stay beside it."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")


def _manifest(row: RunRow, refs: dict[str, str], files: list[tuple[str, Path]]) -> Manifest:
    return Manifest(
        run_id=row.id,
        prodigy_version=__version__,
        schema_version=SCHEMA_VERSION,
        host=socket.gethostname(),
        exported_at=now(),
        base=row.base,
        refs=refs,
        members=tuple(archive.measured(path, file) for path, file in files),
    )


def _publish(store: Store, target: Path, manifest: Manifest, files: list[Path], *, overwrite: bool) -> int:
    """Write the file beside its place and move it there when it is whole; its size in bytes."""
    file = _require_free(target, overwrite=overwrite)
    try:
        descriptor, part = tempfile.mkstemp(prefix=f".{file.name[:_NAME_SHOWN]}.", suffix=".part", dir=file.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                archive.write(stream, manifest, files, time.time())
                stream.flush()
                os.fsync(stream.fileno())
            _require_free(target, overwrite=overwrite)
            store.record(ev.JobExported(file=str(target.absolute())))
            Path(part).replace(file)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError as error:
        raise EnvironmentProblem(
            f"the run can't be exported: {error}",
            where=str(target),
            hint="Make room, or choose another place; the run is as it was.",
        ) from error
    return file.stat().st_size
