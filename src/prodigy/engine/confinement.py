"""What agents may touch: from the workflow's `sandbox` and what their programs need, to the rules of a process."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from prodigy.agents.base import Agent as Adapter
from prodigy.errors import CorruptState, EnvironmentProblem
from prodigy.executors import sandbox
from prodigy.executors.base import Confinement, Scratch
from prodigy.git import files
from prodigy.workflow.agent_settings import AgentSettings
from prodigy.workflow.model import Workflow

_PLACES = "sandbox-places.json"


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


def with_settled_places(workflow: Workflow, directory: Path) -> Workflow:
    """The workflow with the places that agents may write, read and not see as the kernel knows them, made if need be.

    They are settled before any agent runs, and stay so for the run, in its `directory`: an agent that may write one of
    them could put a link in its place. Raises EnvironmentProblem when one can't be made, CorruptState for a damaged
    note.
    """
    if not any(settings.sandbox for settings in workflow.agents.known):
        return workflow
    note = directory / _PLACES
    try:
        known: dict[str, str] = json.loads(note.read_bytes()) if note.exists() else {}
    except (OSError, ValueError) as error:
        raise CorruptState("the places that agents may use can't be read", where=str(note)) from error
    agents = tuple(_settled(settings, known) for settings in workflow.agents.known)
    files.replace(note, json.dumps(known).encode())
    return workflow.model_copy(update={"agents": workflow.agents.model_copy(update={"known": agents})})


def _settled(settings: AgentSettings, known: dict[str, str]) -> AgentSettings:
    if settings.sandbox is None:
        return settings
    home = Path(dict(settings.env).get("HOME") or os.environ.get("HOME") or "~").expanduser()

    def real(text: str, *, make: bool) -> str:
        named = str(sandbox.expanded(text, home))
        if named not in known:
            place = Path(named).resolve()
            try:
                if make and not place.exists():
                    place.mkdir(parents=True)
            except OSError as error:
                what = f"`sandbox` of the agent {settings.name!r}: {text} can't be made: {error.strerror}"
                raise EnvironmentProblem(
                    what, where=named, hint="Mend the path under `sandbox`, or make it."
                ) from error
            known[named] = str(place)
        return known[named]

    found = {
        "write": tuple(real(text, make=True) for text in settings.sandbox.write),
        "read": tuple(real(text, make=False) for text in settings.sandbox.read),
        "hide": tuple(real(text, make=False) for text in settings.sandbox.hide),
    }
    return settings.model_copy(update={"sandbox": settings.sandbox.model_copy(update=found)})


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
