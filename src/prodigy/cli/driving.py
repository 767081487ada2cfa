"""Driving a run from a command: its display, its signals, its summary, and going on without the terminal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress

import click

from prodigy.cli import common
from prodigy.cli.background import drive_in_background
from prodigy.cli.display import Display, display
from prodigy.cli.log_file import Listener, logged
from prodigy.engine.control import Control
from prodigy.engine.session import Caller, Ended
from prodigy.engine.summary import exit_code
from prodigy.state.trace_ids import is_wanted
from prodigy.store.paths import run_directory

TERMINATED_EXIT_CODE = 143


def drive(
    run_id: str, command: str, act: Callable[[Caller], Awaitable[Ended]], *, as_json: bool, wanted: str | None = None
) -> None:
    """Drive a run in the foreground, print its summary, exit with its status: with 0 for the `wanted` one."""
    with (
        display(run_id) as shown,
        logged(run_id, shown.event) as logging,
        _telling(run_id, logging, shown) as listener,
    ):
        ended, control = asyncio.run(_with_signals(command, act, shown, listener))
    if control.handed_over and ended.error is None and ended.summary["status"] == "interrupted":
        drive_in_background(run_id, as_json=as_json)
        return
    if as_json:
        click.echo(json.dumps(ended.summary, indent=2))
    else:
        common.show_summary(ended.summary)
        if ended.error is None and ended.summary["error"] and ended.summary["stop_reason"] is None:
            common.show_error(ended.summary)
    if ended.error is not None:
        click.echo(f"Error: {ended.error.told()}", err=True)
    sys.exit(0 if ended.error is None and ended.summary["status"] == wanted else _status(ended, control))


def _telling(run_id: str, listener: Listener, shown: Display) -> AbstractContextManager[Listener]:
    """Who is told of events: the listener, and telemetry if the user wants it."""
    if not is_wanted(os.environ):
        return nullcontext(listener)
    from prodigy.report.telemetry import telemetry

    return telemetry(run_directory(run_id), listener, shown.say)


def _status(ended: Ended, control: Control) -> int:
    if ended.error is not None:
        return ended.error.exit_code
    code = exit_code(ended.summary)
    return control.exit_code if code == 130 else code


def _told(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    """Let the loop act, as asked by another thread; one that has ended has nothing to do any more."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(act)


async def _with_signals(
    command: str, act: Callable[[Caller], Awaitable[Ended]], shown: Display, listener: Listener
) -> tuple[Ended, Control]:
    control = Control()
    loop = asyncio.get_running_loop()
    at_a_question = False

    def confirm(target: str, diffstat: str) -> bool:
        nonlocal at_a_question
        try:
            with shown.suspend():
                return common.confirm_merge(target, diffstat)
        except common.Interrupted:
            at_a_question = True  # the loop hears of this Ctrl-C afterwards, when it has been answered
            shown.say("not merged")
            return False

    def interrupt() -> None:
        nonlocal at_a_question
        if at_a_question:
            at_a_question = False
        elif not control.draining:
            control.drain()
            shown.say("stopping: what runs may finish; Ctrl-C again ends it")
        elif not control.ending:
            control.end()
            shown.say("ending what runs")
        else:
            control.leave()

    def terminate() -> None:
        control.exit_code = TERMINATED_EXIT_CODE
        control.leave()

    def drain() -> None:
        if not control.draining:
            interrupt()

    shown.drains_by(lambda: _told(loop, drain))
    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, terminate)
    loop.add_signal_handler(signal.SIGHUP, terminate)
    caller = Caller(listener, confirm, control, command)
    return await act(caller), control
