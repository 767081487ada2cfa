"""What agents that run have used so far, read from their streams as these grow."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prodigy.agents import AGENTS
from prodigy.agents.base import Usage
from prodigy.agents.transcript import Lines
from prodigy.executors.warden import STDOUT

MOST_AT_ONCE = 1 << 18  # bytes of one stream in one look; what is left is read in the next


@dataclass
class Meter:
    """One agent's stream. tokens, cost_usd: a lower bound; None as long as it tells none."""

    path: Path
    kind: str
    tokens: int | None = None
    cost_usd: float | None = None
    _offset: int = 0
    _state: Any = None
    _lines: Lines = field(default_factory=Lines)

    @classmethod
    def of(cls, directory: Path, kind: str) -> Meter:
        return cls(directory / STDOUT, kind, _state=AGENTS[kind].new_state() if kind in AGENTS else None)

    def is_behind(self, size: int) -> bool:
        """Whether there is something new in a stream of so many bytes."""
        return self._state is not None and self._offset < size

    def look(self, now: float) -> None:
        """Read what is new. now: UNIX time, seconds."""
        if self._state is None:
            return
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(MOST_AT_ONCE)
        except OSError:
            return  # not there yet, or not any more
        self._offset += len(data)
        for line in self._lines.feed(data):
            self._state, events = AGENTS[self.kind].fold(self._state, line, now)
            for event in events:
                if isinstance(event, Usage):
                    self.tokens = (self.tokens or 0) + event.tokens.total
                    if event.cost_usd is not None:
                        self.cost_usd = (self.cost_usd or 0.0) + event.cost_usd
