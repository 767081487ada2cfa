"""`run`, `resume`, `cancel`: the commands that drive a run, and what they print."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import click

from prodigy.cli import common
from prodigy.cli.progress import Progress
from prodigy.engine.control import Control
from prodigy.engine.run import Options
from prodigy.engine.session import Caller, Choices, Ended, cancel, resume, run
from prodigy.engine.start import create_run
from prodigy.engine.summary import exit_code
from prodigy.errors import UsageError
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

TERMINATED_EXIT_CODE = 143


@click.command("run")
@click.argument("workflow", type=click.Path(path_type=Path))
@click.option("-p", "--path", "where", type=click.Path(path_type=Path), default=Path(), help="The repository.")
@common.driving_options
def run_command(
    workflow: Path, where: Path, *, yes: bool, no_merge: bool, max_parallel: int | None, as_json: bool
) -> None:
    """Run WORKFLOW on the repository you stand in."""
    merge = common.merge_choice(yes=yes, no_merge=no_merge)
    options = Options(merge=merge or "ask", max_parallel=max_parallel, started_in=str(where.absolute()))
    created = create_run(workflow, where, options)
    for warning in created.warnings:
        click.echo(f"Warning: {warning}", err=True)
    drive(created.run_id, "run", lambda caller: run(created.run_id, caller), as_json=as_json)


@click.command("resume")
@click.argument("run_reference", metavar="[RUN]", default="latest")
@common.driving_options
def resume_command(run_reference: str, *, yes: bool, no_merge: bool, max_parallel: int | None, as_json: bool) -> None:
    """Go on with RUN where it stands; nothing that is finished runs again.

    RUN is a run id, the beginning of one, a workflow's file or name, or `latest` (the default).
    """
    run_id = common.resolve(run_reference)
    choices = Choices(common.merge_choice(yes=yes, no_merge=no_merge), max_parallel)
    drive(run_id, "resume", lambda caller: resume(run_id, caller, choices), as_json=as_json)


@click.command("cancel")
@click.argument("run_reference", metavar="RUN")
def cancel_command(run_reference: str) -> None:
    """End what runs of RUN, through the process that drives it if there is one. The run can be resumed later."""
    run_id = common.resolve(run_reference)
    with closing(Store.open(run_directory(run_id))) as store:
        if is_held(store.directory):
            store.add_request("cancel")
            click.echo(f"asked run {run_id} to end", err=True)
            return
        if not store.started_steps():
            raise UsageError(f"nothing of run {run_id} is running", hint="There is nothing to cancel.")
    drive(run_id, "cancel", lambda caller: cancel(run_id, caller), as_json=False)


def drive(run_id: str, command: str, act: Callable[[Caller], Awaitable[Ended]], *, as_json: bool) -> None:
    """Drive a run in the foreground, print its summary, exit with its status."""
    with Progress(run_id, sys.stderr) as progress:
        ended, control = asyncio.run(_with_signals(command, act, progress))
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
    command: str, act: Callable[[Caller], Awaitable[Ended]], progress: Progress
) -> tuple[Ended, Control]:
    control = Control()
    loop = asyncio.get_running_loop()
    at_a_question = False

    def confirm(target: str, diffstat: str) -> bool:
        nonlocal at_a_question
        try:
            return common.confirm_merge(target, diffstat)
        except common.Interrupted:
            at_a_question = True  # the loop hears of this Ctrl-C afterwards, when it has been answered
            progress.say("not merged")
            return False

    def interrupt() -> None:
        nonlocal at_a_question
        if at_a_question:
            at_a_question = False
        elif not control.draining:
            control.drain()
            progress.say("stopping: what runs may finish; Ctrl-C again ends it")
        elif not control.ending:
            control.end()
            progress.say("ending what runs")
        else:
            control.leave()

    def terminate() -> None:
        control.exit_code = TERMINATED_EXIT_CODE
        control.leave()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, terminate)
    loop.add_signal_handler(signal.SIGHUP, terminate)
    caller = Caller(progress.event, confirm, control, command)
    return await act(caller), control
