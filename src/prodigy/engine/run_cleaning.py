"""`prodigy clean`: worktrees that runs left, whole runs, and parts of runs that are over.

A run that a process holds, or of which a step still runs, is never touched. What goes is looked at again under the
run's lock.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from prodigy.engine import cleaning
from prodigy.engine.clean_parts import DLQ, EVENTS, LOGS, RUNS, WORKTREES, Finding, Wanted
from prodigy.engine.run_parts import OpenRun
from prodigy.errors import EnvironmentProblem, ProdigyError, RunLocked
from prodigy.executors.allowance import disk_usage
from prodigy.home import home
from prodigy.store import index, trail
from prodigy.store.lock import RunLock, is_held, take_helpers_lock
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

_OF_THE_RUN = "run"  # the slot that is no item's
_GONE = ".gone"  # ends the name of a run's directory while it is removed


def clean(wanted: Wanted, common_dir: Path | None) -> list[Finding]:
    """Take what is wanted from the runs of a repository, or of the whole home.

    Raises nothing on account of a single run: its finding says what is wrong.
    """
    runs, unreadable = runs_of(common_dir)
    found: list[Finding] = []
    if WORKTREES in wanted.parts:
        places = {common_dir} if common_dir is not None else {run.common_dir for run in runs}
        for place in sorted(path for path in places if path.is_dir()):
            found += _worktrees(place, wanted)
    if wanted.parts == (WORKTREES,):
        return found
    if not wanted.dry_run:
        _finish_removals()
    for run in runs:
        # A dead letter has an age of its own.
        parts = [part for part in wanted.parts if part == DLQ or run.idle_s >= (wanted.older_than_s or 0.0)]
        found += of_run(run.id, replace(wanted, parts=tuple(parts)))
    return found + unreadable


@dataclass(frozen=True)
class CleanedRun:
    """idle_s: for how long nothing has happened to it."""

    id: str
    common_dir: Path
    idle_s: float


def runs_of(common_dir: Path | None) -> tuple[list[CleanedRun], list[Finding]]:
    """The runs, the oldest first, and those that can't be read and may be of this repository."""
    known = {row.id: row.common_dir for row in index.runs()}
    now = dt.datetime.now(dt.UTC)
    found, unreadable = [], []
    for run_id in index.directories():
        if common_dir is not None and known.get(run_id, str(common_dir)) != str(common_dir):
            continue
        try:
            with closing(Store.open(run_directory(run_id))) as store:
                row, last = store.run(), dt.datetime.fromisoformat(trail.last_active(store))
        except ProdigyError as error:
            unreadable.append(Finding(RUNS, run_id, "the run", kept=f"{error.what}; it is left as it is"))
            continue
        if common_dir is None or row.common_dir == str(common_dir):
            found.append(CleanedRun(run_id, Path(row.common_dir), (now - last).total_seconds()))
    return found, unreadable


def _worktrees(common_dir: Path, wanted: Wanted) -> list[Finding]:
    chosen = [
        left for left in cleaning.left_on_disk(common_dir)
        if cleaning.idle_for(left, wanted.older_than_s) and not (wanted.items_only and left.slot == _OF_THE_RUN)
    ]  # fmt: skip
    sizes = {left.path: disk_usage(left.path) for left in chosen}
    how = cleaning.How(force=wanted.force, dry_run=wanted.dry_run, careful=True)
    return [
        Finding(
            WORKTREES, one.left.run_id, str(one.left.path), size_bytes=sizes[one.left.path], kept=one.kept,
            refs=one.refs, failed=EnvironmentProblem.exit_code if one.failed else 0,
        )
        for one in cleaning.clean(common_dir, chosen, how)
    ]  # fmt: skip


def of_run(run_id: str, wanted: Wanted) -> list[Finding]:
    """What goes of one run, or why it stays."""
    directory = run_directory(run_id)
    try:
        with ExitStack() as stack:
            if not wanted.dry_run:
                stack.enter_context(RunLock(directory))
                # A killed coordinator may have left a git call behind that still moves a ref.
                stack.callback(os.close, take_helpers_lock(directory))
            elif is_held(directory):
                return (
                    [Finding(wanted.parts[0], run_id, "the run", kept="somebody works on it")] if wanted.parts else []
                )
            with closing(Store.open(directory)) as store:
                found, whole = _parts(store, wanted)
            if whole and not wanted.dry_run:
                _remove_directory(directory)
            return found
    except RunLocked as locked:
        return [Finding(RUNS, run_id, "the run", kept=locked.what)]
    except (ProdigyError, OSError) as error:
        code = error.exit_code if isinstance(error, ProdigyError) else EnvironmentProblem.exit_code
        return [Finding(RUNS, run_id, "the run", kept=f"it can't be cleaned: {error}", failed=code)]


def _parts(store: Store, wanted: Wanted) -> tuple[list[Finding], bool]:
    """What goes of an open run, and whether all of it does. It is gone but for the directory then."""
    if not wanted.dry_run:
        store.migrate()
    run_id = store.directory.name
    if step := cleaning.live_step(store.directory):
        why = f"its step {step} still runs; end it first with: prodigy cancel {run_id}"
        return ([Finding(wanted.parts[0], run_id, "the run", kept=why)] if wanted.parts else []), False
    run = OpenRun(store, wanted)
    found: list[Finding] = []
    whole = RUNS in wanted.parts
    if DLQ in wanted.parts and not (whole and wanted.force):
        found += run.dead_letters()
    if whole:
        verdict = run.as_a_whole()
        found.append(verdict)
        if verdict.kept is None:
            return found, True
    for part, take in ((LOGS, run.logs), (EVENTS, run.events)):
        if part in wanted.parts:
            # Why a part stays was said of the whole already.
            found += [one for one in take() if not whole or one.kept is None]
    return found, False


def _remove_directory(directory: Path) -> None:
    """Whoever is killed in the middle of it leaves no half run: the next clean goes on."""
    going = directory.with_name(f".{directory.name}{_GONE}")
    directory.rename(going)
    shutil.rmtree(going)
    index.forget(directory.name)


def _finish_removals() -> None:
    runs = home() / "runs"
    for path in runs.glob(f".*{_GONE}") if runs.is_dir() else ():
        shutil.rmtree(path, ignore_errors=True)
