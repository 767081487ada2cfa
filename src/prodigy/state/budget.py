"""What agents may start within their budgets: what is spent, what is set aside for those that run, what is left.

Pure. A reservation is what an agent is expected to use at most. Nothing starts unless what is spent, what is reserved
and its own reservation fit under every cap, so that a cap is passed by no more than what agents exceed their
reservations by.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Of sums of dollars: what is left over when all that was added has been taken away again.
_ROUNDING = 1e-9


@dataclass
class Purse:
    """A cap on one kind of thing (dollars or tokens) at one place. what: for people, e.g. "the run's budget of 20
    USD". spent, reserved: so far. own: whether it is the step's or the item's, which ends these alone."""

    what: str
    cap: float
    spent: float = 0.0
    reserved: float = 0.0
    own: bool = False

    @property
    def left(self) -> float:
        """What is neither spent nor reserved; never below 0."""
        return max(0.0, self.cap - self.spent - self.reserved)


@dataclass(frozen=True)
class Go:
    """The agent may start. reserve: what to set aside for it; None where no purse has a say. limit: what it may use
    itself. own: whether a purse of the step or item set that limit."""

    reserve: float | None
    limit: float | None
    own: bool = False


@dataclass(frozen=True)
class Wait:
    """Not now: it may fit when agents that run have ended and used less than was set aside."""

    purse: Purse


@dataclass(frozen=True)
class Spent:
    """It does not fit, and nothing that runs can change that."""

    purse: Purse


def decide(purses: Iterable[Purse], dearest: float | None, slots: int) -> Go | Wait | Spent:
    """Whether an agent may start. dearest: the most that one of the same step has used. slots: how many may run at
    once.

    The reservation is the least of what the purses of the step and item have left, else the dearest, else an even
    share of what is not spent of the smallest cap.
    """
    purses = list(purses)
    if not purses:
        return Go(None, None)
    own = [purse for purse in purses if purse.own]
    for purse in own:
        if purse.spent >= purse.cap:
            return Spent(purse)
    if own:
        reserve = min(purse.left for purse in own)
    elif dearest is not None:
        reserve = dearest
    else:
        reserve = min(max(0.0, purse.cap - purse.spent) for purse in purses) / max(1, slots)
    for purse in purses:
        if purse.own:
            continue
        if purse.spent >= purse.cap or purse.spent + purse.reserved + reserve > purse.cap * (1 + _ROUNDING):
            return Wait(purse) if purse.reserved > purse.cap * _ROUNDING else Spent(purse)
    tightest = min(purses, key=lambda purse: purse.left)
    return Go(reserve, tightest.left, tightest.own)
