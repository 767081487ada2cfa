"""One module per agent program: how to start it and how to read its output."""

from __future__ import annotations

from prodigy.agents.base import Agent
from prodigy.agents.claude import Claude
from prodigy.errors import UsageError

AGENTS: dict[str, Agent] = {"claude": Claude()}


def agent(kind: str) -> Agent:
    """The agent of a kind, as workflows name it (`claude`). Raises UsageError for any other."""
    if kind not in AGENTS:
        raise UsageError(f"there is no agent of kind {kind!r}", hint=f"known kinds: {', '.join(sorted(AGENTS))}")
    return AGENTS[kind]
