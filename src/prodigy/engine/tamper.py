"""Did anything change that agents share with the user and with each other? What can be put right is put right."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from prodigy.engine import refs
from prodigy.engine.evidence import FOLDER, Evidence
from prodigy.engine.item_keys import AttemptKey
from prodigy.engine.own_checkout import OwnCheckout
from prodigy.engine.own_refs import OwnRefs
from prodigy.engine.remembered import Remembered
from prodigy.engine.run import Run
from prodigy.engine.shared_files import Find, Link, SharedFiles
from prodigy.executors import warden
from prodigy.git import files, worktrees
from prodigy.git.command import GitError
from prodigy.git.guard import stashes
from prodigy.git.repo import ANY, RefChange
from prodigy.state import events as ev
from prodigy.state.items import ItemState
from prodigy.state.step_path import attempt_path

_STASH = "refs/stash"
_BEHIND_THE_NAME = b"gitdir: "


def remember(run: Run) -> None:
    """Remember how the shared repository is before the first step of a run."""
    SharedFiles(run.repo, run.directory, refs.prefix_of(run.merges.branch)).remember()


class TamperCheck:
    """Compares the shared repository with how it was, keeps what it finds as evidence, and puts it back.

    With several agents at work, the first to end after a change is the one that is asked: whose hand it was can't
    be seen from here. What the user may do at any time (commit, fetch, stash) is only told, never blamed.
    """

    def __init__(self, run: Run, fanout: str) -> None:
        self._run = run
        self._fanout = fanout
        self._turn = asyncio.Lock()
        self._shared = SharedFiles(run.repo, run.directory, refs.prefix_of(run.merges.branch))
        self._refs = OwnRefs(run)
        self._links: dict[str, Link] = {}
        self._checkout = OwnCheckout(run)

    async def start(self) -> None:
        """Remember how things are before agents start, or find out what changed since a coordinator went away."""
        saved = Remembered.read(self._run.directory, self._run.repo.common_dir)
        self._shared.at_work = True
        if saved is None:
            await asyncio.to_thread(self._shared.remember)
        else:
            changed = await asyncio.to_thread(self._shared.go_on, saved, agents_ended(self._run))
            self._warn("between agents", changed, "it is taken as it is")
        await self._refs.start(self._fanout)
        await self._checkout.start()

    @asynccontextmanager
    async def watching(self, key: AttemptKey, work_tree: Path) -> AsyncIterator[None]:
        """An attempt is in flight, in this worktree."""
        await self._refs.watch(key)
        if (link := _link(worktrees.real(work_tree), self._run.repo.common_dir)) is not None:
            self._links[key.path] = link
        try:
            yield
        finally:
            self._links.pop(key.path, None)

    async def check(self, key: AttemptKey) -> str | None:
        """What was tampered with since the last look, and what was done about it; None when nothing was."""
        found, evidence = await self._settle(key.path)
        await self._refs.check()
        if not found.tampered:
            return None
        return f"changed what an agent must not touch: {_told(found, evidence)}"

    async def finish(self) -> None:
        """Agents are done: look once more, at everything."""
        found, evidence = await self._settle(self._fanout)
        self._warn("while agents worked", found.tampered, _deed(found, evidence))
        await self._refs.check_all()
        await restore_branches(self._run)
        await self._checkout.tell()
        self._shared.at_work = False
        self._shared.save()

    async def _settle(self, path: str) -> tuple[Find, Evidence]:
        async with self._turn:
            evidence = Evidence.at(self._run.directory / "steps" / path / FOLDER)
            found = await asyncio.to_thread(self._shared.settle, evidence, list(self._links.values()))
        for change in found.moved:
            if _STASH not in change:
                self._run.store.record(ev.Warned(message=f"while agents worked, {change}"))
        self._warn("while agents worked", found.taken_over, "another run put it back, so it is taken as it is")
        await self._keep_stashed()
        return found, evidence

    def _warn(self, when: str, changes: tuple[str, ...], what_follows: str) -> None:
        if changes:
            self._run.store.record(ev.Warned(message=f"{when}, {'; '.join(changes)}: {what_follows}"))

    async def _keep_stashed(self) -> None:
        """All worktrees share one stash: what one agent puts there, another takes or drops."""
        stashed, known = stashes(self._run.repo), self._shared.stashed
        for commit in sorted(stashed - known):
            kept = await self._keep(commit, "somebody stashed changes", "they are not part of the result")
            self._run.store.record(ev.Warned(message=kept))
        for commit in sorted(known - stashed):
            if self._run.repo.read_ref(refs.stashed_ref(self._run.id, commit)) is None:
                kept = await self._keep(commit, "somebody dropped an entry of the stash", "it is gone from there")
                self._run.store.record(ev.Warned(message=kept))
        if stashed != known:
            self._shared.stashed = stashed
            self._shared.save()

    async def _keep(self, commit: str, deed: str, but: str) -> str:
        kept = refs.stashed_ref(self._run.id, commit)
        try:
            await asyncio.to_thread(self._run.repo.update_refs, [RefChange(kept, ANY, commit)])
        except GitError as error:
            return f"while agents worked, {deed}, {commit[:12]}, and it can't be kept: {error.what}"
        return f"while agents worked, {deed}; {but}, but kept at {kept} (`git stash apply {kept}`)"


def agents_ended(run: Run) -> float:
    """When the last agent that an earlier coordinator left at work had ended, in seconds since the epoch; of one whose
    end is not known, never."""
    last = 0.0
    for event in run.store.events(types=("step_finished",), limit=1):
        last = dt.datetime.fromisoformat(str(event["timestamp"])).timestamp()
    for step in run.store.started_steps():
        try:
            last = max(last, (run.directory / "steps" / step.execution / warden.EXIT).stat().st_mtime)
        except FileNotFoundError:
            return float("inf")
    return last


def _told(found: Find, evidence: Evidence) -> str:
    return f"{'; '.join(found.tampered)}; {_deed(found, evidence)}"


def _deed(found: Find, evidence: Evidence) -> str:
    left = f", but {', '.join(found.left)} could not be" if found.left else ""
    return f"this is put back{left}, and what was found is in {evidence.directory}"


def _link(work_tree: Path, common: Path) -> Link | None:
    """What ties a worktree to the repository; None for one with a repository of its own."""
    data = files.read_small(work_tree / ".git")
    if data is None or not data.startswith(_BEHIND_THE_NAME):
        return None
    git_dir = Path(os.fsdecode(data.removeprefix(_BEHIND_THE_NAME)).removesuffix("\n"))
    return Link(work_tree, git_dir) if git_dir.parent == common / "worktrees" else None


async def restore_branches(run: Run) -> None:
    """Bring back the branches of dead items that somebody deleted: nothing else may hold the work."""
    for fanout in run.store.fanouts():
        path = str(fanout["path"])
        owned = "" if path == run.first_fanout else path
        for item in run.store.items(path):
            if item.state is not ItemState.DEAD or not run.store.has_dead_letter(path, item.ordinal):
                continue
            branch = refs.item_branch(run.merges.branch, refs.owner(owned, item.ordinal), item.label)
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
        # A process of its own: one that has long been running remembers objects that are gone.
        await asyncio.to_thread(replace(run.repo, ref_writer=None).update_refs, [RefChange(branch, ANY, commit)])
    except GitError as error:
        note = f"somebody deleted {name}, the work of the item {item_id}, and it can't be brought back: {error.what}"
    else:
        note = f"somebody deleted {name}, the work of the item {item_id}; it is there again"
    run.store.record(ev.Warned(message=note))
