"""The items that wait for a slot: some are ready, some not before a moment."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Callable, Iterable

from prodigy.engine.control import Control
from prodigy.state.items import ItemRow, ItemState

_LOOK_AGAIN_S = 0.2  # while it depends on others when something may start


class ItemQueue:
    """What is in flight comes first, then a higher priority, then who came first. An item that comes with a pause
    stands behind all of its priority that are ready when it ends.

    rest_s: for how long nothing may start, in seconds, 0 for something may; what is in flight goes on all the same.
    more_may_come: whether items may come back that nobody has at hand.
    """

    def __init__(self, rows: Iterable[ItemRow], control: Control, rest_s: Callable[[], float]) -> None:
        self._ready: list[tuple[bool, float, int, ItemRow]] = []
        self._waiting: list[tuple[float, int, ItemRow]] = []  # by the moment, on the monotonic clock
        self._count = 0
        self._taken = 0
        self._control = control
        self._rest_s = rest_s
        self._changed = asyncio.Event()
        self.more_may_come: Callable[[], bool] | None = None
        for row in rows:
            self._stand(row)

    def _stand(self, row: ItemRow) -> None:
        self._count += 1
        heapq.heappush(self._ready, (row.state is not ItemState.RUNNING, -row.priority, self._count, row))

    def put(self, row: ItemRow, delay_s: float) -> None:
        """Let the item wait so many seconds, then for its turn."""
        self._count += 1
        heapq.heappush(self._waiting, (time.monotonic() + delay_s, self._count, row))
        self._changed.set()

    def done(self) -> None:
        """An item that was taken is out of its taker's hands."""
        self._taken -= 1
        self._changed.set()

    def look(self) -> None:
        """Something that those who wait look at has changed."""
        self._changed.set()

    async def take(self, unwanted: Callable[[], bool]) -> ItemRow | None:
        """The next item, when there is one that may begin; None when none is left, nothing may start any more, or its
        taker is unwanted."""
        while not (self._control.draining or unwanted()):
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                self._stand(heapq.heappop(self._waiting)[2])
            pause_s = self._pause_s()
            if pause_s is None:
                return None
            if pause_s <= 0:
                self._taken += 1
                return heapq.heappop(self._ready)[3]
            await self._rest(pause_s)
        return None

    async def _rest(self, seconds: float) -> None:
        """Until something comes back, nothing may start any more, or the time is over."""
        self._changed.clear()
        waiting = [
            asyncio.ensure_future(self._changed.wait()),
            asyncio.ensure_future(self._control.stops_within(seconds)),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    def _pause_s(self) -> float | None:
        """How long until the next item may begin, as far as can be told; None: none is left."""
        if self._ready:
            if not self._ready[0][0]:
                return 0.0
            rest_s = self._rest_s()
            return rest_s if math.isfinite(rest_s) else _LOOK_AGAIN_S
        if self._waiting:
            return max(0.001, self._waiting[0][0] - time.monotonic())
        if self.more_may_come is not None and (self._taken or self.more_may_come()):
            return _LOOK_AGAIN_S
        return None
