"""The one step executor: setup, items, checks, handlers and reduce all run here.

A step's path is the key of everything it does. Running and resuming are the same walk: what is recorded is taken
from the store, in the same order, and what comes next is decided anew from it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from prodigy.engine.captures import captured
from prodigy.engine.control import Control
from prodigy.engine.execution import Execution, Executions
from prodigy.engine.site import Outcome, Site
from prodigy.engine.summary import Counters
from prodigy.executors.base import Snapshot
from prodigy.state import events as ev
from prodigy.state.dead_letter import Failure
from prodigy.state.retry import Again, decide
from prodigy.state.step_path import execution_path
from prodigy.store.database import now
from prodigy.store.store import Store
from prodigy.workflow.expression import compile_expression
from prodigy.workflow.model import Handler, Step, fingerprint


@dataclass
class _Progress:
    """How far the walk over one step has come. used: executions of its action so far."""

    boundary: Snapshot
    used: int = 0
    last: Execution | None = None


@dataclass
class StepRunner:
    """Runs steps in workspaces and records what they did. `shell` is the path of bash."""

    store: Store
    control: Control
    shell: str
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self._executions = Executions(self.store, self.control, self.shell, self.counters)

    async def run_list(self, steps: Sequence[Step], site: Site, start: Snapshot, first: int = 1) -> Outcome:
        """Run the steps one after another until one fails.

        Raises Stopped between steps when the run drains, Interrupted when a running step was ended.
        """
        boundary = start
        names: dict[str, object] = {}
        for number, step in enumerate(steps, first):
            here = replace(site, scope=site.scope.with_names(names))
            outcome = await self.run_step(step, f"{site.prefix}/{number}", here, boundary)
            boundary = outcome.boundary
            names.update(outcome.names or {})
            if outcome.failure is not None:
                return Outcome(boundary, outcome.failure, names)
        return Outcome(boundary, None, names)

    async def run_step(self, step: Step, path: str, site: Site, before: Snapshot) -> Outcome:
        """Run one step with its retries, checks and handlers."""
        if self._is_skipped(step, path, site):
            return Outcome(before, None, captured(step, None, None))
        progress = _Progress(before)
        failure = await self._tries(step, path, site, before, progress)
        failed = failure is not None
        handler = _handler_for(step, failure, progress)
        if handler is not None:
            failure = await self._handle(step, path, site, before, progress, handler, failure)
        if failure is None:
            failure = await self._settle(site, progress, recovered=failed)
        return Outcome(progress.boundary, failure, self._names(step, progress))

    # Conditions --------------------------------------------------------------------------------------------

    def _is_skipped(self, step: Step, path: str, site: Site) -> bool:
        if step.when is None:
            return False
        rows = self.store.executions(path)
        if rows:
            return rows[-1].skipped
        if compile_expression(step.when).holds(site.scope.find):
            return False
        self.control.check()
        execution = execution_path(path, self.store.next_try(path))
        self.store.record(ev.StepSkipped(path=execution, fingerprint=fingerprint(step), reason=step.when))
        return True

    # Tries and checks --------------------------------------------------------------------------------------

    async def _tries(self, step: Step, path: str, site: Site, since: Snapshot, progress: _Progress) -> Failure | None:
        """Run the action and its checks until they hold or the retry policy gives up."""
        tries, slept_s = 0, 0.0
        while True:
            failure = await self._try(step, path, site, since, progress)
            tries += 1
            if failure is None or step.policy.retry is None:
                return failure
            decision = decide(failure, tries, slept_s, step.policy.retry, _chance(path, progress.used))
            if not isinstance(decision, Again):
                return failure
            slept_s += decision.delay_s
            await self._pause(path, progress, failure, decision.delay_s)

    async def _try(self, step: Step, path: str, site: Site, since: Snapshot, progress: _Progress) -> Failure | None:
        execution = await self._executions.run(step, path, progress.used, site, since, progress.boundary)
        progress.used += 1
        progress.last, progress.boundary = execution, execution.boundary
        if execution.failure is not None:
            return execution.failure
        for check in step.checks:
            place = site.below(f"{path}/check/r{progress.used}", self._names(step, progress))
            outcome = await self.run_list(check.run, place, progress.boundary)
            progress.boundary = outcome.boundary
            if outcome.failure is not None:
                what = f"check: {outcome.failure.message}"
                return replace(outcome.failure, kind="validation_failed", message=what)
        return None

    async def _pause(self, path: str, progress: _Progress, failure: Failure, delay_s: float) -> None:
        """Wait before the next try, for what is left of the pause after a resume."""
        counted = [row for row in self.store.executions(path) if row.state != "lost"]
        if len(counted) > progress.used:
            return  # the next try has begun before
        assert progress.last is not None
        ended = self.store.last_end(path)
        left_s = delay_s - (_seconds_between(ended, now()) if ended else 0.0)
        self.control.check()
        self.store.record(ev.StepRetrying(path=progress.last.row.execution, delay_s=delay_s, reason=failure.message))
        if left_s > 0 and await self.control.stops_within(left_s):
            self.control.check()

    # Handlers ----------------------------------------------------------------------------------------------

    async def _handle(
        self,
        step: Step,
        path: str,
        site: Site,
        since: Snapshot,
        progress: _Progress,
        handler: Handler,
        failure: Failure | None,
    ) -> Failure | None:
        """Run a handler, and the failed action again as often as it says; what is left of the failure."""
        name = f"exit{handler.on}" if isinstance(handler.on, int) else f"on_{handler.on}"
        for round_ in range(1, max(1, handler.again) + 1):
            names = self._names(step, progress) | (_error(failure) if failure else {})
            outcome = await self.run_list(handler.do, site.below(f"{path}/{name}/r{round_}", names), progress.boundary)
            progress.boundary = outcome.boundary
            if outcome.failure is not None:
                return replace(outcome.failure, message=f"in {name}: {outcome.failure.message}")
            if not handler.again or failure is None:
                break
            failure = await self._tries(step, path, site, since, progress)
            if failure is None:
                return None
        return failure if handler.fatal else None

    async def _settle(self, site: Site, progress: _Progress, *, recovered: bool) -> Failure | None:
        """Record that the step counts as done, once, where its last execution alone does not say so."""
        assert progress.last is not None
        row = progress.last.row
        if row.settled:
            return None
        if not site.inner and (objection := await site.keep(progress.boundary, True)):
            return replace(objection, step=row.execution, log=f"steps/{row.log}")
        self.store.record(
            ev.StepSettled(
                path=row.execution,
                head=progress.boundary.head,
                snapshot=progress.boundary.commit,
                recovered=recovered,
                moves_run=not site.inner,
            )
        )
        return None

    # Names -------------------------------------------------------------------------------------------------

    def _names(self, step: Step, progress: _Progress) -> dict[str, object]:
        assert progress.last is not None
        row = progress.last.row
        return captured(step, row, self.store.directory / "steps" / row.log)


def _handler_for(step: Step, failure: Failure | None, progress: _Progress) -> Handler | None:
    """The first handler that this end of the action concerns."""
    assert progress.last is not None
    # The exit status speaks for the action alone, not for a check or for a commit that is missing.
    by_exit = failure is None or (failure.kind == "command_failed" and progress.last.failure is not None)
    code = progress.last.row.exit_code if by_exit else None
    for handler in step.handlers:
        concerns = handler.on == "failure" if failure else handler.on == "success"
        if concerns or (isinstance(handler.on, int) and handler.on == code):
            return handler
    return None


def _error(failure: Failure) -> dict[str, object]:
    return {
        "error": {
            "message": failure.message,
            "exit_code": failure.exit_code,
            "step": failure.step,
            "kind": failure.kind,
            "timestamp": now(),
        }
    }


def _chance(path: str, tries: int) -> float:
    """The dice of a pause, the same on every resume."""
    digest = hashlib.sha256(f"{path}/{tries}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _seconds_between(earlier: str, later: str) -> float:
    return max(0.0, (dt.datetime.fromisoformat(later) - dt.datetime.fromisoformat(earlier)).total_seconds())
