"""One module per agent program: how to start it and how to read its output. Other packages add theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from prodigy import plugins
from prodigy.agents.base import Agent
from prodigy.errors import UsageError
from prodigy.workflow.agent_keys import kinds

# An installed package adds a kind by an entry point of the group `prodigy.agents`, which names an `Agent`.
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
    if kind in kinds():
        plugin, found = plugins.load(plugins.AGENTS, kind)
        theirs: Agent = plugins.guarded(plugin, found)
        return theirs
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
