"""How a run is shown while it goes on: drawn in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from prodigy.agents import AGENTS
from prodigy.cli.live import LiveView, fits, keyboard
from prodigy.cli.progress import Progress, Quiet
from prodigy.cli.tail import Describe
from prodigy.cli.telling import telling
from prodigy.report.view import RunView
from prodigy.state import events as ev
from prodigy.store.paths import run_directory
from prodigy.store.store import Store


class Display(Protocol):
    """What `Progress` and `LiveView` have in common."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def say(self, text: str) -> None: ...
    def event(self, event: ev.Event) -> None: ...
    def drains_by(self, drain: Callable[[], None]) -> None:
        """What lets the run drain, where a key asks for that."""
        ...

    def suspend(self) -> AbstractContextManager[None]:
        """The terminal is the caller's meanwhile, to ask a question."""
        ...


class _Describers(Mapping[str, Describe]):
    def __getitem__(self, kind: str) -> Describe:
        return AGENTS[kind].describe

    def __iter__(self) -> Iterator[str]:
        return iter(AGENTS)

    def __len__(self) -> int:
        return len(AGENTS)


def describers() -> Mapping[str, Describe]:
    """What a line of an agent's output says, by the agent's kind."""
    return _Describers()


def display(run_id: str) -> Display:
    """A display of a run that this process drives, on stderr, which knows what has happened so far if it shows that."""
    from prodigy.report.history import history

    directory = run_directory(run_id)
    if telling().quiet or not (telling().verbose or fits(sys.stderr)):
        return display_of(RunView(run_id), directory, attached=False)
    with closing(Store.open(directory)) as store:
        view, _ = history(store)
    return display_of(view, directory, attached=False)


def display_of(view: RunView, directory: Path, *, attached: bool) -> Display:
    """As the user wants it, and the terminal allows. attached: whether another process drives the run."""
    wanted = telling()
    if wanted.quiet:
        return Quiet(view.run_id, sys.stderr)
    shown: Display = Progress(view.run_id, sys.stderr)
    if fits(sys.stderr):
        shown = LiveView(
            view.run_id, sys.stderr, directory,
            view=view, describers=describers(), keyboard=keyboard(), attached=attached,
        )  # fmt: skip
    if not wanted.verbose:
        return shown
    from prodigy.cli.verbose import Verbose

    return Verbose(shown, directory, describers(), wanted.verbose, view)
