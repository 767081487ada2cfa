"""Runs that there are: found, looked at, waited for, cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from prodigy.api.logs import StepLog, logs_of
from prodigy.api.records import DeadLetter, Event, Item
from prodigy.api.results import Result
from prodigy.engine import steering
from prodigy.engine.summary import summarise
from prodigy.errors import ProdigyError, UsageError
from prodigy.git.context import NoRepository, common_dir_around
from prodigy.store import index
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

POLL_S = 0.1
OBEY_PATIENCE_S = 10.0
END_PATIENCE_S = 30.0  # for a process that was asked to end a run

_WAY = "Python"  # what the user steers by, as events tell


@dataclass(frozen=True)
class Run:
    """A run that there is, whoever drives it. Every call looks at it anew.

    Each raises UsageError when the run is gone, CorruptState or EnvironmentProblem when it can't be read.
    """

    id: str

    @property
    def directory(self) -> Path:
        """Where everything about it is."""
        return run_directory(self.id)

    @property
    def repository(self) -> Path:
        """The checkout that it was started in."""
        with self._store() as store:
            return Path(store.run().repo)

    @property
    def is_driven(self) -> bool:
        """Whether a process works on it now."""
        return is_held(self.directory)

    @property
    def branch(self) -> str:
        """Its branch, with everything that was merged so far."""
        return self.status().branch

    @property
    def cost_usd(self) -> float | None:
        """What its agents have cost, in dollars; None when none of them could tell."""
        return self.status().cost_usd

    def status(self) -> Result:
        """How it stands."""
        with self._store() as store:
            return Result.of(summarise(store))

    def items(self, *states: str) -> list[Item]:
        """Its items, in order; only those in one of these states, if any is named."""
        with self._store() as store:
            return [
                Item.of(fanout["path"], row, store.item_data(fanout["path"], row.ordinal))
                for fanout in store.fanouts()
                for row in store.items(fanout["path"])
                if not states or row.state.value in states
            ]

    def dead_letters(self) -> list[DeadLetter]:
        """The items that failed for good, the newest failure first."""
        with self._store() as store:
            return [DeadLetter.of(record) for record in store.dead_letters()]

    def events(self, after: int = 0, *, types: Collection[str] = (), limit: int | None = None) -> Iterator[Event]:
        """What happened, in order. after: only events with a higher number. types: only these. limit: only the newest
        so many."""
        with self._store() as store:
            for record in store.events(after, types=types, limit=limit):
                yield Event.stored(self.id, record)

    def logs(self, item: str | None = None, characters: int = 20_000) -> list[StepLog]:
        """What the steps of an item's newest attempt printed; without an item, those outside of the items. characters:
        of the end of each.

        Raises UsageError for an item that there is not.
        """
        with self._store() as store:
            return logs_of(store, item, characters)

    def wait(self, timeout_s: float | None = None) -> Result:
        """Wait until no process works on it any more, at most so many seconds; how it stands then."""
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        while self.is_driven and (give_up is None or time.monotonic() < give_up):
            time.sleep(POLL_S)
        return self.status()

    def cancel(self) -> Result:
        """End what runs of it. The process that drives it is asked to, and has half a minute; with none alive it is
        done here. The run can be resumed. Raises UsageError when nothing of it runs."""
        with self._store() as store:
            if is_held(store.directory):
                steering.cancel(store, steering.who(_WAY))
                return self.wait(END_PATIENCE_S)
            if not store.started_steps():
                raise UsageError(f"nothing of run {self.id} is running", hint="There is nothing to cancel.")
        from prodigy.api.driving import cancel

        return cancel(self.id)

    def pause(self) -> Result:
        """Let nothing new start until `go_on`; what runs may finish, and the process that drives it stays. Raises
        UsageError when there is none."""
        return self._steered(steering.hold)

    def go_on(self) -> Result:
        """Let a run start things again that is paused. Raises UsageError when no process drives it: `resume` does."""
        return self._steered(steering.release)

    def steer(
        self, *, max_parallel: int | None = None, budget_usd: float | None = None, retry: Sequence[str] = ()
    ) -> Result:
        """Change how a run goes on, without stopping it.

        max_parallel: so many items at a time from now on. budget_usd: what it may cost in all. retry: run these dead
        items, by their ids, again while their map goes on.

        Raises UsageError when no process drives it, or an item has no dead letter.
        """
        if retry:
            self._steered(lambda store, by: steering.retry(store, list(retry), by))
        if budget_usd is not None:
            self._steered(lambda store, by: steering.set_budget(store, budget_usd, by))
        if max_parallel is not None:
            self._steered(lambda store, by: steering.set_max_parallel(store, max_parallel, by))
        return self.status()

    def _steered(self, ask: Callable[[Store, str], int]) -> Result:
        """Ask the process that drives the run, and wait until it has obeyed, or for a while."""
        with self._store() as store:
            number = ask(store, steering.who(_WAY))
            give_up = time.monotonic() + OBEY_PATIENCE_S
            while not steering.is_done(store, number) and time.monotonic() < give_up:
                time.sleep(POLL_S)
        return self.status()

    @contextmanager
    def _store(self) -> Iterator[Store]:
        directory = self.directory
        if not directory.is_dir():
            raise UsageError(f"there is no run {self.id}", hint="`prodigy.runs()` lists those that there are.")
        with closing(Store.open(directory)) as store:
            yield store


def runs(repo: str | Path | None = None) -> list[Run]:
    """Every run, newest first; only those of the repository around a directory, when one is given.

    Raises EnvironmentProblem when there is no repository.
    """
    common_dir = None if repo is None else str(common_dir_around(Path(repo)))
    return [Run(row.id) for row in index.runs(common_dir)]


def find(reference: str = index.LATEST, repo: str | Path = ".") -> Run:
    """The run that is meant: by its id or the beginning of one; or the latest of this repository (outside of any, of
    all) with this workflow's file or name, or of all with `latest`. Raises UsageError when none or several fit."""
    try:
        common_dir = str(common_dir_around(Path(repo)))
    except NoRepository:
        common_dir = None
    return Run(index.by_id(reference) or index.by_name(reference, common_dir))


def status(run: Run | str = index.LATEST, repo: str | Path = ".") -> Result:
    """How a run stands. Raises as `find` does."""
    return as_run(run, repo).status()


def as_run(run: Run | str, repo: str | Path = ".") -> Run:
    """What a caller names a run by, as a run."""
    return run if isinstance(run, Run) else find(run, repo)


def readable(found: list[Run]) -> Iterator[tuple[Run, Result | ProdigyError]]:
    """Each run and how it stands, or why that can't be told: one that is broken does not hide the others."""
    for each in found:
        try:
            yield each, each.status()
        except ProdigyError as error:
            yield each, error
