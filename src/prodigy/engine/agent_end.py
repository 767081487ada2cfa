"""How an agent's process comes to its end, and what follows from that for its step."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from prodigy.agents.base import AgentEvent, Verdict
from prodigy.engine.admission import Admission, Admissions
from prodigy.engine.following import Following
from prodigy.engine.verdict import agent_verdict, output_tail, written_at
from prodigy.executors.base import Exit
from prodigy.executors.warden import COMMAND
from prodigy.workflow.agent_settings import Agents
from prodigy.workflow.keys import PUSH_CREDENTIALS
from prodigy.workflow.model import Agent

# Why a step runs again although its agent has ended: it is not to blame, and neither is the item.
RATE_LIMITED, AGENT_DOWN, BUDGET_EXCEEDED = "rate_limited", "agent_down", "budget_exceeded"

# Kinds of failures that a variable which is not there may have.
_MAY_LACK = ("command_failed", "permission", "unknown")
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b")


async def until_over(directory: Path, admission: Admission, admissions: Admissions) -> str:
    """Follow what the agent prints until it is to be ended; why."""

    def hear(event: AgentEvent, said_at: float) -> None:
        admissions.hear(admission, event, said_at)

    def over() -> str | None:
        return "budget" if admission.meter.is_over else None

    return await Following(admission.adapter, directory, hear, over).until_over()


async def has_succeeded(directory: Path, admission: Admission) -> bool:
    """Whether the agent reported success before it was ended: that work is done and paid for."""
    told = await last_word(directory, Exit(None, "stopped", 0.0, 0.0), admission)
    return told is not None and told.kind is None


async def last_word(directory: Path, exit_: Exit, admission: Admission) -> Verdict | None:
    """What the agent says of itself. One that ran over the limit that we watch has exceeded its budget."""
    told = await asyncio.to_thread(agent_verdict, admission.adapter, directory, exit_, admission.model)
    if told is not None and told.kind is not None and exit_.reason == "stopped" and admission.meter.is_over:
        return replace(told, kind="budget_exceeded", message=f"it was ended at {admission.meter.words}")
    return told


def blameless(
    admissions: Admissions, admission: Admission, told: Verdict, agents: Agents, action: Agent, directory: Path
) -> str | None:
    """Why the step is to run again, when the agent ended for a reason that is neither its own nor the item's; else
    None. Closes the gate where that follows from it."""
    said_at = written_at(directory)
    if told.kind == "rate_limited":
        admissions.refused(admission, told, said_at)
        return RATE_LIMITED
    if admissions.is_down(admission, told, agents, action, said_at):
        return AGENT_DOWN
    if told.kind == "budget_exceeded" and admission.reservation.is_the_runs:
        return BUDGET_EXCEEDED
    return None


def can_go_on(admission: Admission, told: Verdict) -> bool:
    """Whether the agent has begun something in a session that can go on."""
    return admission.adapter.abilities.resume and told.session is not None and bool(told.tokens)


def worked_in(directory: Path) -> str | None:
    """The directory in which the process of an execution began; None when that is not known any more."""
    command = _command(directory)
    return None if command is None else str(command.get("cwd"))


def lacks(told: Verdict, directory: Path, name: str, users: Iterable[str]) -> Verdict:
    """The verdict of an agent that failed, with the cure where it names a variable of the user's that it did not get.

    users: the names of all of them.
    """
    command = _command(directory)
    if told.kind not in _MAY_LACK or command is None:
        return told
    said = set(_VARIABLE.findall(f"{told.message}\n{output_tail(directory, stdout=False)}"))
    if not (missed := sorted(said & set(users) - set(command.get("env_names", ())))):
        return told
    names = ", ".join(missed)
    way = "push_credentials: true" if PUSH_CREDENTIALS & set(missed) else f"pass_env: [{names}]"
    cure = f"agents get only some of your variables: `agents: {{{name}: {{{way}}}}}` gives it {names} too"
    return replace(told, message=f"{told.message} ({cure})" if told.message else cure)


def _command(directory: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((directory / COMMAND).read_text())
    except (OSError, ValueError):
        return None
    return found
