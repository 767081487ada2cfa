"""Named worktrees, for experiments side by side: what the steps behind them may name."""

from __future__ import annotations

import asyncio

from prodigy.engine import refs
from prodigy.engine.run import Run
from prodigy.git.repo import ANY, RefChange
from prodigy.state.step_path import attempt_path
from prodigy.store.store import Store
from prodigy.workflow.model import Group, MapReduce, Named


def worktree_names(run: Run, path: str, mapping: MapReduce) -> dict[str, object]:
    """`${worktrees.NAME.path}`, `.head` and `.success` of every named worktree of the fan-out at `path`."""
    found: dict[str, object] = {}
    for ordinal, named in enumerate(mapping.named, 1):
        facts = {
            "path": str(run.executor.place(slot)) if (slot := _slot(run.store, path, ordinal)) else None,
            "head": run.repo.read_ref(named_branch(run, named.name)),
            "success": run.store.item(path, ordinal).state == "succeeded",
        }
        found |= {f"worktrees.{named.name}.{fact}": value for fact, value in facts.items()}
        found |= _outputs(run, path, ordinal, named)
    return found


def _outputs(run: Run, path: str, ordinal: int, named: Named) -> dict[str, object]:
    """What another workflow gives to the steps behind it, below its name; null when it did not run to its end."""
    group = named.do[0].action
    if not isinstance(group, Group):
        return {}
    found: dict[str, object] = dict.fromkeys(group.outputs)
    for attempt in run.store.attempts(path, ordinal):
        step_path = f"{attempt_path(path, ordinal, attempt.number)}/1"
        if run.store.executions(step_path):
            found |= run.steps.names(named.do[0], step_path)
    return {f"{named.name}.{name}": value for name, value in found.items() if name.partition(".")[0] in group.outputs}


def named_branch(run: Run, name: str) -> str:
    """The branch that has what a named worktree's steps made."""
    return f"{run.store.run().branch.rpartition('/')[0]}/named/{name}"


async def point_branch(run: Run, branch: str, head: str) -> None:
    """Let the branch have what the steps made this time; what it had before is kept apart, if that is not in it."""
    changes = [RefChange(branch, ANY, head)]
    before = run.repo.read_ref(branch)
    if before is not None and not await asyncio.to_thread(run.private.is_ancestor, before, head):
        changes.append(RefChange(refs.kept_ref(run.id, before), ANY, before))
    await asyncio.to_thread(run.repo.update_refs, changes)


def named_slot(name: str) -> str:
    """The slot that a named worktree has for itself until the run has ended."""
    return f"named-{name}"


def _slot(store: Store, path: str, ordinal: int) -> str | None:
    attempts = store.attempts(path, ordinal)
    return attempts[-1].worktree if attempts else None
