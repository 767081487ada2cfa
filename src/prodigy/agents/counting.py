"""Sums of what models used."""

from __future__ import annotations

from dataclasses import replace

from prodigy.agents.base import Used


def added(used: tuple[Used, ...], more: Used) -> tuple[Used, ...]:
    """The sums by model with some more. A cost that is not told makes the sum unknown."""
    for place, one in enumerate(used):
        if one.model == more.model:
            known = one.cost_usd is not None and more.cost_usd is not None
            cost = (one.cost_usd or 0.0) + (more.cost_usd or 0.0) if known else None
            both = replace(one, tokens=one.tokens + more.tokens, cost_usd=cost)
            return (*used[:place], both, *used[place + 1 :])
    return (*used, more)
