"""The one step executor: setup, items, checks, handlers and reduce all run here.

A step's path is the key of everything it does. Running and resuming are the same walk: what is recorded is taken
from the store, in the same order, and what comes next is decided anew from it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from prodigy.engine.admission import Admissions
from prodigy.engine.captures import Deferred, captured
from prodigy.engine.changes import Changes
from prodigy.engine.checking import Checks, Held
from prodigy.engine.composite import Composites
from prodigy.engine.control import Control
from prodigy.engine.environment import RunEnvironment
from prodigy.engine.execution import Execution, Executions
from prodigy.engine.second_try import after_failure
from prodigy.engine.site import Outcome, Site
from prodigy.engine.summary import Counters
from prodigy.engine.time_limits import is_used_up
from prodigy.executors.base import Snapshot
from prodigy.git.private import PrivateGit
from prodigy.state import events as ev
from prodigy.state.dead_letter import Failure
from prodigy.state.retry import Again, decide
from prodigy.state.step_path import execution_path
from prodigy.store.database import now
from prodigy.store.store import Store
from prodigy.workflow.expression import compile_expression
from prodigy.workflow.model import Group, Handler, Step
from prodigy.workflow.walk import fingerprint


@dataclass
class _Progress:
    """How far the walk over one step has come. used: executions of its action so far. looked: rounds of its checks."""

    boundary: Snapshot
    used: int = 0
    looked: int = 0
    last: Execution | None = None


@dataclass
class StepRunner:
    """Runs steps in workspaces and records what they did. shell: the path of bash. taken: the ids and captures of the
    workflow."""

    store: Store
    control: Control
    shell: str
    private: PrivateGit
    environment: RunEnvironment
    admissions: Admissions
    counters: Counters = field(default_factory=Counters)
    taken: frozenset[str] = frozenset()
    _base: Snapshot | None = None

    def __post_init__(self) -> None:
        composites = Composites(self.store, self.run_list)
        self._executions = Executions(
            self.store, self.control, self.shell, self.private, self.environment, self.counters, composites,
            self.admissions,
        )  # fmt: skip
        self._checks = Checks(self.store, self.control, self.run_list)

    async def run_list(self, steps: Sequence[Step], site: Site, start: Snapshot, first: int = 1) -> Outcome:
        """Run the steps one after another until one fails.

        Raises Stopped between steps when the run drains, Interrupted when a running step was ended.
        """
        boundary = start
        names: dict[str, object] = {}
        for number, step in enumerate(steps, first):
            own = {"step.name": step.label, "step.index": number - 1, "env": site.env, **self._of_this_moment(boundary)}
            here = replace(site, scope=site.scope.with_names({**names, **own}))
            outcome = await self.run_step(step, f"{site.prefix}/{number}", here, boundary)
            boundary = outcome.boundary
            names.update(outcome.names or {})
            if outcome.failure is not None:
                return Outcome(boundary, outcome.failure, names)
        return Outcome(boundary, None, names)

    async def run_step(self, step: Step, path: str, site: Site, before: Snapshot) -> Outcome:
        """Run one step with its retries, checks and handlers."""
        if self._is_skipped(step, path, site):
            return Outcome(before, None, self._skipped_names(step))
        progress = _Progress(before)
        failure = await self._tries(step, path, site, before, progress)
        failed = failure is not None
        handler = _handler_for(step, failure, progress)
        if handler is not None and not (failed and self._is_too_late(handler, path, site)):
            failure = await self._handle(step, path, site, before, progress, handler, failure)
        if failure is None:
            failure = await self._settle(site, progress, recovered=failed)
        return Outcome(progress.boundary, failure, self.names(step, path, progress.boundary))

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
            if failure is not None:
                site = replace(site, failed_before=after_failure(failure))
            tries += 1
            if failure is None or step.policy.retry is None:
                return failure
            if is_used_up(self.store, site.limit) and not self._is_on_record(path, progress.used):
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
        if not any(check.run for check in step.checks):
            return None
        names = self.names(step, path, progress.boundary)
        held = await self._checks.hold(step.checks, path, site, Held(progress.boundary, progress.looked), names)
        progress.boundary, progress.looked = held.boundary, held.rounds
        return held.failure

    async def _pause(self, path: str, progress: _Progress, failure: Failure, delay_s: float) -> None:
        """Wait before the next try, for what is left of the pause after a resume."""
        if self._is_on_record(path, progress.used):
            return
        assert progress.last is not None
        ended = self.store.last_end(path)
        left_s = delay_s - (_seconds_between(ended, now()) if ended else 0.0)
        self.control.check()
        self.store.record(ev.StepRetrying(path=progress.last.row.execution, delay_s=delay_s, reason=failure.message))
        if left_s > 0 and await self.control.stops_within(left_s):
            self.control.check()

    def _is_on_record(self, path: str, number: int) -> bool:
        """Whether the step's execution `number`, from 0, of those that count has begun before."""
        return len([row for row in self.store.executions(path) if row.state != "lost"]) > number

    def _is_too_late(self, handler: Handler, path: str, site: Site) -> bool:
        """Whether no time is left for a handler, and none was taken for it before."""
        name = _segment(handler)
        return is_used_up(self.store, site.limit) and not (
            self.store.has_steps_below(f"{path}/{name}") or self.store.is_done(path)
        )

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
        name = _segment(handler)
        for round_ in range(1, max(1, handler.again) + 1):
            names = self.names(step, path, progress.boundary) | (_error(failure, round_, path) if failure else {})
            outcome = await self.run_list(handler.do, site.below(f"{path}/{name}/r{round_}", names), progress.boundary)
            progress.boundary = outcome.boundary
            if outcome.failure is not None:
                return replace(outcome.failure, message=f"in {name}: {outcome.failure.message}")
            if not handler.again or failure is None:
                break
            again = replace(site, failed_before=after_failure(failure))
            failure = await self._tries(step, path, again, since, progress)
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

    def names(self, step: Step, path: str, after: Snapshot | None = None) -> dict[str, object]:
        """What a step that has run or was skipped gives to those behind it, and to its own checks and handlers; the
        same at once and after a resume. after: the boundary behind it, None: the one on record."""
        rows = [row for row in self.store.executions(path) if row.state != "lost"]
        if not rows or rows[-1].skipped:
            return self._skipped_names(step)
        names = captured(step, rows[-1], self.store.directory / "steps" / rows[-1].log, self.taken)
        if isinstance(step.action, Group):
            names |= self._outputs(step.action, step.id, f"{path}/do")
        if after is None:
            found = self.store.boundary_after([path])
            after = Snapshot(*found) if found else Snapshot(rows[-1].head or "", rows[-1].snapshot)
        changes = Changes(self.private, Snapshot(rows[0].before_head or after.head, rows[0].before_snapshot), after)
        for name, pattern in step.capture.files if step.capture else ():
            names[name] = Deferred(lambda pattern=pattern: changes.committed(pattern))  # type: ignore[misc]
        return names | changes.names("step")

    def _outputs(self, group: Group, step_id: str | None, prefix: str) -> dict[str, object]:
        """The names that the steps behind another workflow's see: its outputs, also below the id of the step."""
        found: dict[str, object] = {}
        for number, step in enumerate(group.do, 1):
            if self.store.executions(f"{prefix}/{number}"):
                found |= self.names(step, f"{prefix}/{number}")
        chosen = {name: value for name, value in found.items() if name.partition(".")[0] in group.outputs}
        below = {f"{step_id}.{name}": value for name, value in chosen.items()} if step_id else {}
        return dict.fromkeys(group.outputs) | chosen | below

    def _skipped_names(self, step: Step) -> dict[str, object]:
        names = captured(step, None, None)
        if isinstance(step.action, Group):
            names |= dict.fromkeys(step.action.outputs)
        return names

    def _of_this_moment(self, boundary: Snapshot) -> dict[str, object]:
        """What has changed since the run began, and what waits in the dead letter queue."""
        if self._base is None:
            self._base = Snapshot(self.store.run().base, None)
        letters = {
            "dlq.count": Deferred(self.store.dead_letter_count),
            "dlq.has_items": Deferred(lambda: self.store.dead_letter_count() > 0),
        }
        return letters | Changes(self.private, self._base, boundary).names("workflow")


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


def _segment(handler: Handler) -> str:
    """The segment of the paths of a handler's steps."""
    return f"exit{handler.on}" if isinstance(handler.on, int) else f"on_{handler.on}"


def _error(failure: Failure, round_: int, path: str) -> dict[str, object]:
    return {
        "error": {
            "message": failure.message,
            "exit_code": failure.exit_code,
            "step": failure.step,
            "kind": failure.kind,
            "timestamp": now(),
            "handler": "on_failure",
            "attempt": round_,
            "correlation_id": path,
        },
        "test.attempt": round_,
    }


def _chance(path: str, tries: int) -> float:
    """The dice of a pause, the same on every resume."""
    digest = hashlib.sha256(f"{path}/{tries}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48


def _seconds_between(earlier: str, later: str) -> float:
    return max(0.0, (dt.datetime.fromisoformat(later) - dt.datetime.fromisoformat(earlier)).total_seconds())
