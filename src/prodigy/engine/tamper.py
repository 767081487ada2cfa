"""After each attempt: did anything change that agents share with the user and with each other?"""

from __future__ import annotations

import asyncio

from prodigy.engine.run import Run
from prodigy.git.guard import Fingerprint, differences, observe
from prodigy.state import events as ev


class TamperCheck:
    """Compares the shared repository with how it was; what changed is told once and then taken as given.

    With several agents at work, the first to end after a change is the one that is asked: whose hand it was can't
    be seen from here. What the user may do at any time (commit, fetch, stash) is only told, never blamed.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._turn = asyncio.Lock()
        self._before: Fingerprint | None = None

    async def start(self) -> None:
        """Remember how things are before the first agent starts."""
        self._before = await self._observe()

    async def check(self) -> tuple[str, ...]:
        """What was tampered with since the last look, in words; empty when nothing was."""
        async with self._turn:
            after = await self._observe()
            assert self._before is not None, "start comes first"
            found = differences(self._before, after)
            self._before = after
        for change in found.moved:
            self._run.store.record(ev.Warned(message=f"while agents worked, {change}"))
        return found.tampered

    async def _observe(self) -> Fingerprint:
        return await asyncio.to_thread(observe, self._run.repo, ())
