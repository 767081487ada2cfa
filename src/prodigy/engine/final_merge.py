"""The one moment the user's branch and checkout change: announced, refused when anything could be lost, recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from prodigy.engine.run import Run
from prodigy.errors import ProdigyError
from prodigy.faults import point
from prodigy.git import final_merge as mechanics
from prodigy.git.checkout import Checkout, CheckoutNotReady
from prodigy.git.final_merge import FinalConflict, FinalPlan, UpToDate
from prodigy.git.obstacles import PathsInTheWay
from prodigy.git.repo import RefChange, RefMoved
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
        run.control.check()
        await _apply(run, proposal)


async def _propose(run: Run) -> _Proposal | None:
    """What the final merge would do; None when there is nothing to do or when it was refused, with the reason."""
    row = run.store.run()
    if row.target is None:
        return None
    if run.repo.read_ref(row.target) is None:
        _refuse(run, f"the branch {_short(row.target)} is gone")
        return None
    plan = await asyncio.to_thread(
        mechanics.plan_final, run.private, run.repo, row.target, run.merges.tip(), _message(run)
    )
    if isinstance(plan, UpToDate):
        if row.merged is None and run.merges.tip() != row.base:
            run.store.record(ev.FinalMergeFinished(target=row.target, new=run.merges.tip()))
        return None
    if isinstance(plan, FinalConflict):
        _refuse(run, f"the run branch conflicts with {_short(row.target)} in {', '.join(plan.paths[:5])}")
        return None
    checkout = mechanics.checked_out_at(run.repo, row.target)
    if checkout is not None and (problem := await _obstacle(run, checkout, plan)):
        _refuse(run, problem)
        return None
    return _Proposal(row.target, plan, checkout)


async def _obstacle(run: Run, checkout: Checkout, plan: FinalPlan) -> str | None:
    try:
        paths = await asyncio.to_thread(mechanics.obstacles, run.private, checkout, plan)
    except CheckoutNotReady as error:
        return f"{error.what} in {checkout.path} ({error.hint})"
    if not paths:
        return None
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return f"your checkout has changes in {', '.join(paths[:5])}{more}, which the merge would overwrite"


async def _apply(run: Run, proposal: _Proposal) -> None:
    target, plan, checkout = proposal.target, proposal.plan, proposal.checkout
    path = str(checkout.path) if checkout else None
    run.store.record(ev.FinalMergeStarted(target=target, old=plan.old, new=plan.new, checkout=path))
    if checkout is not None:
        try:
            await asyncio.to_thread(mechanics.apply, run.private, checkout, plan)
        except (PathsInTheWay, CheckoutNotReady) as error:
            _refuse(run, error.what)  # it changed since we looked; nothing was touched
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


def _message(run: Run) -> str:
    return f"Merge {run.workflow.name} (Prodigy run {run.id})\n\nProdigy-Run: {run.id}\n"


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/")
