"""Looks at what running steps print: their last lines, since when they are silent, what their agents have used."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prodigy.cli.tail import Describe, last_line, signature

if TYPE_CHECKING:  # the first brings rich, the other the agents, which steps without one do not need
    from prodigy.cli.meter import Meter
    from prodigy.cli.rows import Seen
    from prodigy.report.view import StepNow

LOOK_S = 1.0  # between two looks at one step's output


@dataclass(frozen=True)
class _Look:
    looked_at: float
    written: tuple[tuple[int, int], ...]
    text: str
    meter: Meter | None


class Looks:
    """At each step once a second at most; its files are read again only when it has printed. steps: the directory with
    those of all executions."""

    def __init__(self, steps: Path, describers: Mapping[str, Describe]) -> None:
        self._steps = steps
        self._describers = describers
        self._known: dict[str, _Look] = {}

    def at(self, steps: Sequence[StepNow], now: float) -> dict[str, Seen]:
        """path of the execution -> what it has shown, for these steps; those of other steps are forgotten."""
        from prodigy.cli.rows import Seen

        self._known = {step.path: self._look(step, now) for step in steps}
        wall = time.time()
        seen = {}
        for path, look in self._known.items():
            newest = max(at for at, _ in look.written) / 1e9
            meter = look.meter
            seen[path] = Seen(
                look.text,
                wall - newest if newest else None,
                meter.tokens if meter else None,
                meter.cost_usd if meter else None,
            )
        return seen

    def _look(self, step: StepNow, now: float) -> _Look:
        known = self._known.get(step.path)
        if known is not None and now - known.looked_at < LOOK_S:
            return known
        directory = self._steps / step.path
        written = signature(directory)
        meter = known.meter if known is not None else _meter(directory, step.adapter)
        if meter is not None and meter.is_behind(written[0][1]):
            meter.look(time.time())
        if known is not None and known.written == written:
            return _Look(now, written, known.text, meter)
        describe = self._describers.get(step.adapter) if step.adapter else None
        return _Look(now, written, last_line(directory, step.agent, describe), meter)


def _meter(directory: Path, adapter: str | None) -> Meter | None:
    if adapter is None:
        return None
    from prodigy.cli.meter import Meter

    return Meter.of(directory, adapter)
