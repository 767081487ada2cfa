"""Runs that somebody looks at now: each is read by one thread, once for all who look, and only its changes are sent.

What takes long to make is made less often: a part of a page may use a twentieth of a core at the most, so that a run of
a hundred thousand items costs no more than one of ten.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prodigy.engine.summary import summarise
from prodigy.errors import ProdigyError
from prodigy.report.facts import seconds
from prodigy.report.history import history, stored_events
from prodigy.report.view import RunView
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store
from prodigy.web.activity import KEPT, told

LOOK_S = 1.0  # between two looks at a run
SHARE = 20.0  # what took a second to make is not made again within so many
CHANGED_S = 1.9  # between two times that it is told that anything has changed
CLOCK_S = 5.0  # bars and estimates move on although nothing has happened
LINGER_S = 20.0  # a run nobody looks at any more is kept open for who loads its page again

Result = TypeVar("Result")


@dataclass(frozen=True)
class Seen:
    """A run at one moment, for the parts of a page. now: seconds since the epoch; view: on the monotonic clock."""

    store: Store
    view: RunView
    summary: Mapping[str, Any]
    is_driven: bool
    now: float
    activity: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Part:
    """make: its HTML. every_s: it is not made more often; a picture of the last half hour need not be."""

    make: Callable[[Seen], str]
    every_s: float


@dataclass
class _Made:
    """A part as it was made last. number: the event that was the newest then."""

    html: str = ""
    number: int = -1
    is_driven: bool = False
    at: float = 0.0
    due: float = 0.0


@dataclass(eq=False)
class _Listener:
    """Somebody who looks. waiting: what changed and was not sent yet. is_behind: the run has changed since the last
    time that was told, `told_at`."""

    parts: frozenset[str]
    is_behind: bool = False
    told_at: float = 0.0
    waiting: dict[str, str] = field(default_factory=dict)
    told: asyncio.Event = field(default_factory=asyncio.Event)


class Watched:
    """One run. All reading of it is done by its own thread, since a database belongs to the thread that opened it."""

    def __init__(self, run_id: str, parts: Mapping[str, Part]) -> None:
        self.run_id = run_id
        self._known = parts
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"watch-{run_id}")
        self._made = {name: _Made() for name in parts}
        self._summary: Mapping[str, Any] = {}
        self._summary_due = 0.0
        self._summary_of: tuple[int, bool] = (-1, False)
        self._store: Store | None = None
        self._view: RunView | None = None
        self._seen = 0
        self._activity: list[Mapping[str, Any]] = []
        self._listeners: set[_Listener] = set()
        self._loop: asyncio.Task[None] | None = None
        self.last_wanted = time.monotonic()

    @property
    def is_wanted(self) -> bool:
        return bool(self._listeners) or time.monotonic() - self.last_wanted < LINGER_S

    async def ask(self, question: Callable[[Store], Result]) -> Result:
        """The answer that the run's database gives now. Raises as `Store.open` does."""
        self.last_wanted = time.monotonic()
        return await self._in_thread(lambda: question(self._opened()))

    async def parts(self, names: Iterable[str]) -> dict[str, str]:
        """name -> HTML of these parts as they are now. Raises as `Store.open` does."""
        self.last_wanted = time.monotonic()
        wanted = frozenset(names)
        await self._in_thread(lambda: self._look(wanted))
        return {name: self._made[name].html for name in wanted}

    async def changes(self, names: Iterable[str]) -> AsyncIterator[tuple[dict[str, str], bool]]:
        """All these parts at first, then those that have changed, as often as there are any; and whether anything in
        the run has, which is told every other second at the most. Ends when the run can't be read any more."""
        listener = _Listener(frozenset(names))
        listener.waiting, listener.is_behind = await self.parts(names), True
        listener.told.set()
        self._listeners.add(listener)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._watch())
        loop = self._loop
        try:
            while not loop.done():
                await listener.told.wait()
                listener.told.clear()
                waiting, listener.waiting = listener.waiting, {}
                changed = listener.is_behind and time.monotonic() - listener.told_at >= CHANGED_S
                if changed:
                    listener.is_behind, listener.told_at = False, time.monotonic()
                yield waiting, changed
        finally:
            self._listeners.discard(listener)
            self.last_wanted = time.monotonic()

    async def close(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop
        await self._in_thread(self._shut)
        self._thread.shutdown(wait=False)

    async def _watch(self) -> None:
        try:
            while self._listeners:
                await asyncio.sleep(LOOK_S)
                wanted = frozenset(name for listener in self._listeners for name in listener.parts)
                before = self._seen
                changed = await self._in_thread(lambda wanted=wanted: self._look(wanted))  # type: ignore[misc]
                for listener in self._listeners:
                    new = {name: html for name, html in changed.items() if name in listener.parts}
                    listener.waiting |= new
                    listener.is_behind |= self._seen != before
                    if new or listener.is_behind:
                        listener.told.set()
        except ProdigyError:
            return  # who looks is told when the page is asked for again
        finally:
            for listener in self._listeners:
                listener.told.set()

    def _in_thread(self, work: Callable[[], Result]) -> Awaitable[Result]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)

    # In the thread -----------------------------------------------------------------------------------------

    def _opened(self) -> Store:
        if self._store is None:
            self._store = Store.open(run_directory(self.run_id))
        return self._store

    def _shut(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _look(self, wanted: frozenset[str]) -> dict[str, str]:
        """The parts that have changed since they were made last."""
        store = self._opened()
        is_driven = is_held(store.directory)  # asked first: what was written before the end is still read
        if self._view is None:
            self._view, self._seen = history(store)
            self._activity = told(store, max(0, self._seen - 5000))
        else:
            offset = time.monotonic() - time.time()
            before = self._seen
            for number, event, at in stored_events(store, self._seen):
                self._seen = number
                if event is not None:
                    self._view.apply(event, seconds(at) + offset)
            if self._seen != before:
                self._activity = (told(store, before) + self._activity)[:KEPT]
        changed = {}
        seen = None
        for name in wanted:
            made, started = self._made[name], time.monotonic()
            if not self._is_due(made, started, is_driven=is_driven):
                continue
            seen = seen or self._now(store, is_driven=is_driven)
            html = self._known[name].make(seen)
            ended = time.monotonic()
            if html != made.html:
                changed[name] = html
            due = ended + max(self._known[name].every_s - LOOK_S / 2, SHARE * (ended - started))
            self._made[name] = _Made(html, self._seen, is_driven, ended, due)
        return changed

    def _is_due(self, made: _Made, now: float, *, is_driven: bool) -> bool:
        if made.number == -1 or made.is_driven != is_driven:
            return True  # how a run stands at its end is wanted at once
        is_old = made.number != self._seen or (is_driven and now - made.at > CLOCK_S)
        return is_old and now >= made.due

    def _now(self, store: Store, *, is_driven: bool) -> Seen:
        started = time.monotonic()
        if self._summary_of != (self._seen, is_driven) and started >= self._summary_due:
            self._summary, self._summary_of = summarise(store), (self._seen, is_driven)
            ended = time.monotonic()
            self._summary_due = ended + SHARE * (ended - started)
        assert self._view is not None
        return Seen(store, self._view, self._summary, is_driven, time.time(), tuple(self._activity))


class Watch:
    """All runs that somebody looks at."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = parts
        self._runs: dict[str, Watched] = {}

    def run(self, run_id: str) -> Watched:
        """A run to look at; those that nobody has looked at for a while are let go."""
        for unwanted in [one for one in self._runs.values() if not one.is_wanted and one.run_id != run_id]:
            del self._runs[unwanted.run_id]
            closing = asyncio.create_task(unwanted.close())
            closing.add_done_callback(lambda task: task.exception())
        if run_id not in self._runs:
            self._runs[run_id] = Watched(run_id, self._parts)
        return self._runs[run_id]

    async def close(self) -> None:
        for watched in self._runs.values():
            await watched.close()
        self._runs.clear()
