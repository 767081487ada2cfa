"""What agents may touch: from the workflow's `sandbox` and what their programs need, to the rules of a process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping

from prodigy.agents.base import Agent as Adapter
from prodigy.errors import EnvironmentProblem
from prodigy.executors import sandbox
from prodigy.executors.base import Confinement, Scratch
from prodigy.workflow.agent_settings import AgentSettings


def confinement_of(settings: AgentSettings, adapter: Adapter, env: Mapping[str, str]) -> Confinement | None:
    """The rules of an agent's process; None: it has the user's rights. env: of the process."""
    wanted = settings.sandbox
    if wanted is None or (wanted.use == "auto" and sandbox.problem() is not None):
        return None
    scratch = tuple(
        Scratch(env.get(state.variable or "") or state.path, state.kept)
        for state in adapter.state
        if state.variable is None or state.path or env.get(state.variable)
    )
    return Confinement(wanted.wrapper, wanted.write, wanted.read, wanted.hide, scratch, wanted.network)


def require_sandboxes(agents: Iterable[AgentSettings]) -> None:
    """Raise EnvironmentProblem when the sandbox of one of these agents is not possible here."""
    for settings in agents:
        if settings.sandbox is None or settings.sandbox.use == "auto":
            continue
        if settings.sandbox.use == "wrapper":
            program = settings.sandbox.wrapper[0]
            if shutil.which(program, path={**os.environ, **dict(settings.env)}.get("PATH", os.defpath)) is None:
                what = f"the program {program!r} that is to be the sandbox of the agent {settings.name!r} is not there"
                raise EnvironmentProblem(what, hint="Install it, or correct `wrapper`.")
        elif (problem := sandbox.problem()) is not None:
            raise EnvironmentProblem(
                f"the agent {settings.name!r} is to have a sandbox, and {problem}",
                hint=f"{sandbox.INSTALL.capitalize()}, see `prodigy doctor`; or write `sandbox: auto` to run without"
                " one where none is possible.",
            )


def missing_sandboxes(agents: Iterable[AgentSettings]) -> list[str]:
    """What to tell of agents that run without the sandbox that they would have elsewhere."""
    names = [settings.name for settings in agents if settings.sandbox is not None and settings.sandbox.use == "auto"]
    problem = sandbox.problem() if names else None
    return [] if problem is None else [f"{', '.join(names)}: no sandbox, because {problem}"]
