"""Who may start: which agent does a step, when its account lets it, and when its budgets do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import NoReturn

from prodigy.agents import agent
from prodigy.agents.base import Agent, AgentEvent, RateLimited, Text, ToolCall, Usage, Verdict
from prodigy.engine.agent_budgets import AgentBudgets, Reservation
from prodigy.engine.agent_gates import DOWN, AgentGates, account_of
from prodigy.engine.agent_versions import AgentVersions
from prodigy.engine.control import Control
from prodigy.engine.following import Meter
from prodigy.state.budget import Purse, Spent, Wait
from prodigy.state.rate_limit import clock
from prodigy.state.step_path import is_in_an_item
from prodigy.store.rows import StepRow
from prodigy.workflow.agent_settings import Agents
from prodigy.workflow.model import Agent as AgentAction
from prodigy.workflow.model import Step

# What the summary calls the reasons that pause a run.
BUDGET, RATE_LIMIT = "budget", "rate_limit"
_LOOK_AGAIN_S = 0.2
# The first agent goes ahead for so long, or until its first answer, so that the others find its prompt in the cache.
LEAD_S = 5.0


@dataclass
class Admission:
    """An agent that may start, or runs. name, kind, adapter: which it is. meter: what it has shown to have used so far.
    version: of its program. session: one of its own to go on with. probe: whether it is to find out if its account
    answers again. answered: whether it has had an answer."""

    name: str
    kind: str
    adapter: Agent
    account: str
    reservation: Reservation
    fingerprint: str
    meter: Meter
    model: str | None = None
    version: tuple[int, ...] = ()
    session: str | None = None
    probe: bool = False
    answered: bool = False


@dataclass(frozen=True)
class Refusal:
    """The step can't run any more: its own budget, or its item's, is spent."""

    message: str


@dataclass
class _Leader:
    """The first agent of its name in this process. answered: set when the others may follow."""

    since: float
    answered: bool = False


@dataclass
class Admissions:
    """The one place where agents are let in. agents: those of the newest workflow. missing: of those, the ones whose
    programs are not there; they are chosen when there is no other. default: the agent that the user wants for
    steps that name none."""

    control: Control
    gates: AgentGates
    budgets: AgentBudgets
    agents: Agents
    missing: frozenset[str] = frozenset()
    default: str | None = None
    _leaders: dict[str, _Leader] = field(default_factory=dict)
    _versions: AgentVersions = field(default_factory=AgentVersions)

    def candidates(self, agents: Agents, action: AgentAction) -> tuple[str, ...]:
        """The agents that may do it, in order."""
        names = agents.candidates(action.wanted or self.default)
        return tuple(name for name in names if name not in self.missing) or names

    def rest_s(self, actions: list[AgentAction]) -> float:
        """How long nothing that begins with these may start: seconds, 0 for something may, infinity for until others
        have found out."""
        waits = [self.gates.rest_s(self._accounts(self.agents, action)) for action in actions]
        return max(waits, default=0.0)

    def _accounts(self, agents: Agents, action: AgentAction) -> list[str]:
        return [account_of(agents, name) for name in self.candidates(agents, action)]

    async def admit(self, step: Step, path: str, agents: Agents, fingerprint: str) -> Admission | Refusal:
        """Wait until the step's agent may start. agents: those of the step's own version of the workflow.

        Raises Stopped or Interrupted when nothing may start any more.
        """
        assert isinstance(step.action, AgentAction)
        versions = {
            name: await self._versions.of(agent(agents.kind(name)), agents.settings(name))
            for name in self.candidates(agents, step.action)
        }
        while True:
            await self.control.may_start()
            accounts = self._accounts(agents, step.action)
            if (until := self.gates.longest_wait_is_over(accounts)) is not None:
                when = clock(until, time.time())
                self._pause(RATE_LIMIT, f"the account {accounts[0]} is at its limit until {when}", kill=False)
            rest_s = self.gates.rest_s(accounts)
            if rest_s > 0:
                await self.control.stops_within(min(rest_s, _LOOK_AGAIN_S))
                continue
            names = self.candidates(agents, step.action)
            name, account = next(
                pair for pair in zip(names, accounts, strict=True) if self.gates.rest_s([pair[1]]) <= 0
            )
            kind = agents.kind(name)
            if not self._may_follow(name, agent(kind), path):
                await self.control.stops_within(_LOOK_AGAIN_S)
                continue
            found = self.budgets.reserve(step, path, fingerprint)
            if isinstance(found, Spent):
                if found.purse.own:
                    return Refusal(_spent(found.purse))
                self.out_of_budget(_spent(found.purse))
            if isinstance(found, Wait):
                if found.purse.spent >= found.purse.cap and self._kills:
                    self.out_of_budget(_spent(found.purse))
                await self._wait_for_an_end()
                continue
            admission = self._admission(name, kind, account, found, fingerprint)
            admission.probe = self.gates.started(account)
            admission.version = versions[name]
            return admission

    def readmit(self, row: StepRow, agents: Agents, path: str) -> Admission | None:
        """The agent of an execution that an earlier process started; None where none runs."""
        if row.agent is None or row.kind_of_agent is None:
            return None
        reservation = self.budgets.of_running(path, row.reserved_usd, row.reserved_tokens)
        account = account_of(agents, row.agent)
        return self._admission(row.agent, row.kind_of_agent, account, reservation, row.fingerprint)

    def _admission(self, name: str, kind: str, account: str, reservation: Reservation, fingerprint: str) -> Admission:
        adapter = agent(kind)
        limit_usd = None if adapter.abilities.cost_cap else reservation.limit_usd
        model = self.agents.settings(name).model
        meter = Meter(limit_usd, reservation.limit_tokens, model)
        return Admission(name, kind, adapter, account, reservation, fingerprint, meter, model)

    def _may_follow(self, name: str, adapter: Agent, path: str) -> bool:
        """Whether the step need not wait for the first agent of its name, whose prompt it shares."""
        if not adapter.abilities.prompt_cache or not is_in_an_item(path):
            return True
        now = asyncio.get_running_loop().time()
        leader = self._leaders.get(name)
        if leader is None:
            self._leaders[name] = _Leader(now)
            return True
        return leader.answered or now - leader.since >= LEAD_S

    async def _wait_for_an_end(self) -> None:
        """Until an agent of this run ends, or for a while: another run may set something free too."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAD_S):
                await self.budgets.something_ends()

    # What is heard of those that run ------------------------------------------------------------------------

    def hear(self, admission: Admission, event: AgentEvent, said_at: float) -> None:
        match event:
            case RateLimited(resets_at=resets_at) if resets_at is not None and resets_at <= said_at:
                return  # an old word: the agent has gone on since
            case RateLimited(resets_at=resets_at, message=message):
                self.gates.refused(admission.account, admission.name, resets_at, said_at, message)
            case Usage():
                admission.meter.count(event)
                self._has_answered(admission)
            case Text() | ToolCall():
                self._has_answered(admission)

    def _has_answered(self, admission: Admission) -> None:
        admission.answered = True
        if leader := self._leaders.get(admission.name):
            leader.answered = True
        self.gates.answered(admission.account)

    def refused(self, admission: Admission, told: Verdict, said_at: float) -> None:
        """An agent ended because its account is at its limit."""
        self.gates.refused(admission.account, admission.name, told.resets_at, said_at, told.message)

    def is_down(self, admission: Admission, told: Verdict, agents: Agents, action: AgentAction, said_at: float) -> bool:
        """Whether an agent that failed is not to blame, since its service is down, and another one can do it now."""
        if not told.transient or told.kind == "rate_limited":
            return False
        others = [a for a in self._accounts(agents, action) if a != admission.account and self.gates.rest_s([a]) <= 0]
        if not others:
            return False
        self.gates.refused(admission.account, admission.name, None, said_at, told.message, DOWN)
        return True

    def ended(self, admission: Admission, usd: float | None, tokens: int | None, *, finished: bool) -> None:
        """The agent runs no more, and this is what it has used."""
        self.budgets.settle(admission.reservation, admission.fingerprint, usd, tokens, finished=finished)
        if finished and not admission.answered:
            self._has_answered(admission)  # it told nothing while it worked
        elif admission.probe:
            self.gates.came_to_nothing(admission.account)

    # Pausing ------------------------------------------------------------------------------------------------

    def out_of_budget(self, message: str) -> NoReturn:
        """Pause the run. Raises Stopped, or Interrupted where running agents are ended."""
        self._pause(BUDGET, f"{message}; raise it with `--budget N` when you resume", kill=self._kills)

    @property
    def _kills(self) -> bool:
        """Whether the workflow wants running agents to be ended when its budget is spent."""
        budget = self.budgets.run_budget
        return budget is not None and budget.kill is True

    def _pause(self, reason: str, message: str, *, kill: bool) -> NoReturn:
        self.control.pause(reason, message)
        if kill:
            self.control.end()
        self.control.check()
        raise AssertionError("a run that is paused goes on")


def _spent(purse: Purse) -> str:
    unit = "tokens" if purse.what.endswith("tokens") else "USD"
    amount = f"{purse.spent:,.0f}" if unit == "tokens" else f"{purse.spent:.4f}"
    return f"{purse.what} is spent: {amount} {unit} so far, and what comes next does not fit"
