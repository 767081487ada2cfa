"""The process of one execution: started, adopted, waited for, and ended when it must be."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field, replace
from typing import Any

from prodigy.engine.admission import Admission, Admissions
from prodigy.engine.agent_end import RATE_LIMITED, has_succeeded, until_over, worked_in
from prodigy.engine.composite import is_composite
from prodigy.engine.control import Control, Interrupted
from prodigy.engine.environment import RunEnvironment
from prodigy.engine.site import Site
from prodigy.engine.spec import spec_of
from prodigy.engine.summary import Counters
from prodigy.engine.time_limits import is_used_up, usual_timeout_s, within
from prodigy.engine.verdict import MAX_STATEMENT, lost
from prodigy.errors import ProdigyError
from prodigy.executors.base import Exit, ExitReason, ProcessState, Snapshot
from prodigy.git.command import GitError
from prodigy.secrets import mask
from prodigy.state import events as ev
from prodigy.store.ports import Block, block_of
from prodigy.store.rows import StepRow
from prodigy.store.store import Store
from prodigy.workflow.interpolate import Unresolved
from prodigy.workflow.model import Step
from prodigy.workflow.shell_words import BindError


@dataclass
class StepProcesses:
    """Starts and ends the processes of steps. `shell` is the path of bash."""

    store: Store
    control: Control
    shell: str
    environment: RunEnvironment
    counters: Counters
    admissions: Admissions
    _blocks: dict[str, Block] = field(default_factory=dict)

    async def resumed(
        self, step: Step, last: StepRow, site: Site, before: Snapshot, admission: Admission | None
    ) -> tuple[str | None, Exit | None]:
        """(execution, exit) of a step that an earlier coordinator started; (None, None): run it anew."""
        workspace, execution = site.workspace, last.execution
        if is_composite(step):
            return execution, None
        match workspace.state(execution):
            case ProcessState.ABSENT:
                return execution, None
            case ProcessState.RUNNING:
                self.store.record(ev.StepAdopted(path=execution))
        exit_ = await self._wait(execution, site, before, admission)
        if exit_ is not None:
            return execution, exit_
        await self.undo(execution, site, before, "lost", admission)
        return None, None

    async def start_and_wait(
        self, step: Step, execution: str, site: Site, before: Snapshot, admission: Admission | None
    ) -> Exit:
        if is_used_up(self.store, site.limit):
            return Exit(None, "not_started", 0.0, 0.0, "no time is left for it")
        site = replace(site, env={**site.env, **await self._of_the_slot(site.workspace.slot)})
        try:
            outer = site.env
            site, env = await self.environment.at_step(step, site, admission)
            site = replace(site, scope=site.scope.with_names({"env": {**outer, **site.env}}))
            if site.scope.specials is not None:
                await site.scope.specials.run_commands(step, site.env, self.shell)
            spec = spec_of(step, execution, site, env, self.shell, admission)
            spec = within(self.store, site.limit, step, execution, spec, usual_timeout_s(site.workflow))
        except ProdigyError as error:  # values that do not fit their places
            hint = f" ({error.hint})" if error.hint else ""
            reason: ExitReason = "unfit" if _blames_the_item(error) else "not_started"
            return Exit(None, reason, 0.0, 0.0, mask(f"{error.what}{hint}")[:MAX_STATEMENT])
        self.counters.steps_run += 1
        await site.workspace.start(execution, spec)
        exit_ = await self._wait(execution, site, before, admission)
        if exit_ is None:
            await site.workspace.kill_leftovers(execution)
            return Exit(None, "lost", 0.0, 0.0)
        return exit_

    async def _of_the_slot(self, slot: str) -> dict[str, str]:
        """What the environment of a step says of its slot. Raises EnvironmentProblem when no ports are left for it."""
        if slot not in self._blocks:
            self._blocks[slot] = await asyncio.to_thread(block_of, self.store.directory.name, slot)
        block = self._blocks[slot]
        return {"PRODIGY_SLOT": str(block.number), "PRODIGY_PORT_BASE": str(block.base)}

    async def _wait(self, execution: str, site: Site, before: Snapshot, admission: Admission | None) -> Exit | None:
        """Wait for the step's end; when the user wants it ended, end it and take it back. An agent that is done, or
        over its limit, is ended. None: it was lost."""
        directory = site.workspace.directory(execution)
        waiting = asyncio.ensure_future(site.workspace.wait(execution))
        ending = asyncio.ensure_future(self.control.wait_for_end())
        following = asyncio.ensure_future(until_over(directory, admission, self.admissions)) if admission else None
        try:
            tasks: list[asyncio.Future[Any]] = [waiting, ending, *([following] if following else [])]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                await site.workspace.stop(execution)
            exit_ = await waiting
        finally:
            for task in tasks:
                task.cancel()
        if exit_ is not None and exit_.reason != "stopped":
            return exit_
        if following is not None and following.done() and not following.cancelled():
            following.result()  # raises what went wrong with it
            return exit_
        if admission is not None and await has_succeeded(directory, admission):
            await site.workspace.kill_leftovers(execution)
            return exit_ or Exit(None, "lost", 0.0, 0.0)
        if exit_ is None or not self.control.ending:
            return None  # lost, or ended for a coordinator that did not live to record it
        await self.undo(execution, site, before, "interrupted", admission)
        raise Interrupted

    async def undo(
        self,
        execution: str,
        site: Site,
        before: Snapshot,
        reason: str,
        admission: Admission | None,
        *,
        keep_work: bool = False,
    ) -> None:
        """The step will run again: nothing it started may live on, and its half-done work is set aside.

        keep_work: it stays in the worktree, for the agent's session to go on with.
        """
        await site.workspace.kill_leftovers(execution)
        with contextlib.suppress(GitError, OSError):  # where nothing can be read, nothing is left to keep
            await site.keep(await site.workspace.snapshot(), False)
        if not keep_work:
            await site.workspace.restore(before)
        kind = admission.kind if admission else None
        reserved = admission.reservation.usd if admission else None
        directory, model = site.workspace.directory(execution), admission.model if admission else None
        event = await asyncio.to_thread(lost, execution, reason, kind, directory, reserved, model)
        self.store.record(event)
        if admission is not None:
            self.admissions.ended(admission, event.cost_usd, event.tokens, finished=False)

    async def go_on_or_afresh(self, admission: Admission, path: str, site: Site, before: Snapshot) -> None:
        """An agent that a limit has stopped goes on with its session, where its work is; any other one begins where
        the step does."""
        rows = self.store.executions(path)
        last = rows[-1] if rows and rows[-1].state == "lost" and rows[-1].message == RATE_LIMITED else None
        if last is None or last.session is None:
            return
        here = worked_in(site.workspace.directory(last.execution)) == str(site.workspace.path)
        if here and last.agent == admission.name and admission.adapter.abilities.resume and last.tokens:
            admission.session = last.session
        else:
            await site.workspace.restore(before)


def _blames_the_item(error: ProdigyError) -> bool:
    """Whether it is a value of the item itself that does not fit, which no retry changes."""
    path = error.path if isinstance(error, Unresolved) else ""
    if isinstance(error, BindError):
        path = error.placeholder.removeprefix("${")
    return re.match(r"item\b(?!_)", path) is not None
