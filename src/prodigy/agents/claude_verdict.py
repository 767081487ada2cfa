"""What came of a run of Claude Code, by exit code and the agent's own fields first, by its texts last."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from prodigy.agents import fields
from prodigy.agents.base import Used, Verdict
from prodigy.agents.texts import ended, limit_told

_LONGEST_MESSAGE = 2000
_UNKNOWN_COMMAND = re.compile(r"Unknown (?:slash )?(?:command|skill): ")
# `error` of an assistant event -> our kind. What asks for a person, or a change, is not worth another try as it is.
_BY_ERROR = {
    "rate_limit": "rate_limited",
    "billing_error": "resource_exhausted",
    "authentication_failed": "permission",
    "model_not_found": "validation_failed",
    "invalid_request": "validation_failed",
    "server_error": "command_failed",
    "overloaded": "command_failed",
}
_BY_STATUS = {
    400: "validation_failed",
    401: "permission",
    402: "resource_exhausted",
    403: "permission",
    404: "validation_failed",
    408: "timeout",
    413: "validation_failed",
    422: "validation_failed",
    429: "rate_limited",
}
_BY_SUBTYPE = {
    "error_max_budget_usd": "budget_exceeded",
    "error_max_turns": "resource_exhausted",
    "error_max_structured_output_retries": "validation_failed",
}


@dataclass(frozen=True)
class Result:
    """The result event. status: of the HTTP answer that failed. reason: its `terminal_reason`."""

    ok: bool
    subtype: str
    text: str
    errors: tuple[str, ...]
    status: int | None
    reason: str
    turns: int
    cost_usd: float | None
    used: tuple[Used, ...] | None
    denied: tuple[str, ...]
    structured: bool


@dataclass(frozen=True)
class Seen:
    """What a run has shown so far.

    error, error_text: of the last assistant event, when that was an error. resets_at: of a limit that was told.
    junk: the last lines that were no events. worked: whether any tool call succeeded. wants_structured: whether an
    answer by schema is asked for. messages, used: the newest messages counted, and what all of them used.
    """

    session: str | None = None
    result: Result | None = None
    error: str | None = None
    error_text: str = ""
    resets_at: float | None = None
    junk: tuple[str, ...] = ()
    worked: bool = False
    wants_structured: bool = False
    messages: tuple[str, ...] = ()
    used: tuple[Used, ...] = ()


class _Judgement(NamedTuple):
    kind: str | None
    message: str
    transient: bool = False


def judge(seen: Seen, exit_code: int | None, stderr: str = "") -> Verdict:
    """See `base.Agent.verdict`."""
    result = seen.result
    if result is None:
        kind, message, transient = _without_result(seen, exit_code, stderr)
    elif not result.ok:
        kind, message, transient = _refused(seen, result)
    elif exit_code not in (0, None):
        kind, message, transient = _Judgement("command_failed", f"{ended(exit_code)} after it had reported success")
    else:
        kind, message, transient = _of_success(seen, result)
    used = result.used if result else None
    cost_usd = result.cost_usd if result else None
    if seen.used and not sum(one.tokens.total for one in used or ()):
        used = seen.used
        if cost_usd == 0:
            cost_usd = None  # interrupted in its first answer it says 0, but what it had asked for is paid
    return Verdict(
        kind,
        message[:_LONGEST_MESSAGE],
        text=result.text if result else "",
        cost_usd=cost_usd,
        tokens=None if used is None else sum(one.tokens.total for one in used),
        used=used or (),
        session=seen.session,
        denied=result.denied if result else (),
        resets_at=seen.resets_at if kind == "rate_limited" else None,
        transient=transient,
    )


def _of_success(seen: Seen, result: Result) -> _Judgement:
    """It says that all went well: did it?"""
    if result.turns == 0 and _UNKNOWN_COMMAND.match(result.text):
        return _Judgement("validation_failed", f"{fields.last_line(result.text)} (the agent has no such slash command)")
    if seen.wants_structured and not result.structured:
        return _Judgement("validation_failed", "the answer does not follow the JSON schema that was asked for")
    tools = ", ".join(result.denied)
    if result.denied and not seen.worked:
        return _Judgement("permission", f"every tool that the agent tried was denied or failed; denied: {tools}")
    return _Judgement(None, f"tools were denied to the agent: {tools}" if tools else "")


def _refused(seen: Seen, result: Result) -> _Judgement:
    texts = [text for text in (result.text, *result.errors) if text.strip()]
    message = "; ".join(texts) or seen.error_text or f"the agent failed ({result.subtype or 'no reason given'})"
    if kind := _BY_SUBTYPE.get(result.subtype):
        return _Judgement(kind, message)
    if result.reason.startswith("aborted"):
        return _Judgement("command_failed", "the agent was interrupted before it had finished")
    if result.status == 429:
        return _Judgement("rate_limited", message, transient=True)
    kind = _BY_ERROR.get(seen.error or "") or _BY_STATUS.get(result.status or 0)
    if result.status is not None and result.status >= 500:
        return _Judgement("command_failed", f"{message} (server error, HTTP status {result.status})", transient=True)
    if kind is None and limit_told(message):
        kind = "rate_limited"
    transient = kind in ("rate_limited", "timeout") or seen.error in ("server_error", "overloaded")
    return _Judgement(kind or "command_failed", message, transient)


def _without_result(seen: Seen, exit_code: int | None, stderr: str) -> _Judgement:
    told = fields.last_line(stderr, 500) or fields.last_line(seen.error_text, 500) or " / ".join(seen.junk)
    message = f"{ended(exit_code)} without a result" + (f": {told}" if told else "")
    if exit_code == 0 or exit_code is None:
        return _Judgement("unknown", message)
    if seen.error == "rate_limit" or limit_told(told):
        return _Judgement("rate_limited", message, transient=True)
    return _Judgement(_BY_ERROR.get(seen.error or "", "command_failed"), message)
