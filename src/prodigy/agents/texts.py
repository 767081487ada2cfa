"""What agents' error messages mean, for programs that tell no more than a text. Never asked of an answer."""

from __future__ import annotations

import re
import signal
from typing import NamedTuple

_LIMIT = re.compile(
    r"\bhit your (?:[\w-]+ )?limit\b|\busage limit\b|\b(?:session|weekly|5-hour|rate) ?limit(?:s|ed)?\b"
    r"|\bout of extra usage\b|\btoo many requests\b|\bquota exceeded\b|\bexceeded your (?:current )?quota\b"
    r"|\bRESOURCE_EXHAUSTED\b|\b(?:status(?: code)?|error)\W{0,3}429\b",
    re.IGNORECASE,
)


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(rf"\b(?:{pattern})\b" for pattern in patterns), re.IGNORECASE)


# (what the text says, kind, transient); the first that fits decides.
_KINDS = (
    (_words("credit balance", "billing", "insufficient[_ ](?:quota|funds)"), "resource_exhausted", False),
    (
        _words("40[13]", "unauthori[sz]ed", "forbidden", "invalid (?:x-)?api[ _-]?key", "not logged in",
            r"authenticat\w+"),
        "permission",
        False,
    ),
    (_words("context (?:window|length)", "prompt is too long"), "resource_exhausted", False),
    (
        _words(
            r"5\d\d", "overloaded", "high demand", "server error", "stream disconnected", "fetch failed", "unavailable",
            "connection (?:error|refused|reset|closed)", "ECONN[A-Z]+", "could not connect",
        ),
        "command_failed",
        True,
    ),
    (_words("400|404|422", "model .{0,60}not found", "unknown model"), "validation_failed", False),
)  # fmt: skip


class Meaning(NamedTuple):
    """kind: of the error. transient: whether the same call may well succeed a little later."""

    kind: str
    transient: bool


def limit_told(text: str) -> bool:
    """Whether the text of a failure speaks of a limit of the account."""
    return _LIMIT.search(text) is not None


def meaning(text: str) -> Meaning:
    """What the message of a failure says about its kind; `command_failed` when it says nothing."""
    if limit_told(text):
        return Meaning("rate_limited", True)
    for pattern, kind, transient in _KINDS:
        if pattern.search(text):
            return Meaning(kind, transient)
    return Meaning("command_failed", False)


def ended(exit_code: int | None) -> str:
    """`the agent exited with code 1`, `the agent was ended by SIGTERM`."""
    if not exit_code:
        return "the agent ended"
    number = exit_code - 128 if exit_code > 128 else -exit_code
    if number in {known.value for known in signal.Signals}:
        return f"the agent was ended by {signal.Signals(number).name} (exit code {exit_code})"
    return f"the agent exited with code {exit_code}"


def without_result(exit_code: int | None, told: str) -> tuple[str, str, bool]:
    """(kind, message, transient) of an agent that ended without its last word. told: the last thing it printed."""
    message = f"{ended(exit_code)} without a result" + (f": {told}" if told else "")
    if not exit_code:
        return "unknown", message, False
    found = meaning(told)
    return found.kind, message, found.transient
