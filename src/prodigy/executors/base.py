"""What the engine knows of a place where steps run. It never knows the host: only git objects and bytes cross it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from prodigy.executors.furnishing import Lodging
from prodigy.git.snapshot import Snapshot

# An unwatched agent must always end, so both limits have a default. Seconds.
DEFAULT_TIMEOUT_S = 4 * 3600.0
DEFAULT_IDLE_TIMEOUT_S = 3600.0
DEFAULT_GRACE_S = 5.0


@dataclass(frozen=True)
class Scratch:
    """A directory that a confined process may write to, though what it writes is gone afterwards. Made if need be.

    kept: names in it whose changes stay; one with a slash at its end is a directory that is made if need be.
    """

    directory: str
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class Confinement:
    """What a process may touch beside its workspace. Paths begin with `/` or `~`.

    wrapper: words of a program that runs it and has rules of its own; without one the host's own means are used.
    write, read: what it may write, and read where it would be hidden. hide: what it does not see.
    network: whether it has one.
    """

    wrapper: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    network: bool = True


@dataclass(frozen=True)
class ProcessSpec:
    """One process to start.

    argv: program and arguments; never parsed by a shell.
    env: the whole environment of the process; values are handed over in memory and written nowhere.
    cwd: absolute directory.
    files: name -> content, written into the step's directory before the start (mode 0600), e.g. the script.
    stdin: given to the process as a file; empty by default.
    timeout_s, idle_timeout_s: limits on the whole time and on the time without output, in seconds.
    grace_s: between asking the process to end and killing it, in seconds.
    confinement: None: the process has all rights of the user.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""
    timeout_s: float = DEFAULT_TIMEOUT_S
    idle_timeout_s: float = DEFAULT_IDLE_TIMEOUT_S
    grace_s: float = DEFAULT_GRACE_S
    confinement: Confinement | None = None


class ProcessState(StrEnum):
    """Read from the step's directory alone, never from a pid."""

    ABSENT = "absent"  # no directory: never started
    RUNNING = "running"  # its warden holds the lock
    FINISHED = "finished"  # an exit record is there
    LOST = "lost"  # the lock is free and there is no exit record: warden or host went down


# The slots of the run's own workspace, and of that in which merges are checked. They are not part of the pool.
RUN_SLOT = "run"
QUEUE_SLOT = "queue"
OWN_SLOTS = frozenset({RUN_SLOT, QUEUE_SLOT})  # of the run itself; the others are its items'

ExitReason = Literal["exited", "timeout", "idle", "stopped", "not_started", "unfit", "lost"]


@dataclass(frozen=True)
class Exit:
    """How a process ended.

    code: exit status, or 128 + the signal's number as shells report it; None when it could not be started.
    reason: exited by itself, ended by us (timeout, idle, stopped), not_started (`message` says why), unfit (the
        item's own values do not fit the step, so it was never started; `message` says why), or lost (its warden was
        killed).
    started_at: UNIX time, seconds. duration_s: measured with a monotonic clock.
    message: also, of a process that ran, why its output may not be whole.
    """

    code: int | None
    reason: ExitReason
    started_at: float
    duration_s: float
    message: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with status 0."""
        return self.reason == "exited" and self.code == 0


class Workspace(Protocol):
    """A worktree on some host, where the steps of one attempt run one after another.

    Step executions are named by their path (`it1/3/i0042/a2/1/t1`), commits by their full id.
    """

    @property
    def slot(self) -> str: ...
    @property
    def path(self) -> Path: ...
    def directory(self, execution: str) -> Path:
        """Where the files of a step execution are: script, output, exit record."""
        ...

    async def start(self, execution: str, spec: ProcessSpec) -> None:
        """Start the process of a step. Raises EnvironmentProblem without room for it, CorruptState when that
        execution was started before."""
        ...

    def state(self, execution: str) -> ProcessState: ...
    async def wait(self, execution: str) -> Exit | None:
        """Wait until the process has ended; None when it was lost."""
        ...

    async def stop(self, execution: str, grace_s: float = DEFAULT_GRACE_S) -> None:
        """Ask the process to end, then kill its whole tree after `grace_s` seconds. Returns at once."""
        ...

    async def kill_leftovers(self, execution: str) -> None:
        """End every process that a lost step left behind."""
        ...

    async def fresh(self, commit: str) -> None:
        """Make the directory exactly `commit`, with nothing left of what was there before."""
        ...

    def mark(self) -> str | None:
        """What was noted last about this worktree since it was made; None for a new one."""
        ...

    def set_mark(self, text: str) -> None: ...
    async def write(self, path: str, data: bytes) -> None:
        """Write a file below the worktree, making its directories; raises OSError when it would land elsewhere."""
        ...

    async def restore(self, boundary: Snapshot) -> None:
        """Bring back the state of a step's end; ignored files stay as they are."""
        ...

    async def snapshot(self) -> Snapshot:
        """The state now; uncommitted work is put into a commit of its own, HEAD does not move."""
        ...

    async def is_same(self, one: Snapshot, other: Snapshot) -> bool:
        """Whether the two have the same head and the same files."""
        ...

    async def untracked(self) -> frozenset[str]:
        """Untracked paths that are not ignored."""
        ...

    async def advance(self, commit: str, displaced: Path) -> tuple[str, ...]:
        """Move a tree without tracked edits forward to `commit`; untracked files stay.

        Untracked files that are in the way are moved below `displaced`; their paths are returned.
        """
        ...

    async def commit_leftovers(
        self,
        message: str,
        *,
        leave: frozenset[str] = frozenset(),
        only: Callable[[str], bool] | None = None,
        author: Mapping[str, str] | None = None,
    ) -> str:
        """Commit what is uncommitted but the untracked paths in `leave`; the head after it.

        only: the paths that are wanted, None: all. author: GIT_AUTHOR_* of the commit; None: ours.
        """
        ...

    async def squash(self, base: str, message: str, author: Mapping[str, str] | None = None) -> str:
        """Make one commit on top of `base` of all commits since; the head after it. No file changes."""
        ...


class Executor(Protocol):
    """Provides workspaces; a slot is the durable name of one."""

    def expect(self, agents: int, items: int, lodging: Lodging | None = None) -> int:
        """So many agents will be in flight at most, for so many items: how large the pool may get.

        lodging: how the worktrees that are reserved from now on are had; None: as before. Returns how many agents there
        is room for, at least one; `remarks` says why fewer. Raises EnvironmentProblem when there is room for none.
        """
        ...

    def remarks(self) -> list[str]:
        """What the user should know of `expect`, once."""
        ...

    def lodges_for_long(self, slot: str) -> bool:
        """Whether the slot's worktree serves one attempt after another until its fan-out is over."""
        ...

    def used(self) -> list[str]:
        """The slots of the pool that have a worktree."""
        ...

    def reserve(self) -> str:
        """Take a free slot, if possible one that is ready; never more than agents in flight are taken."""
        ...

    def place(self, slot: str) -> Path:
        """Where the slot's worktree is, or would be."""
        ...

    async def open(self, slot: str, base: str) -> Workspace:
        """The workspace of a reserved slot, made fresh at the commit `base`."""
        ...

    def attach(self, slot: str) -> Workspace | None:
        """The workspace of a slot as an earlier coordinator left it; None when it is gone."""
        ...

    def release(self, slot: str, next_base: str) -> None:
        """Give a slot back; it is made fresh at `next_base` while others work, or removed, or left, as it was had."""
        ...

    def retire(self, slot: str) -> None:
        """Leave a slot's worktree as it is: it is not used again, and its name is not given to another one."""
        ...

    async def discard(self, slot: str) -> None:
        """Take away the worktree of a retired slot."""
        ...

    async def end(self, executions: Collection[str]) -> None:
        """End what still runs of these step executions, watched or not."""
        ...

    async def close(self, *, keep: Collection[str] | None) -> None:
        """Stop background work and take every workspace away but those of the slots in `keep` (None: keep all)."""
        ...


__all__ = [
    "DEFAULT_GRACE_S",
    "DEFAULT_IDLE_TIMEOUT_S",
    "DEFAULT_TIMEOUT_S",
    "OWN_SLOTS",
    "QUEUE_SLOT",
    "RUN_SLOT",
    "Executor",
    "Exit",
    "ExitReason",
    "ProcessSpec",
    "ProcessState",
    "Snapshot",
    "Workspace",
]
