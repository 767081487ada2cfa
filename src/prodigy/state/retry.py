"""What follows a failure of a step, and of an item. Pure: the clock, the dice and the failures come from the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prodigy.state.dead_letter import NOT_ELIGIBLE, Failure
from prodigy.state.items import NOT_A_TRY
from prodigy.workflow.failures import Backoff, ErrorPolicy, Retry

PATTERN = "re:"
# Conditions that `retry_on` knows by name, and the texts that show them (case does not matter).
CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "network": ("network", "connection", "refused", "unreachable"),
    "timeout": ("timeout", "timed out"),
    "server_error": ("500", "502", "503", "504", "server error"),
    "rate_limit": ("rate limit", "429", "too many requests"),
}
# Never tried again by a step's own policy: waiting does not change them, or it is not the step's to wait.
NEVER = frozenset({"interrupted", "budget_exceeded", "rate_limited", "tampered"})


@dataclass(frozen=True)
class Again:
    """Run it once more after `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True)
class GiveUp:
    """The failure stands. reason: why, for people."""

    reason: str


@dataclass(frozen=True)
class Skip:
    """Leave the item out, as the workflow wants it."""


@dataclass(frozen=True)
class Park:
    """Put the item into the dead letter queue. stops: whether nothing more may start after it."""

    stops: bool = False


def decide_item(
    failure: Failure, tries: int, slept_s: float, policy: ErrorPolicy, chance: float
) -> Again | Skip | Park:
    """What follows an item's failure after `tries` tries in its life, this one included if it counts.

    A failure that is not the item's fault is never skipped; one that can't change by itself is not tried again.
    """
    if policy.on_item_failure == "skip" and failure.kind not in NOT_A_TRY:
        return Skip()
    if policy.on_item_failure == "retry" and failure.kind not in NOT_ELIGIBLE:
        decision = decide(failure, tries, slept_s, policy.retry, chance)
        if isinstance(decision, Again):
            return decision
    return Park(policy.stops)


def decide(failure: Failure, tries: int, slept_s: float, policy: Retry, chance: float = 0.5) -> Again | GiveUp:
    """What follows the failure of the try number `tries` (from 1).

    slept_s: all pauses so far. chance: a number from 0 up to 1 that stands for the dice of jitter.
    """
    if tries >= policy.attempts:
        return GiveUp(f"it failed {tries} times")
    if failure.kind in NEVER or not applies(failure, policy.retry_on):
        return GiveUp("its failure is not one that retry_on names")
    delay_s = jittered(delay(policy, tries), policy.jitter, chance)
    if policy.budget_s is not None and slept_s + delay_s > policy.budget_s:
        return GiveUp(f"the next pause would pass the retry budget of {policy.budget_s:g} s")
    return Again(delay_s)


def delay(policy: Retry, tries: int) -> float:
    """Seconds between the try number `tries` and the next, before jitter and at most `max_delay_s`."""
    try:
        seconds = _FORMULAS[policy.backoff](policy, tries)
    except OverflowError:
        seconds = policy.max_delay_s
    return min(policy.max_delay_s, seconds)


def jittered(delay_s: float, width: float, chance: float) -> float:
    """The delay moved by a random part of `width` times itself, half of it to either side; never below 0."""
    return max(0.0, delay_s + (chance - 0.5) * width * delay_s)


def applies(failure: Failure, retry_on: tuple[str, ...]) -> bool:
    """Whether the failure is one of those named: an error kind, a condition by its texts, or a pattern."""
    if not retry_on:
        return True
    text = f"{failure.message}\n{failure.last_output}"
    return any(_matches(failure.kind, text, name) for name in retry_on)


def _matches(kind: str | None, text: str, name: str) -> bool:
    if name.startswith(PATTERN):
        import re2

        return re2.search(name.removeprefix(PATTERN), text) is not None
    if name in CONDITIONS and any(sign in text.lower() for sign in CONDITIONS[name]):
        return True
    return kind == name


def _fibonacci(n: int) -> int:
    first, second = 1, 1
    for _ in range(n - 1):
        first, second = second, first + second
    return first


def _linear(policy: Retry, tries: int) -> float:
    increment = policy.initial_delay_s if policy.increment_s is None else policy.increment_s
    return policy.initial_delay_s + increment * (tries - 1)


def _custom(policy: Retry, tries: int) -> float:
    return policy.delays_s[tries - 1] if tries <= len(policy.delays_s) else policy.max_delay_s


_FORMULAS: Mapping[Backoff, Callable[[Retry, int], float]] = {
    "fixed": lambda policy, _: policy.initial_delay_s,
    "linear": _linear,
    "exponential": lambda policy, tries: policy.initial_delay_s * policy.base ** (tries - 1),
    "fibonacci": lambda policy, tries: policy.initial_delay_s * _fibonacci(tries),
    "custom": _custom,
}
