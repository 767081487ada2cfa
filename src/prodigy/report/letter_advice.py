"""What to do about dead letters, by the kind of their errors. The one place with these rules."""

from __future__ import annotations

from typing import NamedTuple

RETRY = ""
RETRY_ALL = " --all"
INSPECT = None  # look at one of them


class Advice(NamedTuple):
    """text: what to do, a sentence. retry: the options of the `dlq retry` that comes next, with a blank in front; None
    where one of the letters should be looked at first."""

    text: str
    retry: str | None


_FIRST_LOOK = Advice("See first what failed: the message and the end of the output tell.", INSPECT)
_PROMPT = Advice(
    "The agent ended without a commit: say in the prompt that it must commit, or drop `commit_required`.", RETRY
)

ADVICE: dict[str, Advice] = {
    "command_failed": _FIRST_LOOK,
    "unknown": _FIRST_LOOK,
    "timeout": Advice("Time ran out: raise `timeout:` of the step, or make the items smaller, then retry.", RETRY),
    "agent_hung": Advice(
        "The agent printed nothing for too long: see in its log what it waited for; raise `idle_timeout:` if it works"
        " in silence.",
        INSPECT,
    ),
    "commit_validation_failed": _PROMPT,
    "validation_failed": Advice("A check failed: see what it printed, then mend the prompt or the check.", INSPECT),
    "check_rejected": Advice("A check failed: see what it printed, then mend the prompt or the check.", INSPECT),
    "merge_conflict": Advice(
        "The changes conflict with what was merged before: a retry starts on what is there now, and often settles it.",
        RETRY,
    ),
    "worktree_error": Advice("A worktree could not be used: `prodigy doctor` looks at git and the disk.", RETRY),
    "history_rewritten": Advice(
        "The agent rewrote history that it began at: forbid rebase and amend in the prompt. The commits are kept.",
        INSPECT,
    ),
    "tampered": Advice("An agent changed what all share, such as git's configuration: look at what it did.", INSPECT),
    "rate_limited": Advice("The account was at its limit: wait until it is reset, then retry.", RETRY),
    "budget_exceeded": Advice("The budget was spent: raise `budget:`, then retry.", RETRY),
    "permission": Advice("Something was not allowed: grant it or change the item, then retry all.", RETRY_ALL),
    "invalid_item": Advice(
        "The item does not fit the workflow: mend that and retry all with `--workflow FILE`, or begin a new run.",
        RETRY_ALL,
    ),
    "resource_exhausted": Advice("Memory, disk or processes ran out: run fewer at a time.", " --max-parallel 2"),
    "lost": Advice("The process was killed from outside: just retry.", RETRY),
    "interrupted": Advice("The user ended it: just retry.", RETRY),
}


def advice(kind: str) -> Advice:
    """What to do about errors of this kind; a kind without a rule is looked at first."""
    return ADVICE.get(kind, _FIRST_LOOK)
