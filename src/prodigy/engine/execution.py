"""One execution of a step's action: start it, or take over what an earlier coordinator started; judge and record it.

An execution that is finished in the store is never run again; one that was started is adopted, taken over or run
again, as its directory says (see `executors.processes`).
"""

from __future__ import annotations

import asyncio
import errno
from dataclasses import dataclass, field, replace
from pathlib import Path

from prodigy.agents.base import Verdict
from prodigy.engine.admission import Admission, Admissions, Refusal
from prodigy.engine.agent_end import (
    BUDGET_EXCEEDED,
    RATE_LIMITED,
    blameless,
    can_go_on,
    lacks,
    last_word,
)
from prodigy.engine.captures import output_of
from prodigy.engine.committing import commit_step, unlike_pattern
from prodigy.engine.composite import Composites, inner_path, is_composite
from prodigy.engine.control import Control, Interrupted
from prodigy.engine.environment import RunEnvironment
from prodigy.engine.site import Site
from prodigy.engine.spec import path_below
from prodigy.engine.specials import Specials
from prodigy.engine.step_process import StepProcesses
from prodigy.engine.summary import Counters
from prodigy.engine.time_limits import overrun, usual_timeout_s
from prodigy.engine.verdict import (
    NEVER_STARTED,
    Output,
    cost,
    judge,
    last_output,
    usage_text,
)
from prodigy.errors import EnvironmentProblem, ProdigyError
from prodigy.executors.base import (
    Exit,
    Snapshot,
    Workspace,
)
from prodigy.git.command import GitError
from prodigy.git.private import PrivateGit
from prodigy.git.snapshot import UnreadableTree
from prodigy.state import events as ev
from prodigy.state.dead_letter import Failure
from prodigy.state.step_path import execution_path, split_try
from prodigy.store.rows import StepRow
from prodigy.store.store import Store
from prodigy.workflow.model import Agent, Handler, Step
from prodigy.workflow.walk import fingerprint

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Execution:
    """One execution that has ended: its row, the boundary after it, its failure if it failed."""

    row: StepRow
    boundary: Snapshot
    failure: Failure | None


@dataclass
class Executions:
    """Runs and records single executions. `shell` is the path of bash."""

    store: Store
    control: Control
    shell: str
    private: PrivateGit
    environment: RunEnvironment
    counters: Counters
    composites: Composites
    admissions: Admissions
    # By identity; the step is kept so that no other one can get its place in memory.
    _fingerprints: dict[int, tuple[Step, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._processes = StepProcesses(
            self.store, self.control, self.shell, self.environment, self.counters, self.admissions
        )

    async def run(self, step: Step, path: str, number: int, site: Site, since: Snapshot, before: Snapshot) -> Execution:
        """The execution number `number` (from 0) of those of the step that count.

        since: the boundary before the step's first one. before: the boundary before this one, which it begins at.
        Raises Stopped when the run drains, Interrupted when a running step was ended.
        """
        counted = [row for row in self.store.executions(path) if row.state != "lost"]
        last = counted[number] if number < len(counted) else None
        if last is not None and last.state == "finished":
            self.counters.steps_reused += 1
            return self._recorded(last, before)
        agents = site.workflow.agents
        admission = self.admissions.readmit(last, agents, path) if last else None
        execution, exit_ = await self._processes.resumed(step, last, site, before, admission) if last else (None, None)
        refused: tuple[str, str] | None = None
        if execution is None:
            await self.control.may_start()
            if isinstance(step.action, Agent):
                found = await self.admissions.admit(step, path, agents, self._fingerprint(step))
                if isinstance(found, Refusal):
                    admission, refused = None, ("budget_exceeded", found.message)
                else:
                    admission = found
                    await self._processes.go_on_or_afresh(admission, path, site, before)
            execution = execution_path(path, self.store.next_try(path))
            self.store.record(self._started(step, execution, before, admission))
        if is_composite(step):
            return await self._run_composite(step, execution, number, site, since, before)
        specials = Specials.of(site.workspace.directory(execution), site.workspace.path)
        site = replace(site, scope=site.scope.with_specials(specials))
        if refused is not None:
            never = Exit(None, "not_started", 0.0, 0.0)
            return await self._finish(step, execution, site, since, before, never, refused)
        if exit_ is None:
            exit_ = await self._processes.start_and_wait(step, execution, site, before, admission)
        overran = overrun(self.store, site.limit, step, execution, exit_)
        if admission is None:
            return await self._finish(step, execution, site, since, before, exit_, overran)
        directory = site.workspace.directory(execution)
        told = await last_word(directory, exit_, admission)
        if overran is None and told is not None and isinstance(step.action, Agent):
            reason = blameless(self.admissions, admission, told, agents, step.action, directory)
            if reason is not None:
                goes_on = reason == RATE_LIMITED and can_go_on(admission, told)
                await self._processes.undo(execution, site, before, reason, admission, keep_work=goes_on)
                if reason == BUDGET_EXCEEDED:
                    self.admissions.out_of_budget(f"an agent has used what was left of the budget: {told.message}")
                return await self.run(step, path, number, site, since, before)
            told = lacks(told, directory, admission.name, self.environment.base)
        return await self._finish(step, execution, site, since, before, exit_, overran, admission, told)

    def _started(self, step: Step, execution: str, before: Snapshot, admission: Admission | None) -> ev.StepStarted:
        kind = admission.kind if admission else None
        return ev.StepStarted(
            path=execution,
            fingerprint=self._fingerprint(step),
            label=step.label,
            agent=admission.name if admission else None,
            head=before.head,
            snapshot=before.commit,
            adapter=None if admission is None or kind == admission.name else kind,
            reserved_usd=admission.reservation.usd if admission else None,
            reserved_tokens=admission.reservation.tokens if admission else None,
        )

    async def _run_composite(
        self, step: Step, execution: str, number: int, site: Site, since: Snapshot, before: Snapshot
    ) -> Execution:
        """A step that consists of others has no process: its steps are run, and how they ended is its end."""
        path = split_try(execution)[0]
        try:
            outcome = await self.composites.run(step, path, number, site, before)
        except Interrupted:
            self.store.record(ev.StepLost(path=execution, reason="interrupted"))
            raise
        failure = outcome.failure
        inner = self.store.finished_below(inner_path(step, path, number))
        exit_ = Exit(failure.exit_code if failure else 0, "exited", 0.0, sum(row.duration_s or 0.0 for row in inner))
        failed = (failure.kind or "unknown", failure.message) if failure else None
        ended = await self._finish(step, execution, site, since, outcome.boundary, exit_, failed)
        if ended.failure is None or failure is None:
            return ended
        # Whoever looks for what went wrong wants the step inside, its log and its words.
        told = replace(ended.failure, step=failure.step, log=failure.log, last_output=failure.last_output)
        return replace(ended, failure=told)

    def _fingerprint(self, step: Step) -> str:
        if id(step) not in self._fingerprints:
            self._fingerprints[id(step)] = step, fingerprint(step)
        return self._fingerprints[id(step)][1]

    # Ending ------------------------------------------------------------------------------------------------

    async def _finish(
        self,
        step: Step,
        execution: str,
        site: Site,
        since: Snapshot,
        before: Snapshot,
        exit_: Exit,
        failed: tuple[str, str] | None = None,
        admission: Admission | None = None,
        told: Verdict | None = None,
    ) -> Execution:
        """Judge and record the end. failed: (error kind, message) when it is known already. told: by its agent."""
        boundary = before
        directory = site.workspace.directory(execution)
        row = self.store.execution(execution)
        unwritten = None
        if exit_.reason not in NEVER_STARTED and step.capture and step.capture.file:
            unwritten = await _write_output(step, step.capture.file, directory, site, row)
        done = exit_.ok or (told is not None and told.kind is None)
        uncommitted = await _commit(step, site, since) if done and failed is None else None
        try:
            boundary = await _snapshot(site.workspace, before)
        except (GitError, OSError) as error:
            if isinstance(error, OSError) and error.errno in _DISK_FULL:
                raise
            if isinstance(error, UnreadableTree):
                boundary = error.boundary  # its commits are kept all the same
            failure: tuple[str, str] | None = "worktree_error", f"the step left a worktree that can't be read: {error}"
        else:
            settings = site.workflow.agents.settings(row.agent) if row.agent else None
            output = Output(directory, row, told, settings, usual_timeout_s(site.workflow))
            failure = failed or await asyncio.to_thread(judge, step, output, since, boundary, exit_)
            if failure is None and unwritten is not None:
                failure = "worktree_error", unwritten
            if failure is None and (said := uncommitted or await unlike_pattern(step, self.private, since, boundary)):
                failure = "commit_validation_failed", said
        settles = not any(check.run for check in step.checks) and all(on_failure(handler) for handler in step.handlers)
        if objection := await site.keep(boundary, failure is None and settles and not site.inner):
            failure = objection.kind or "unknown", objection.message
        warnings = [ev.Warned(message=_left_out(execution, boundary.left_out))] if boundary.left_out else []
        if told is not None and told.kind is None and told.message:
            warnings.append(ev.Warned(message=f"{execution}: {told.message}"))
        usd, estimated = cost(told, admission.reservation.usd if admission else None)
        self.store.record(
            *warnings,
            ev.StepFinished(
                path=execution,
                kind=failure[0] if failure else None,
                message=failure[1] if failure else None,
                exit_code=exit_.code,
                duration_s=exit_.duration_s,
                head=boundary.head,
                snapshot=boundary.commit,
                left_out=boundary.left_out,
                unfinished=boundary.unfinished,
                settles=settles,
                moves_run=not site.inner,
                cost_usd=usd,
                tokens=told.tokens if told else None,
                session=told.session if told else None,
                usage=usage_text(told),
                estimated=estimated,
            ),
        )
        if admission is not None:
            self.admissions.ended(admission, usd, told.tokens if told else None, finished=failure is None)
        return replace(self._recorded(self.store.execution(execution), before), boundary=boundary)

    def _recorded(self, row: StepRow, before: Snapshot) -> Execution:
        """An execution that has ended, from what is on record: today's and a later process's are the same."""
        if row.skipped:
            return Execution(row, before, None)
        boundary = Snapshot(row.head or "", row.snapshot, unfinished=row.unfinished)
        if row.kind is None:
            return Execution(row, boundary, None)
        failure = Failure(
            message=row.message or row.kind,
            kind=row.kind,
            exit_code=row.exit_code,
            step=row.execution,
            last_output=last_output(self.store.directory / "steps" / row.log, row),
            log=f"steps/{row.log}",
            duration_s=row.duration_s or 0.0,
        )
        return Execution(row, boundary, failure)


async def _snapshot(workspace: Workspace, before: Snapshot) -> Snapshot:
    """The state of the workspace. What was left half done before stays so until something changes, also when the
    worktree has been made anew since and does not show it."""
    now = await workspace.snapshot()
    if before.unfinished and not now.unfinished and await workspace.is_same(before, now):
        return replace(now, unfinished=before.unfinished)
    return now


async def _commit(step: Step, site: Site, since: Snapshot) -> str | None:
    """Commit what the step's policy says; why that can't be done, or None."""
    try:
        await commit_step(step, site, since)
    except ProdigyError as error:
        if isinstance(error, EnvironmentProblem):
            raise
        return f"what the step did can't be committed: {error}"
    return None


def on_failure(handler: Handler) -> bool:
    """Whether a handler has nothing to say about a success."""
    return handler.on not in ("success", 0)


def _left_out(execution: str, paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return (
        f"{execution} left {', '.join(paths[:5])}{more} uncommitted, too large or no plain files: they are not part of"
        " the result"
    )


async def _write_output(step: Step, file: str, directory: Path, site: Site, row: StepRow) -> str | None:
    """Put the step's output where `output_file` says; why that can't be done, or None."""
    try:
        path = path_below(file, site)
        text = await asyncio.to_thread(output_of, step, directory, row)
        await site.workspace.write(path, f"{text}\n".encode("utf-8", "surrogateescape") if text else b"")
    except (ProdigyError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise
        return f"`output_file` can't be written: {error}"
    return None
