"""Budgets of time: a run, or a fan-out, pauses when it has been driven for as long as it may be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prodigy.engine.admission import BUDGET
from prodigy.engine.control import Control
from prodigy.store.spending import driven_s
from prodigy.store.store import Store
from prodigy.workflow.agent_settings import Budget


@asynccontextmanager
async def within_time(
    store: Store, control: Control, budget: Budget | None, what: str, fanout: str | None = None
) -> AsyncIterator[None]:
    """Drive something under its budget of time, which is used up while a process drives it, also an earlier one.

    what: for people. fanout: the path of the fan-out that it is; None: the run.
    """
    if budget is None or budget.duration_s is None:
        yield
        return
    left_s = max(0.0, budget.duration_s - driven_s(store, fanout))
    clock = asyncio.create_task(_pause_after(left_s, control, budget, what))
    try:
        yield
    finally:
        clock.cancel()


async def _pause_after(seconds: float, control: Control, budget: Budget, what: str) -> None:
    await asyncio.sleep(seconds)
    control.pause(BUDGET, f"{what} has been going on for {budget.duration_s:g} s, its max_duration")
    if budget.kill:
        control.end()
