"""Stopping a run on purpose: drain (start nothing new), end (stop what runs), leave (let it run on without us)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


class Stopped(Exception):
    """Raised at a step boundary when the run drains: the attempt stays in flight and is continued on resume."""


class Interrupted(Exception):
    """The user ended what was running. A step that ran will run again; an attempt is continued by the next one."""


@dataclass
class Control:
    """What the user asked of the running engine.

    exit_code: 130 after Ctrl-C or cancel, 143 after SIGTERM. handed_over: another process is to go on with the run.
    status, stop_reason, error: how the run's end is to be told. by: who asked for it from elsewhere.
    """

    exit_code: int = 130
    status: str = "interrupted"
    stop_reason: str | None = "user"
    error: str | None = None
    by: str = ""
    handed_over: bool = False
    _draining: asyncio.Event = field(default_factory=asyncio.Event)
    _ending: asyncio.Event = field(default_factory=asyncio.Event)
    _leaving: asyncio.Event = field(default_factory=asyncio.Event)
    _held: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def draining(self) -> bool:
        return self._draining.is_set()

    @property
    def ending(self) -> bool:
        return self._ending.is_set()

    @property
    def held(self) -> bool:
        return self._held

    def hold(self) -> None:
        """Start nothing new until it is released; what runs may finish."""
        self._held = True

    def release(self) -> None:
        self._held = False
        self._changed.set()

    async def may_start(self) -> None:
        """Wait as long as the run is held. Raises as `check` does."""
        while self._held and not self.draining:
            self._changed.clear()
            await self._changed.wait()
        self.check()

    def drain(self) -> None:
        """Start nothing new; what runs may finish."""
        self._draining.set()
        self._changed.set()

    def pause(self, reason: str | None, error: str) -> None:
        """Start nothing new because of a rule, not of the user; whoever stopped the run first keeps the word. reason:
        one of those that summaries know, or None."""
        if not self.draining:
            self.status, self.stop_reason, self.error = "paused", reason, error
            self.drain()

    def end(self) -> None:
        """Stop what runs as well."""
        self.drain()
        self._ending.set()

    async def wait_for_end(self) -> None:
        await self._ending.wait()

    async def stops_within(self, seconds: float) -> bool:
        """Wait so long, or until nothing new may start any more; whether that is so."""
        try:
            async with asyncio.timeout(seconds):
                await self._draining.wait()
        except TimeoutError:
            return False
        return True

    def leave(self) -> None:
        """Start nothing new, and go away soon even if something still runs."""
        self.drain()
        self._leaving.set()

    def hand_over(self) -> None:
        """Let go of the run at once, so that another process can go on with it."""
        self.handed_over = True
        self.leave()

    async def wait_for_leave(self) -> None:
        await self._leaving.wait()

    def check(self) -> None:
        """Raise Stopped when nothing new may start, Interrupted when what runs is to end as well."""
        if self.ending:
            raise Interrupted
        if self.draining:
            raise Stopped
