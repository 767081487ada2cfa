"""The gate of one fan-out while it runs: hears every event, says whether more may start, tells errors to people."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prodigy.engine.places import fan_out_at
from prodigy.engine.run import Run
from prodigy.state import events as ev
from prodigy.state.collected import Collected, collect, report
from prodigy.state.event_data import from_data
from prodigy.state.gate import COUNTED, Counted, count, pause_s, stop
from prodigy.workflow.failures import ErrorPolicy
from prodigy.workflow.model import Agent

_HEARD = (*COUNTED, ev.ErrorsCollected)


class FanoutGate:
    """Counts from what is on record, then event by event as they happen."""

    def __init__(self, run: Run, path: str, policy: ErrorPolicy, left: int) -> None:
        """left: how many items are still to be run."""
        self._run = run
        self._path = path
        self._policy = policy
        self._counted = Counted()
        self._collected = Collected()
        self._notices: list[ev.Event] = []
        action = fan_out_at(run.workflow, path)
        steps = action.template if action else ()
        self._agents = [step.action for step in steps if isinstance(step.action, Agent)]
        for record in run.store.events(types=[kind.type for kind in _HEARD]):
            data = record["event"]
            assert isinstance(data, dict)
            at = dt.datetime.fromisoformat(str(record["timestamp"])).timestamp()
            self._take_in(from_data(str(data["event_type"]), data), at)
        self._total = len(self._counted.ended) + left

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear what the run records, before anybody else does: what must stop the map stops it at once."""
        store, before = self._run.store, self._run.store.listener

        def hear(event: ev.Event) -> None:
            self._hear(event)
            before(event)

        store.listener = hear
        try:
            self._stop_if_need_be()
            yield
        finally:
            store.listener = before

    def pause_s(self) -> float:
        """How long nothing may start, in seconds; infinity: until an attempt has ended, or found out something."""
        own_s = pause_s(self._counted, self._policy.breaker, time.time())
        return max(own_s, self._run.steps.admissions.rest_s(self._agents))

    def tell(self, *, ended: bool = False) -> None:
        """Record what people should know: what the breaker did, and errors that are to be told by now.

        ended: nothing of the fan-out runs any more.
        """
        notices, self._notices = self._notices, []
        errors = self._collected.errors
        if self._policy.tells_now(len(errors), ended=ended):
            notices.append(ev.ErrorsCollected(fanout=self._path, message=report(errors)))
        if notices:
            self._run.store.record(*notices)

    def _hear(self, event: ev.Event) -> None:
        if not isinstance(event, _HEARD):
            return
        opened_at = self._counted.opened_at
        self._take_in(event, time.time())
        breaker = self._policy.breaker
        if breaker is not None and self._counted.opened_at != opened_at:
            if self._counted.opened_at is None:
                self._notices.append(ev.BreakerClosed(fanout=self._path))
            else:
                failures, rest_s = self._counted.in_a_row, breaker.timeout_s
                self._notices.append(ev.BreakerOpened(fanout=self._path, failures=failures, pause_s=rest_s))
        self._stop_if_need_be()

    def _take_in(self, event: ev.Event, at: float) -> None:
        if getattr(event, "fanout", self._path) != self._path:
            return
        self._counted = count(self._counted, event, at, self._policy.breaker)
        collect(self._collected, event)

    def _stop_if_need_be(self) -> None:
        if self._run.control.draining:
            return
        stopped = stop(self._counted, self._policy, self._total)
        if stopped is not None:
            self._run.control.pause(stopped.reason, stopped.error)
            self._notices.append(ev.Warned(message=f"nothing more starts: {stopped.error}"))
