"""How many items of a fan-out run at a time, and how the user changes that while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prodigy.state.items import ItemRow


@dataclass(frozen=True)
class Going:
    """A fan-out that runs now, as far as its user may steer it.

    resize: have as many slots as the run's options say; raises EnvironmentProblem when there is no room. again: let
    an item that is pending once more take its turn.
    """

    resize: Callable[[], None]
    again: Callable[[ItemRow], None]


class Slots:
    """As many workers as are wanted. work: takes item after item until none is left, or `one_too_many` says so."""

    def __init__(self, group: asyncio.TaskGroup, work: Callable[[], Awaitable[None]]) -> None:
        self._group = group
        self._work = work
        self._wanted = 0
        self._live = 0
        self._none_left = asyncio.Event()

    def resize(self, wanted: int) -> None:
        """More begin at once; of too many, some end when they are done with their items."""
        self._wanted = wanted
        while self._live < wanted:
            self._live += 1
            self._group.create_task(self._one())

    def refill(self) -> None:
        """Workers that had nothing left to do are there again."""
        self.resize(self._wanted)

    def one_too_many(self) -> bool:
        return self._live > self._wanted

    async def all_ended(self) -> None:
        while self._live:
            self._none_left.clear()
            await self._none_left.wait()

    async def _one(self) -> None:
        try:
            await self._work()
        finally:
            self._live -= 1
            if not self._live:
                self._none_left.set()
