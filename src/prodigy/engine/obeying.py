"""The coordinator's side of `steering`: it does what other processes ask of its run."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import cast

from prodigy.engine.run import Options, Run
from prodigy.errors import EnvironmentProblem
from prodigy.state import events as ev
from prodigy.state.items import ItemState
from prodigy.store.rows import Request

REQUEST_POLL_S = 0.5


async def obey(run: Run) -> None:
    """Look for requests, as long as the run is driven."""
    while True:
        for request in run.store.requests():
            _obey(run, request)
            run.store.close_requests(request.id)
        await asyncio.sleep(REQUEST_POLL_S)


def _obey(run: Run, request: Request) -> None:
    by = str(request.data.get("by", ""))
    match request.kind:
        case "cancel":
            run.control.status, run.control.by = "cancelled", by
            run.control.end()
        case "detach":
            run.control.hand_over()
        case "hold" if not run.control.held:
            run.store.record(ev.JobHeld(by=by))
            run.control.hold()
        case "release" if run.control.held:
            run.store.record(ev.JobReleased(by=by))
            run.control.release()
        case "retry":
            _retry(run, cast("list[str]", request.data["items"]), by)
        case "set_budget":
            usd = cast("float", request.data["usd"])
            _choose(run, replace(run.options, budget_usd=usd), f"a budget of {usd:g} USD", by)
            run.steps.admissions.budgets.budget_usd = usd
        case "set_max_parallel":
            items = cast("int", request.data["items"])
            _choose(run, replace(run.options, max_parallel=items), f"{items} at a time", by)
            run.steps.admissions.budgets.max_parallel = items
            _resize(run)


def _choose(run: Run, options: Options, what: str, by: str) -> None:
    run.store.record(ev.JobSteered(options=options.to_json(), what=what, by=by))
    run.options = options


def _resize(run: Run) -> None:
    for going in run.going.values():
        try:
            going.resize()
        except EnvironmentProblem as problem:
            run.store.record(ev.Warned(message=f"there are no more slots: {problem.what}"))


def _retry(run: Run, items: Collection[str], by: str) -> None:
    """Dead items of a map that runs now run again; the others can only be retried when the run has ended."""
    wanted = set(items)
    for path, going in run.going.items():
        rows = [row for row in run.store.items(path) if row.item_id in wanted and row.state is ItemState.DEAD]
        if rows:
            run.store.record(ev.DlqItemsReprocessed(fanout=path, ordinals=tuple(row.ordinal for row in rows), by=by))
        for row in rows:
            wanted.discard(row.item_id)
            going.again(run.store.item(path, row.ordinal))
    if wanted:
        names = ", ".join(sorted(wanted)[:8])
        message = f"not retried, because their map does not run now: {names}. Use `prodigy dlq retry` at the end"
        run.store.record(ev.Warned(message=message))
