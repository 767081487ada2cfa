"""One module per agent program: how to start it and how to read its output. Other packages add theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from prodigy.agents.base import Agent
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.workflow.agent_keys import PLUGINS, kinds

# An installed package adds a kind by an entry point of the group PLUGINS: `name = "module:object"`, an `Agent`.
_OURS = {
    "claude": "prodigy.agents.claude:Claude",
    "codex": "prodigy.agents.codex:Codex",
    "gemini": "prodigy.agents.gemini:Gemini",
    "opencode": "prodigy.agents.opencode:OpenCode",
    "aider": "prodigy.agents.aider:Aider",
    "acp": "prodigy.agents.acp:Acp",
    "command": "prodigy.agents.command:Command",
}


@cache
def agent(kind: str) -> Agent:
    """The adapter of a kind, as workflows name it. Raises UsageError when there is none, EnvironmentProblem for one of
    another package that does not load."""
    if kind in _OURS:
        module, _, name = _OURS[kind].partition(":")
        ours: Agent = getattr(import_module(module), name)()
        return ours
    for point in entry_points(group=PLUGINS, name=kind):
        try:
            loaded = point.load()
            found: Agent = loaded() if isinstance(loaded, type) else loaded
        except Exception as error:
            package = point.dist.name if point.dist else "?"
            what = f"the agent kind {kind!r} of the package {package} does not load: {error}"
            raise EnvironmentProblem(what, hint="Update or remove that package.") from error
        return found
    raise UsageError(f"there is no agent of kind {kind!r}", hint=f"known kinds: {', '.join(sorted(kinds()))}")


class _Agents(Mapping[str, Agent]):
    """Every adapter by its kind, loaded when it is asked for."""

    def __getitem__(self, kind: str) -> Agent:
        if kind not in kinds():
            raise KeyError(kind)
        return agent(kind)

    def __iter__(self) -> Iterator[str]:
        return iter(kinds())

    def __len__(self) -> int:
        return len(kinds())


AGENTS: Mapping[str, Agent] = _Agents()
