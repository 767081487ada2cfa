"""A run goes on without this terminal: the process that drives it there, and what became of it at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click

from prodigy.cli import common
from prodigy.cli.words import printable
from prodigy.engine.summary import EXIT_CODES, summarise
from prodigy.errors import EnvironmentProblem
from prodigy.state import events as ev
from prodigy.store.lock import require_free
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

BACKGROUND_LOG = "coordinator.log"
BEGIN_PATIENCE_S = 120.0  # the process may wait a minute for a git call of a coordinator that was killed
POLL_S = 0.05
LOG_SHOWN = 4000  # bytes of what a process said that was refused
RESULTS = frozenset(EXIT_CODES.values())  # exits by which a process tells how a run ended


def drive_in_background(run_id: str, command: Sequence[str] = (), *, as_json: bool) -> None:
    """Let a process without a terminal go on with the run; returns when it has begun to.

    command: the arguments of that process; by default it resumes the run. When it has ended by then, the call ends as
    the same call in the foreground would have: with its exit code, and its message if it was refused. Raises RunLocked
    when another process has the run, EnvironmentProblem when none can be started, or it does not begin.
    """
    directory = run_directory(run_id)
    require_free(directory, force="--force" in command)
    log = directory / BACKGROUND_LOG
    with closing(Store.open(directory)) as store:
        before = _last_begin(store, 0)
        process, said_before = _started(run_id, command, log)
        give_up = time.monotonic() + BEGIN_PATIENCE_S
        while process.poll() is None and _last_begin(store, before) == before:
            if time.monotonic() > give_up:
                raise EnvironmentProblem(
                    "the process in the background does not go on with the run",
                    where=str(log),
                    hint=f"Look at that log, then `prodigy resume {run_id}`.",
                )
            time.sleep(POLL_S)
        code = process.poll()
        if code is not None and (code not in RESULTS or _last_begin(store, before) == before):
            ended = f"Error: {log}: the process in the background ended with {code}\n  Look at that file."
            click.echo(_complaint(log, said_before) or ended, err=True)
            sys.exit(code if code > 0 else 128 - code)
        # It lives, or its end is on record: either way, what is stored is how the run stands.
        summary = summarise(store, driving=True)
    _tell(run_id, summary, code, as_json=as_json)


def _started(run_id: str, command: Sequence[str], log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The process, and the size of its log before it."""
    try:
        with log.open("ab") as output:
            size = output.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "prodigy.cli.main", *(command or ("resume", run_id))],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/",
                env={**os.environ, "PRODIGY_HOME": str(log.parent.parent.parent)},
            )  # fmt: skip
    except OSError as error:
        raise EnvironmentProblem(
            f"no process can be started in the background: {error}",
            where=str(log),
            hint="Drive it in this terminal: leave out --detach.",
        ) from error
    return process, size


def _last_begin(store: Store, after: int) -> int:
    """The number of the newest event by which a process went on with the run; `after` when none is younger."""
    found = next(iter(store.events(after, types=(ev.JobResumed.type,), limit=1)), None)
    return int(str(found["seq"])) if found else after


def _complaint(log: Path, start: int) -> str:
    """The error that a process ended with, empty when it told none."""
    with log.open("rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - LOG_SHOWN))
        lines = file.read().decode(errors="backslashreplace").splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
    return "\n".join(map(printable, lines[errors[-1] :])) if errors else ""


def _tell(run_id: str, summary: dict[str, object], code: int | None, *, as_json: bool) -> None:
    """stdout has the run's id, or the summary as JSON, whether the run has ended already or not."""
    click.echo(json.dumps(summary, indent=2) if as_json else run_id)
    if code is None:
        if not as_json:
            click.echo(f"the run goes on in the background; watch it: prodigy attach {run_id}", err=True)
        return
    if not as_json:
        common.show_summary(summary, err=True)
    if summary["error"]:
        click.echo("Error: " + "\n".join(map(printable, str(summary["error"]).splitlines())), err=True)
    sys.exit(code)
