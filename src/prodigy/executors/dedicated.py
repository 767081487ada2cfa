"""Worktrees with a name, which stay for other runs: whose they are now, and where what belongs to them is kept.

Beside the worktree `<folder>/<name>` there is `<folder>/.named/<name>/` with its index, its mark, the lock of the
process that uses it (the kernel frees it), and the id of the run that used it last.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import closing
from pathlib import Path

from prodigy.errors import EnvironmentProblem
from prodigy.executors.base import ProcessState
from prodigy.executors.processes import Processes
from prodigy.git import files
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

NAMED = ".named"
PREFIX = "dedicated-"  # of the slots that such worktrees are


def slots(name: str, count: int) -> list[str]:
    """The slots for so many items at a time: NAME, NAME-2, NAME-3 ..."""
    return [f"{PREFIX}{name}", *(f"{PREFIX}{name}-{number}" for number in range(2, count + 1))]


def is_dedicated(slot: str) -> bool:
    return slot.startswith(PREFIX)


def place(folder: Path, slot: str) -> Path:
    """Where the worktree is, or would be."""
    return folder / slot.removeprefix(PREFIX)


def directory(folder: Path, slot: str) -> Path:
    """Where its index, mark and lock are."""
    return folder / NAMED / slot.removeprefix(PREFIX)


def names(folder: Path) -> set[str]:
    """The names that worktrees below `folder` have."""
    try:
        return {path.name for path in (folder / NAMED).iterdir() if path.is_dir() and not path.is_symlink()}
    except FileNotFoundError:
        return set()


def last_user(folder: Path, slot: str) -> str | None:
    """The id of the run that used the worktree last."""
    found = files.read_small(directory(folder, slot) / "run")
    return found.decode(errors="replace").strip() if found else None


def take(folder: Path, slot: str, run_id: str) -> int:
    """Take the worktree for a run: the descriptor of its lock, which counts until it is closed.

    Raises EnvironmentProblem when another run uses it, or was interrupted in the middle of its work there.
    """
    descriptor = lock(folder, slot)
    try:
        before = last_user(folder, slot)
        if before not in (None, run_id):
            _require_left(slot, before or "")
        files.replace(directory(folder, slot) / "run", run_id.encode())
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def take_away(folder: Path, slot: str) -> int:
    """The same for somebody who wants to remove it: also the run that used it last must not have work there."""
    descriptor = lock(folder, slot)
    try:
        if (before := last_user(folder, slot)) is not None:
            _require_left(slot, before)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def lock(folder: Path, slot: str) -> int:
    """The lock of the worktree; raises EnvironmentProblem when a process has it."""
    path = directory(folder, slot) / "lock"
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            user = last_user(folder, slot)
            raise EnvironmentProblem(
                f"the worktree {slot.removeprefix(PREFIX)} is in use by {f'run {user}' if user else 'another run'}",
                where=str(place(folder, slot)),
                hint="Wait for that run to end, then resume; or give the workflow a `name` of its own.",
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        if _is_still(descriptor, path):
            return descriptor
        os.close(descriptor)  # somebody has just removed the worktree with all that belongs to it


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _require_left(slot: str, run_id: str) -> None:
    """Raise EnvironmentProblem while the run has work in the worktree that only it can go on with."""
    found = run_directory(run_id)
    if not found.is_dir():
        return
    processes = Processes(found / "steps")
    with closing(Store.open(found)) as store:
        at_work = slot in store.running_worktrees()
        at_work = at_work or any(
            processes.state(step.execution) is ProcessState.RUNNING for step in store.started_steps()
        )
    if at_work:
        raise EnvironmentProblem(
            f"run {run_id} was interrupted while it worked in the worktree {slot.removeprefix(PREFIX)}",
            hint=f"Go on with it (prodigy resume {run_id}) or end it (prodigy cancel {run_id}) first, then resume.",
        )
