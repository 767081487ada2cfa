"""Did anything change that agents share with the user and with each other? What can be put right is put right."""

from __future__ import annotations

import asyncio

from prodigy.engine import refs
from prodigy.engine.run import Run
from prodigy.git.command import GitError
from prodigy.git.guard import Fingerprint, differences, observe, stashes
from prodigy.git.repo import ANY, RefChange
from prodigy.state import events as ev
from prodigy.state.items import ItemState
from prodigy.state.step_path import attempt_path

_STASH = "refs/stash"


class TamperCheck:
    """Compares the shared repository with how it was; what changed is told once and then taken as given.

    With several agents at work, the first to end after a change is the one that is asked: whose hand it was can't
    be seen from here. What the user may do at any time (commit, fetch, stash) is only told, never blamed.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._turn = asyncio.Lock()
        self._before: Fingerprint | None = None
        self._stashed: frozenset[str] = frozenset()

    async def start(self) -> None:
        """Remember how things are before the first agent starts."""
        self._before = await self._observe()
        self._stashed = stashes(self._run.repo)

    async def check(self) -> tuple[str, ...]:
        """What was tampered with since the last look, in words; empty when nothing was."""
        async with self._turn:
            after = await self._observe()
            assert self._before is not None, "start comes first"
            found = differences(self._before, after)
            self._before = after
        for change in found.moved:
            if _STASH not in change:
                self._run.store.record(ev.Warned(message=f"while agents worked, {change}"))
        await self._keep_stashed()
        return found.tampered

    async def _keep_stashed(self) -> None:
        """All worktrees share one stash: what one agent puts there, another takes or drops."""
        stashed = stashes(self._run.repo)
        for commit in stashed - self._stashed:
            kept = refs.stashed_ref(self._run.id, commit)
            await asyncio.to_thread(self._run.repo.update_refs, [RefChange(kept, ANY, commit)])
            note = f"while agents worked, somebody stashed changes; they are not part of the result, but kept at {kept}"
            self._run.store.record(ev.Warned(message=f"{note} (`git stash apply {kept}`)"))
        self._stashed = stashed

    async def _observe(self) -> Fingerprint:
        return await asyncio.to_thread(observe, self._run.repo, ())


async def restore_branches(run: Run) -> None:
    """Bring back the branches of dead items that somebody deleted: nothing else may hold the work."""
    for fanout in run.store.fanouts():
        path = str(fanout["path"])
        owned = "" if path == run.first_fanout else path
        for item in run.store.items(path):
            if item.state is not ItemState.DEAD or not run.store.has_dead_letter(path, item.ordinal):
                continue
            branch = refs.item_branch(run.id, refs.owner(owned, item.ordinal), item.label)
            boundary = run.store.last_boundary(attempt_path(path, item.ordinal, item.attempt))
            if boundary is None or run.repo.read_ref(branch) is not None:
                continue
            work = boundary[1] or boundary[0]
            if not await asyncio.to_thread(_is_taken, run, work, run.store.run().target):
                await _restore(run, branch, work, item.item_id)


def _is_taken(run: Run, commit: str, target: str | None) -> bool:
    """Whether the work is in the target or the run branch, so that its branch could go."""
    tips = [run.merges.tip(), *([tip] if target and (tip := run.repo.read_ref(target)) else [])]
    try:
        return any(run.private.is_ancestor(commit, tip) for tip in tips)
    except GitError:
        return False  # its objects are gone; that is told where it is brought back


async def _restore(run: Run, branch: str, commit: str, item_id: str) -> None:
    name = branch.removeprefix("refs/heads/")
    try:
        await asyncio.to_thread(run.repo.update_refs, [RefChange(branch, ANY, commit)])
    except GitError as error:
        note = f"somebody deleted {name}, the work of the item {item_id}, and it can't be brought back: {error.what}"
    else:
        note = f"somebody deleted {name}, the work of the item {item_id}; it is there again"
    run.store.record(ev.Warned(message=note))
