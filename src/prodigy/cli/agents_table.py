"""The documentation's tables of agents, from what each adapter declares."""

from __future__ import annotations

from collections.abc import Iterable

from prodigy.agents import AGENTS
from prodigy.agents.claude import SWITCHES
from prodigy.agents.variables import read_by

_COST = {"reported": "its own word", "estimated": "estimated from tokens", "unknown": "unknown"}


def agents_table() -> str:
    """A row for each kind, as Markdown."""
    head = (
        "| kind | cost | tokens | tells when a limit ends | its own cap on cost | sessions go on | servers of tools"
        " | system prompt | says what it does |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    rows = []
    for kind, adapter in AGENTS.items():
        can = adapter.abilities
        marks = (
            can.tokens, can.reset_time, can.cost_cap, can.resume, can.mcp, can.system_prompt, can.live,
        )  # fmt: skip
        rows.append(f"| `{kind}` | {_COST[can.cost]} | " + " | ".join("yes" if mark else "no" for mark in marks) + " |")
    return "\n".join([head, *rows])


def agent_variables_table() -> str:
    """A row for each kind with the user's variables that its program reads, as Markdown."""
    rows = ["| kind | reads of your environment |", "| --- | --- |"]
    for kind, adapter in AGENTS.items():
        rows.append(f"| `{kind}` | {_names(read_by(adapter, {})) or 'nothing'} |")
        if kind == "claude":
            rows += [f"| `claude` with `{switch}` | {_names(names)} besides |" for switch, names in SWITCHES.items()]
    return "\n".join(rows)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
