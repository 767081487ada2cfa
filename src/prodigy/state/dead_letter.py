"""What a failure becomes: its kind, its signature, and the dead letter that keeps all that a retry needs."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

# Kinds that cannot change by themselves: running the item again as it is would fail again.
NOT_ELIGIBLE = frozenset({"invalid_item", "permission"})
# Texts and kinds that a person should look at before trying again.
_MANUAL_TEXT = re.compile(
    r"permission|access denied|critical|fatal|corrupted|validation|commit required", re.IGNORECASE
)
_MANUAL_KINDS = frozenset({"permission", "invalid_item", "history_rewritten", "tampered", "commit_validation_failed"})

# First match decides, and only for a failure without a kind of its own (the order people's tools know).
_TEXT_KINDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"commit required|commit validation", re.IGNORECASE), "commit_validation_failed"),
    (re.compile(r"timeout|timed out", re.IGNORECASE), "timeout"),
    (re.compile(r"merge|conflict", re.IGNORECASE), "merge_conflict"),
    (re.compile(r"worktree", re.IGNORECASE), "worktree_error"),
    (re.compile(r"validation|invalid", re.IGNORECASE), "validation_failed"),
    (re.compile(r"resource|out of memory", re.IGNORECASE), "resource_exhausted"),
)
_EXIT_CODE = re.compile(r"(?:exit code:?|exited with code|status code:?)\s*(\d+)", re.IGNORECASE)


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
    """The verdict on a failed attempt, ready to be stored beside the item's data and history."""

    kind: str
    message: str
    exit_code: int | None
    signature: str
    reprocess_eligible: bool
    manual_review_required: bool


def dead_letter(failure: Failure | None) -> DeadLetter | None:
    """None for success, one dead letter for a failure."""
    if failure is None:
        return None
    kind, exit_code = classify(failure)
    return DeadLetter(
        kind=kind,
        message=failure.message,
        exit_code=exit_code,
        signature=signature(failure.message),
        reprocess_eligible=kind not in NOT_ELIGIBLE,
        manual_review_required=kind in _MANUAL_KINDS or bool(_MANUAL_TEXT.search(failure.message)),
    )


def classify(failure: Failure) -> tuple[str, int | None]:
    """(kind, exit code). What the engine or the exit status says decides before any text."""
    if failure.kind is not None:
        return failure.kind, failure.exit_code
    if failure.exit_code is not None:
        return "command_failed", failure.exit_code
    for pattern, kind in _TEXT_KINDS:
        if pattern.search(failure.message):
            return kind, None
    found = _EXIT_CODE.search(failure.message)
    return ("command_failed", int(found.group(1))) if found else ("unknown", None)


_VARIABLE_PARTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"(?:~|\.{1,2})?(?:/[^\s:'\"`,;()]+)+|\b[\w.-]+(?:/[\w.-]+)+"), "<path>"),
    (re.compile(r"\b[\w-]+\.[A-Za-z]\w{0,4}\b"), "<path>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
)


def signature(message: str) -> str:
    """16 hex digits, equal for the same failure of two items: paths, numbers, ids and times do not count."""
    for pattern, name in _VARIABLE_PARTS:
        message = pattern.sub(name, message)
    return hashlib.sha256(" ".join(message.split()).encode(errors="backslashreplace")).hexdigest()[:16]
