"""The worktrees of the newest failed items, which stay for somebody to look at (`workspace.keep_failed`).

Before an older one goes, what was in it is in refs and, for who wants to look at it elsewhere or later, in a git bundle
in the run's directory. What git ignores is in neither.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from prodigy.engine import refs
from prodigy.engine.bundling import make_bundle
from prodigy.engine.lodging import workspace_of
from prodigy.engine.places import fan_out_at
from prodigy.engine.run import Run
from prodigy.executors.base import Workspace
from prodigy.git.command import GitError
from prodigy.git.repo import ANY, RefChange, Repo
from prodigy.state import events as ev
from prodigy.store.letters import bundle_path, of_worktree
from prodigy.store.rows import AttemptRow
from prodigy.store.store import Store


def to_keep(run: Run, fanout: str, ordinal: int) -> str | None:
    """The path of the item's worktree when it is to stay."""
    mapping = fan_out_at(run.workflow, fanout)
    if mapping is None or mapping.named or not workspace_of(run.workflow, mapping).keep_failed:
        return None
    newest: AttemptRow = run.store.attempts(fanout, ordinal)[-1]
    if not newest.worktree:
        return None  # it was done with it when its merge was rejected
    return str(run.executor.place(newest.worktree))


def is_kept(run: Run, workspace: Workspace, fanout: str, ordinal: int) -> bool:
    """Whether a dead letter keeps this worktree."""
    return run.store.kept_worktree(fanout, ordinal) == str(workspace.path)


async def keep(run: Run, workspace: Workspace, fanout: str) -> None:
    """Leave the worktree as it is, and remove the oldest of those that are too many now."""
    run.executor.retire(workspace.slot)
    kept = _kept(run, fanout)
    if workspace.path not in kept:
        kept.append(workspace.path)
    await keep_newest(run, fanout)


async def keep_newest(run: Run, fanout: str) -> None:
    """Remove the oldest of the worktrees of failed items, if there are more than are to stay."""
    mapping = fan_out_at(run.workflow, fanout)
    most = (mapping and workspace_of(run.workflow, mapping).keep_failed) or 0
    kept = _kept(run, fanout)
    while len(kept) > most:
        await _remove(run, kept.pop(0))


def _kept(run: Run, fanout: str) -> list[Path]:
    if fanout not in run.kept_failed:
        run.kept_failed[fanout] = _on_disk(run.store, fanout)
    return run.kept_failed[fanout]


async def _remove(run: Run, path: Path) -> None:
    slot = path.name.removeprefix(f"{run.id}-")
    run.executor.retire(slot)
    workspace = run.executor.attach(slot)
    try:
        if workspace is not None:
            await _bundle(run, workspace, await _keep_work(run, workspace))
    except (GitError, OSError) as error:
        run.store.record(ev.Warned(message=f"the worktree {path} of a failed item stays: {error}"))
    else:
        await run.executor.discard(slot)


async def _keep_work(run: Run, workspace: Workspace) -> dict[str, str]:
    """Refs for what only this worktree has: the item's own work has one, what a person did there since may not.
    name -> commit."""
    now = await workspace.snapshot()
    commits = {commit for commit in (now.head, now.commit) if commit and not _has_ref(run, commit)}
    names = {refs.kept_ref(run.id, commit): commit for commit in commits}
    if names:
        changes = [RefChange(name, ANY, commit) for name, commit in names.items()]
        await asyncio.to_thread(run.repo.update_refs, changes)
    return names


async def _bundle(run: Run, workspace: Workspace, kept: Mapping[str, str]) -> None:
    """Write the item's branch, and what else was in its worktree, into a bundle."""
    letter = of_worktree(run.store.ask, str(workspace.path))
    if letter is None:
        return  # it has succeeded meanwhile
    fanout, ordinal, branch = letter
    base = run.store.attempts(fanout, ordinal)[-1].base
    own = f"refs/heads/{branch}"
    tip = run.repo.read_ref(own)
    holding = {**({own: tip} if tip else {}), **kept}
    await asyncio.to_thread(_write_bundle, run.repo, bundle_path(run.directory, branch), base, holding)


def _write_bundle(repo: Repo, target: Path, base: str, holding: Mapping[str, str]) -> None:
    """What the refs hold beyond `base`, whole or not at all."""
    part = target.with_suffix(".new")
    target.parent.mkdir(mode=0o700, exist_ok=True)
    if make_bundle(repo, part, base, holding):
        part.chmod(0o600)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(target)


def _has_ref(run: Run, commit: str) -> bool:
    found = run.repo.run("for-each-ref", "--count=1", "--contains", commit, ok=(0, 129))
    return found.code == 0 and bool(found.line)


def _on_disk(store: Store, fanout: str) -> list[Path]:
    """Those that dead letters keep, the oldest first."""
    paths = (Path(path) for of, path in store.kept_worktrees() if of == fanout)
    return [path for path in paths if path.is_dir()]
