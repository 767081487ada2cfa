"""The one step executor: setup, items and reduce all run here.

A step's path is the key of everything it does. A path that is finished in the store is never run again; a path
that was started is adopted, taken over or run again, as its directory says (see `executors.processes`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from prodigy.engine.control import Control, Interrupted
from prodigy.engine.summary import Counters
from prodigy.executors.base import (
    DEFAULT_IDLE_TIMEOUT_S,
    DEFAULT_TIMEOUT_S,
    Exit,
    ProcessSpec,
    ProcessState,
    Snapshot,
    Workspace,
)
from prodigy.git.command import GitError
from prodigy.state import events as ev
from prodigy.state.dead_letter import Failure
from prodigy.state.step_path import execution_path
from prodigy.store.rows import StepRow
from prodigy.store.store import Store
from prodigy.workflow.model import Shell, Step, fingerprint
from prodigy.workflow.shell_words import BindError, ShellScript, compile_script

TAIL_BYTES = 4096
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
TAIL_LINES = 20


@dataclass(frozen=True)
class Site:
    """Where a list of steps runs.

    prefix: the step path of the list, e.g. `it1/3/i0042/a2`. scope: what placeholders may name.
    env: the environment of the steps. keep: makes the commits of a boundary reachable before it is recorded;
    it is told whether the step succeeded, and may object to what it is given.
    item: the item's JSON for PRODIGY_ITEM_FILE, None outside items.
    """

    workspace: Workspace
    prefix: str
    scope: Mapping[str, object]
    env: Mapping[str, str]
    keep: Callable[[Snapshot, bool], Awaitable[Failure | None]]
    item: object | None = None


@dataclass(frozen=True)
class Outcome:
    """How a list of steps ended, and the workspace's boundary then."""

    boundary: Snapshot
    failure: Failure | None = None


@dataclass
class StepRunner:
    """Runs steps in workspaces and records what they did. `shell` is the path of bash."""

    store: Store
    control: Control
    shell: str
    counters: Counters = field(default_factory=Counters)

    async def run_list(self, steps: Sequence[Step], site: Site, start: Snapshot, first: int = 1) -> Outcome:
        """Run the steps one after another until one fails.

        Raises Stopped between steps when the run drains, Interrupted when a running step was ended.
        """
        boundary = start
        for number, step in enumerate(steps, first):
            outcome = await self.run_step(step, f"{site.prefix}/{number}", site, boundary)
            if outcome.failure is not None:
                return outcome
            boundary = outcome.boundary
        return Outcome(boundary)

    async def run_step(self, step: Step, path: str, site: Site, before: Snapshot) -> Outcome:
        executions = self.store.executions(path)
        last = executions[-1] if executions else None
        if last is not None and last.state == "finished":
            self.counters.steps_reused += 1
            return self._recorded(last)
        execution, exit_ = await self._resumed(last, site, before) if last else (None, None)
        if execution is None:
            self.control.check()
            execution = execution_path(path, self.store.next_try(path))
            self.store.record(ev.StepStarted(path=execution, fingerprint=fingerprint(step)))
        if exit_ is None:
            exit_ = await self._start_and_wait(step, execution, site, before)
        return await self._finish(step, execution, site, before, exit_)

    async def _resumed(self, last: StepRow, site: Site, before: Snapshot) -> tuple[str | None, Exit | None]:
        """(execution, exit) of a step that an earlier coordinator started; (None, None): run it anew."""
        if last.state == "lost":
            return None, None
        workspace, execution = site.workspace, last.execution
        match workspace.state(execution):
            case ProcessState.ABSENT:
                return execution, None
            case ProcessState.RUNNING:
                self.store.record(ev.StepAdopted(path=execution))
        exit_ = await self._wait(execution, site, before)
        if exit_ is not None:
            return execution, exit_
        await self._undo(execution, site, before, "lost")
        return None, None

    async def _start_and_wait(self, step: Step, execution: str, site: Site, before: Snapshot) -> Exit:
        started = self._spec(step, execution, site)
        if isinstance(started, Exit):
            return started
        self.counters.steps_run += 1
        await site.workspace.start(execution, started)
        exit_ = await self._wait(execution, site, before)
        if exit_ is None:
            await site.workspace.kill_leftovers(execution)
            return Exit(None, "lost", 0.0, 0.0)
        return exit_

    async def _wait(self, execution: str, site: Site, before: Snapshot) -> Exit | None:
        """Wait for the step's end; when the user wants it ended, end it and take it back. None: it was lost."""
        waiting = asyncio.ensure_future(site.workspace.wait(execution))
        ending = asyncio.ensure_future(self.control.wait_for_end())
        try:
            await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                await site.workspace.stop(execution)
            exit_ = await waiting
        finally:
            waiting.cancel()
            ending.cancel()
        if exit_ is None or exit_.reason != "stopped":
            return exit_
        if not self.control.ending:
            return None  # ended for a coordinator that did not live to record it
        await self._undo(execution, site, before, "interrupted")
        raise Interrupted

    async def _undo(self, execution: str, site: Site, before: Snapshot, reason: str) -> None:
        """The step will run again: nothing it started may live on, and its half-done work is set aside."""
        await site.workspace.kill_leftovers(execution)
        with contextlib.suppress(GitError, OSError):  # where nothing can be read, nothing is left to keep
            await site.keep(await site.workspace.snapshot(), False)
        await site.workspace.restore(before)
        self.store.record(ev.StepLost(path=execution, reason=reason))

    def _spec(self, step: Step, execution: str, site: Site) -> ProcessSpec | Exit:
        """The process to start, or the exit of a step whose values do not fit its text."""
        assert isinstance(step.action, Shell)
        try:
            script, values = _compiled(step.action.text, frozenset(site.scope)).bind(site.scope)
        except BindError as error:
            return Exit(None, "not_started", 0.0, 0.0, str(error))
        directory = site.workspace.directory(execution)
        files = {"script": script}
        env = {**site.env, **values}
        if site.item is not None:
            files["item.json"] = json.dumps(site.item, ensure_ascii=False).encode("utf-8", "surrogatepass")
            env["PRODIGY_ITEM_FILE"] = str(directory / "item.json")
        policy = step.policy
        return ProcessSpec(
            argv=(self.shell, "--noprofile", "--norc", "-eo", "pipefail", str(directory / "script")),
            env=env,
            cwd=str(site.workspace.path),
            files=files,
            timeout_s=policy.timeout_s or DEFAULT_TIMEOUT_S,
            idle_timeout_s=policy.idle_timeout_s or DEFAULT_IDLE_TIMEOUT_S,
        )

    async def _finish(self, step: Step, execution: str, site: Site, before: Snapshot, exit_: Exit) -> Outcome:
        try:
            boundary = await site.workspace.snapshot()
        except (GitError, OSError) as error:
            if isinstance(error, OSError) and error.errno in _DISK_FULL:
                raise
            boundary = before
            failure: Failure | None = Failure(
                f"the step left a worktree that can't be read: {error}", kind="worktree_error", step=execution
            )
        else:
            failure = self._judge(step, execution, site, before, boundary, exit_)
        if objection := await site.keep(boundary, failure is None):
            failure = replace(objection, step=execution, log=f"steps/{execution}", duration_s=exit_.duration_s)
        warnings = [ev.Warned(message=_left_out(execution, boundary.left_out))] if boundary.left_out else []
        self.store.record(
            *warnings,
            ev.StepFinished(
                path=execution,
                kind=failure.kind if failure else None,
                message=failure.message if failure else None,
                exit_code=exit_.code,
                duration_s=exit_.duration_s,
                head=boundary.head,
                snapshot=boundary.commit,
                left_out=boundary.left_out,
            ),
        )
        return Outcome(boundary, failure)

    def _judge(
        self, step: Step, execution: str, site: Site, before: Snapshot, after: Snapshot, exit_: Exit
    ) -> Failure | None:
        verdict = judge(step, before, after, exit_)
        if verdict is None:
            return None
        kind, message = verdict
        tail = "" if exit_.reason == "not_started" else output_tail(site.workspace.directory(execution))
        last_line = tail.splitlines()[-1] if tail and kind == "command_failed" else ""
        return Failure(
            message=f"{message}: {last_line}" if last_line else message,
            kind=kind,
            exit_code=exit_.code,
            step=execution,
            last_output=tail,
            log=f"steps/{execution}",
            duration_s=exit_.duration_s,
        )

    def _recorded(self, row: StepRow) -> Outcome:
        boundary = Snapshot(row.head or "", row.snapshot)
        if row.kind is None:
            return Outcome(boundary)
        failure = Failure(
            message=row.message or row.kind,
            kind=row.kind,
            exit_code=row.exit_code,
            step=row.execution,
            last_output=output_tail(self.store.directory / "steps" / row.execution),
            log=f"steps/{row.execution}",
            duration_s=row.duration_s or 0.0,
        )
        return Outcome(boundary, failure)


def _left_out(execution: str, paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return (
        f"{execution} left {', '.join(paths[:5])}{more} uncommitted, too large or no plain files: they are not part of"
        " the result"
    )


@functools.lru_cache(maxsize=1024)
def _compiled(text: str, names: frozenset[str]) -> ShellScript:
    return compile_script(text, names)


def judge(step: Step, before: Snapshot, after: Snapshot, exit_: Exit) -> tuple[str, str] | None:
    """(error kind, message) of a step that failed, None for success. Pure."""
    match exit_.reason:
        case "timeout":
            return "timeout", f"the step ran longer than {step.policy.timeout_s or DEFAULT_TIMEOUT_S:g} s"
        case "idle":
            limit = step.policy.idle_timeout_s or DEFAULT_IDLE_TIMEOUT_S
            return "agent_hung", f"the step printed nothing for {limit:g} s"
        case "not_started":
            return "command_failed", f"the step could not be started: {exit_.message}"
        case "lost":
            return "lost", "the process that looks after the step was killed"
    if exit_.code != 0:
        return "command_failed", f"exited with code {exit_.code}"
    if any(check.expect == "commit" for check in step.checks) and after.head == before.head:
        return "commit_validation_failed", "the step made no commit, and commit_required is set"
    return None


def output_tail(directory: Path) -> str:
    """The last lines that a step printed, standard error when there is any, else standard output."""
    for stream in ("stderr", "stdout"):
        path = directory / stream
        if path.is_file() and (size := path.stat().st_size):
            with path.open("rb") as file:
                file.seek(max(0, size - TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
            return "\n".join(lines[-TAIL_LINES:])
    return ""
