"""When nothing more of a fan-out may start because too much of it failed: limits on failures, the circuit breaker.

Pure. What counts is a fold over the run's events, so that a later process that goes on with the run counts the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from prodigy.state import events as ev
from prodigy.state.items import NOT_A_TRY
from prodigy.workflow.failures import Breaker, ErrorPolicy

# What the summary calls the rules that stop a run because of failures.
MAX_FAILURES, FAILURE_THRESHOLD, BREAKER = "max_failures", "failure_threshold", "breaker"
REASONS = frozenset({MAX_FAILURES, FAILURE_THRESHOLD, BREAKER})
# After so many pauses one after another behind which everything failed again, the breaker stops the run.
MAX_PAUSES = 3

# The events that are counted; see `count`.
COUNTED = (
    ev.AgentStarted, ev.AgentCompleted, ev.AgentFailed, ev.AgentInterrupted, ev.AgentSkipped, ev.DlqItemAdded,
    ev.DlqItemsReprocessed, ev.JobPaused, ev.JobCompleted, ev.JobFailed,
)  # fmt: skip


@dataclass
class Counted:
    """What has become of a fan-out's items since counting began.

    failed, ended: ordinals of items that failed for good, and of all that have ended. last: the last of the failures,
    for people. in_a_row: failed attempts since the last that succeeded. opened_at: since when the breaker is open,
    seconds; None: it is closed. pauses: how often it has opened since it was closed. testing: whether something has
    been started since. probes: (ordinal, attempt) of what runs because of that. held: how many of those succeeded.
    """

    failed: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    last: str = ""
    in_a_row: int = 0
    opened_at: float | None = None
    pauses: int = 0
    testing: bool = False
    probes: set[tuple[int, int]] = field(default_factory=set)
    held: int = 0


@dataclass(frozen=True)
class Stop:
    """Nothing more may start. reason: one of REASONS. error: why, for people."""

    reason: str
    error: str


def count(counted: Counted, event: ev.Event, at: float, breaker: Breaker | None) -> Counted:
    """Take in one event of the fan-out, or of the run, that happened at `at` (seconds of any clock that goes on when
    no process runs). Changes and returns `counted`, or returns a new one where counting begins anew: when a rule has
    stopped the run, and when the run has ended."""
    match event:
        case ev.JobCompleted() | ev.JobFailed():
            return Counted()
        case ev.JobPaused(stop_reason=reason) if reason in REASONS:
            return Counted()
        case ev.DlqItemsReprocessed(ordinals=ordinals):
            counted.failed.difference_update(ordinals)
            counted.ended.difference_update(ordinals)
        case ev.AgentStarted(ordinal=ordinal, attempt=attempt):
            if counted.opened_at is not None:
                counted.testing = True
                counted.probes.add((ordinal, attempt))
        case ev.AgentCompleted(ordinal=ordinal, attempt=attempt):
            counted.ended.add(ordinal)
            counted.failed.discard(ordinal)
            counted.in_a_row = 0
            _succeeded(counted, (ordinal, attempt), breaker)
        case ev.AgentFailed(ordinal=ordinal, attempt=attempt, kind=kind):
            counted.last = f"{event.label}: {event.error}"
            if kind in NOT_A_TRY:
                counted.probes.discard((ordinal, attempt))
            else:
                counted.in_a_row += 1
                _failed(counted, (ordinal, attempt), at, breaker)
        case ev.AgentInterrupted(ordinal=ordinal, attempt=attempt):
            counted.probes.discard((ordinal, attempt))
        case ev.AgentSkipped(ordinal=ordinal) | ev.DlqItemAdded(ordinal=ordinal):
            counted.ended.add(ordinal)
            counted.failed.add(ordinal)
    return counted


def _failed(counted: Counted, attempt: tuple[int, int], at: float, breaker: Breaker | None) -> None:
    if breaker is None:
        return
    opens = counted.opened_at is None and counted.in_a_row >= breaker.failures
    if opens or attempt in counted.probes:
        counted.opened_at = at
        counted.pauses += 1
        counted.testing, counted.held = False, 0
        counted.probes.clear()


def _succeeded(counted: Counted, attempt: tuple[int, int], breaker: Breaker | None) -> None:
    if breaker is None or attempt not in counted.probes:
        return
    counted.probes.discard(attempt)
    counted.held += 1
    if counted.held >= breaker.successes:
        counted.opened_at, counted.pauses = None, 0
        counted.testing, counted.held = False, 0
        counted.probes.clear()


def pause_s(counted: Counted, breaker: Breaker | None, now: float) -> float:
    """How long nothing may start: seconds, 0 for something may, infinity for until an attempt has ended."""
    if breaker is None or counted.opened_at is None:
        return 0.0
    if counted.testing:
        return 0.0 if len(counted.probes) < breaker.probes else math.inf
    # A clock that was set back must not make it wait for longer than it says.
    return max(0.0, min(breaker.timeout_s, counted.opened_at + breaker.timeout_s - now))


def stop(counted: Counted, policy: ErrorPolicy, total: int) -> Stop | None:
    """Whether the failures are too many. total: how many items there are, those that have ended included."""
    failed, ended = len(counted.failed), len(counted.ended)
    last = f"; the last: {counted.last}" if counted.last else ""
    if policy.max_failures is not None and failed >= policy.max_failures:
        return Stop(MAX_FAILURES, f"{_items(failed)} failed, and max_failures is {policy.max_failures}{last}")
    threshold = policy.failure_threshold
    if threshold is not None and _passes(failed, ended, threshold, total):
        what = f"{failed} of {ended} items that ended have failed, more than failure_threshold ({threshold:g}) allows"
        return Stop(FAILURE_THRESHOLD, f"{what}{last}")
    if policy.breaker is not None and counted.pauses > MAX_PAUSES:
        what = f"nothing succeeds: what was tried after each of {MAX_PAUSES} pauses of {policy.breaker.timeout_s:g} s"
        return Stop(BREAKER, f"{what} failed again (circuit_breaker){last}")
    return None


def _passes(failed: int, ended: int, threshold: float, total: int) -> bool:
    """Whether the part of failed items is above the threshold: already by all items there are, or by those that have
    ended, once they are so many that a single failure would not be."""
    if failed > threshold * total:
        return True
    enough = total if threshold * total < 1 else math.ceil(1 / threshold)
    return ended >= min(enough, total) and failed > threshold * ended


def _items(number: int) -> str:
    return "1 item has" if number == 1 else f"{number} items have"
