"""The one moment the user's branch and checkout change: announced, refused when anything could be lost, recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prodigy.engine.run import Run
from prodigy.engine.tamper import restore_branches
from prodigy.errors import ProdigyError
from prodigy.faults import point
from prodigy.git import final_merge as mechanics
from prodigy.git.checkout import Checkout, CheckoutNotReady
from prodigy.git.final_merge import FinalConflict, FinalPlan, UpToDate
from prodigy.git.merge import UnrelatedHistories
from prodigy.git.obstacles import PathsInTheWay
from prodigy.git.repo import RefChange, RefLocked, RefMoved
from prodigy.state import events as ev

# Asked with the target's name and a diffstat: whether the user wants the merge.
Confirm = Callable[[str, str], bool]


@dataclass(frozen=True)
class _Proposal:
    """A final merge that nothing stands in the way of. checkout: the one that has the target checked out, if any."""

    target: str
    plan: FinalPlan
    checkout: Checkout | None


async def offer_final_merge(run: Run, confirm: Confirm) -> None:
    """Merge the run branch into the target if the user chose so and nothing can be lost by it."""
    await run.merges.reclaim()  # an agent may have moved it since it was merged into
    await restore_branches(run)
    if run.options.merge == "no":
        return
    proposal = await _propose(run)
    if proposal is None:
        return
    if run.options.merge == "ask":
        diffstat = await asyncio.to_thread(run.private.diffstat, proposal.plan.old, proposal.plan.new)
        if not confirm(_short(proposal.target), diffstat):
            return
        proposal = await _propose(run)  # the world has moved on while the user thought
    if proposal is not None:
        await run.control.may_start()
        await _apply(run, proposal)


async def _propose(run: Run) -> _Proposal | None:
    """What the final merge would do; None when there is nothing to do or when it was refused, with the reason."""
    row = run.store.run()
    target = row.target
    if target is None:
        return None
    if run.repo.read_ref(target) is None:
        again = f"bring it back, or take {_short(row.branch)} as it is; then `prodigy resume {run.id}`"
        _refuse(run, f"the branch {_short(target)} is gone: {again}")
        return None
    try:
        plan = await asyncio.to_thread(
            mechanics.plan_final, run.private, run.repo, target, run.merges.tip(), _message(run)
        )
    except UnrelatedHistories:
        problem = f"{_short(target)} was replaced: it has no commit in common with the run"
        _refuse(run, f"{problem}; {_by_hand(run, target, '--allow-unrelated-histories ')}")
        return None
    if isinstance(plan, UpToDate):
        if row.merged is None and run.merges.tip() != row.base:
            run.store.record(ev.FinalMergeFinished(target=target, new=run.merges.tip()))
        return None
    if isinstance(plan, FinalConflict):
        problem = f"the run branch conflicts with {_short(target)} in {_some(plan.paths)}"
        _refuse(run, f"{problem}; {_by_hand(run, target)}")
        return None
    checkout = mechanics.checked_out_at(run.repo, target)
    if checkout is not None and (obstacle := await _obstacle(run, checkout, plan)):
        _refuse(run, obstacle)
        return None
    return _Proposal(target, plan, checkout)


async def _obstacle(run: Run, checkout: Checkout, plan: FinalPlan) -> str | None:
    try:
        paths = await asyncio.to_thread(mechanics.obstacles, run.private, checkout, plan)
    except CheckoutNotReady as error:
        return _told(error)
    if not paths:
        return None
    return f"your checkout has changes in {_some(paths)}, which the merge would overwrite: commit, move or delete them"


async def _apply(run: Run, proposal: _Proposal) -> None:
    target, plan, checkout = proposal.target, proposal.plan, proposal.checkout
    path = str(checkout.path) if checkout else None
    try:
        await asyncio.to_thread(run.repo.check_refs, [RefChange(target, plan.old, plan.new)])
    except (RefLocked, RefMoved) as error:
        _refuse(run, _told(error))  # before a file is touched
        return
    run.store.record(ev.FinalMergeStarted(target=target, old=plan.old, new=plan.new, checkout=path))
    if checkout is not None:
        try:
            await asyncio.to_thread(mechanics.apply, run.private, checkout, plan)
        except (PathsInTheWay, CheckoutNotReady) as error:
            _refuse(run, _told(error))  # it changed since we looked; nothing was touched
            return
    point("final_merge:checked_out")
    await _move_target(run, target, plan.old, plan.new)


async def _move_target(run: Run, target: str, old: str, new: str) -> None:
    """Move the target by compare-and-swap; the branch recorded at the start, never the HEAD of the moment."""
    try:
        await asyncio.to_thread(run.repo.update_refs, [RefChange(target, old, new)], f"prodigy: merge run {run.id}")
    except RefMoved as error:
        raise ProdigyError(
            f"{_short(target)} moved while the run was being merged into it",
            hint=f"Nothing is lost: the run is in {_short(run.store.run().branch)}. Look at `git status`.",
        ) from error
    run.store.record(ev.FinalMergeFinished(target=target, new=new))


async def recover_final_merge(run: Run) -> None:
    """Finish a final merge that was announced, or take it back when the world has moved on; it is planned anew then."""
    intent = run.store.final_merge_intent()
    if intent is None:
        return
    tip = run.repo.read_ref(intent.target)
    if tip is not None and await asyncio.to_thread(run.private.is_ancestor, intent.new, tip):
        run.store.record(ev.FinalMergeFinished(target=intent.target, new=intent.new))
        return
    checkout = mechanics.checked_out_at(run.repo, intent.target)
    if tip != intent.old or (str(checkout.path) if checkout else None) != intent.checkout:
        _refuse(run, f"{_short(intent.target)} or its checkout changed while a final merge was interrupted")
        return
    if checkout is not None:
        await asyncio.to_thread(mechanics.finish, run.private, run.repo, checkout.path, intent.old, intent.new)
    await _move_target(run, intent.target, intent.old, intent.new)


def _refuse(run: Run, problem: str) -> None:
    run.store.record(ev.FinalMergeRefused(problem=problem))


def _told(error: ProdigyError) -> str:
    """What is wrong, where, and what to do, on one line."""
    where = f" ({error.where})" if error.where else ""
    return f"{error.what}{where}: {error.hint}" if error.hint else f"{error.what}{where}"


def _by_hand(run: Run, target: str, flags: str = "") -> str:
    merge = f"git merge {flags}{_short(run.store.run().branch)}"
    return f"merge it by hand (on {_short(target)}: `{merge}`), then `prodigy resume {run.id}`"


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


def _message(run: Run) -> str:
    return f"Merge {run.workflow.name} (Prodigy run {run.id})\n\nProdigy-Run: {run.id}\n"


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/")
