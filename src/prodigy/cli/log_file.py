"""The user's log of all runs, where the configuration names one (`logging: {file, level}`): a line an event."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from prodigy.cli.words import printable
from prodigy.secrets import mask
from prodigy.state import events as ev

_LEVELS = ("debug", "info", "warning", "error")
_ERRORS = (ev.JobFailed, ev.AgentFailed, ev.FinalMergeRefused)
_WARNINGS = (
    ev.Warned, ev.StepLost, ev.StepRetrying, ev.AgentRetrying, ev.AgentGateClosed, ev.BreakerOpened, ev.JobPaused,
    ev.WorkspaceLost, ev.AgentInterrupted, ev.DlqItemAdded,
)  # fmt: skip
_DETAILS = (ev.StepStarted, ev.StepFinished, ev.StepSettled, ev.StepSkipped, ev.WorktreeCreated, ev.Merging,
            ev.StepAdopted, ev.StepRetired)  # fmt: skip

Listener = Callable[[ev.Event], None]


def level_of(event: ev.Event) -> str:
    """`debug`, `info`, `warning` or `error`."""
    if isinstance(event, _ERRORS):
        return "error"
    if isinstance(event, _WARNINGS) or (isinstance(event, ev.StepFinished) and event.kind is not None):
        return "warning"
    return "debug" if isinstance(event, _DETAILS) else "info"


@contextmanager
def logged(run_id: str, listener: Listener) -> Iterator[Listener]:
    """The listener, and the log if one is wanted. A log that can't be written is told once, and stops nothing."""
    from prodigy.cli.given import configuration

    logging = configuration(Path()).logging
    if logging.file is None:
        yield listener
        return
    wanted = _LEVELS.index(logging.level)
    try:
        logging.file.parent.mkdir(parents=True, exist_ok=True)
        file = logging.file.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
    except OSError as error:
        _tell(logging.file, error)
        yield listener
        return
    has_told = False

    def both(event: ev.Event) -> None:
        nonlocal has_told
        level = level_of(event)
        if _LEVELS.index(level) >= wanted and not has_told:
            try:
                file.write(line(run_id, level, event))
            except OSError as error:
                has_told = True
                _tell(logging.file, error)
        listener(event)

    with file:
        yield both


def line(run_id: str, level: str, event: ev.Event) -> str:
    """`TIME LEVEL RUN EVENT key=value ...`, without secrets, always one line."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    facts = " ".join(f"{key}={value}" for key, value in event.data().items() if value not in (None, "", [], ()))
    return f"{now} {level.upper():7} {run_id} {event.type} {printable(mask(facts))}".rstrip() + "\n"


def _tell(path: Path | None, error: OSError) -> None:
    click.echo(f"Warning: the log {path} can't be written: {error.strerror}", err=True)
