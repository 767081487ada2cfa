"""What a failure becomes: its kind, its signature, and the dead letter that keeps all that a retry needs.

Pure, and quick for any text: of a very long message only both ends are read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from prodigy.plan.identity import Item
from prodigy.state.signature import ends, signature

# Every kind of error there is. Agents and the engine name them, `retry_on` and filters ask for them.
ErrorKind = Literal[
    "timeout", "command_failed", "commit_validation_failed", "worktree_error", "merge_conflict", "validation_failed",
    "resource_exhausted", "unknown", "rate_limited", "budget_exceeded", "agent_hung", "interrupted", "lost",
    "permission", "history_rewritten", "tampered", "check_rejected", "invalid_item",
]  # fmt: skip
KINDS: frozenset[ErrorKind] = frozenset(get_args(ErrorKind))
# Kinds that cannot change by themselves: running the item again as it is would fail again.
NOT_ELIGIBLE: frozenset[ErrorKind] = frozenset({"invalid_item", "permission"})
# Kinds and texts that a person should look at before trying again.
MANUAL_KINDS: frozenset[ErrorKind] = NOT_ELIGIBLE | {
    "history_rewritten", "tampered", "validation_failed", "commit_validation_failed", "check_rejected",
}  # fmt: skip
_MANUAL_TEXTS = (
    "permission", "access denied", "critical", "fatal", "corrupted", "validation", "commit required",
)  # fmt: skip

_Texts = tuple[tuple[tuple[str, ...], ErrorKind], ...]
# The first that has a text in the message decides, when neither a kind nor an exit status is told. The order is that
# of the earlier system, which people's tools know; exit codes in the text come after it, then what it did not know.
# None of them may be a kind that is not counted as a try: a program that prints "rate limit" would be run for ever.
_TEXT_KINDS: _Texts = (
    (("commit required", "commit validation"), "commit_validation_failed"),
    (("timeout", "timed out"), "timeout"),
    (("merge", "conflict"), "merge_conflict"),
    (("worktree",), "worktree_error"),
    (("validation", "invalid"), "validation_failed"),
    (("resource", "out of memory"), "resource_exhausted"),
)
_LATER_TEXT_KINDS: _Texts = (
    (
        ("no space left on device", "disk quota exceeded", "too many open files", "cannot allocate memory"),
        "resource_exhausted",
    ),
    (("permission denied", "access denied"), "permission"),
)
_EXIT_CODE = re.compile(
    r"(?:exit code:?|exit status:?|exited with (?:code|status):?|status code:?)\s*(-?[0-9]+)", re.IGNORECASE
)
_LARGEST_EXIT_CODE = 2**32 - 1  # Windows has codes of 32 bits; a larger number is none


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed.

    kind: an error kind, or None when only the text can tell (see `classify`).
    step: the step path (with its try) that failed, None for failures between steps.
    last_output: the end of what the step printed. log: the directory with all of it.
    """

    message: str
    kind: str | None = None
    exit_code: int | None = None
    step: str | None = None
    last_output: str = ""
    log: str | None = None
    duration_s: float = 0.0


@dataclass(frozen=True)
class DeadLetter:
    """The verdict on a failed attempt, ready to be stored beside the item's data and history.

    message: at most MAX_MESSAGE characters, all of which can be stored. signature: that of `message` too.
    """

    item_id: str
    attempt_number: int
    kind: ErrorKind
    message: str
    exit_code: int | None
    signature: str
    reprocess_eligible: bool
    manual_review_required: bool


def dead_letter(outcome: Failure | None, item: Item, attempt: int) -> DeadLetter | None:
    """None for success (no failure), one dead letter for a failure. attempt: its number in the item's life."""
    if outcome is None:
        return None
    message = ends(ends(outcome.message).encode(errors="backslashreplace").decode())
    kind, exit_code = classify(outcome)
    lowered = message.lower()
    return DeadLetter(
        item_id=item.id,
        attempt_number=attempt,
        kind=kind,
        message=message,
        exit_code=exit_code,
        signature=signature(message, item),
        reprocess_eligible=kind not in NOT_ELIGIBLE,
        manual_review_required=kind in MANUAL_KINDS or any(text in lowered for text in _MANUAL_TEXTS),
    )


def classify(failure: Failure) -> tuple[ErrorKind, int | None]:
    """(kind, exit code). What the engine or the agent says decides, then the exit status, then the message's texts.

    A kind that is not one of `KINDS`, and `unknown`, say nothing.
    """
    message, code = ends(failure.message), failure.exit_code
    for kind in KINDS - {"unknown"}:
        if failure.kind == kind:
            return kind, _exit_code(message) if kind == "command_failed" and code is None else code
    if code:
        return "command_failed", code
    lowered = message.lower()
    if found := _by_text(lowered, _TEXT_KINDS):
        return found, code
    if _EXIT_CODE.search(message):
        return "command_failed", _exit_code(message)
    return _by_text(lowered, _LATER_TEXT_KINDS) or "unknown", code


def _by_text(lowered: str, kinds: _Texts) -> ErrorKind | None:
    return next((kind for texts, kind in kinds if any(text in lowered for text in texts)), None)


def _exit_code(message: str) -> int | None:
    """The first exit code in the text that is not 0: who failed speaks first, and quotes what it called."""
    found = [match.group(1) for match in _EXIT_CODE.finditer(message)]
    codes = [int(digits) for digits in found if len(digits.lstrip("-0")) <= len(str(_LARGEST_EXIT_CODE))]
    codes = [code for code in codes if abs(code) <= _LARGEST_EXIT_CODE]
    return next((code for code in codes if code), codes[0] if codes else None)
