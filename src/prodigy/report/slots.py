"""What each slot did lately: bars over time, for a picture that is drawn again and again while a run goes on."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from prodigy.report.facts import seconds, sessions
from prodigy.report.metrics import Clock
from prodigy.state.step_path import attempt_path
from prodigy.store.store import Store

SPAN_S = 30 * 60.0  # what is looked back at, unless the run is younger
LEAST_SPAN_S = 30.0
MOST_BARS = 600  # beyond that, bars of one state that nearly touch are drawn as one


@dataclass(frozen=True)
class Bar:
    """Something that took from `start` to `end`, in seconds of driven time. state: of the attempt (`succeeded`,
    `failed`, `interrupted`, `running`) or check (`passed`, `failed`, `running`), or `merging`. place: the item's
    (fan-out, ordinal), None for a check and for several attempts in one bar."""

    start: float
    end: float
    state: str
    label: str
    attempt: int
    place: tuple[str, int] | None

    @property
    def took_s(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Lane:
    """One slot, or the checks of merges. used: the part of the time shown in which something ran, 0 to 1."""

    name: str
    bars: tuple[Bar, ...]
    used: float


@dataclass(frozen=True)
class Slots:
    """Lanes from `start` to `end` in seconds of driven time. used: of all slots together; None without any."""

    start: float
    end: float
    lanes: tuple[Lane, ...]
    used: float | None

    @property
    def span_s(self) -> float:
        return self.end - self.start


def slots(store: Store, now: float, span_s: float = SPAN_S) -> Slots:
    """The last `span_s` seconds in which a process drove the run. now: seconds since the epoch."""
    driven = sessions(store, now)
    clock = Clock(driven)
    end = clock.total
    start = end - max(min(span_s, end), LEAST_SPAN_S)  # of a young run, what was before it is empty
    by_slot: dict[str, list[Bar]] = defaultdict(list)
    for row in _attempts(store, clock.real(max(0.0, start))) if driven else ():
        for bar in _bars(store, row, clock):
            if bar.end >= start:
                by_slot[str(row["worktree"])].append(bar)
    lanes = [
        _lane(PurePath(slot).name, bars, start, end)
        for slot, bars in sorted(by_slot.items(), key=lambda pair: slot_order(pair[0]))
    ]
    checks = [bar for bar in _checks(store, clock) if bar.end >= start]
    used = math.fsum(lane.used for lane in lanes) / len(lanes) if lanes else None
    shown = [_lane("checks of merges", checks, start, end), *lanes] if checks else lanes
    return Slots(start, end, tuple(_thinned(shown, end - start)), used)


def _attempts(store: Store, since: float) -> list[dict[str, Any]]:
    at = dt.datetime.fromtimestamp(max(0.0, since - 1), dt.UTC).isoformat(timespec="milliseconds")
    rows = store.ask(
        "SELECT attempt.fanout, attempt.ordinal, number, label, attempt.state, worktree, started_at, queued_at,"
        " ended_at FROM attempt JOIN item USING (fanout, ordinal) WHERE ended_at IS NULL OR ended_at >= ?",
        at.replace("+00:00", "Z"),
    )
    return [dict(row) for row in rows]


def _bars(store: Store, row: dict[str, Any], clock: Clock) -> Iterable[Bar]:
    """An attempt has its slot until its work waits to be merged; what comes after its last step is its merge."""
    fanout, ordinal, number = str(row["fanout"]), int(str(row["ordinal"])), int(str(row["number"]))
    start = clock.at(seconds(str(row["started_at"])))
    ends = [clock.at(seconds(str(row[name]))) for name in ("queued_at", "ended_at") if row[name]]
    end = min(ends) if ends else clock.total
    worked = end
    if row["state"] == "succeeded" and not row["queued_at"]:
        last = store.last_end(attempt_path(fanout, ordinal, number))
        worked = min(end, clock.at(seconds(last))) if last else end
    place, label = (fanout, ordinal), str(row["label"])
    yield Bar(start, max(start, worked), str(row["state"]), label, number, place)
    if worked < end:
        yield Bar(worked, end, "merging", label, number, place)


def _checks(store: Store, clock: Clock) -> Iterable[Bar]:
    rows = store.ask(
        "SELECT number, state, started_at, ended_at, json_array_length(members) AS members FROM merge_check"
        " WHERE state != 'void' ORDER BY started_at"
    )
    for row in rows:
        start = clock.at(seconds(row["started_at"]))
        end = clock.at(seconds(row["ended_at"])) if row["ended_at"] else clock.total
        of = "the run branch" if not row["members"] else "1 item" if row["members"] == 1 else f"{row['members']} items"
        yield Bar(start, max(start, end), row["state"], f"check {row['number']} of {of}", 1, None)


def slot_order(name: str) -> tuple[str, int, str]:
    """Sorts slots as people do: `s2` before `s10`."""
    digits = name[len(name.rstrip("0123456789")) :]
    return name.rstrip("0123456789"), int(digits or 0), name


def _lane(name: str, bars: list[Bar], start: float, end: float) -> Lane:
    bars = sorted(bars, key=lambda bar: bar.start)
    covered, until = 0.0, start
    for bar in bars:
        covered += max(0.0, bar.end - max(bar.start, until))
        until = max(until, bar.end)
    begun = max(0.0, start)
    return Lane(name, tuple(bars), min(1.0, covered / (end - begun)) if end > begun else 0.0)


def _thinned(lanes: list[Lane], span_s: float) -> list[Lane]:
    if sum(len(lane.bars) for lane in lanes) <= MOST_BARS:
        return lanes
    gap = span_s * len(lanes) / MOST_BARS
    found = []
    for lane in lanes:
        bars: list[Bar] = []
        for bar in lane.bars:
            if bars and bar.state == bars[-1].state and bar.end - bars[-1].start < gap:
                bars[-1] = Bar(bars[-1].start, bar.end, bar.state, "several attempts", 1, None)
            else:
                bars.append(bar)
        found.append(Lane(lane.name, tuple(bars), lane.used))
    return found
