"""The items that wait for a slot: some are ready, some not before a moment."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Iterable

from prodigy.engine.control import Control
from prodigy.state.items import ItemRow


class ItemQueue:
    """First come, first served. An item that comes with a pause stands behind all that are ready when it ends."""

    def __init__(self, rows: Iterable[ItemRow], control: Control) -> None:
        self._ready = deque(rows)
        self._waiting: list[tuple[float, int, ItemRow]] = []  # by the moment, on the monotonic clock
        self._count = 0
        self._control = control

    def put(self, row: ItemRow, delay_s: float) -> None:
        """Let the item wait so many seconds, then for its turn."""
        self._count += 1
        heapq.heappush(self._waiting, (time.monotonic() + delay_s, self._count, row))

    async def take(self) -> ItemRow | None:
        """The next item, when there is one that may begin; None when none is left, or nothing may start any more."""
        while not self._control.draining:
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                self._ready.append(heapq.heappop(self._waiting)[2])
            if self._ready:
                return self._ready.popleft()
            if not self._waiting:
                return None
            await self._control.stops_within(max(0.0, self._waiting[0][0] - time.monotonic()))
        return None
