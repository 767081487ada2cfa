"""Worktrees that runs left on disk: whose they are, which may go, and taking them away.

Only directories go. Refs and branches stay, and a commit that nothing but a worktree's HEAD holds gets a ref first.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from prodigy.engine import refs
from prodigy.errors import CorruptState, EnvironmentProblem, RunLocked, UsageError
from prodigy.executors import dedicated
from prodigy.executors.base import ProcessState
from prodigy.executors.processes import Processes
from prodigy.git import files, worktrees
from prodigy.git.command import GitError
from prodigy.git.private import PrivateGit
from prodigy.git.repo import ANY, RefChange, Repo
from prodigy.git.tree import PrivateTree
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
    """What became of a worktree. kept: why it is still there, None when it was (or, in a dry run, would be) removed."""

    left: Left
    kept: str | None


def repository(common_dir: Path) -> Repo:
    """The repository as it is known by the directory that its worktrees share, from wherever one stands."""
    root = common_dir.parent if common_dir.name == ".git" else common_dir
    return Repo(root, common_dir, common_dir)


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
        git_dir, head = (tree.git_dir, tree.oid) if tree else (None, None)
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


def clean(common_dir: Path, chosen: Iterable[Left], *, force: bool, dry_run: bool) -> list[Verdict]:
    """Remove the chosen worktrees, but those of runs that somebody works on.

    force: also those of runs that have not ended. Raises nothing for a worktree that can't be removed: its verdict
    says why.
    """
    repo = repository(common_dir)
    verdicts: list[Verdict] = []
    by_run = sorted(chosen, key=lambda left: (left.run_id, left.slot))
    of_runs = [left for left in by_run if left.status != NAMED]
    for run_id, group in groupby(of_runs, lambda left: left.run_id):
        verdicts += _clean_run(repo, run_id, list(group), force=force, dry_run=dry_run)
    for left in by_run:
        if left.status == NAMED:
            verdicts.append(Verdict(left, _clean_named(repo, left, force=force, dry_run=dry_run)))
    folder = home() / "worktrees" / repo_key(common_dir)
    if not dry_run and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return verdicts


def _clean_named(repo: Repo, left: Left, *, force: bool, dry_run: bool) -> str | None:
    """Remove a worktree with a name, if that is wanted; why it is still there, if it is."""
    folder = left.path.parent
    if not force:
        return "it has a name and stays for the next run that wants it; --force removes it"
    try:
        descriptor = dedicated.take_away(folder, left.slot)
    except (EnvironmentProblem, CorruptState) as problem:
        return problem.what
    try:
        if dry_run:
            return None
        reason = _remove(repo, left, force=force)
        if reason is None:
            files.remove(dedicated.directory(folder, left.slot))
            with suppress(OSError):  # there are others
                (folder / dedicated.NAMED).rmdir()
        return reason
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


def _clean_run(repo: Repo, run_id: str, group: list[Left], *, force: bool, dry_run: bool) -> list[Verdict]:
    directory = run_directory(run_id)
    if dry_run:
        reason = "somebody works on its run" if is_held(directory) else _why_kept(group[0], directory, force=force)
        return [Verdict(left, reason) for left in group]
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
        reason = _why_kept(_recorded_now(group[0]), directory, force=force)
        return [Verdict(left, reason or _remove(repo, left, force=force)) for left in group]


def _recorded_now(left: Left) -> Left:
    if left.status in (ORPHANED, UNREADABLE):
        return left
    with closing(Store.open(run_directory(left.run_id))) as store:
        recorded = store.run().status
    return replace(left, status="interrupted" if recorded in ("new", "running") else recorded)


def _why_kept(left: Left, directory: Path, *, force: bool) -> str | None:
    if left.status == ORPHANED:
        return None
    if left.status == UNREADABLE:
        return None if force else "the run's database can't be read; --force removes its worktrees all the same"
    if step := _live_step(directory):
        return f"its step {step} still runs; end it first with: prodigy cancel {left.run_id}"
    if left.status in FINISHED or force:
        return None
    return (
        f"its run is {left.status} and goes on here with: prodigy resume {left.run_id}"
        " (--force removes it; a resume then restores it as it was at the end of the last finished step)"
    )


def _live_step(directory: Path) -> str | None:
    """A step that outlived its coordinator, if there is one."""
    processes = Processes(directory / "steps")
    with closing(Store.open(directory)) as store:
        for step in store.started_steps():
            if processes.state(step.execution) is ProcessState.RUNNING:
                return step.execution
    return None


def _remove(repo: Repo, left: Left, *, force: bool) -> str | None:
    """Take one worktree away; why it is still there, if it is. force: also when what a person changed in it can't be
    kept."""
    try:
        _keep_head(repo, left)
        if left.item_id is not None:
            with suppress(*((GitError,) if force else ())):
                _keep_changes(repo, left)
        worktrees.remove(repo, left.path, left.git_dir)
    except (GitError, OSError) as error:
        return f"it can't be removed: {error}"
    return None


def _keep_head(repo: Repo, left: Left) -> None:
    """Give a commit that only this worktree's HEAD holds a ref: one made since the last finished step."""
    if left.head is not None and repo.common_dir.is_dir():
        _keep_commit(repo, left.run_id, left.head)


def _keep_commit(repo: Repo, run_id: str, commit: str) -> None:
    # 129: git does not know the commit, so there is nothing to keep.
    known = repo.run("for-each-ref", "--count=1", "--contains", commit, ok=(0, 129))
    if known.code == 0 and not known.line:
        repo.update_refs([RefChange(refs.kept_ref(run_id, commit), ANY, commit)])


def _keep_changes(repo: Repo, left: Left) -> None:
    """What a person did in the worktree of a failed item, and did not commit, gets a ref."""
    directory = run_directory(left.run_id) / "git"
    if left.git_dir is None or not left.path.is_dir() or not directory.is_dir():
        return
    private = PrivateGit.open(directory, repo)
    commit = PrivateTree(private, left.path, left.git_dir, directory / "slots" / left.slot).snapshot().commit
    if commit is not None:
        _keep_commit(repo, left.run_id, commit)
