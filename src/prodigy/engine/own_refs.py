"""Refs of ours that another hand moved or deleted: put back, told, and what was found in them is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from prodigy.engine import refs
from prodigy.engine.item_keys import AttemptKey
from prodigy.engine.run import Run
from prodigy.git.command import GitError
from prodigy.git.ref_ledger import Moved, RefLedger
from prodigy.git.repo import ANY, RefChange, RefMoved
from prodigy.state import events as ev
from prodigy.state.items import ItemState
from prodigy.store import merges


class OwnRefs:
    """Looks after the refs of a run. Those of attempts in flight are looked at often, all of them once in a while.

    The run branch is left to the merge queue, and the branches of items that are over to their user, as long as they
    are there.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._live: dict[str, AttemptKey] = {}

    @property
    def _ledger(self) -> RefLedger:
        assert self._run.repo.ledger is not None, "whoever opens a run gives it one"
        return self._run.repo.ledger

    async def start(self, fanout: str) -> None:
        """Take the refs as they are, when an earlier coordinator set them; what the store knows better is told from
        there."""
        run = self._run
        await asyncio.to_thread(self._ledger.see, run.repo.common_dir)
        for one in merges.waiting(run.store, fanout):
            key = AttemptKey(fanout, one.member.ordinal, one.member.attempt, one.item_id, one.label)
            await self._know(key, one.head, None)
            self._live[key.path] = key

    async def watch(self, key: AttemptKey) -> None:
        """An attempt is in flight from now on."""
        own = self._run.store.last_boundary(key.path, own=True)
        if own is not None:
            base = self._run.store.attempts(key.fanout, key.ordinal)[-1].base
            await self._know(key, own[0] if own[0] != base else None, own[1])
        self._live[key.path] = key

    async def check(self) -> None:
        """Look at the refs of attempts in flight, and at the run branch."""
        await self._run.merges.reclaim()
        for path, key in list(self._live.items()):
            if self._run.store.item(key.fanout, key.ordinal).state is not ItemState.RUNNING:
                del self._live[path]  # its work is merged, or its branch is its user's now
        await self._put_back(name for key in self._live.values() for name in key.refs(self._run))

    async def check_all(self) -> None:
        """Look at all of them. A branch may have moved: a person works on what an item left."""
        await self._run.merges.reclaim()
        await self._put_back(self._ledger.names(), branches_may_move=True)

    async def _know(self, key: AttemptKey, head: str | None, snapshot: str | None) -> None:
        """What the store knows of an attempt's refs. A coordinator that was killed may have set them further on."""
        run = self._run
        attempt, snapshots, _ = key.refs(run)
        if head is not None and not await asyncio.to_thread(self._holds, attempt, head):
            self._ledger.expect(attempt, head)
        found = self._found(snapshots)
        if snapshot is not None and found is None:
            self._ledger.expect(snapshots, snapshot)
        elif snapshot is not None and found != snapshot:  # a newer one, perhaps: they do not descend from each other
            kept = RefChange(refs.kept_ref(run.id, snapshot), ANY, snapshot)
            await asyncio.to_thread(run.repo.update_refs, [kept])

    def _holds(self, name: str, commit: str) -> bool:
        """Whether the commit can be reached from a ref."""
        found = self._found(name)
        try:
            return found is not None and self._run.private.is_ancestor(commit, found)
        except GitError:
            return False

    def _found(self, name: str) -> str | None:
        try:
            return self._run.repo.read_ref(name)
        except GitError:
            return None  # damaged

    async def _put_back(self, names: Iterable[str], *, branches_may_move: bool = False) -> None:
        wanted = list(names)
        for one in await asyncio.to_thread(self._ledger.moved, self._run.repo.common_dir, wanted):
            if one.found is not None and branches_may_move and one.name.startswith("refs/heads/"):
                continue
            told = await asyncio.to_thread(self._put_one_back, one)
            if told is not None:
                self._run.store.record(ev.Warned(message=told))

    def _put_one_back(self, one: Moved) -> str | None:
        """What to tell of it; None when it was us after all."""
        run, name = self._run, one.name.removeprefix("refs/heads/")
        where = "" if one.found is None else f" to {(one.commit or one.found)[:12]}"
        what = f"while agents worked, somebody {'moved' if where else 'deleted'} {name}{where}"
        back = RefChange(one.name, one.commit, one.ours)
        kept = refs.kept_ref(run.id, one.commit) if one.commit else ""
        changes = [back, *([RefChange(kept, ANY, one.commit)] if kept else [])]
        try:
            with self._ledger.turn:
                if not self._ledger.moved(run.repo.common_dir, [one.name]):
                    return None
                if one.found is not None and one.commit is None:
                    (run.repo.common_dir / one.name).unlink(missing_ok=True)  # damaged, or a name for another ref
                # A process of its own: one that has long been running remembers objects that are gone.
                replace(run.repo, ref_writer=None).update_refs(changes)
        except RefMoved:
            return None  # whoever moved it again is found out the next time
        except (GitError, OSError) as error:
            problem = error.what if isinstance(error, GitError) else str(error)
            return f"{what}, a ref of this run, and {one.ours[:12]} can't be brought back: {problem}"
        return f"{what}, a ref of this run; it is put back" + (f", and what it held is kept at {kept}" if kept else "")
