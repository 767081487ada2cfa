"""`attach`: watch a run that another process drives."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import closing
from types import FrameType

import click

from prodigy.cli import common
from prodigy.cli.display import Display, display_of
from prodigy.cli.live import fits
from prodigy.cli.telling import quiet_option, verbose_option
from prodigy.engine.summary import exit_code, summarise
from prodigy.report.history import history, stored_events
from prodigy.state import events as ev
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
    asked = AskedToEnd()
    with closing(Store.open(run_directory(run_id))) as store:
        try:
            watch(store, asked)
        except KeyboardInterrupt:
            click.echo(f"the run goes on; stop it with: prodigy cancel {run_id}", err=True)
            return
        summary = summarise(store)
    common.show_summary(summary)
    if summary["error"]:
        common.show_error(summary)
    sys.exit(exit_code(summary))


class AskedToEnd:
    """Signals are noted, and heard between two looks at the run: an exception in the middle of taking the terminal
    would leave it as nobody wants it."""

    def __init__(self) -> None:
        self._by: int | None = None
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's arguments
        self._by = number

    def look(self) -> None:
        """Raise KeyboardInterrupt after Ctrl-C, SystemExit after another signal."""
        if self._by == signal.SIGINT:
            raise KeyboardInterrupt
        if self._by is not None:
            sys.exit(TERMINATED_EXIT_CODE)


def watch(store: Store, asked: AskedToEnd) -> None:
    """Show the run on stderr until nobody drives it any more.

    The status alone does not end it: a completed run may still wait for the answer to its merge question.
    """
    if not _is_driven(store, asked):
        return
    view, seen = history(store)
    with display_of(view, store.directory, attached=True) as shown:
        if view.batch and not fits(sys.stderr):
            total, done, failed = view.batch.total, view.batch.done, view.batch.failed
            shown.event(ev.JobResumed(command="attach", options="", total=total, done=done, failed=failed))
        _follow(store, shown, seen, asked)


def _is_driven(store: Store, asked: AskedToEnd) -> bool:
    """Whether a process drives the run, or is about to."""
    give_up = time.monotonic() + START_PATIENCE_S
    while not is_held(store.directory):
        if store.run().status != "new" or time.monotonic() > give_up:
            return False
        asked.look()
        time.sleep(POLL_S)
    return True


def _follow(store: Store, audience: Display, seen: int, asked: AskedToEnd) -> None:
    driven = True
    while driven:
        asked.look()
        driven = is_held(store.directory)  # asked first: what was written before the end is still read
        for number, event, _ in stored_events(store, seen):
            seen = number
            if event is not None:
                audience.event(event)
        if driven:
            time.sleep(POLL_S)
