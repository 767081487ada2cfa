"""The one moment the user's branch and checkout change: announced, refused when anything could be lost, recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from prodigy.engine.run import Run
from prodigy.errors import CorruptState, ProdigyError
from prodigy.faults import point
from prodigy.git import final_merge as mechanics
from prodigy.git.checkout import Checkout, CheckoutNotReady
from prodigy.git.final_merge import FinalConflict, FinalPlan, UpToDate
from prodigy.git.obstacles import PathsInTheWay
from prodigy.git.repo import RefChange, RefMoved
from prodigy.state import events as ev

# Asked with the target's name and a diffstat: whether the user wants the merge.
Confirm = Callable[[str, str], bool]


async def offer_final_merge(run: Run, confirm: Confirm) -> None:
    """Merge the run branch into the target if the user chose so and nothing can be lost by it."""
    row = run.store.run()
    if run.options.merge == "no" or row.target is None:
        return
    plan = await asyncio.to_thread(
        mechanics.plan_final, run.private, run.repo, row.target, run.merges.tip(), _message(run)
    )
    if isinstance(plan, UpToDate):
        if row.merged != run.merges.tip() and run.merges.tip() != row.base:
            run.store.record(ev.FinalMergeFinished(target=row.target, new=run.merges.tip()))
        return
    if isinstance(plan, FinalConflict):
        names = ", ".join(plan.paths[:5])
        _refuse(run, f"the run branch conflicts with {_short(row.target)} in {names}")
        return
    checkout = mechanics.checked_out_at(run.repo, row.target)
    if checkout is not None and (problem := await _obstacle(run, checkout, plan)):
        _refuse(run, problem)
        return
    if run.options.merge == "ask" and not confirm(_short(row.target), await _diffstat(run, plan)):
        return
    await _apply(run, row.target, plan, checkout)


async def _obstacle(run: Run, checkout: Checkout, plan: FinalPlan) -> str | None:
    try:
        paths = await asyncio.to_thread(mechanics.obstacles, run.private, checkout, plan)
    except CheckoutNotReady as error:
        return f"{error.what} in {checkout.path} ({error.hint})"
    if not paths:
        return None
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return f"your checkout has changes in {', '.join(paths[:5])}{more}, which the merge would overwrite"


async def _apply(run: Run, target: str, plan: FinalPlan, checkout: Checkout | None) -> None:
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
    """Finish a final merge that was announced: the target tells whether it happened."""
    intent = run.store.final_merge_intent()
    if intent is None:
        return
    tip = run.repo.read_ref(intent.target)
    if tip not in (intent.old, intent.new):
        raise CorruptState(
            f"{_short(intent.target)} is at {tip}, neither before nor after the merge that was interrupted",
            hint=f"The run is in {_short(run.store.run().branch)}; merge it by hand, or reset the branch.",
        )
    if intent.checkout is not None:
        await asyncio.to_thread(mechanics.finish, run.private, run.repo, Path(intent.checkout), intent.old, intent.new)
    if tip == intent.old:
        await _move_target(run, intent.target, intent.old, intent.new)
    else:
        run.store.record(ev.FinalMergeFinished(target=intent.target, new=intent.new))


async def _diffstat(run: Run, plan: FinalPlan) -> str:
    return await asyncio.to_thread(run.private.diffstat, plan.old, plan.new)


def _refuse(run: Run, problem: str) -> None:
    run.store.record(ev.FinalMergeRefused(problem=problem))


def _message(run: Run) -> str:
    return f"Merge {run.workflow.name} (Prodigy run {run.id})\n\nProdigy-Run: {run.id}\n"


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/")
