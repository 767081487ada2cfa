"""Where configuration stands: files and variables of the environment, each a layer of YAML nodes, put over one another.

Layers are put together node by node, so that what is read from the whole, and where each value is said to come from,
can't differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from prodigy.errors import Problem, UsageError, WorkflowError
from prodigy.home import home
from prodigy.workflow import keys
from prodigy.workflow.files import parse_document, printable, read_document
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar

PREFIX = "PRODIGY__"
# Variables that the earlier system had, and the keys they stand for.
VARIABLES = {
    "PRODIGY_AUTO_CLEANUP": "git.auto_cleanup",
    "PRODIGY_COMMAND_TIMEOUT": "defaults.timeout",
    "PRODIGY_LOG_LEVEL": "logging.level",
    "PRODIGY_MAX_CONCURRENT": "defaults.parallel_worktrees",
    "PRODIGY_RETENTION_DAYS": "retention.runs",
}
_IN_DAYS = "PRODIGY_RETENTION_DAYS"

Kind = Literal["repository", "home", "environment"]
Path_ = tuple[str, ...]

_SYNONYMS: dict[Path_, dict[str, str]] = {
    ("workspace",): keys.WORKSPACE.synonyms,
    ("workspace", "limits"): keys.WORKSPACE_LIMITS.synonyms,
}


@dataclass(frozen=True)
class Layer:
    """One place of configuration. name: of its file, or of the variables. root: None when it says nothing or can't be
    read. problems: why it can't."""

    kind: Kind
    name: str
    root: Mapping | None = None
    problems: tuple[Problem, ...] = ()


def layers(repository: Path | None, environment: AbstractMapping[str, str]) -> list[Layer]:
    """All of them, the weakest first; those that are not there have no root. repository: the root of the user's
    checkout, None outside of one."""
    files: list[tuple[Kind, Path]] = [("repository", repository / ".prodigy" / "config.yml")] if repository else []
    files.append(("home", home() / "config.yml"))
    return [*(_of_file(kind, path) for kind, path in files), _of_environment(environment)]


def whole(found: Iterable[Layer]) -> Mapping:
    """The layers over one another, the last one on top."""
    root = Mapping({}, Position(1, 1))
    for layer in found:
        root = _over(root, layer.root, ()) if layer.root else root
    return root


def leaves(root: Mapping, path: Path_ = ()) -> Iterator[tuple[str, Entry]]:
    """(key such as `budget.per_day_usd`, its entry) of all that is taken from one layer or another as a whole."""
    for name, entry in root.entries.items():
        at = (*path, name)
        if isinstance(entry.value, Mapping) and _has_parts(at):
            yield from leaves(entry.value, at)
        else:
            yield ".".join(at), entry


def _has_parts(path: Path_) -> bool:
    """Whether layers are put over one another key by key there."""
    return len(path) == 1 or (len(path) == 2 and (path[0] == "agents" or path == ("workspace", "limits")))


def _over(below: Mapping, above: Mapping, path: Path_) -> Mapping:
    entries = dict(below.entries)
    for name, entry in above.entries.items():
        at, under = (*path, name), entries.get(name)
        if under and isinstance(under.value, Mapping) and isinstance(entry.value, Mapping) and _has_parts(at):
            entries[name] = Entry(entry.key, _over(under.value, entry.value, at))
        else:
            entries[name] = entry
    return Mapping(entries, above.at)


# One layer -------------------------------------------------------------------------------------------------


def _of_file(kind: Kind, path: Path) -> Layer:
    name = printable(str(path))
    if not path.is_file():
        return Layer(kind, name)
    try:
        document = read_document(path, name)
    except WorkflowError as error:
        return Layer(kind, name, problems=tuple(replace(one, file=name) for one in error.problems))
    except UsageError as error:
        raise UsageError("the configuration cannot be read", where=name, hint=error.what) from error
    return _layer(kind, name, document.root, document.problems)


def _of_environment(environment: AbstractMapping[str, str]) -> Layer:
    """`PRODIGY__BUDGET__PER_DAY_USD=20` is `budget: {per_day_usd: 20}`."""
    given = [(name, key.split("."), environment[name]) for name, key in VARIABLES.items() if environment.get(name)]
    given += [
        (name, name.removeprefix(PREFIX).lower().split("__"), value)
        for name, value in sorted(environment.items()) if name.startswith(PREFIX)
    ]  # fmt: skip
    root, problems = Mapping({}, Position(0, 0)), list[Problem]()
    for name, words, value in given:
        layer = _of_variable(name, words, f"{value}d" if name == _IN_DAYS and value.isdecimal() else value)
        problems += layer.problems
        root = _over(root, layer.root, ()) if layer.root else root
    return Layer("environment", "the environment", root if root.entries else None, tuple(problems))


def _of_variable(name: str, words: list[str], value: str) -> Layer:
    text = "".join(f"{'  ' * depth}{word}:\n" for depth, word in enumerate(words[:-1]))
    text += f"{'  ' * (len(words) - 1)}{words[-1]}: {value}\n"
    try:
        document = parse_document(text, name, name)
    except WorkflowError as error:
        return Layer("environment", name, problems=tuple(replace(one, file=name) for one in error.problems))
    return _layer("environment", name, document.root, document.problems)


def _layer(kind: Kind, name: str, root: Node | None, problems: list[Problem]) -> Layer:
    if isinstance(root, Mapping):
        return Layer(kind, name, _canonical(_with_claude_below_agents(root), ()), tuple(problems))
    if root is None or (isinstance(root, Scalar) and root.kind == "null"):
        return Layer(kind, name, None, tuple(problems))
    wrong = Problem(root.at.line, root.at.column, "a configuration is a mapping of keys", file=name)
    return Layer(kind, name, None, (*problems, wrong))


def _with_claude_below_agents(root: Mapping) -> Mapping:
    """`claude: {...}` is `agents: {claude: {...}}`."""
    entries = dict(root.entries)
    claude = entries.pop("claude", None)
    if claude is None:
        return root
    alone = Mapping({"agents": Entry(claude.key, Mapping({"claude": claude}, claude.key.at))}, root.at)
    return _over(Mapping(entries, root.at), alone, ())


def _canonical(root: Mapping, path: Path_) -> Mapping:
    """With one name for each thing, so that layers meet."""
    synonyms = _SYNONYMS.get(path, keys.AGENT.synonyms if path[:1] == ("agents",) and len(path) == 2 else {})
    entries = {}
    for name, entry in root.entries.items():
        meant = synonyms.get(name, name)
        own = meant if meant not in root.entries else name
        deeper = isinstance(entry.value, Mapping) and _has_parts((*path, own))
        value = _canonical(entry.value, (*path, own)) if deeper and isinstance(entry.value, Mapping) else entry.value
        entries[own] = Entry(entry.key, value)
    return Mapping(entries, root.at)
