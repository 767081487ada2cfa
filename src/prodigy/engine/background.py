"""A run goes on in a process of its own: starting that, and what became of it at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from prodigy.engine.summary import EXIT_CODES, summarise
from prodigy.errors import EnvironmentProblem, ProdigyError
from prodigy.state import events as ev
from prodigy.store.lock import require_free
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

BACKGROUND_LOG = "coordinator.log"
BEGIN_PATIENCE_S = 120.0  # the process may wait a minute for a git call of a coordinator that was killed
POLL_S = 0.05
LOG_SHOWN = 4000  # bytes of what a process said that was refused
RESULTS = frozenset(EXIT_CODES.values())  # exits by which a process tells how a run ended


@dataclass(frozen=True)
class Begun:
    """What became of the process until it had begun to go on with the run.

    code: its exit status when it has ended by then, as a shell tells it. summary: how the run stands; None when the
    process was refused, and then `complaint` has its error, if it told one.
    """

    run_id: str
    log: Path
    code: int | None
    summary: dict[str, object] | None
    complaint: str = ""

    @property
    def told(self) -> str:
        """The error of a process that was refused, with what to do: text of several lines, `Error: ` before it."""
        return self.complaint or (
            f"Error: {self.log}: the process in the background ended with {self.code}\n  Look at that file."
        )

    def require_accepted(self) -> None:
        """Raise the error of a process that was refused."""
        if self.summary is None:
            what, _, hint = self.told.removeprefix("Error: ").partition("\n")
            refusal = ProdigyError(what, hint=" ".join(hint.split()) or f"Look at {self.log}.")
            refusal.exit_code = self.code or ProdigyError.exit_code
            raise refusal


def begin_in_background(run_id: str, command: Sequence[str] = ()) -> Begun:
    """Let a process without a terminal go on with the run; returns when it has begun to, or has ended.

    command: the arguments of that process; by default it resumes the run. Raises RunLocked when another process has the
    run, EnvironmentProblem when none can be started, or it does not begin.
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
            return Begun(run_id, log, code if code > 0 else 128 - code, None, _complaint(log, said_before))
        if code is None:  # whoever called us may live on, and is to leave no zombie behind
            threading.Thread(target=process.wait, name="prodigy-background", daemon=True).start()
        # It lives, or its end is on record: either way, what is stored is how the run stands.
        return Begun(run_id, log, code, summarise(store, driving=True))


def _started(run_id: str, command: Sequence[str], log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The process, and the size of its log before it."""
    try:
        with log.open("ab") as output:
            size = output.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "prodigy.cli.main", *(command or ("resume", run_id, "--still-held"))],
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
    return "\n".join(lines[errors[-1] :]) if errors else ""
