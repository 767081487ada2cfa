"""One execution of a step's action: start it, or take over what an earlier coordinator started; judge and record it.

An execution that is finished in the store is never run again; one that was started is adopted, taken over or run
again, as its directory says (see `executors.processes`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from prodigy.agents import agent
from prodigy.agents.base import AgentRequest
from prodigy.engine.captures import Scope
from prodigy.engine.control import Control, Interrupted
from prodigy.engine.summary import Counters
from prodigy.engine.verdict import judge_execution, output_tail
from prodigy.errors import ProdigyError
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
from prodigy.workflow.interpolate import interpolate_text
from prodigy.workflow.model import (
    Agent,
    AgentSettings,
    Handler,
    Shell,
    Step,
    Workflow,
    agent_settings,
    fingerprint,
)
from prodigy.workflow.policies import outside
from prodigy.workflow.shell_words import ShellScript, compile_script

DEFAULT_SHELL_OPTIONS = ("-e", "-o", "pipefail")
# What `--args` and `--map` give. In scripts these are plain environment variables; in other texts we put them in.
INPUT_NAMES = frozenset({"ARG", "ARGUMENT", "FILE", "FILE_PATH"})
_BARE_INPUT = re.compile(r"\$(ARG|ARGUMENT|FILE|FILE_PATH)\b")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Site:
    """Where a list of steps runs.

    prefix: the step path of the list, e.g. `it1/3/i0042/a2`. scope: what placeholders may name.
    env: the environment of the steps. keep: makes the commits of a boundary reachable before it is recorded;
    it is told whether the boundary is the run's from now on, and may object to what it is given.
    item: the item's JSON for PRODIGY_ITEM_FILE, None outside items. inner: whether the steps belong to another step,
    as checks and handlers do, which alone decides what becomes of their work.
    """

    workspace: Workspace
    prefix: str
    scope: Scope
    env: Mapping[str, str]
    keep: Callable[[Snapshot, bool], Awaitable[Failure | None]]
    item: object | None = None
    inner: bool = False

    def below(self, prefix: str, names: Mapping[str, object]) -> Site:
        """The place of the steps that belong to one of this place's steps."""
        return replace(self, prefix=prefix, scope=self.scope.with_names(names), inner=True)


@dataclass(frozen=True)
class Outcome:
    """How steps ended, and the workspace's boundary then. names: what later steps may name because of them."""

    boundary: Snapshot
    failure: Failure | None = None
    names: Mapping[str, object] | None = None


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
    workflow: Workflow
    counters: Counters

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
        execution, exit_ = await self._resumed(last, site, before) if last else (None, None)
        if execution is None:
            self.control.check()
            execution = execution_path(path, self.store.next_try(path))
            uses = step.action.use if isinstance(step.action, Agent) else None
            self.store.record(
                ev.StepStarted(path=execution, fingerprint=fingerprint(step), label=step.label, agent=uses)
            )
        if exit_ is None:
            exit_ = await self._start_and_wait(step, execution, site, before)
        return await self._finish(step, execution, site, since, before, exit_)

    async def _resumed(self, last: StepRow, site: Site, before: Snapshot) -> tuple[str | None, Exit | None]:
        """(execution, exit) of a step that an earlier coordinator started; (None, None): run it anew."""
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
        try:
            spec = self._spec(step, execution, site)
        except ProdigyError as error:  # values that do not fit their places
            hint = f" ({error.hint})" if error.hint else ""
            return Exit(None, "not_started", 0.0, 0.0, f"{error.what}{hint}")
        self.counters.steps_run += 1
        await site.workspace.start(execution, spec)
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

    # Starting ----------------------------------------------------------------------------------------------

    def _spec(self, step: Step, execution: str, site: Site) -> ProcessSpec:
        """The process to start. Raises ProdigyError when a value does not fit its place."""
        directory = site.workspace.directory(execution)
        files: dict[str, bytes] = {}
        env = dict(site.env)
        if site.item is not None:
            files["item.json"] = json.dumps(site.item, ensure_ascii=False).encode("utf-8", "surrogatepass")
            env["PRODIGY_ITEM_FILE"] = str(directory / "item.json")
        for name, text in step.policy.env:
            env[name] = interpolate_text(text, site.scope)
        cwd = _working_dir(step, site)
        stdin = b""
        if isinstance(step.action, Shell):
            argv = self._script(step.action, directory, site.scope, files, env)
        else:
            assert isinstance(step.action, Agent)
            settings = agent_settings(self.workflow, step.action.use)
            argv, stdin = _agent_call(step.action, settings, cwd, site.scope, files, env)
        policy = step.policy
        return ProcessSpec(
            argv=argv,
            env=env,
            cwd=cwd,
            files=files,
            stdin=stdin,
            timeout_s=policy.timeout_s or DEFAULT_TIMEOUT_S,
            idle_timeout_s=policy.idle_timeout_s or DEFAULT_IDLE_TIMEOUT_S,
        )

    def _script(
        self, action: Shell, directory: Path, scope: Scope, files: dict[str, bytes], env: dict[str, str]
    ) -> tuple[str, ...]:
        bound = compiled(action.text, frozenset(scope) - INPUT_NAMES).bind(scope, str(directory))
        files |= {"script": bound.script, **bound.files}
        env |= bound.env
        options = DEFAULT_SHELL_OPTIONS if action.options is None else action.options
        return (self.shell, "--noprofile", "--norc", *options, str(directory / "script"))

    # Ending ------------------------------------------------------------------------------------------------

    async def _finish(
        self, step: Step, execution: str, site: Site, since: Snapshot, before: Snapshot, exit_: Exit
    ) -> Execution:
        boundary, failure = before, None
        directory = site.workspace.directory(execution)
        told = None
        try:
            boundary = await site.workspace.snapshot()
        except (GitError, OSError) as error:
            if isinstance(error, OSError) and error.errno in _DISK_FULL:
                raise
            failure = Failure(
                f"the step left a worktree that can't be read: {error}", kind="worktree_error", step=execution
            )
        else:
            judged = await asyncio.to_thread(judge_execution, step, execution, directory, since, boundary, exit_)
            failure, told = judged.failure, judged.agent
        settles = not any(check.run for check in step.checks) and all(on_failure(handler) for handler in step.handlers)
        if objection := await site.keep(boundary, failure is None and settles and not site.inner):
            failure = replace(objection, step=execution, log=f"steps/{execution}", duration_s=exit_.duration_s)
        warnings = [ev.Warned(message=_left_out(execution, boundary.left_out))] if boundary.left_out else []
        if told is not None and told.kind is None and told.message:
            warnings.append(ev.Warned(message=f"{execution}: {told.message}"))
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
                settles=settles,
                moves_run=not site.inner,
                cost_usd=told.cost_usd if told else None,
                tokens=told.tokens if told else None,
                session=told.session if told else None,
            ),
        )
        return Execution(self.store.execution(execution), boundary, failure)

    def _recorded(self, row: StepRow, before: Snapshot) -> Execution:
        if row.skipped:
            return Execution(row, before, None)
        boundary = Snapshot(row.head or "", row.snapshot)
        if row.kind is None:
            return Execution(row, boundary, None)
        failure = Failure(
            message=row.message or row.kind,
            kind=row.kind,
            exit_code=row.exit_code,
            step=row.execution,
            last_output=output_tail(self.store.directory / "steps" / row.log, stdout=row.agent is None),
            log=f"steps/{row.log}",
            duration_s=row.duration_s or 0.0,
        )
        return Execution(row, boundary, failure)


def on_failure(handler: Handler) -> bool:
    """Whether a handler has nothing to say about a success."""
    return handler.on not in ("success", 0)


def _working_dir(step: Step, site: Site) -> str:
    root = site.workspace.path
    if step.policy.working_dir is None:
        return str(root)
    below = interpolate_text(step.policy.working_dir, site.scope)
    problem = outside(below)
    if problem is None and not (root / below).resolve().is_relative_to(root.resolve()):
        problem = f"{below} leads out of the worktree"
    if problem:
        raise ProdigyError(f"working_dir: {problem}")
    return str(root / below)


def _agent_call(
    action: Agent, settings: AgentSettings, cwd: str, scope: Scope, files: dict[str, bytes], env: dict[str, str]
) -> tuple[tuple[str, ...], bytes]:
    """(arguments, standard input) of the agent program."""
    given = INPUT_NAMES.intersection(scope)
    text = _BARE_INPUT.sub(lambda name: f"${{{name[1]}}}" if name[1] in given else name[0], action.prompt)
    prompt = interpolate_text(text, scope, INPUT_NAMES)
    files["prompt.txt"] = prompt.encode("utf-8", "surrogateescape")
    request = AgentRequest(
        prompt=prompt,
        directory=cwd,
        command=settings.command,
        model=settings.model,
        args=settings.args,
        as_root=os.geteuid() == 0,
    )
    invocation = agent(action.use).start(request)
    env |= invocation.env
    return invocation.argv, invocation.stdin


def _left_out(execution: str, paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return (
        f"{execution} left {', '.join(paths[:5])}{more} uncommitted, too large or no plain files: they are not part of"
        " the result"
    )


@functools.lru_cache(maxsize=1024)
def compiled(text: str, names: frozenset[str]) -> ShellScript:
    """The script of a shell text; `names` are those of ours in it."""
    return compile_script(text, names)
