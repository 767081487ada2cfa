"""Reads what a running agent prints as it prints it: limits are heard at once, and an agent that is done is let go."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prodigy.agents.base import Agent, AgentEvent, Finished, Usage, Used
from prodigy.agents.transcript import Lines
from prodigy.executors.warden import STDERR, STDOUT

POLL_S = 0.25
# An agent that has said its last word and does not end is ended: it would hold its slot for hours.
GRACE_S = 10.0
_CHUNK_BYTES = 1 << 18
_MOST_BEHIND_BYTES = 16 << 20

Hear = Callable[[AgentEvent, float], None]


@dataclass
class Following:
    """The output of one execution, whose files are in `directory`. hear: what to do with an event and the time it was
    written (UNIX, seconds).

    over: says after each look why the agent is to be ended now, None to let it be.
    """

    adapter: Agent
    directory: Path
    hear: Hear
    over: Callable[[], str | None]
    finished_at: float | None = None

    def __post_init__(self) -> None:
        self._state = self.adapter.new_state()
        self._stdout = _Growing(self.directory / STDOUT)
        self._stderr = _Growing(self.directory / STDERR)

    async def until_over(self) -> str:
        """Follow until the agent is to be ended; why: `result`, or what `over` says."""
        while True:
            if self._look():
                await asyncio.sleep(0)  # gigabytes must not keep the others waiting
                continue
            if self.finished_at is not None and time.monotonic() - self.finished_at >= GRACE_S:
                return "result"
            if (reason := self.over()) is not None:
                return reason
            await asyncio.sleep(POLL_S)

    def _look(self) -> bool:
        """Read a piece of what is new; whether there may be more."""
        for line, at in self._stderr.grown():
            for event in self.adapter.hear_stderr(line, at):
                self.hear(event, at)
        for line, at in self._stdout.grown():
            self._state, events = self.adapter.fold(self._state, line, at)
            for event in events:
                if isinstance(event, Finished):
                    self.finished_at = time.monotonic()
                self.hear(event, at)
        return self._stdout.has_more or self._stderr.has_more


@dataclass
class _Growing:
    """A file that grows, as lines. has_more: whether it was longer than what was read at once."""

    path: Path
    has_more: bool = False
    _offset: int = 0
    _lines: Lines = field(default_factory=Lines)

    def grown(self) -> Iterator[tuple[bytes, float]]:
        """The lines that have come since, each with the time at which the file was written (UNIX, seconds)."""
        self.has_more = False
        try:
            with self.path.open("rb") as file:
                facts = os.fstat(file.fileno())
                written_at = facts.st_mtime
                if facts.st_size - self._offset > _MOST_BEHIND_BYTES:  # nobody could read what is written so fast
                    self._offset = facts.st_size - _CHUNK_BYTES
                    self._lines = Lines()
                file.seek(self._offset)
                data = file.read(_CHUNK_BYTES)
        except OSError:
            return  # not there yet; the verdict reads it again, and says so if it can't
        self._offset += len(data)
        self.has_more = len(data) == _CHUNK_BYTES
        for line in self._lines.feed(data):
            yield line, written_at


def _dollars(usage: Usage, model: str | None) -> float:
    if usage.cost_usd is not None:
        return usage.cost_usd
    from prodigy.agents.prices import price  # slow to import, and needed with a budget only

    return price(Used(usage.model or model, usage.tokens)) or 0.0


@dataclass
class Meter:
    """What an agent has used so far, as its messages show: a lower bound. Ends it at its limit where it has no cap of
    its own."""

    limit_usd: float | None
    limit_tokens: int | None
    model: str | None = None
    usd: float = 0.0
    tokens: int = 0

    def count(self, usage: Usage) -> None:
        self.tokens += usage.tokens.total
        if self.limit_usd is not None:
            self.usd += _dollars(usage, self.model)

    @property
    def is_over(self) -> bool:
        return bool(self.words)

    @property
    def words(self) -> str:
        """The limit that it has passed, "" while it has passed none."""
        if self.limit_usd is not None and self.usd > self.limit_usd:
            return f"its limit of {self.limit_usd:.4g} USD"
        if self.limit_tokens is not None and self.tokens > self.limit_tokens:
            return f"its limit of {self.limit_tokens:,} tokens"
        return ""
