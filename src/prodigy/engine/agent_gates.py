"""The gate of every account of a run: which agents are kept from starting, and until when. On record, so that a later
process keeps to it too."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prodigy.secrets import mask
from prodigy.state import events as ev
from prodigy.state import rate_limit
from prodigy.state.rate_limit import Account
from prodigy.store.store import Store
from prodigy.workflow.agent_settings import Agents

LIMITED, DOWN = "rate_limit", "down"
_MAX_MESSAGE = 300
_SAME_S = 1.0  # times that differ by less are the same one


def account_of(agents: Agents, name: str) -> str:
    """Agents of one kind have one account, unless the workflow gives one an environment of its own."""
    settings = agents.settings(name)
    return name if settings.env else agents.kind(name)


class AgentGates:
    """Closes with the first refusal, opens with a probe's first answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._accounts = {row.account: Account(until=row.until, told=row.told, hits=row.hits) for row in store.gates()}

    def _of(self, account: str) -> Account:
        return self._accounts.get(account, rate_limit.OPEN)

    def rest_s(self, accounts: Sequence[str]) -> float:
        """How long none of these accounts lets anything start; see `rate_limit.rest_s`."""
        return min((rate_limit.rest_s(self._of(account), time.time()) for account in accounts), default=0.0)

    def longest_wait_is_over(self, accounts: Sequence[str]) -> float | None:
        """The time (UNIX) until which all are closed, when no run waits for so long; else None."""
        rest_s = self.rest_s(accounts)
        return time.time() + rest_s if rate_limit.LONGEST_WAIT_S < rest_s < float("inf") else None

    def started(self, account: str) -> bool:
        """An agent starts; whether it is a probe."""
        after = self._accounts[account] = rate_limit.started(self._of(account))
        return after.probing

    def refused(
        self, account: str, agent: str, resets_at: float | None, said_at: float, message: str, cause: str = LIMITED
    ) -> None:
        """An agent was refused at `said_at`; what it told is recorded when it changes anything."""
        before = self._of(account)
        after = self._accounts[account] = rate_limit.refused(before, resets_at, time.time(), said_at)
        if after.until is None or (before.until is not None and abs(after.until - before.until) < _SAME_S):
            return
        self._store.record(
            ev.AgentGateClosed(
                account=account, agent=agent, cause=cause, until=after.until, told=after.told, hits=after.hits,
                message=mask(message)[:_MAX_MESSAGE],
            )
        )  # fmt: skip

    def came_to_nothing(self, account: str) -> None:
        """A probe ended without an answer and without a refusal."""
        self._accounts[account] = rate_limit.came_to_nothing(self._of(account))

    def answered(self, account: str) -> None:
        """An agent of the account got an answer."""
        before = self._of(account)
        after = self._accounts[account] = rate_limit.answered(before, time.time())
        if before.until is not None and after.until is None:
            self._store.record(ev.AgentGateOpened(account=account))
