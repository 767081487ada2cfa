"""Where the time and the money of a run went: plain counting over `facts`.

Durations are seconds. Time is that in which a process drove the run: what lies between two of them is nobody's idle
time. `Clock` turns the one into the other.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prodigy.report.facts import AttemptFacts, ExecutionFacts, Facts, Key

MOST_LISTED = 10  # items that are listed as the slowest and the dearest


@dataclass(frozen=True)
class Spread:
    """How numbers lie: how many, their sum, the least that half, 90 % and 99 % do not pass, the most."""

    count: int
    total: float
    p50: float
    p90: float
    p99: float
    most: float


@dataclass(frozen=True)
class StepStats:
    """The executions of one step, or of one agent. failed: how many did not succeed; lost: how many were ended from
    outside. cost: of those whose cost is known; None when there are none."""

    name: str
    doer: str
    role: str
    executions: int
    failed: int
    lost: int
    duration: Spread | None
    cost: Spread | None
    tokens: int


@dataclass(frozen=True)
class ItemStats:
    """One item over all its attempts. work_s: the time in a slot. cost_usd: None when it is not known."""

    label: str
    item_id: str
    state: str
    attempts: int
    work_s: float
    cost_usd: float | None


@dataclass(frozen=True)
class Segment:
    """What one slot did from `start` to `end`, in seconds of driven time. state: of the attempt, `succeeded`,
    `failed`, `interrupted` or `running`."""

    start: float
    end: float
    label: str
    attempt: int
    state: str


@dataclass(frozen=True)
class TimeSplit:
    """Slot time, in seconds: the parts add up to slots times the time in which items ran.

    agents, shell, checks: steps that ran (handlers count by who did them, checks by themselves). around: the rest of an
    attempt: making the worktree fresh, committing, merging. idle: nothing ran in the slot.
    """

    agents: float
    shell: float
    checks: float
    around: float
    idle: float


@dataclass(frozen=True)
class Waste:
    """Work that nothing came of. failed_s, failed_usd: steps that failed, and finished ones of attempts that did.
    repeated_s, repeated_usd: steps that were lost or ended, and ran again."""

    failed_s: float
    failed_usd: float
    repeated_s: float
    repeated_usd: float


@dataclass(frozen=True)
class MergeStats:
    """The merge queue. wait: from the end of an item's work to its merge, in seconds. checks_an_item: checks for each
    item that was merged after one."""

    queued: int
    wait: Spread | None
    checks: int
    failed_checks: int
    check_s: float
    largest_batch: int
    checks_an_item: float | None


@dataclass(frozen=True)
class Metrics:
    """All of it. elapsed_s: from the first event to the last; driven_s: of that, what processes drove. map_s: of that,
    the time in which any item ran. efficiency: the part of the slots' time in which something ran, 0 to 1.
    gate_closed_s: the time in which an account let no agent start. failures: kind of failure -> attempts.
    lanes: what each slot did; throughput: [(seconds, items that had succeeded by then)]."""

    elapsed_s: float
    driven_s: float
    sessions: int
    items: dict[str, int]
    attempts: int
    tries: int
    again: int
    map_s: float
    slots: int
    items_an_hour: float | None
    efficiency: float | None
    time: TimeSplit
    waste: Waste
    gate_closed_s: float
    merges: MergeStats
    steps: tuple[StepStats, ...]
    doers: tuple[StepStats, ...]
    failures: dict[str, int]
    slowest: tuple[ItemStats, ...]
    dearest: tuple[ItemStats, ...]
    item_work: tuple[float, ...]
    item_cost: tuple[float, ...]
    lanes: tuple[tuple[Segment, ...], ...]
    throughput: tuple[tuple[float, int], ...]


class Clock:
    """Driven time: seconds since the run began, of which only those count in which a process drove it."""

    def __init__(self, sessions: Sequence[tuple[float, float]]) -> None:
        self._starts = [start for start, _ in sessions]
        self._ends = [end for _, end in sessions]
        self._before = [0.0]
        for start, end in sessions:
            self._before.append(self._before[-1] + end - start)

    @property
    def total(self) -> float:
        return self._before[-1]

    def at(self, moment: float) -> float:
        """The driven seconds until a moment of the epoch."""
        number = bisect.bisect_right(self._starts, moment) - 1
        if number < 0:
            return 0.0
        return self._before[number] + min(moment, self._ends[number]) - self._starts[number]

    def real(self, driven_s: float) -> float:
        """The moment of the epoch at which so many driven seconds had passed; the first one. Raises IndexError when no
        process has driven the run."""
        number = min(max(0, bisect.bisect_left(self._before, driven_s) - 1), len(self._starts) - 1)
        return self._starts[number] + driven_s - self._before[number]


def spread(numbers: Iterable[float]) -> Spread | None:
    """None for no numbers. Percentiles are numbers that are there (nearest rank)."""
    found = sorted(numbers)
    if not found:
        return None

    def rank(part: float) -> float:
        return found[max(0, math.ceil(part * len(found)) - 1)]

    return Spread(len(found), math.fsum(found), rank(0.5), rank(0.9), rank(0.99), found[-1])


def measure(facts: Facts) -> Metrics:
    """The metrics of a run."""
    clock = Clock(facts.sessions)
    segments = [_segment(attempt, clock) for attempt in facts.attempts]
    lanes = in_lanes(segments)
    map_s = _covered((segment.start, segment.end) for segment in segments)
    time = _time(facts, clock, len(lanes) * map_s, math.fsum(segment.end - segment.start for segment in segments))
    busy = time.agents + time.shell + time.checks + time.around
    items = _items(facts, clock)
    succeeded = facts.items.get("succeeded", 0)
    numbers = Counter(attempt.key[:2] for attempt in facts.attempts)
    first = facts.sessions[0][0] if facts.sessions else 0.0
    return Metrics(
        elapsed_s=facts.sessions[-1][1] - first if facts.sessions else 0.0,
        driven_s=clock.total,
        sessions=len(facts.sessions),
        items=facts.items,
        attempts=len(facts.attempts),
        tries=facts.tries,
        again=sum(number > 1 for number in numbers.values()),
        map_s=map_s,
        slots=len(lanes),
        items_an_hour=succeeded / map_s * 3600 if succeeded and map_s else None,
        efficiency=busy / (busy + time.idle) if busy + time.idle > 0 else None,
        time=time,
        waste=_waste(facts),
        gate_closed_s=_covered(
            (clock.at(gate.closed), clock.total if gate.opened is None else clock.at(gate.opened))
            for gate in facts.gates
        ),
        merges=_merges(facts, clock),
        steps=_stats(facts.executions, lambda one: (one.name, one.doer, one.role)),
        doers=_stats(facts.executions, lambda one: ("", one.doer, "")),
        failures=dict(Counter(one.kind for one in facts.attempts if one.state == "failed" and one.kind).most_common()),
        slowest=tuple(sorted(items, key=lambda item: -item.work_s)[:MOST_LISTED]),
        dearest=tuple(
            sorted((item for item in items if item.cost_usd), key=lambda item: -(item.cost_usd or 0))[:MOST_LISTED]
        ),
        item_work=tuple(item.work_s for item in items),
        item_cost=tuple(item.cost_usd for item in items if item.cost_usd is not None),
        lanes=lanes,
        throughput=_throughput(facts, clock),
    )


def in_lanes(segments: Iterable[Segment]) -> tuple[tuple[Segment, ...], ...]:
    """As few lanes as possible, in none of which two segments overlap; each segment is in one of them."""
    lanes: list[list[Segment]] = []
    free: list[tuple[float, int]] = []  # when a lane is free again, its number
    for segment in sorted(segments, key=lambda one: (one.start, one.end)):
        if free and free[0][0] <= segment.start:
            _, number = heapq.heappop(free)
        else:
            number = len(lanes)
            lanes.append([])
        lanes[number].append(segment)
        heapq.heappush(free, (segment.end, number))
    return tuple(map(tuple, lanes))


def all_items(facts: Facts) -> list[ItemStats]:
    """Every item that was worked on, in the order in which they began."""
    return _items(facts, Clock(facts.sessions))


def _segment(attempt: AttemptFacts, clock: Clock) -> Segment:
    """An attempt keeps its slot until its work is done; what waits to be merged has none."""
    ends = [moment for moment in (attempt.queued, attempt.ended) if moment is not None]
    end = clock.at(min(ends)) if ends else clock.total
    start = clock.at(attempt.started)
    return Segment(start, max(start, end), attempt.label, attempt.key[2], attempt.state)


def _covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The time that the intervals cover together."""
    total, until = 0.0, -math.inf
    for start, end in sorted(intervals):
        if end > until:
            total += end - max(start, until)
            until = end
    return total


def _time(facts: Facts, clock: Clock, slots_s: float, occupied_s: float) -> TimeSplit:
    parts: dict[str, float] = defaultdict(float)
    for one in facts.executions:
        if one.attempt is None:
            continue
        took = max(0.0, (clock.total if one.ended is None else clock.at(one.ended)) - clock.at(one.started))
        part = "checks" if one.role == "check" else "shell" if one.doer == "shell" else "agents"
        parts[part] += took
    steps_s = math.fsum(parts.values())
    return TimeSplit(
        agents=parts["agents"],
        shell=parts["shell"],
        checks=parts["checks"],
        around=max(0.0, occupied_s - steps_s),
        idle=max(0.0, slots_s - max(occupied_s, steps_s)),
    )


def _waste(facts: Facts) -> Waste:
    failed = {attempt.key for attempt in facts.attempts if attempt.state == "failed"}
    in_vain = [one for one in facts.executions if one.state == "finished" and (one.kind or one.attempt in failed)]
    again = [one for one in facts.executions if one.state in ("lost", "retired")]

    def times(chosen: list[ExecutionFacts]) -> float:
        return math.fsum(_took(one) or 0.0 for one in chosen)

    def dollars(chosen: list[ExecutionFacts]) -> float:
        return math.fsum(one.cost_usd or 0.0 for one in chosen)

    return Waste(times(in_vain), dollars(in_vain), times(again), dollars(again))


def _took(one: ExecutionFacts) -> float | None:
    """How long an execution ran; None while it does."""
    if one.duration_s is not None:
        return one.duration_s
    return None if one.ended is None else max(0.0, one.ended - one.started)


def _merges(facts: Facts, clock: Clock) -> MergeStats:
    waits = [
        clock.at(attempt.ended) - clock.at(attempt.queued)
        for attempt in facts.attempts
        if attempt.queued is not None and attempt.ended is not None
    ]
    merged = sum(attempt.queued is not None and attempt.state == "succeeded" for attempt in facts.attempts)
    took = [clock.at(check.ended) - clock.at(check.started) for check in facts.checks if check.ended is not None]
    return MergeStats(
        queued=sum(attempt.queued is not None for attempt in facts.attempts),
        wait=spread(waits),
        checks=len(facts.checks),
        failed_checks=sum(check.passed is False for check in facts.checks),
        check_s=math.fsum(took),
        largest_batch=max((check.members for check in facts.checks), default=0),
        checks_an_item=len(facts.checks) / merged if merged and facts.checks else None,
    )


def _stats(
    executions: Iterable[ExecutionFacts], group: Callable[[ExecutionFacts], tuple[str, str, str]]
) -> tuple[StepStats, ...]:
    """One row for each group, the one that took longest first."""
    groups: dict[tuple[str, str, str], list[ExecutionFacts]] = defaultdict(list)
    for one in executions:
        groups[group(one)].append(one)
    found = [
        StepStats(
            name=name,
            doer=doer,
            role=role,
            executions=len(members),
            failed=sum(one.kind is not None for one in members),
            lost=sum(one.state == "lost" for one in members),
            duration=spread(took for one in members if (took := _took(one)) is not None),
            cost=spread(one.cost_usd for one in members if one.cost_usd is not None),
            tokens=sum(one.tokens or 0 for one in members),
        )
        for (name, doer, role), members in groups.items()
    ]
    return tuple(sorted(found, key=lambda one: (-(one.duration.total if one.duration else 0.0), one.name, one.doer)))


def _items(facts: Facts, clock: Clock) -> list[ItemStats]:
    """Every item that was worked on."""
    costs: dict[Key, float] = defaultdict(float)
    known: set[tuple[str, int]] = set()
    for one in facts.executions:
        if one.attempt is not None and one.cost_usd is not None:
            costs[one.attempt] += one.cost_usd
            known.add(one.attempt[:2])
    of_item: dict[tuple[str, int], list[AttemptFacts]] = defaultdict(list)
    for attempt in facts.attempts:
        of_item[attempt.key[:2]].append(attempt)
    found = []
    for item, attempts in of_item.items():
        segments = [_segment(attempt, clock) for attempt in attempts]
        found.append(
            ItemStats(
                label=attempts[-1].label,
                item_id=attempts[-1].item_id,
                state=attempts[-1].state,
                attempts=len(attempts),
                work_s=math.fsum(segment.end - segment.start for segment in segments),
                cost_usd=math.fsum(costs[attempt.key] for attempt in attempts) if item in known else None,
            )
        )
    return found


def _throughput(facts: Facts, clock: Clock) -> tuple[tuple[float, int], ...]:
    ends = sorted(
        clock.at(attempt.ended) for attempt in facts.attempts if attempt.state == "succeeded" and attempt.ended
    )
    return tuple((moment, number) for number, moment in enumerate(ends, 1))
