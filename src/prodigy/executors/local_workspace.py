"""One worktree on this host, and durable processes in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import CorruptState, EnvironmentProblem
from prodigy.executors import sandbox
from prodigy.executors.base import DEFAULT_GRACE_S, Exit, ProcessSpec, ProcessState, Snapshot
from prodigy.executors.furnishing import MARK, Furnishing
from prodigy.executors.processes import Processes
from prodigy.executors.room import blaming_full_disk
from prodigy.git import files
from prodigy.git.obstacles import PathsInTheWay
from prodigy.git.tree import PrivateTree
from prodigy.home import home
from prodigy.store.room import check_room


@dataclass(frozen=True)
class LocalWorkspace:
    """A worktree of the local pool. Git runs in threads, one at a time in each workspace."""

    slot: str
    tree: PrivateTree
    processes: Processes
    furnishing: Furnishing

    @property
    def path(self) -> Path:
        return self.tree.work_tree

    @property
    def _places(self) -> tuple[Path, Path]:
        """Where the files are, and where the commits go."""
        return self.path, self.tree.private.repo.common_dir

    def directory(self, execution: str) -> Path:
        return self.processes.directory(execution)

    async def start(self, execution: str, spec: ProcessSpec) -> None:
        check_room(self.processes.steps_dir, *self._places)
        self.tree.last_look.differing = None  # somebody works in it from now on
        if spec.confinement is not None:
            spec = await asyncio.to_thread(self._confined, execution, spec)
        if await self.processes.start(execution, spec):
            return
        # Nobody asks to start what is on record; and the worktree may not be the one that it was run in.
        raise CorruptState(
            "this step was run before, and the run's database does not know it",
            where=str(self.directory(execution)),
            hint="Was an older copy of the database put back? The commits are safe: git branch --list '*/items/*'",
        )

    def _confined(self, execution: str, spec: ProcessSpec) -> ProcessSpec:
        shown = (self.directory(execution), self.tree.private.objects)
        try:
            return sandbox.confined(
                spec,
                sandbox.Surroundings(self.path, shown, hidden=(home(), self.tree.private.repo.common_dir / "config")),
            )
        except OSError as error:
            raise EnvironmentProblem(
                f"what its sandbox may write can't be made: {error}",
                hint="Make the directories that `sandbox: {write}` names yourself.",
            ) from error

    def state(self, execution: str) -> ProcessState:
        return self.processes.state(execution)

    async def wait(self, execution: str) -> Exit | None:
        return await self.processes.wait(execution)

    async def stop(self, execution: str, grace_s: float = DEFAULT_GRACE_S) -> None:
        await self.processes.stop(execution, grace_s)

    async def kill_leftovers(self, execution: str) -> None:
        await self.processes.kill_leftovers(execution)

    async def fresh(self, commit: str) -> None:
        with blaming_full_disk(*self._places):
            await asyncio.to_thread(self.furnishing.make_fresh, self.tree, commit)

    async def write(self, path: str, data: bytes) -> None:
        await asyncio.to_thread(files.write_below, self.path, path, data)

    def mark(self) -> str | None:
        data = files.read_small(self.tree.directory / MARK)
        return data.decode() if data else None

    def set_mark(self, text: str) -> None:
        files.replace(self.tree.directory / MARK, text.encode())

    async def restore(self, boundary: Snapshot) -> None:
        with blaming_full_disk(*self._places):
            await asyncio.to_thread(self.tree.restore, boundary)

    async def snapshot(self) -> Snapshot:
        with blaming_full_disk(*self._places):
            return await asyncio.to_thread(self.tree.snapshot)

    async def is_same(self, one: Snapshot, other: Snapshot) -> bool:
        return await asyncio.to_thread(self._is_same, one, other)

    def _is_same(self, one: Snapshot, other: Snapshot) -> bool:
        trees = [each.commit and self.tree.private.tree_of(each.commit) for each in (one, other)]
        return one.head == other.head and trees[0] == trees[1]

    async def untracked(self) -> frozenset[str]:
        with blaming_full_disk(*self._places):
            return frozenset(await asyncio.to_thread(self.tree.untracked))

    async def commit_leftovers(
        self,
        message: str,
        *,
        leave: frozenset[str] = frozenset(),
        only: Callable[[str], bool] | None = None,
        author: Mapping[str, str] | None = None,
    ) -> str:
        with blaming_full_disk(*self._places):
            commit = await asyncio.to_thread(self.tree.commit_all, message, leave=leave, only=only, identity=author)
        return commit or self.tree.head()

    async def squash(self, base: str, message: str, author: Mapping[str, str] | None = None) -> str:
        with blaming_full_disk(*self._places):
            return await asyncio.to_thread(self.tree.squash, base, message, author)

    async def advance(self, commit: str, displaced: Path) -> tuple[str, ...]:
        with blaming_full_disk(*self._places):
            return await asyncio.to_thread(self._advance, commit, displaced)

    def _advance(self, commit: str, displaced: Path) -> tuple[str, ...]:
        try:
            self.tree.advance(self.tree.head(), commit)
        except PathsInTheWay as obstacle:
            for path in obstacle.paths:
                target = displaced / path
                target.parent.mkdir(parents=True, exist_ok=True)
                (self.path / path).replace(target)
            self.tree.advance(self.tree.head(), commit)
            return obstacle.paths
        return ()
