"""Driving a run from a command: its display, its signals, its summary, and going on without the terminal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing

import click

from prodigy.cli import common
from prodigy.cli.display import Display, display
from prodigy.engine.control import Control
from prodigy.engine.session import Caller, Ended
from prodigy.engine.summary import exit_code, summarise
from prodigy.errors import EnvironmentProblem
from prodigy.store.lock import is_held, require_free
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

TERMINATED_EXIT_CODE = 143
BACKGROUND_LOG = "coordinator.log"
START_PATIENCE_S = 20.0  # for a coordinator in the background to take the run's lock
POLL_S = 0.05


def drive(run_id: str, command: str, act: Callable[[Caller], Awaitable[Ended]], *, as_json: bool) -> None:
    """Drive a run in the foreground, print its summary, exit with its status."""
    with display(run_id) as shown:
        ended, control = asyncio.run(_with_signals(command, act, shown))
    if control.handed_over and ended.error is None and ended.summary["status"] == "interrupted":
        drive_in_background(run_id, as_json=as_json)
        return
    if as_json:
        click.echo(json.dumps(ended.summary, indent=2))
    else:
        common.show_summary(ended.summary)
    if ended.error is not None:
        click.echo(f"Error: {ended.error}", err=True)
    sys.exit(_status(ended, control))


def _status(ended: Ended, control: Control) -> int:
    if ended.error is not None:
        return ended.error.exit_code
    code = exit_code(ended.summary)
    return control.exit_code if code == 130 else code


async def _with_signals(
    command: str, act: Callable[[Caller], Awaitable[Ended]], shown: Display
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

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, terminate)
    loop.add_signal_handler(signal.SIGHUP, terminate)
    caller = Caller(shown.event, confirm, control, command)
    return await act(caller), control


def drive_in_background(run_id: str, command: Sequence[str] = (), *, as_json: bool) -> None:
    """Let a process without a terminal go on with the run; returns when it has taken it over, or has ended it.

    command: the arguments of that process; by default it resumes the run. Raises RunLocked when another one has it.
    """
    directory = run_directory(run_id)
    require_free(directory, force="--force" in command)
    log = directory / BACKGROUND_LOG
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prodigy.cli.main", *(command or ("resume", run_id))],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/",
            env={**os.environ, "PRODIGY_HOME": str(directory.parent.parent)},
        )  # fmt: skip
    give_up = time.monotonic() + START_PATIENCE_S
    while process.poll() is None and not is_held(directory):
        if time.monotonic() > give_up:
            raise EnvironmentProblem(
                "the process in the background does not take over the run", where=str(log), hint=_by_hand(run_id)
            )
        time.sleep(POLL_S)
    if process.returncode not in (None, 0, 3):
        raise EnvironmentProblem(
            f"the process in the background ended with {process.returncode}", where=str(log), hint=_by_hand(run_id)
        )
    if as_json:
        with closing(Store.open(directory)) as store:
            click.echo(json.dumps(summarise(store), indent=2))
        return
    click.echo(run_id)
    click.echo(f"the run goes on in the background; watch it: prodigy attach {run_id}", err=True)


def _by_hand(run_id: str) -> str:
    return f"Look at that log, then `prodigy resume {run_id}`."
