"""The workspaces of a run on this host: git worktrees or clones, most of them reused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from prodigy.errors import EnvironmentProblem
from prodigy.executors import allowance, dedicated
from prodigy.executors.base import OWN_SLOTS, RUN_SLOT, ProcessState
from prodigy.executors.furnishing import MARK, Furnishing, Lodging
from prodigy.executors.local_workspace import LocalWorkspace
from prodigy.executors.processes import Processes
from prodigy.executors.room import blaming_full_disk
from prodigy.git import clone, files, worktrees
from prodigy.git.clone import PrivateClone
from prodigy.git.command import GitError
from prodigy.git.private import PrivateGit
from prodigy.git.repo import Repo
from prodigy.git.tree import PrivateTree
from prodigy.store.room import BYTES_NEEDED, check_room

# The slots of the pool; others belong to one owner for as long as the run goes on.
_POOLED = re.compile(r"s\d+")


class LocalExecutor:
    """A pool of worktrees, made when first needed and reused: making one fresh is far cheaper than adding one. What is
    said of worktrees here holds for clones.

    There is one more than agents in flight, so that a used one is made fresh while the next item already works. A
    fan-out may have its own lodging: new worktrees for every attempt, or such with a name that stay.
    in_use: slots that attempts of an earlier coordinator still own. retired: slots that are not used again.
    """

    def __init__(
        self,
        repo: Repo,
        private: PrivateGit,
        processes: Processes,
        folder: Path,
        run_id: str,
        in_use: Collection[str],
        lodging: Lodging | None = None,
        retired: Collection[str] = (),
    ) -> None:
        self._repo = repo
        self._lodging = lodging or Lodging()
        self._own_are_clones = self._lodging.clone  # of the slots that are no item's
        self._private = private
        self._processes = processes
        self._folder = folder.resolve()  # as git names what is in it
        self._run_id = run_id
        self._taken = set(in_use)
        self._retired = set(retired)
        self._known: dict[str, PrivateTree] = self._existing()
        self._wanted = 1
        self._fresh_at: dict[str, str] = {}
        self._tidy: set[str] = set()  # slots that only lack the commit they are opened at
        self._going: dict[str, asyncio.Task[None]] = {}  # slots that are being made fresh, or removed
        self._locks: dict[str, int] = {}
        self._remarks: list[str] = []

    def _existing(self) -> dict[str, PrivateTree]:
        """Worktrees that an earlier coordinator of this run left."""
        prefix = f"{self._run_id}-"
        found = {
            tree.root.name.removeprefix(prefix): self._worktree(tree.root.name.removeprefix(prefix), tree.git_dir)
            for tree in worktrees.listed(self._repo)
            if tree.root.parent == self._folder and tree.root.name.startswith(prefix)
        }
        for directory in (self._private.directory / "slots").glob("*"):
            if clone.is_marked(directory) and self.place(directory.name).is_dir():
                found[directory.name] = self._clone(directory.name)
        return found

    def _directory(self, slot: str) -> Path:
        if dedicated.is_dedicated(slot):
            return dedicated.directory(self._folder, slot)
        return self._private.directory / "slots" / slot

    def _worktree(self, slot: str, git_dir: Path) -> PrivateTree:
        return PrivateTree(self._private, worktrees.real(self.place(slot)), git_dir, self._directory(slot))

    def _clone(self, slot: str) -> PrivateClone:
        root = worktrees.real(self.place(slot))
        return PrivateClone(self._private, root, clone.git_dir_of(root), self._directory(slot))

    def _is_to_be_clone(self, slot: str) -> bool:
        return self._own_are_clones if slot in OWN_SLOTS else self._lodging.clone

    # Slots -------------------------------------------------------------------------------------------------

    def expect(self, agents: int, items: int, lodging: Lodging | None = None) -> int:
        if lodging is not None and lodging != self._lodging:
            self._lodging = lodging
            self._fresh_at.clear()  # they were made so for another fan-out
            self._tidy.clear()
        here = self._lodging
        wanted = agents + 1 if items > agents and here.name is None and not here.fresh else agents
        slots = dedicated.slots(here.name, agents) if here.name else [slot for slot in self._known if self._pools(slot)]
        ours = [self.place(slot) for slot in slots]
        most, reasons = allowance.allowed(self._folder, here, wanted, ours, self.place(RUN_SLOT))
        self._remarks += reasons if most < agents else []
        agents = min(agents, most)
        self._wanted = min(wanted, most)
        for slot in dedicated.slots(here.name, agents) if here.name else ():
            self._take_dedicated(slot)
        return agents

    def remarks(self) -> list[str]:
        told, self._remarks = self._remarks, []
        return told

    def lodges_for_long(self, slot: str) -> bool:
        return self._pools(slot) and not self._lodging.fresh

    def used(self) -> list[str]:
        return sorted(slot for slot in self._known if self._pools(slot))

    def _pools(self, slot: str) -> bool:
        return _POOLED.fullmatch(slot) is not None and slot not in self._retired

    def reserve(self) -> str:
        if self._lodging.name is not None:
            slot = self._reserve_dedicated(self._lodging.name)
        elif self._lodging.fresh:
            slot = self._new_slot()
        else:
            slot = self._reserve_pooled()
        self._taken.add(slot)
        return slot

    def _reserve_dedicated(self, name: str) -> str:
        """The first that is free; more than were expected only where attempts of an earlier coordinator own others."""
        candidates = dedicated.slots(name, len(self._taken) + 1)
        slot = next(slot for slot in candidates if slot not in self._taken)
        self._take_dedicated(slot)
        return slot

    def _reserve_pooled(self) -> str:
        slots = [slot for slot in self._known if self._pools(slot)]
        free = sorted(slot for slot in slots if slot not in self._taken)
        ready = [slot for slot in free if slot in self._fresh_at or slot in self._tidy]
        may_grow = len(slots) < self._wanted
        return (ready or (not may_grow and free) or [self._new_slot()])[0]

    def _new_slot(self) -> str:
        number = 1
        while f"s{number}" in self._known or f"s{number}" in self._taken or f"s{number}" in self._retired:
            number += 1
        return f"s{number}"

    def _take_dedicated(self, slot: str) -> None:
        """Hold the worktree until the end. Raises EnvironmentProblem when another run does."""
        if slot in self._locks:
            return
        self._locks[slot] = dedicated.take(self._folder, slot, self._run_id)
        root = worktrees.real(self.place(slot))
        git_dir = next((tree.git_dir for tree in worktrees.listed(self._repo) if tree.root == root), None)
        if git_dir is not None:
            self._known[slot] = self._worktree(slot, git_dir)
        elif clone.is_marked(self._directory(slot)) and root.is_dir():
            self._known[slot] = self._clone(slot)

    def place(self, slot: str) -> Path:
        if dedicated.is_dedicated(slot):
            return dedicated.place(self._folder, slot)
        return self._folder / f"{self._run_id}-{slot}"

    # Worktrees ---------------------------------------------------------------------------------------------

    def _furnishing(self, slot: str) -> Furnishing:
        """What a worktree with a name had ignored stays there: that is what it is for."""
        found = self._lodging.furnishing
        return replace(found, keep_all=True) if dedicated.is_dedicated(slot) else found

    def _workspace(self, slot: str, tree: PrivateTree) -> LocalWorkspace:
        return LocalWorkspace(slot, tree, self._processes, self._furnishing(slot))

    async def open(self, slot: str, base: str) -> LocalWorkspace:
        self._taken.add(slot)
        if dedicated.is_dedicated(slot):
            self._take_dedicated(slot)
        if task := self._going.pop(slot, None):
            await task
        fresh_at = self._fresh_at.pop(slot, None)
        tree = self._known.get(slot)
        tidy = slot in self._tidy
        self._tidy.discard(slot)
        places = (self._folder, self._repo.common_dir)
        check_room(*places)
        if tree is not None and isinstance(tree, PrivateClone) != self._is_to_be_clone(slot):
            await asyncio.to_thread(self._take_away, tree)
            tree = None
        if tree is None and self._lodging.fresh:
            await self._make_way()
        with blaming_full_disk(*places):
            if tree is not None and fresh_at != base:
                try:
                    if tidy and await asyncio.to_thread(tree.catch_up, base):
                        pass
                    elif fresh_at is None:
                        await asyncio.to_thread(self._furnishing(slot).make_fresh, tree, base)
                    else:
                        await asyncio.to_thread(tree.step_forward, fresh_at, base)
                except (GitError, OSError):
                    tree = None  # past repair: an agent did this, and the next one gets a new worktree
            if tree is None:
                tree = await asyncio.to_thread(self._add, slot, base)
                self._known[slot] = tree
                await asyncio.to_thread(self._furnishing(slot).make_fresh, tree, base)
        return self._workspace(slot, tree)

    async def _make_way(self) -> None:
        """Wait until there are no more worktrees than may be: those of attempts that are over go meanwhile."""
        while sum(map(self._pools, self._known)) >= self._wanted and (going := set(self._going.values())):
            await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
            self._going = {slot: task for slot, task in self._going.items() if not task.done()}

    def _add(self, slot: str, base: str) -> PrivateTree:
        root = self.place(slot)
        check_room(self._folder, needed=max(BYTES_NEEDED, (self._lodging.min_free_disk_mb or 0) << 20))
        if slot == RUN_SLOT:
            allowance.require_one(self._folder, self._lodging.total)
        try:
            worktrees.remove(self._repo, root)
            root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            tree: PrivateTree
            if self._is_to_be_clone(slot):
                tree = self._clone(slot)
                root.mkdir()
            else:
                tree = self._worktree(slot, worktrees.add(self._repo, root, base))
            clone.mark(tree.directory, is_clone=isinstance(tree, PrivateClone))
            (tree.directory / MARK).unlink(missing_ok=True)
        except OSError as error:
            raise EnvironmentProblem(
                f"a worktree can't be made: {error}", where=str(root), hint="Make room there, or make it writable."
            ) from error
        return tree

    def attach(self, slot: str) -> LocalWorkspace | None:
        if dedicated.is_dedicated(slot):
            self._take_dedicated(slot)
        tree = self._known.get(slot)
        if tree is None or not tree.work_tree.is_dir() or not tree.git_dir.is_dir():
            return None
        self._taken.add(slot)
        return self._workspace(slot, tree)

    def release(self, slot: str, next_base: str) -> None:
        if dedicated.is_dedicated(slot):
            self._taken.discard(slot)  # whoever opens it next makes it fresh: it may be another run
        elif self._lodging.fresh and self._pools(slot):
            self._going[slot] = asyncio.create_task(self._remove(slot))
        else:
            self._taken.discard(slot)
            self._going[slot] = asyncio.create_task(self._make_fresh(slot, next_base))

    def retire(self, slot: str) -> None:
        self._retired.add(slot)
        self._taken.discard(slot)

    async def discard(self, slot: str) -> None:
        if slot in self._retired:
            await self._remove(slot)

    async def _remove(self, slot: str) -> None:
        """Take a worktree away, and what we know of it. What can't be removed is left; `worktree ls` shows it."""
        tree = self._known.get(slot)
        if tree is not None:
            try:
                await asyncio.to_thread(self._take_away, tree)
                await asyncio.to_thread(files.remove, tree.directory)
            except (OSError, GitError):
                return  # its name stays taken
            del self._known[slot]
        self._going.pop(slot, None)
        self._taken.discard(slot)

    def _take_away(self, tree: PrivateTree) -> None:
        """Remove a worktree from the disk, and from the repository. Raises OSError, GitError."""
        if isinstance(tree, PrivateClone):
            files.remove(tree.work_tree)
        else:
            worktrees.remove(self._repo, tree.work_tree, tree.git_dir)

    async def _make_fresh(self, slot: str, base: str) -> None:
        tree, lodging = self._known[slot], self._lodging
        tidy = False
        try:
            tidy = await asyncio.to_thread(lodging.furnishing.tidy, tree, base)
            if not tidy:
                await asyncio.to_thread(lodging.furnishing.make_fresh, tree, base)
        except (GitError, OSError, EnvironmentProblem):
            return  # whoever opens the slot next will see what is wrong
        if lodging is not self._lodging:
            return  # the next fan-out has its worktrees otherwise
        if tidy:
            self._tidy.add(slot)
        else:
            self._fresh_at[slot] = base

    # The end -----------------------------------------------------------------------------------------------

    async def end(self, executions: Collection[str]) -> None:
        running = [name for name in executions if self._processes.state(name) is ProcessState.RUNNING]
        for execution in running:
            await self._processes.stop(execution)
        for execution in running:
            await self._processes.wait(execution)

    async def close(self, *, keep: Collection[str] | None) -> None:
        if self._going:
            await asyncio.wait(list(self._going.values()))
        for descriptor in self._locks.values():
            os.close(descriptor)
        self._locks.clear()
        if keep is None:
            return
        for slot, tree in self._known.items():
            if slot not in keep and not dedicated.is_dedicated(slot):
                # What can't be removed (another user's files) is left; `worktree ls` shows it.
                with contextlib.suppress(OSError, GitError):
                    await asyncio.to_thread(self._take_away, tree)
        await asyncio.to_thread(self._remove_folder)

    def _remove_folder(self) -> None:
        try:
            self._folder.rmdir()
        except OSError:
            return  # other runs of this repository have worktrees there
