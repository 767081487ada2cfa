"""The only mover of the run branch. One merge at a time, announced before it happens, recorded after.

A merge is computed without a checkout; the branch moves by compare-and-swap. A crash between announcement and
record is settled by looking at the branch: at `new`, it happened; elsewhere, it did not and is done again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from prodigy.engine import refs
from prodigy.errors import EnvironmentProblem
from prodigy.git.final_merge import checked_out_at
from prodigy.git.merge import Conflict, merge
from prodigy.git.private import PrivateGit
from prodigy.git.replay import rebased, squashed
from prodigy.git.repo import ANY, RefChange, RefMoved, Repo
from prodigy.home import home
from prodigy.state import events as ev
from prodigy.store.rows import Intent
from prodigy.store.store import Store

# The events that record what a merge was for, given the commit it made.
Recorded = Callable[[str], Sequence[ev.Event]]
Strategy = Literal["merge", "rebase", "squash"]


@dataclass(frozen=True)
class MergeRequest:
    """`head` is to come into the run branch on behalf of `path`.

    base: a commit of the run branch that `head` descends from. obsolete: refs that go once it is merged. strategy: how
    its commits get there; see `Merging`.
    """

    path: str
    head: str
    base: str
    message: str
    obsolete: tuple[str, ...] = ()
    strategy: Strategy = "merge"


@dataclass(frozen=True)
class Done:
    """Commits that are in the run branch, in whatever form, and refs that are of no more use."""

    heads: tuple[str, ...] = ()
    obsolete: tuple[str, ...] = ()


NOTHING = Done()


class MergeQueue:
    """Merges in the order of completion: waiting callers are served first come, first served."""

    def __init__(self, store: Store, repo: Repo, private: PrivateGit, branch: str) -> None:
        self._store = store
        self._repo = repo
        self._private = private
        self.branch = branch
        self._turn = asyncio.Lock()
        self._tip = store.run().tip

    def tip(self) -> str:
        """The run branch's commit, as we moved it last."""
        return self._tip

    async def merge(self, request: MergeRequest, recorded: Recorded) -> Conflict | None:
        """Merge `request.head`; None when it is in the run branch and recorded, else what is in the way."""
        async with self._turn:
            old = self.tip()
            new = await self.merged(old, request)
            if isinstance(new, Conflict):
                return new
            done = Done((request.head,), request.obsolete)
            await self._move(Intent(request.path, old, new), done, recorded)
            return None

    async def merged(self, old: str, request: MergeRequest) -> str | Conflict:
        """What a merge of the request makes of the commit `old`; no ref moves."""
        return await asyncio.to_thread(self._merged, old, request)

    def _merged(self, old: str, request: MergeRequest) -> str | Conflict:
        private, head = self._private, request.head
        if old == request.base:
            tree = private.tree_of(head)
        else:
            result = merge(private, old, head)
            if isinstance(result, Conflict):
                return result
            tree = result.tree
        if request.strategy == "merge":
            return private.commit(tree, (old, head), request.message)
        again = rebased(private, old, request.base, head, tree) if request.strategy == "rebase" else None
        return again or squashed(private, old, head, tree, request.message)

    async def advance(
        self,
        path: str,
        new: str,
        *,
        done: Done = NOTHING,
        first: ev.Event | None = None,
        recorded: Recorded | None = None,
    ) -> None:
        """Move the run branch forward to `new`, which descends from it. first: a fact that is recorded with the
        intent. recorded: the events that say what it was for."""
        async with self._turn:
            old = self.tip()
            if old != new:
                await self._move(Intent(path, old, new), done, recorded or (lambda _: ()), first)

    async def take_back(self, old: str, new: str) -> None:
        """Move the run branch from `new` back to `old`: what was merged is to be done again. The commits are kept."""
        async with self._turn:
            if self._tip == new:
                kept = refs.kept_ref(self._store.directory.name, new)
                await self._update([RefChange(kept, ANY, new)])
                note = f"what a running step had merged is taken back, for it runs again; see {kept}"
                self._store.record(ev.Warned(message=note))
                await self._move(Intent("taken_back", new, old), NOTHING, lambda _: ())

    async def recover(self, recorded: Callable[[Intent], tuple[Done, Recorded]]) -> None:
        """Settle a merge that an earlier coordinator announced. `recorded` tells what it was for."""
        intent = self._store.merge_intent()
        if intent is not None:
            done, events = recorded(intent)
            if self._repo.read_ref(self.branch) == intent.new:
                await self._update(self._deletions(done, intent))
            else:
                await self._swap(intent, done)
            self._record(intent, events)
        await self.reclaim()

    async def reclaim(self) -> None:
        """See that the run branch is where we left it: until they are merged, it is what keeps the run's commits.

        Once the run has ended, commits on top of it are its user's, a conflict resolved by hand for example, and they
        are taken up.
        """
        async with self._turn:
            row = self._store.run()
            found = self._repo.read_ref(self.branch)
            if found == self._tip or (found is None and row.merged is not None):
                return
            self._require_nowhere_checked_out()
            if found is None or not row.status.startswith("completed") or not await self._is_on_top(found):
                await self._update([*self._set_aside(found), RefChange(self.branch, found, self._tip)])
                return
            note = f"somebody has added to the run branch since the run ended: {found[:12]} is its result now"
            self._store.record(ev.Warned(message=note))
            await self._move(Intent("added", self._tip, found), NOTHING, lambda _: ())

    async def _is_on_top(self, commit: str) -> bool:
        return await asyncio.to_thread(self._private.is_ancestor, self._tip, commit)

    def _require_nowhere_checked_out(self) -> None:
        """Moving a branch under a checkout makes that checkout undo the move with its next commit. A worktree of ours
        is made anew before anybody works in it.

        Raises EnvironmentProblem, naming the checkout.
        """
        checkout = checked_out_at(self._repo, self.branch)
        if checkout is not None and not checkout.path.resolve().is_relative_to((home() / "worktrees").resolve()):
            name = self.branch.removeprefix("refs/heads/")
            raise EnvironmentProblem(
                f"the run branch {name} is checked out, and moving it would revert merged work there",
                where=str(checkout.path),
                hint=f"`git switch --detach` there, then `prodigy resume {self._store.directory.name}`.",
            )

    async def _move(self, intent: Intent, done: Done, recorded: Recorded, first: ev.Event | None = None) -> None:
        self._require_nowhere_checked_out()
        announced = ev.Merging(path=intent.path, old=intent.old, new=intent.new)
        self._store.record(*([first] if first else []), announced)
        await self._swap(intent, done)
        self._record(intent, recorded)

    async def _swap(self, intent: Intent, done: Done) -> None:
        deletions = self._deletions(done, intent)
        try:
            await self._update([RefChange(self.branch, intent.old, intent.new), *deletions])
        except RefMoved as moved:
            foreign = moved.found.get(self.branch, intent.new)
            if foreign == intent.new:
                return  # it was us: git died after the move, before it could say so
            await self._update([*self._set_aside(foreign), RefChange(self.branch, foreign, intent.new), *deletions])

    def _set_aside(self, foreign: str | None) -> list[RefChange]:
        """Somebody else moved the run branch: it goes on from where we left it, and theirs is kept apart."""
        where = "deleted it" if foreign is None else f"moved it to {foreign[:12]}"
        kept = refs.kept_ref(self._store.directory.name, foreign) if foreign else ""
        note = f", which is kept at {kept}" if foreign else ""
        self._store.record(ev.Warned(message=f"the run branch is only ours to move, but somebody {where}{note}"))
        return [RefChange(kept, ANY, foreign)] if foreign else []

    def _deletions(self, done: Done, intent: Intent) -> list[RefChange]:
        """Refs that go with a merge. A branch may hold commits that a person added meanwhile: those get a ref first."""
        changes: list[RefChange] = []
        for name in done.obsolete:
            held = self._repo.read_ref(name)
            if held is None:
                continue
            changes.append(RefChange(name, ANY, None))
            is_branch = name.startswith("refs/heads/")
            if is_branch and held not in done.heads and not self._contains(intent.new, held):
                kept = refs.kept_ref(self._store.directory.name, held)
                note = f"{name.removeprefix('refs/heads/')} had commits that are not merged; they are kept at {kept}"
                self._store.record(ev.Warned(message=note))
                changes.append(RefChange(kept, ANY, held))
        return changes

    def _contains(self, commit: str, other: str) -> bool:
        return self._private.has_parent(commit, other) or self._private.is_ancestor(other, commit)

    async def _update(self, changes: list[RefChange]) -> None:
        if changes:
            await asyncio.to_thread(self._repo.update_refs, changes)

    def _record(self, intent: Intent, recorded: Recorded) -> None:
        done = ev.WorktreeMerged(path=intent.path, old=intent.old, new=intent.new)
        self._store.record(done, *recorded(intent.new))
        self._tip = intent.new
