"""What the next attempt of an item would get: when it comes, where it begins, what its agent is told."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path

from prodigy.engine.beginning import beginning
from prodigy.engine.places import fan_out_at
from prodigy.engine.run import Options
from prodigy.engine.second_try import after_attempt
from prodigy.errors import ProdigyError
from prodigy.git.context import private_of_run
from prodigy.state.items import NOT_A_TRY, ItemState
from prodigy.store.store import Store
from prodigy.workflow.model import Workflow


@dataclass(frozen=True)
class NextTry:
    """when: `at` a moment (seconds since the epoch), with the `next` free slot, on `retry` of its dead letter, on
    `resume` of the run, only if the present one `fails`. number: of the attempt. continues: the attempt whose steps
    `taken`, by number, are not run and not paid again, None when it begins at its first step. base: the commit of the
    run branch that it begins on. told: what its agent will be told of the failure. tries: so many have counted of
    `limit`; None: no limit. kind: of the last failure. problem: why some of it can't be told."""

    when: str
    number: int
    at: float | None = None
    continues: int | None = None
    taken: tuple[int, ...] = ()
    base: str = ""
    told: str | None = None
    tries: int = 0
    limit: int | None = None
    kind: str | None = None
    problem: str | None = None


def next_try(store: Store, fanout: str, ordinal: int, *, is_driven: bool) -> NextTry | None:
    """None for an item that needs none any more."""
    row = store.item(fanout, ordinal)
    if row.state in (ItemState.SUCCEEDED, ItemState.SKIPPED):
        return None
    attempts = store.attempts(fanout, ordinal)
    previous = attempts[-1] if attempts else None
    when, at = "next", None
    if row.state is ItemState.DEAD:
        when = "retry"
    elif not is_driven:
        when = "resume"
    elif row.state is ItemState.RUNNING:
        when = "fails"
    elif row.state is ItemState.FAILED and previous is not None and previous.ended_at and previous.retry_delay_s:
        when, at = "at", dt.datetime.fromisoformat(previous.ended_at).timestamp() + previous.retry_delay_s
    workflow = Workflow.model_validate_json(store.workflow()[1])
    mapping = fan_out_at(workflow, fanout)
    if mapping is None:  # the step that fans out has been edited away
        return NextTry(
            when, row.attempt + 1, at, tries=row.tries, problem="the workflow does not have this map any more"
        )
    policy = mapping.errors
    limit = policy.retry.attempts if policy.on_item_failure == "retry" else None
    kind = previous.kind if previous and previous.state == "failed" else None
    known = NextTry(when, row.attempt + 1, at, tries=row.tries, limit=limit, kind=kind)
    if row.state is ItemState.RUNNING and is_driven:
        return known  # where it will stand when it fails nobody knows
    if row.state is ItemState.RUNNING and previous is not None:
        return replace(known, number=previous.number, continues=previous.number, base=previous.base)
    begins = beginning(store, Options.from_json(store.run().options), mapping, fanout, ordinal, previous)
    known = replace(known, continues=begins.continues, taken=begins.taken, base=begins.base)
    if previous is None or previous.kind in NOT_A_TRY:
        return known
    try:
        private = private_of_run(store.directory, Path(store.run().common_dir))
        continues = begins.continues is not None
        return replace(known, told=after_attempt(store, private, fanout, ordinal, previous, continues=continues))
    except (ProdigyError, OSError) as error:
        return replace(known, problem=str(error))
