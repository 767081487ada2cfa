"""The documentation's table of agents, from what each adapter declares."""

from __future__ import annotations

from prodigy.agents import AGENTS

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
