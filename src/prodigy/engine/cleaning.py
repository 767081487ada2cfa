"""Worktrees that runs left on disk: whose they are, which may go, and taking them away.

Only directories go. Refs and branches stay, and work that nothing but a worktree holds gets a ref first: a commit at
which it stands, changes that are not committed.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from prodigy.engine import holding, refs
from prodigy.engine.worktree_work import OnlyHere, only_here
from prodigy.errors import CorruptState, EnvironmentProblem, RunLocked, UsageError
from prodigy.executors import dedicated
from prodigy.executors.base import ProcessState
from prodigy.executors.processes import Processes
from prodigy.git import clone, files, worktrees
from prodigy.git.command import GitError
from prodigy.git.context import repository
from prodigy.git.repo import ANY, RefChange, Repo
from prodigy.home import home
from prodigy.store.lock import RunLock, is_held, take_helpers_lock
from prodigy.store.paths import repo_key, run_directory
from prodigy.store.rows import FINISHED
from prodigy.store.store import Store

ORPHANED = "orphaned"
UNREADABLE = "unreadable"

NAMED = "named"

_DIRECTORY = re.compile(r"(?P<run>.+?)-(?P<slot>run|queue|s\d+|named-[a-z0-9_.-]+)")


@dataclass(frozen=True)
class Left:
    """A worktree of ours.

    path: absolute. slot: `run`, `s<N>`, `named-<name>` or `dedicated-<name>`. git_dir: its directory in the repository,
    None when that is gone; head: the commit it stands at, None when unreadable. status: the run's, `orphaned` when
    there is no such run any more, `unreadable` when its database is, `named` when the worktree is no run's, but stays
    for the next one. last_active: the run's last event, the directory's change when there is no run. item_id: the
    failed item that it is kept for.
    """

    path: Path
    run_id: str
    slot: str
    git_dir: Path | None
    head: str | None
    status: str
    merged: bool = False
    workflow: str | None = None
    last_active: dt.datetime | None = None
    item_id: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of a worktree. kept: why it is still there, None when it was (or, in a dry run, would be) removed.
    refs: what keeps the work that only it had, in a dry run as far as that has a name yet. failed: it could not be
    removed."""

    left: Left
    kept: str | None
    refs: tuple[str, ...] = ()
    failed: bool = False


@dataclass(frozen=True)
class How:
    """force: also worktrees of runs that have not ended, and those with a name. dry_run: only say what would go.
    careful: without force leave those with work that only they have; with it, keep that where it stays when the run
    goes."""

    force: bool
    dry_run: bool
    careful: bool = False


def left_on_disk(common_dir: Path) -> list[Left]:
    """Every worktree of ours of this repository, registered with git or not, by run and slot."""
    folder = (home() / "worktrees").resolve()
    own = folder / repo_key(common_dir)
    registered = {
        tree.root: tree for tree in worktrees.listed(repository(common_dir)) if tree.root.is_relative_to(folder)
    }
    found = []
    runs: dict[str, _Facts] = {}
    for path in sorted({*registered, *_directories(own)}):
        tree = registered.get(path)
        git_dir, head = (tree.git_dir, tree.oid) if tree else clone.head_of(path)
        if path.parent == own and path.name in dedicated.names(own):
            found.append(replace(_named(own, path), git_dir=git_dir, head=head))
            continue
        name = _DIRECTORY.fullmatch(path.name)
        if name is None:
            continue  # not made by us
        if name["run"] not in runs:
            runs[name["run"]] = _facts(name["run"], path)
        facts = runs[name["run"]]
        left = replace(facts.left, path=path, slot=name["slot"], git_dir=git_dir, head=head)
        found.append(replace(left, item_id=facts.kept.get(str(path))))
    return found


def idle_for(left: Left, seconds: float | None) -> bool:
    """Whether nothing has happened there for so long; None: that does not matter."""
    if seconds is None or left.last_active is None:
        return True
    return (dt.datetime.now(dt.UTC) - left.last_active).total_seconds() >= seconds


def clean(common_dir: Path, chosen: Iterable[Left], how: How) -> list[Verdict]:
    """Remove the chosen worktrees, but those of runs that somebody works on.

    Raises nothing for a worktree that can't be removed: its verdict says why.
    """
    repo = repository(common_dir)
    verdicts: list[Verdict] = []
    by_run = sorted(chosen, key=lambda left: (left.run_id, left.slot))
    of_runs = [left for left in by_run if left.status != NAMED]
    for run_id, group in groupby(of_runs, lambda left: left.run_id):
        verdicts += _clean_run(repo, run_id, list(group), how)
    verdicts += [_clean_named(repo, left, how) for left in by_run if left.status == NAMED]
    folder = home() / "worktrees" / repo_key(common_dir)
    if not how.dry_run and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return verdicts


def clean_held(common_dir: Path, group: list[Left], how: How) -> list[Verdict]:
    """The same for the worktrees of one run that is to go as a whole, and whose lock the caller holds."""
    return [_remove(repository(common_dir), left, how) for left in group]


def _clean_named(repo: Repo, left: Left, how: How) -> Verdict:
    """Remove a worktree with a name, if that is wanted."""
    folder = left.path.parent
    if not how.force:
        return Verdict(left, "it has a name and stays for the next run that wants it; --force removes it")
    try:
        descriptor = dedicated.take_away(folder, left.slot)
    except (EnvironmentProblem, CorruptState) as problem:
        return Verdict(left, problem.what)
    try:
        verdict = _remove(repo, left, how)
        if verdict.kept is None and not how.dry_run:
            files.remove(dedicated.directory(folder, left.slot))
            with suppress(OSError):  # there are others
                (folder / dedicated.NAMED).rmdir()
        return verdict
    finally:
        os.close(descriptor)


def _directories(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except FileNotFoundError:
        return []


@dataclass(frozen=True)
class _Facts:
    """What is known of a run, in the form of one of its worktrees. kept: path -> id of the failed item it is kept
    for."""

    left: Left
    kept: Mapping[str, str]


def _facts(run_id: str, path: Path) -> _Facts:
    directory = run_directory(run_id)
    if not directory.is_dir():
        return _Facts(Left(path, run_id, "", None, None, ORPHANED, last_active=_changed(path)), {})
    try:
        with closing(Store.open(directory)) as store:
            row = store.run()
            newest = next(iter(store.events(limit=1)), None)
            kept = store.items_of_kept_worktrees()
    except (CorruptState, UsageError, EnvironmentProblem):
        return _Facts(Left(path, run_id, "", None, None, UNREADABLE, last_active=_changed(directory)), {})
    at = str(newest["timestamp"]) if newest else row.created_at
    left = Left(
        path, run_id, "", None, None,
        status=_status(row.status, directory),
        merged=row.merged is not None,
        workflow=row.workflow,
        last_active=dt.datetime.fromisoformat(at),
    )  # fmt: skip
    return _Facts(left, kept)


def _named(folder: Path, path: Path) -> Left:
    """What is known of a worktree with a name: the run that used it last."""
    slot = f"{dedicated.PREFIX}{path.name}"
    run_id = dedicated.last_user(folder, slot) or "-"
    used = _changed(dedicated.directory(folder, slot) / "index")
    return Left(path, run_id, slot, None, None, NAMED, last_active=used)


def _status(recorded: str, directory: Path) -> str:
    """As `status` shows it: a run that nobody works on is not running."""
    if recorded in ("new", "running"):
        return "running" if is_held(directory) else "interrupted"
    return recorded


def _changed(path: Path) -> dt.datetime | None:
    try:
        return dt.datetime.fromtimestamp(path.stat().st_mtime, dt.UTC)
    except OSError:
        return None  # only git still knows of it


def _clean_run(repo: Repo, run_id: str, group: list[Left], how: How) -> list[Verdict]:
    directory = run_directory(run_id)
    if how.dry_run:
        reason = "somebody works on its run" if is_held(directory) else _why_kept(group[0], directory, how)
        return [Verdict(left, reason) if reason else _remove(repo, left, how) for left in group]
    with ExitStack() as stack:
        if directory.is_dir():
            try:
                stack.enter_context(RunLock(directory))  # nobody may begin to work there while we remove
            except RunLocked as locked:
                return [Verdict(left, locked.what) for left in group]
            try:
                stack.callback(os.close, take_helpers_lock(directory))
            except EnvironmentProblem as problem:
                return [Verdict(left, problem.what) for left in group]
        # Looked at again under the lock. Nobody but us holds it, so "running" can't be the answer.
        reason = _why_kept(_recorded_now(group[0]), directory, how)
        return [Verdict(left, reason) if reason else _remove(repo, left, how) for left in group]


def _recorded_now(left: Left) -> Left:
    if left.status in (ORPHANED, UNREADABLE):
        return left
    with closing(Store.open(run_directory(left.run_id))) as store:
        recorded = store.run().status
    return replace(left, status="interrupted" if recorded in ("new", "running") else recorded)


def _why_kept(left: Left, directory: Path, how: How) -> str | None:
    if left.status == ORPHANED:
        return None
    if left.status == UNREADABLE:
        return None if how.force else "the run's database can't be read; --force removes its worktrees all the same"
    if step := live_step(directory):
        return f"its step {step} still runs; end it first with: prodigy cancel {left.run_id}"
    if left.status in FINISHED or how.force:
        return None
    return (
        f"its run is {left.status} and goes on here with: prodigy resume {left.run_id}"
        " (--force removes it; a resume then restores it as it was at the end of the last finished step)"
    )


def live_step(directory: Path) -> str | None:
    """A step that outlived its coordinator, if there is one."""
    processes = Processes(directory / "steps")
    with closing(Store.open(directory)) as store:
        for step in store.started_steps():
            if processes.state(step.execution) is ProcessState.RUNNING:
                return step.execution
    return None


def _remove(repo: Repo, left: Left, how: How) -> Verdict:
    """Take one worktree away, with a ref for what only it has."""
    try:
        work = _only_here(repo, left, how)
        if how.careful and not how.force and (work is None or work.commits):
            what = "files, and git does not know it any more" if work is None else "work that is nowhere else"
            after = "removes it" if work is None else "keeps that in a ref and removes it"
            return Verdict(left, f"it has {what}; --force {after}")
        names = _names(repo, left, work or OnlyHere(), how)
        if not how.dry_run:
            repo.update_refs([RefChange(name, ANY, commit) for name, commit in names.items()])
            if left.git_dir == clone.git_dir_of(left.path):
                files.remove(left.path)
            else:
                worktrees.remove(repo, left.path, left.git_dir)
    except (GitError, OSError) as error:
        return Verdict(left, f"it can't be removed: {error}", failed=True)
    return Verdict(left, None, tuple(names))


def _names(repo: Repo, left: Left, work: OnlyHere, how: How) -> dict[str, str]:
    """The refs to make: name -> commit. A commit that a dry run made has another name than the real one will have."""
    name = (lambda commit: holding.name_for(repo, left.run_id, commit)) if how.careful else _kept_for(left)
    names = {name(commit): commit for commit in work.commits}
    if how.dry_run and work.changes:
        return {f"{name(work.changes).rpartition('/')[0]}/...": work.changes}
    return names


def _kept_for(left: Left) -> Callable[[str], str]:
    return lambda commit: refs.kept_ref(left.run_id, commit)


def _only_here(repo: Repo, left: Left, how: How) -> OnlyHere | None:
    """What work only this worktree has; None when that can't be told, since git does not know the worktree."""
    if left.git_dir is None or left.head is None or not repo.common_dir.is_dir():
        has_files = left.path.is_dir() and any(left.path.iterdir())
        return None if has_files else OnlyHere()
    if not left.path.is_dir():
        return OnlyHere(None if holding.is_reached(repo, left.head) else left.head)
    private = run_directory(left.run_id) / "git"
    named = left.status == NAMED
    index = dedicated.directory(left.path.parent, left.slot) if named else private / "slots" / left.slot
    try:
        return only_here(repo, left.git_dir, left.path, left.head, private=private, index=index, look=how.dry_run)
    except GitError:
        if not how.force or left.git_dir == clone.git_dir_of(left.path):
            raise  # the commits of a clone are nowhere else
        return OnlyHere(None if holding.is_reached(repo, left.head) else left.head)
