"""What holds for all workflows: `.prodigy/config.yml` of the repository, `config.yml` of Prodigy's home, variables of
the environment named `PRODIGY__A__B`. Later ones win."""

from __future__ import annotations

import os
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import Problem, UsageError, WorkflowError
from prodigy.home import home
from prodigy.workflow import keys
from prodigy.workflow.agent_keys import read_agents
from prodigy.workflow.agent_settings import NO_AGENTS, Agents, with_agents_of
from prodigy.workflow.files import parse_document, printable, read_document
from prodigy.workflow.values import Findings, read_keys, read_number, shown
from prodigy.workflow.yaml_compose import Document
from prodigy.workflow.yaml_nodes import Entry, Mapping, Position, Scalar

_PREFIX = "PRODIGY__"
# A configuration file. The others belong to commands of their own.
_KEYS = keys.KeyTable(
    runs=frozenset({"agents", "mcp_servers", "claude", "budget"}),
    later=frozenset({"defaults", "git", "workspace", "retention", "logging"}),
    synonyms={},
)
_BUDGET = keys.KeyTable(runs=frozenset({"per_day_usd"}), later=frozenset(), synonyms={})


@dataclass(frozen=True)
class Configuration:
    """agents: beside those of a workflow, which win. per_day_usd: what all runs of this home may cost in a day."""

    agents: Agents = NO_AGENTS
    per_day_usd: float | None = None


def read_configuration(repository: Path | None, environment: AbstractMapping[str, str] = os.environ) -> Configuration:
    """repository: the root of the user's checkout, None outside of one.

    Raises WorkflowError with all mistakes of a file, UsageError for a file that can't be read or a bad variable.
    """
    places = [repository / ".prodigy" / "config.yml"] if repository else []
    found = Configuration()
    for path in (*places, home() / "config.yml"):
        if path.is_file():
            name = printable(str(path))
            found = _over(found, _of_document(read_document(path, name), name))
    return _over(found, _of_environment(environment))


def _of_document(document: Document, name: str) -> Configuration:
    root, findings = document.root, Findings()
    if isinstance(root, Scalar) and root.kind == "null":
        return Configuration()
    if not isinstance(root, Mapping):
        findings.problem(root.at if root else Position(1, 1), "a configuration is a mapping of keys")
        raise WorkflowError(name, document.problems + findings.problems)
    entries = read_keys(root, _KEYS, "in a configuration", findings)
    agents = read_agents(root, findings)
    if "claude" in entries:
        claude = Mapping({"claude": entries["claude"]}, root.at)
        alone = Mapping({"agents": Entry(entries["claude"].key, claude)}, root.at)
        agents = with_agents_of(read_agents(alone, findings), agents)
    per_day_usd = None
    if "budget" in entries:
        body = entries["budget"].value
        if isinstance(body, Mapping):
            budget = read_keys(body, _BUDGET, "under `budget` in a configuration", findings)
            if "per_day_usd" in budget:
                value = budget["per_day_usd"].value
                per_day_usd = read_number(value, "per_day_usd", findings, least=keys.LEAST_USD)
        else:
            findings.problem(body.at, f"`budget` must be a mapping with `per_day_usd`, got {shown(body)}")
    if problems := document.problems + findings.problems:
        raise WorkflowError(name, problems)
    return Configuration(agents, per_day_usd)


def _of_environment(environment: AbstractMapping[str, str]) -> Configuration:
    """`PRODIGY__BUDGET__PER_DAY_USD=20` is `budget: {per_day_usd: 20}`."""
    found = Configuration()
    for name, value in sorted(environment.items()):
        if not name.startswith(_PREFIX):
            continue
        words = name.removeprefix(_PREFIX).lower().split("__")
        text = "".join(f"{'  ' * depth}{word}:\n" for depth, word in enumerate(words[:-1]))
        text += f"{'  ' * (len(words) - 1)}{words[-1]}: {value}\n"
        try:
            found = _over(found, _of_document(parse_document(text, name), name))
        except WorkflowError as error:
            first: Problem = error.problems[0]
            hint = "It is read as the key of the configuration that its name spells, with `__` between the levels."
            raise UsageError(f"the variable {name}: {first.message}", hint=first.hint or hint) from error
    return found


def _over(below: Configuration, above: Configuration) -> Configuration:
    return Configuration(
        with_agents_of(above.agents, below.agents),
        below.per_day_usd if above.per_day_usd is None else above.per_day_usd,
    )
