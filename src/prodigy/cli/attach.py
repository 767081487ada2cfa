"""`attach`: watch a run that another process drives."""

from __future__ import annotations

import datetime as dt
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from types import FrameType
from typing import cast

import click

from prodigy.cli import common
from prodigy.cli.display import Display, display_of
from prodigy.cli.live import fits
from prodigy.cli.telling import quiet_option, verbose_option
from prodigy.cli.view import RunView
from prodigy.engine.summary import exit_code, summarise
from prodigy.state import events as ev
from prodigy.state.event_data import from_data
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

POLL_S = 0.25
START_PATIENCE_S = 5.0  # a run that was just made is not driven for a moment
TERMINATED_EXIT_CODE = 143


@click.command("attach")
@click.argument("run_reference", metavar="[RUN]", default="latest")
@quiet_option
@verbose_option
def attach_command(run_reference: str) -> None:
    """Watch RUN, which another process drives, until it ends; exit with its status. Ctrl-C only stops watching.

    RUN is a run id, the beginning of one, a workflow's file or name, or `latest` (the default).
    """
    run_id = common.resolve(run_reference)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    with closing(Store.open(run_directory(run_id))) as store:
        try:
            watch(store)
        except KeyboardInterrupt:
            click.echo(f"the run goes on; stop it with: prodigy cancel {run_id}", err=True)
            return
        summary = summarise(store)
    common.show_summary(summary)
    if summary["error"]:
        common.show_error(summary)
    sys.exit(exit_code(summary))


def _terminated(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's arguments
    sys.exit(TERMINATED_EXIT_CODE)  # by way of the view, which gives the cursor back


def watch(store: Store) -> None:
    """Show the run on stderr until nobody drives it any more.

    The status alone does not end it: a completed run may still wait for the answer to its merge question.
    """
    if not _is_driven(store):
        return
    view, seen = history(store)
    with display_of(view, store.directory, attached=True) as shown:
        if view.batch and not fits(sys.stderr):
            total, done, failed = view.batch.total, view.batch.done, view.batch.failed
            shown.event(ev.JobResumed(command="attach", options="", total=total, done=done, failed=failed))
        _follow(store, shown, seen)


def history(store: Store) -> tuple[RunView, int]:
    """The view of everything that has happened so far, and the number of the last event in it."""
    row = store.run()
    view, seen = RunView(row.id, row.workflow), 0
    view.budget_usd, view.max_parallel = limits(row.options, store.workflow()[1])
    # Events carry the time of day; the view counts on the monotonic clock.
    offset = time.monotonic() - dt.datetime.now(dt.UTC).timestamp()
    for seen, event, timestamp in _events(store, 0):  # noqa: B007 - the last number is what we want
        if event is not None:
            view.apply(event, dt.datetime.fromisoformat(timestamp).timestamp() + offset)
    return view, seen


def limits(options: str, workflow: str) -> tuple[float | None, int | None]:
    """(dollars that a run may cost in all, items at a time), as its user chose or else its workflow says. Both are
    JSON, read without the model, which takes longer to import than all the rest."""
    chosen, written = json.loads(options), json.loads(workflow)
    budget = (written.get("budget") or {}).get("usd")
    actions = [step.get("action") or {} for step in written.get("steps") or ()]
    widths = [action["max_parallel"] for action in actions if action.get("max_parallel")]
    return chosen.get("budget_usd") or budget, chosen.get("max_parallel") or next(iter(widths), None)


def _is_driven(store: Store) -> bool:
    """Whether a process drives the run, or is about to."""
    give_up = time.monotonic() + START_PATIENCE_S
    while not is_held(store.directory):
        if store.run().status != "new" or time.monotonic() > give_up:
            return False
        time.sleep(POLL_S)
    return True


def _follow(store: Store, audience: Display, seen: int) -> None:
    driven = True
    while driven:
        driven = is_held(store.directory)  # asked first: what was written before the end is still read
        for number, event, _ in _events(store, seen):
            seen = number
            if event is not None:
                audience.event(event)
        if driven:
            time.sleep(POLL_S)


def _events(store: Store, after: int) -> Iterator[tuple[int, ev.Event | None, str]]:
    """(number, event, time) of what happened after that number. None: an event that only a newer version knows."""
    for record in store.events(after):
        data = dict(cast("dict[str, object]", record["event"]))
        try:
            event = from_data(str(data.pop("event_type")), data)
        except KeyError:
            event = None
        yield cast("int", record["seq"]), event, str(record["timestamp"])
