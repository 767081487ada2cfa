"""The items that wait for a slot: some are ready, some not before a moment."""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Iterable

from prodigy.engine.control import Control
from prodigy.state.items import ItemRow, ItemState

_LOOK_AGAIN_S = 0.2  # while it depends on others when something may start


class ItemQueue:
    """First come, first served. An item that comes with a pause stands behind all that are ready when it ends.

    rest_s: for how long nothing may start, in seconds, 0 for something may; what is in flight goes on all the same.
    """

    def __init__(self, rows: Iterable[ItemRow], control: Control, rest_s: Callable[[], float]) -> None:
        self._ready = deque(rows)
        self._waiting: list[tuple[float, int, ItemRow]] = []  # by the moment, on the monotonic clock
        self._count = 0
        self._control = control
        self._rest_s = rest_s

    def put(self, row: ItemRow, delay_s: float) -> None:
        """Let the item wait so many seconds, then for its turn."""
        self._count += 1
        heapq.heappush(self._waiting, (time.monotonic() + delay_s, self._count, row))

    async def take(self) -> ItemRow | None:
        """The next item, when there is one that may begin; None when none is left, or nothing may start any more."""
        while not self._control.draining:
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                self._ready.append(heapq.heappop(self._waiting)[2])
            pause_s = self._pause_s()
            if pause_s is None:
                return None
            if pause_s <= 0:
                return self._ready.popleft()
            await self._control.stops_within(pause_s)
        return None

    def _pause_s(self) -> float | None:
        """How long until the next item may begin, as far as can be told; None: none is left."""
        if self._ready:
            if self._ready[0].state is ItemState.RUNNING:
                return 0.0
            rest_s = self._rest_s()
            return rest_s if math.isfinite(rest_s) else _LOOK_AGAIN_S
        return max(0.001, self._waiting[0][0] - time.monotonic()) if self._waiting else None
