"""The budgets of a run as its steps meet them: what each place has spent and set aside, kept up to date."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from prodigy.engine.places import fan_out_at
from prodigy.state import budget
from prodigy.state.budget import Go, Purse, Spent, Wait
from prodigy.store.spending import DayBook, dearest, spent_below
from prodigy.store.store import Store
from prodigy.workflow.agent_settings import Budget
from prodigy.workflow.model import Step, Workflow


@dataclass
class Sums:
    """Of one place: dollars and tokens spent, and those set aside for agents that run."""

    usd: float = 0.0
    tokens: int = 0
    reserved_usd: float = 0.0
    reserved_tokens: int = 0


@dataclass(frozen=True)
class Reservation:
    """What is set aside for one execution. limit_usd, limit_tokens: what its agent may use. own: whether that limit is
    its step's or item's own. places: where it counts."""

    usd: float | None = None
    tokens: int | None = None
    limit_usd: float | None = None
    limit_tokens: int | None = None
    own: bool = False
    places: tuple[str, ...] = ()

    @property
    def is_the_runs(self) -> bool:
        """Whether its agent is limited by what is left for the whole run, or more of it."""
        return not self.own and (self.limit_usd is not None or self.limit_tokens is not None)


@dataclass
class AgentBudgets:
    """budget_usd: the run's total as the user gave it now, in place of the workflow's. day_usd: what all runs of this
    home may cost in a day. max_parallel: the user's own."""

    store: Store
    workflow: Workflow
    budget_usd: float | None = None
    day_usd: float | None = None
    max_parallel: int | None = None
    _sums: dict[str, Sums] = field(default_factory=dict)
    _dearest: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._day = DayBook(self.store.directory.name)
        if self.day_usd is not None:
            self._day.forget_reserved()

    @property
    def run_budget(self) -> Budget | None:
        """The budget of the whole run."""
        own = self.workflow.budget
        if self.budget_usd is None:
            return own
        return (own or Budget()).model_copy(update={"usd": self.budget_usd})

    def reserve(self, step: Step, path: str, fingerprint: str) -> Reservation | Wait | Spent:
        """Set aside what the step's next execution may use, if it fits. path: the step's, without a try."""
        attempt = _attempt_in(path)
        fanout, item = attempt or (None, None)
        mapping = fan_out_at(self.workflow, fanout) if fanout else None
        usd, tokens = self._purses(step, path, fanout, item)
        slots = self.max_parallel or (mapping.max_parallel if mapping else 1)
        most_usd, most_tokens = self._most(fingerprint)
        for_usd = budget.decide(usd, most_usd, slots)
        for_tokens = budget.decide(tokens, most_tokens, slots)
        for decision in (for_usd, for_tokens):
            if isinstance(decision, Spent):
                return decision
        for decision in (for_usd, for_tokens):
            if isinstance(decision, Wait):
                return decision
        assert isinstance(for_usd, Go)
        assert isinstance(for_tokens, Go)
        reservation = Reservation(
            usd=for_usd.reserve,
            tokens=None if for_tokens.reserve is None else int(for_tokens.reserve),
            limit_usd=for_usd.limit,
            limit_tokens=None if for_tokens.limit is None else int(for_tokens.limit),
            own=for_usd.own or for_tokens.own,
            places=tuple(_places(path, fanout, item)),
        )
        self.hold(reservation)
        return reservation

    def of_running(self, path: str, usd: float | None, tokens: int | None) -> Reservation:
        """The reservation of an execution that an earlier process started; it is held from now on."""
        attempt = _attempt_in(path)
        fanout, item = attempt or (None, None)
        reservation = Reservation(usd=usd, tokens=tokens, places=tuple(_places(path, fanout, item)))
        self.hold(reservation)
        return reservation

    def hold(self, reservation: Reservation, sign: int = 1) -> None:
        for place in reservation.places:
            sums = self._of(place)
            sums.reserved_usd += sign * (reservation.usd or 0.0)
            sums.reserved_tokens += sign * (reservation.tokens or 0)
        if self.day_usd is not None:
            self._day.reserve(sign * (reservation.usd or 0.0))

    def settle(
        self, reservation: Reservation, fingerprint: str, usd: float | None, tokens: int | None, *, finished: bool
    ) -> None:
        """Take what the execution has used in place of what was set aside for it."""
        self.hold(reservation, -1)
        for place in reservation.places:
            sums = self._of(place)
            sums.usd += usd or 0.0
            sums.tokens += tokens or 0
        if usd:
            self._day.spend(usd)
        if finished:
            most_usd, most_tokens = self._most(fingerprint)
            self._dearest[fingerprint] = (_larger(most_usd, usd), _larger(most_tokens, tokens))
        self._ended.set()
        self._ended = asyncio.Event()

    async def something_ends(self) -> None:
        """Wait until an agent of this run has ended."""
        await self._ended.wait()

    def _purses(self, step: Step, path: str, fanout: str | None, item: str | None) -> tuple[list[Purse], list[Purse]]:
        """(of dollars, of tokens) that have a say about the step."""
        usd, tokens = list[Purse](), list[Purse]()

        def add(place: str, limit: Budget | None, what: str, *, own: bool = False) -> None:
            if limit is None:
                return
            if limit.usd is not None:
                sums = self._of(place)
                words = f"{what} of {limit.usd:g} USD"
                usd.append(Purse(words, limit.usd, sums.usd, sums.reserved_usd, own=own))
            if limit.tokens is not None:
                sums = self._of(place)
                words = f"{what} of {limit.tokens:,} tokens"
                tokens.append(Purse(words, limit.tokens, sums.tokens, sums.reserved_tokens, own=own))

        mapping = fan_out_at(self.workflow, fanout) if fanout else None
        run = self.run_budget
        add("", run, "the budget of the run")
        if fanout and mapping:
            add(f"{fanout}/i", mapping.budget, "the budget of the map")
        each = next((b.usd_per_item for b in (mapping.budget if mapping else None, run) if b and b.usd_per_item), None)
        if item and each is not None:
            add(f"{item}/", Budget(usd=each), "the budget of each item", own=True)
        add(path, step.policy.budget, "the step's budget", own=True)
        if self.day_usd is not None:
            spent, reserved = self._day.today()
            usd.append(Purse(f"the budget of {self.day_usd:g} USD a day", self.day_usd, spent, reserved))
        return usd, tokens

    def _of(self, place: str) -> Sums:
        if place not in self._sums:
            usd, tokens = spent_below(self.store, place)
            self._sums[place] = Sums(usd, tokens)
        return self._sums[place]

    def _most(self, fingerprint: str) -> tuple[float | None, float | None]:
        if fingerprint not in self._dearest:
            self._dearest[fingerprint] = dearest(self.store, fingerprint)
        return self._dearest[fingerprint]


def _attempt_in(path: str) -> tuple[str, str] | None:
    """(the fan-out's path, the item's path) that a step in an item belongs to."""
    head, found, rest = path.rpartition("/i")
    while found:
        ordinal, _, behind = rest.partition("/")
        if ordinal.isdecimal() and behind:
            return head, f"{head}/i{ordinal}"
        head, found, more = head.rpartition("/i")
        rest = f"{more}/i{rest}"
    return None


def _places(path: str, fanout: str | None, item: str | None) -> list[str]:
    return ["", *([f"{fanout}/i", f"{item}/"] if fanout and item else []), path]


def _larger(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)
