"""Words for people about agents: their limits, and what they have cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from prodigy.cli.words import counted, printable
from prodigy.state.rate_limit import clock


def gate_words(agent: str, cause: str, until: float, message: str) -> str:
    """Why no agent of an account starts, and until when. until: UNIX time, seconds."""
    what = "is at its limit" if cause == "rate_limit" else "does not answer"
    why = f": {printable(message)}" if message else ""
    return f"{agent} {what} until {clock(until, time.time())}{why}"


def spend_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """What agents have cost, for people."""
    spend = summary["spend"]
    cost = "cost unknown" if summary["cost_usd"] is None else f"${summary['cost_usd']:.2f}"
    about = "about " if spend["estimated_usd"] else ""
    cached = f", {spend['cache_read_tokens']:,} of them read from the cache" if spend["cache_read_tokens"] else ""
    yield f"  agents: {about}{cost}, {summary['tokens']:,} tokens in all{cached}"
    if spend["wasted_usd"]:
        yield f"  wasted: ${spend['wasted_usd']:.2f} on work that failed or was repeated"
    if spend["of_unknown_cost"] and summary["cost_usd"] is not None:
        yield f"  not in it: {counted(spend['of_unknown_cost'], 'agent')} that can't tell the cost"
