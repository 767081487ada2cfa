"""The versions of agent programs, asked once in a process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from dataclasses import dataclass, field

from prodigy.agents.base import Agent
from prodigy.workflow.agent_settings import AgentSettings

_PATIENCE_S = 15.0
_NUMBERS = re.compile(rb"\d+(?:\.\d+)+")


@dataclass
class AgentVersions:
    """Versions by program and first arguments, as numbers; () for one that does not tell."""

    _known: dict[tuple[str, ...], asyncio.Task[tuple[int, ...]]] = field(default_factory=dict)

    async def of(self, adapter: Agent, settings: AgentSettings) -> tuple[int, ...]:
        if not adapter.tells_version:
            return ()
        command = settings.command or (adapter.program,)
        if command not in self._known:
            self._known[command] = asyncio.create_task(_asked(command, dict(settings.env)))
        return await asyncio.shield(self._known[command])


async def _asked(command: tuple[str, ...], env: dict[str, str]) -> tuple[int, ...]:
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, "--version", stdin=nothing, stdout=pipe, stderr=nothing, env={**os.environ, **env}
        )
    except OSError:
        return ()  # it will be told when the step starts
    try:
        async with asyncio.timeout(_PATIENCE_S):
            said, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return ()
    found = _NUMBERS.search(said)
    return tuple(int(number) for number in found[0].split(b".")) if found else ()
