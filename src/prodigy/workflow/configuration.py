"""What holds for all workflows: `.prodigy/config.yml` of the repository, `config.yml` of Prodigy's home, variables of
the environment named `PRODIGY__A__B`. Later ones win, key by key.

A repository's file is somebody's code, as its workflows are: it may say what a workflow may say. What would remove or
write files of the user's is theirs to say.
"""

from __future__ import annotations

import os
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass, field
from pathlib import Path

from prodigy.errors import Problem, WorkflowError
from prodigy.home import home
from prodigy.workflow.agent_keys import read_agents
from prodigy.workflow.agent_settings import NO_AGENTS, Agents
from prodigy.workflow.configuration_keys import (
    ROOT,
    Logging,
    read_branch_prefix,
    read_configured,
    read_logging,
    read_per_day,
    read_retention,
)
from prodigy.workflow.configuration_layers import PREFIX, VARIABLES, Layer, layers, leaves, whole
from prodigy.workflow.model import NOTHING_CONFIGURED, Configured
from prodigy.workflow.scripts import KnownScripts, NothingKnown
from prodigy.workflow.values import Findings, read_keys
from prodigy.workflow.yaml_nodes import Mapping

NOT_OF_A_REPOSITORY = ("retention", "logging.file")


@dataclass(frozen=True)
class Configuration:
    """agents: beside those of a workflow, which win. per_day_usd: what all runs of this home may cost in a day.
    configured: what counts where a workflow says nothing. branch_prefix: of a run's branches, None: the built-in one.
    retention: (what, age in seconds) of what goes when it is older."""

    agents: Agents = NO_AGENTS
    per_day_usd: float | None = None
    configured: Configured = NOTHING_CONFIGURED
    branch_prefix: str | None = None
    retention: tuple[tuple[str, float], ...] = ()
    logging: Logging = field(default_factory=Logging)


def read_configuration(
    repository: Path | None,
    environment: AbstractMapping[str, str] = os.environ,
    known: KnownScripts | None = None,
) -> Configuration:
    """repository: the root of the user's checkout, None outside of one. known: as in `load`.

    Raises WorkflowError with all mistakes of all places, UsageError for a file that can't be read.
    """
    found = layers(repository, environment)
    if problems := problems_of(found, known):
        raise WorkflowError(problems[0].file, problems)
    return _read(whole(found), known or NothingKnown(), Findings())


def problems_of(found: AbstractSequence[Layer], known: KnownScripts | None = None) -> list[Problem]:
    """All mistakes of all layers, also in values that another layer covers."""
    problems = [problem for layer in found for problem in layer.problems]
    for layer in found:
        if layer.root is None:
            continue
        findings = Findings()
        # On top of all others: none of it is covered, and what it refers to is there.
        _read(whole([*(other for other in found if other is not layer), layer]), known or NothingKnown(), findings)
        problems += findings.problems
        problems += _misplaced(layer) if layer.kind == "repository" else []
    return sorted({_of_variable(problem) for problem in problems}, key=lambda one: (one.file, one.line, one.column))


def _read(root: Mapping, known: KnownScripts, findings: Findings) -> Configuration:
    entries = read_keys(root, ROOT, "in a configuration", findings)
    return Configuration(
        agents=read_agents(root, findings),
        per_day_usd=read_per_day(entries, findings),
        configured=read_configured(entries, known, findings),
        branch_prefix=read_branch_prefix(entries, findings),
        retention=read_retention(entries, findings),
        logging=read_logging(entries, home(), findings),
    )


def _misplaced(layer: Layer) -> list[Problem]:
    """What a repository may not say for its users."""
    assert layer.root is not None
    hint = f"write it in {home() / 'config.yml'}"
    return [
        Problem(entry.key.at.line, entry.key.at.column, f"`{key}` is not a repository's to say", hint, layer.name)
        for key, entry in leaves(layer.root)
        if key.startswith(NOT_OF_A_REPOSITORY)
    ]


def _of_variable(problem: Problem) -> Problem:
    """A variable has no lines; its name spells the key."""
    if problem.file in VARIABLES:
        return Problem(0, 0, problem.message, f"It is read as `{VARIABLES[problem.file]}`.", problem.file)
    if not problem.file.startswith(PREFIX):
        return problem
    spelt = "It is read as the key of the configuration that its name spells, with `__` between the levels."
    return Problem(0, 0, problem.message, problem.hint or spelt, problem.file)
