"""An item's commits do not merge: steps of the workflow, or an agent, resolve what conflicts.

They work in the item's own worktree on the merge as far as git gets, with its conflict markers. What they leave becomes
the merge commit, which the merge queue takes as it takes any other.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from prodigy.engine.item_keys import AttemptKey
from prodigy.engine.merge_queue import MergeRequest
from prodigy.engine.run import Run
from prodigy.engine.site import Site
from prodigy.executors.base import Snapshot
from prodigy.git import showing
from prodigy.git.merge import Conflict, merge
from prodigy.git.private import PrivateGit
from prodigy.state.dead_letter import Failure
from prodigy.workflow.model import Step

# Has a request merged; what is in the way of it, or None.
Deliver = Callable[[MergeRequest], Awaitable[Conflict | None]]

CONFLICT = "conflict"  # the segment of the paths of these steps
# Others are merged meanwhile, and what was resolved may conflict with them again.
ROUNDS = 3
DIFF_BYTES = 20_000
_SHOWN_BYTES = 3500  # of a failure's words
_MARKER = re.compile(rb"^(?:<{7} |={7}$|>{7} )", re.MULTILINE)


@dataclass(frozen=True)
class _Round:
    """A conflict to resolve. ours: the run branch. theirs: the item's commits. begun: a commit of the merge as git left
    it, with both as its parents."""

    ours: str
    theirs: str
    begun: str
    conflict: Conflict


def conflict_failure(private: PrivateGit, ours: str, conflict: Conflict, why: str = "") -> Failure:
    """What a conflict that nobody has resolved means for its item, with the diff for whoever does."""
    names = ", ".join(conflict.paths[:5])
    more = f" and {len(conflict.paths) - 5} more" if len(conflict.paths) > 5 else ""
    diff = showing.patch(private, ours, conflict.tree, _SHOWN_BYTES, conflict.paths)
    return Failure(
        f"its commits conflict with what was merged before, in {names}{more}{why}",
        kind="merge_conflict",
        last_output=f"{conflict.message}\n{diff}",
    )


async def resolve(
    run: Run, key: AttemptKey, steps: tuple[Step, ...], site: Site, request: MergeRequest, deliver: Deliver
) -> Failure | None:
    """Let `steps` resolve the conflicts of a request that does not merge, and deliver the result; None when that is
    done. Raises as the steps do."""
    theirs, conflict = request.head, None
    for number in range(1, ROUNDS + 1):
        prefix = f"{key.path}/{CONFLICT}/r{number}"
        rows = run.store.executions(f"{prefix}/1")
        begun = rows[0].before_head if rows else None
        found = await asyncio.to_thread(_round, run.private, begun, run.merges.tip(), theirs)
        if found is None:  # what was in the way has gone meanwhile
            ours, head = run.merges.tip(), theirs
        else:
            resolved = await _resolved(run, steps, site, prefix, found, request.message)
            if isinstance(resolved, Failure):
                return resolved
            ours, head = found.ours, resolved
        conflict = await deliver(replace(request, head=head, base=ours))
        if conflict is None:
            return None
        theirs = head
    assert conflict is not None
    why = f": it was resolved {ROUNDS} times, and each time others came first"
    return await asyncio.to_thread(conflict_failure, run.private, run.merges.tip(), conflict, why)


def _round(private: PrivateGit, begun: str | None, tip: str, theirs: str) -> _Round | None:
    """The round that has begun with a commit, or a new one on the run branch; None when nothing conflicts."""
    ours = showing.parents(private, begun)[0] if begun else tip
    conflict = merge(private, ours, theirs)
    if not isinstance(conflict, Conflict):
        return None
    if begun is None:
        begun = private.commit(conflict.tree, [ours, theirs], "Conflicts to resolve\n")
    return _Round(ours, theirs, begun, conflict)


async def _resolved(
    run: Run, steps: tuple[Step, ...], site: Site, prefix: str, found: _Round, message: str
) -> str | Failure:
    """The merge commit that the steps have made of it."""
    before = Snapshot(found.begun, None)
    await site.keep(before, False)
    if not run.store.started_steps_of(prefix) and not run.store.is_done(f"{prefix}/{len(steps)}"):
        last = run.store.last_boundary(prefix)
        await site.workspace.restore(Snapshot(*last) if last else before)
    names = await asyncio.to_thread(_names, run.private, found)
    outcome = await run.steps.run_list(steps, site.below(prefix, names), before)
    if outcome.failure is not None:
        failure = await asyncio.to_thread(conflict_failure, run.private, found.ours, found.conflict)
        why = f"; what was to resolve it failed: {outcome.failure.message}"
        return replace(failure, message=failure.message + why, step=outcome.failure.step, log=outcome.failure.log)
    tree = await asyncio.to_thread(run.private.tree_of, outcome.boundary.commit or outcome.boundary.head)
    left = await asyncio.to_thread(_unresolved, run.private, tree, found.conflict)
    if left:
        why = f"; it was not resolved: conflict markers are left in {', '.join(left[:5])}"
        return await asyncio.to_thread(conflict_failure, run.private, found.ours, found.conflict, why)
    merged = await asyncio.to_thread(run.private.commit, tree, [found.ours, found.theirs], message)
    await site.keep(Snapshot(merged, None), False)
    return merged


def _names(private: PrivateGit, found: _Round) -> dict[str, object]:
    base = showing.merge_base(private, found.ours, found.theirs)
    return {
        "conflict.files": list(found.conflict.paths),
        "conflict.message": found.conflict.message,
        "conflict.ours_log": showing.log(private, base, found.ours),
        "conflict.theirs_log": showing.log(private, base, found.theirs),
        "conflict.diff": showing.patch(private, found.ours, found.conflict.tree, DIFF_BYTES, found.conflict.paths),
    }


def _unresolved(private: PrivateGit, tree: str, conflict: Conflict) -> list[str]:
    """The files in which conflict markers are left that git has put there."""
    return [path for path in conflict.paths if _MARKER.search(showing.content(private, tree, path) or b"")]
