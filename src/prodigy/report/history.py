"""The view of a run that another process drives: a fold over the events on record."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Collection, Iterator
from typing import cast

from prodigy.report.view import RunView
from prodigy.report.view_of_tables import FREQUENT, take_in
from prodigy.state import events as ev
from prodigy.state.event_data import from_data
from prodigy.store.store import Store

FOLDED = 20_000  # events; a quarter of a second


def history(store: Store, folded: int = FOLDED) -> tuple[RunView, int]:
    """The view of everything that has happened so far, and the number of the last event in it. folded: a run with more
    events is not told by all of them, see `view_of_tables`."""
    with store.at_one_moment():
        row, workflow = store.run(), store.workflow()[1]
        view = RunView(row.id, row.workflow)
        view.budget_usd, view.max_parallel = limits(row.options, workflow)
        (newest,) = store.ask("SELECT coalesce(max(seq), 0) AS seq FROM event")
        is_long = newest["seq"] > folded
        # Events carry the time of day; the view counts on the monotonic clock.
        offset = time.monotonic() - dt.datetime.now(dt.UTC).timestamp()
        for _, event, timestamp in stored_events(store, 0, but=FREQUENT if is_long else ()):
            if event is not None:
                view.apply(event, dt.datetime.fromisoformat(timestamp).timestamp() + offset)
        if is_long:
            take_in(view, store)
    return view, int(newest["seq"])


def limits(options: str, workflow: str) -> tuple[float | None, int | None]:
    """(dollars that a run may cost in all, items at a time), as its user chose or else its workflow says. Both are
    JSON, read without the model, which takes longer to import than all the rest."""
    chosen, written = json.loads(options), json.loads(workflow)
    budget = (written.get("budget") or {}).get("usd")
    actions = [step.get("action") or {} for step in written.get("steps") or ()]
    widths = [action["max_parallel"] for action in actions if action.get("max_parallel")]
    return chosen.get("budget_usd") or budget, chosen.get("max_parallel") or next(iter(widths), None)


def stored_events(store: Store, after: int, *, but: Collection[str] = ()) -> Iterator[tuple[int, ev.Event | None, str]]:
    """(number, event, time) of what happened after that number. None: an event that only a newer version knows. but:
    none of these types."""
    types = [name for name in ev.TYPES if name not in but] if but else ()
    for record in store.events(after, types=types):
        data = dict(cast("dict[str, object]", record["event"]))
        try:
            event = from_data(str(data.pop("event_type")), data)
        except KeyError:
            event = None
        yield cast("int", record["seq"]), event, str(record["timestamp"])
