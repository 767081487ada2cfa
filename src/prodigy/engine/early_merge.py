"""A step outside the items whose commits are in the run branch already, and whose end is not on record.

Commits come into the run branch before the step's end is recorded. When its worktree is gone in between, it runs
again, and must not find its own commits there.
"""

from __future__ import annotations

from typing import cast

from prodigy.state import events as ev
from prodigy.state.step_path import is_of_the_run, parse_attempt
from prodigy.store.store import Store

_LAST_EVENTS = 100  # a step moves the run branch a few times at most, and nothing else does meanwhile


def early_merge(store: Store) -> tuple[str, str] | None:
    """(old, new): how the run branch moved for the step outside the items that has no end on record; None if it did
    not."""
    running = {step.execution for step in store.started_steps() if is_of_the_run(step.path)}
    began, old, new = False, None, None
    for record in store.events(types=(ev.StepStarted.type, ev.Merging.type), limit=_LAST_EVENTS):
        event = cast("dict[str, object]", record["event"])
        path = str(event.get("path"))
        if event["event_type"] == ev.StepStarted.type:
            began, old, new = path in running, None, None
        elif began and parse_attempt(path) is None:
            old, new = old or str(event.get("old")), str(event.get("new"))
    return None if old is None or new is None or old == new else (old, new)
