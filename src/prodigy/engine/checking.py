"""Looks whether what must hold after a step's action does, and repairs it where the workflow says how."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from prodigy.engine.bounded_files import read_regular
from prodigy.engine.captures import CaptureError, output_of
from prodigy.engine.completeness import Result, read_result
from prodigy.engine.control import Control
from prodigy.engine.keeping import write_whole
from prodigy.engine.site import RunList, Site
from prodigy.engine.spec import path_below
from prodigy.errors import ProdigyError
from prodigy.executors.base import Snapshot
from prodigy.state import events as ev
from prodigy.state.dead_letter import Failure
from prodigy.state.items import NOT_A_TRY
from prodigy.store.store import Store
from prodigy.workflow.model import Check, Step, Want
from prodigy.workflow.regex import found

# A result file is a small document; what is larger is none.
_MAX_RESULT_BYTES = 16 * 1024 * 1024
_RESULT = "result"


@dataclass
class Held:
    """How checking ended. rounds: how often a check has been looked at, over all tries of the step."""

    boundary: Snapshot
    rounds: int
    failure: Failure | None = None


@dataclass(frozen=True)
class _Look:
    """One look: the boundary after it, and why the check does not hold, or None. names: for the steps that repair."""

    boundary: Snapshot
    failure: Failure | None
    names: Mapping[str, object]


@dataclass
class Checks:
    """Runs the checks of steps; `run_list` is the step executor's."""

    store: Store
    control: Control
    run_list: RunList

    async def hold(
        self, checks: tuple[Check, ...], path: str, site: Site, held: Held, names: Mapping[str, object]
    ) -> Held:
        """Look at the checks one after another, repairing as they say, until all hold or one does not.

        names: what the step gives to others. Commits are counted elsewhere.
        """
        for check in checks:
            if not check.run:
                continue
            held = await self._hold(check, path, site, held, names)
            if held.failure is not None:
                return held
        return held

    async def _hold(self, check: Check, path: str, site: Site, held: Held, names: Mapping[str, object]) -> Held:
        for repairs in range((check.rounds or 0) + 1):
            held.rounds += 1
            look = await self._look(check, site.below(f"{path}/check/r{held.rounds}", names), held.boundary)
            held.boundary = look.boundary
            if look.failure is None:
                return held
            if look.failure.kind in NOT_A_TRY:  # nothing is known of the work: it is looked at again
                held.failure = look.failure
                return held
            if repairs == (check.rounds or 0):
                return self._given_up(check, path, look.failure, held)
            where = f"{path}/repair/r{held.rounds}"
            if check.repair:
                outcome = await self.run_list(check.repair, site.below(where, {**names, **look.names}), held.boundary)
                held.boundary = outcome.boundary
                if outcome.failure is not None:
                    message = f"in on_incomplete: {outcome.failure.message}"
                    return self._given_up(check, path, replace(outcome.failure, message=message), held)
            elif not self.store.has_steps_below(f"{path}/check/r{held.rounds + 1}"):
                await self._pause(check.delay_s or 0.0)
        return held

    def _given_up(self, check: Check, path: str, failure: Failure, held: Held) -> Held:
        if not check.lenient:
            held.failure = failure
        elif not self.store.is_done(path):
            self.store.record(ev.Warned(message=f"{path}: {failure.message}; the workflow goes on all the same"))
        return held

    async def _pause(self, seconds: float) -> None:
        if seconds > 0 and await self.control.stops_within(seconds):
            self.control.check()

    # Looking -----------------------------------------------------------------------------------------------

    async def _look(self, check: Check, site: Site, before: Snapshot) -> _Look:
        steps = _limited(check)
        match check.expect:
            case "answers":
                return await self._answers(check, steps, site, before)
            case "result":
                return await self._result(check, steps, site, before)
        outcome = await self.run_list(steps, site, before)
        failure = outcome.failure
        if failure is not None and failure.kind not in NOT_A_TRY:
            failure = replace(failure, kind="validation_failed", message=f"check: {failure.message}")
        return _Look(outcome.boundary, failure, {})

    async def _answers(self, check: Check, steps: tuple[Step, ...], site: Site, before: Snapshot) -> _Look:
        """Every command runs, whatever the others did; then their answers are counted."""
        boundary, wrong = before, list[Failure]()
        for number, (step, want) in enumerate(zip(steps, check.wants, strict=True), 1):
            path = f"{site.prefix}/{number}"
            outcome = await self.run_list((step,), site, boundary, number)
            boundary = outcome.boundary
            if outcome.failure is not None and outcome.failure.kind in NOT_A_TRY:
                return _Look(boundary, outcome.failure, {})
            if objection := self._objection(step, want, path):
                log = outcome.failure.log if outcome.failure else None
                wrong.append(Failure(objection, kind="validation_failed", step=path, log=log))
        needed = len(steps) if check.needed is None else check.needed
        if len(steps) - len(wrong) >= needed:
            return _Look(boundary, None, {})
        told = "; ".join(failure.message for failure in wrong[:3])
        return _Look(boundary, replace(wrong[0], message=f"step_validate: {told}"), {})

    def _objection(self, step: Step, want: Want, path: str) -> str | None:
        """Why the answer is not the one that is wanted."""
        row = self.store.executions(path)[-1]
        if row.exit_code != (want.exit_code or 0):
            return f"{step.label}: exited with code {row.exit_code}, not {want.exit_code or 0}"
        if want.output is None:
            return None
        text = output_of(step, self.store.directory / "steps" / row.log, row)
        return None if found(want.output, text) else f"{step.label}: the output does not match {want.output!r}"

    async def _result(self, check: Check, steps: tuple[Step, ...], site: Site, before: Snapshot) -> _Look:
        outcome = await self.run_list(steps, site, before)
        if outcome.failure is not None and outcome.failure.kind not in ("command_failed", "validation_failed"):
            return _Look(outcome.boundary, outcome.failure, {})
        try:
            text = await self._told(check, steps, site)
        except (CaptureError, OSError) as error:
            result = Result(0.0, "failed", problem=str(error))
        else:
            result = read_result(text, succeeded=outcome.failure is None, check=check)
        if result.holds(check):
            return _Look(outcome.boundary, None, {})
        last = outcome.failure or Failure("", step=f"{site.prefix}/{len(steps)}")
        failure = replace(last, kind="validation_failed", message=result.message(check))
        return _Look(outcome.boundary, failure, result.names(int(site.prefix.rpartition("/r")[2])))

    async def _told(self, check: Check, steps: tuple[Step, ...], site: Site) -> str:
        """What the validation found, as text. A result file is kept as it was when it was first read: steps that
        repair may change it, and a resume has to see the same."""
        rows = [(step, self.store.executions(f"{site.prefix}/{n}")) for n, step in enumerate(steps, 1)]
        step, executions = [pair for pair in rows if pair[1]][-1]
        row = executions[-1]
        directory = self.store.directory / "steps" / row.log
        if check.result_file is None:
            return await asyncio.to_thread(output_of, step, directory, row)
        kept = directory / _RESULT
        if kept.is_file():
            return kept.read_text("utf-8", "surrogateescape")
        try:
            path = site.workspace.path / path_below(check.result_file, site)
        except ProdigyError as error:
            raise CaptureError(f"`result_file`: {error.what}") from error
        try:
            data = await asyncio.to_thread(read_regular, path, _MAX_RESULT_BYTES)
        except FileNotFoundError:
            raise CaptureError(f"the validation wrote no {check.result_file}") from None
        write_whole(kept, data)
        return data.decode("utf-8", "surrogateescape")


def _limited(check: Check) -> tuple[Step, ...]:
    """The steps of a check, those without a limit of their own under the check's."""
    limit = check.timeout_s
    if limit is None:
        return check.run
    return tuple(
        step
        if step.policy.timeout_s
        else step.model_copy(update={"policy": step.policy.model_copy(update={"timeout_s": limit})})
        for step in check.run
    )
