"""Workspaces on this host: git worktrees that are reused, and durable processes in them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import CorruptState, EnvironmentProblem
from prodigy.executors.base import DEFAULT_GRACE_S, RUN_SLOT, Exit, ProcessSpec, ProcessState, Snapshot
from prodigy.executors.furnishing import MARK, NOTHING_MORE, Furnishing
from prodigy.executors.processes import Processes
from prodigy.executors.room import blaming_full_disk
from prodigy.git import files, worktrees
from prodigy.git.command import GitError
from prodigy.git.obstacles import PathsInTheWay
from prodigy.git.private import PrivateGit
from prodigy.git.repo import Repo
from prodigy.git.tree import PrivateTree
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
        return self.path, self.tree.git_dir

    def directory(self, execution: str) -> Path:
        return self.processes.directory(execution)

    async def start(self, execution: str, spec: ProcessSpec) -> None:
        check_room(self.processes.steps_dir, *self._places)
        self.tree.last_look.differing = None  # somebody works in it from now on
        if await self.processes.start(execution, spec):
            return
        # Nobody asks to start what is on record; and the worktree may not be the one that it was run in.
        raise CorruptState(
            "this step was run before, and the run's database does not know it",
            where=str(self.directory(execution)),
            hint="Was an older copy of the database put back? The commits are safe: git branch --list 'prodigy/*'",
        )

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

    async def commit_leftovers(self, message: str, *, leave: frozenset[str] = frozenset()) -> str:
        with blaming_full_disk(*self._places):
            commit = await asyncio.to_thread(self.tree.commit_all, message, leave=leave)
        return commit or self.tree.head()

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


class LocalExecutor:
    """A pool of worktrees, made when first needed and reused: making one fresh is far cheaper than adding one.

    There is one more than agents in flight, so that a used one is made fresh while the next item already works.
    in_use: slots that attempts of an earlier coordinator still own.
    """

    def __init__(
        self,
        repo: Repo,
        private: PrivateGit,
        processes: Processes,
        folder: Path,
        run_id: str,
        in_use: Collection[str],
        furnishing: Furnishing = NOTHING_MORE,
    ) -> None:
        self._repo = repo
        self._furnishing = furnishing
        self._private = private
        self._processes = processes
        self._folder = folder
        self._run_id = run_id
        self._taken = set(in_use)
        self._known: dict[str, PrivateTree] = self._existing()
        self._wanted = 1
        self._fresh_at: dict[str, str] = {}
        self._tidy: set[str] = set()  # slots that only lack the commit they are opened at
        self._making_fresh: dict[str, asyncio.Task[None]] = {}

    def _existing(self) -> dict[str, PrivateTree]:
        """Worktrees that an earlier coordinator of this run left."""
        prefix = f"{self._run_id}-"
        return {
            tree.root.name.removeprefix(prefix): self._tree(tree.root, tree.git_dir)
            for tree in worktrees.listed(self._repo)
            if tree.root.parent == self._folder and tree.root.name.startswith(prefix)
        }

    def _tree(self, root: Path, git_dir: Path) -> PrivateTree:
        slot = root.name.removeprefix(f"{self._run_id}-")
        return PrivateTree(self._private, root, git_dir, self._private.directory / "slots" / slot)

    def expect(self, agents: int, items: int) -> None:
        self._wanted = agents + 1 if items > agents else agents

    def reserve(self) -> str:
        slots = [slot for slot in self._known if slot != RUN_SLOT]
        free = sorted(slot for slot in slots if slot not in self._taken)
        ready = [slot for slot in free if slot in self._fresh_at or slot in self._tidy]
        may_grow = len(slots) < self._wanted
        slot = (ready or (not may_grow and free) or [self._new_slot()])[0]
        self._taken.add(slot)
        return slot

    def _new_slot(self) -> str:
        number = 1
        while f"s{number}" in self._known or f"s{number}" in self._taken:
            number += 1
        return f"s{number}"

    async def open(self, slot: str, base: str) -> LocalWorkspace:
        self._taken.add(slot)
        if task := self._making_fresh.pop(slot, None):
            await task
        fresh_at = self._fresh_at.pop(slot, None)
        tree = self._known.get(slot)
        tidy = slot in self._tidy
        self._tidy.discard(slot)
        places = (self._folder, self._repo.common_dir)
        check_room(*places)
        with blaming_full_disk(*places):
            if tree is not None and fresh_at != base:
                try:
                    if tidy and await asyncio.to_thread(tree.catch_up, base):
                        pass
                    elif fresh_at is None:
                        await asyncio.to_thread(self._furnishing.make_fresh, tree, base)
                    else:
                        await asyncio.to_thread(tree.step_forward, fresh_at, base)
                except (GitError, OSError):
                    tree = None  # past repair: an agent did this, and the next one gets a new worktree
            if tree is None:
                tree = await asyncio.to_thread(self._add, slot, base)
                self._known[slot] = tree
                await asyncio.to_thread(self._furnishing.make_fresh, tree, base)
        return LocalWorkspace(slot, tree, self._processes, self._furnishing)

    def _add(self, slot: str, base: str) -> PrivateTree:
        root = self._folder / f"{self._run_id}-{slot}"
        try:
            worktrees.remove(self._repo, root)
            root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            tree = self._tree(root, worktrees.add(self._repo, root, base))
            (tree.directory / MARK).unlink(missing_ok=True)
        except OSError as error:
            raise EnvironmentProblem(f"a worktree can't be made: {error}", where=str(root)) from error
        return tree

    def attach(self, slot: str) -> LocalWorkspace | None:
        tree = self._known.get(slot)
        if tree is None or not tree.work_tree.is_dir() or not tree.git_dir.is_dir():
            return None
        self._taken.add(slot)
        return LocalWorkspace(slot, tree, self._processes, self._furnishing)

    def release(self, slot: str, next_base: str) -> None:
        self._taken.discard(slot)
        self._making_fresh[slot] = asyncio.create_task(self._make_fresh(slot, next_base))

    async def _make_fresh(self, slot: str, base: str) -> None:
        tree = self._known[slot]
        try:
            if await asyncio.to_thread(self._furnishing.tidy, tree, base):
                self._tidy.add(slot)
                return
            await asyncio.to_thread(self._furnishing.make_fresh, tree, base)
        except (GitError, OSError, EnvironmentProblem):
            return  # whoever opens the slot next will see what is wrong
        self._fresh_at[slot] = base

    async def end(self, executions: Collection[str]) -> None:
        running = [name for name in executions if self._processes.state(name) is ProcessState.RUNNING]
        for execution in running:
            await self._processes.stop(execution)
        for execution in running:
            await self._processes.wait(execution)

    async def close(self, *, keep: Collection[str] | None) -> None:
        if self._making_fresh:
            await asyncio.wait(self._making_fresh.values())
        if keep is None:
            return
        for slot, tree in self._known.items():
            if slot not in keep:
                # What can't be removed (another user's files) is left; `worktree ls` shows it.
                with contextlib.suppress(OSError, GitError):
                    await asyncio.to_thread(worktrees.remove, self._repo, tree.work_tree, tree.git_dir)
        await asyncio.to_thread(self._remove_folder)

    def _remove_folder(self) -> None:
        try:
            self._folder.rmdir()
        except OSError:
            return  # other runs of this repository have worktrees there
