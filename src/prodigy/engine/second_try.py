"""What an agent is told of how the last try failed, so that it does not fail the same way."""

from __future__ import annotations

from prodigy.executors.base import Snapshot
from prodigy.git import showing
from prodigy.git.private import PrivateGit
from prodigy.secrets import mask
from prodigy.state.dead_letter import Failure
from prodigy.state.step_path import attempt_path
from prodigy.store.rows import AttemptRow
from prodigy.store.store import Store

_DIFF_BYTES = 12_000
_OUTPUT_CHARACTERS = 4_000


def after_failure(failure: Failure) -> str:
    """For the next try of a step in the worktree as the failed one left it."""
    return "\n".join(
        [
            "Note: this was tried before, in this worktree as it is now, and failed.",
            *_words(failure.message, failure.last_output),
            "Do not repeat what led to that.",
        ]
    )


def after_attempt(
    store: Store, private: PrivateGit, fanout: str, ordinal: int, attempt: AttemptRow, *, continues: bool
) -> str | None:
    """For an attempt after `attempt`, which has failed; None when it did not fail by itself.

    continues: whether the work of that attempt is in the worktree.
    """
    if attempt.state != "failed":
        return None
    output = store.last_output(fanout, ordinal, attempt.number)
    lines = ["Note: an earlier attempt at this item failed.", *_words(attempt.error or "", output)]
    if not continues:
        found = store.last_boundary(attempt_path(fanout, ordinal, attempt.number))
        work = Snapshot(*found) if found else Snapshot(attempt.head or attempt.base, None)
        diff = showing.patch(private, attempt.base, work.commit or work.head, _DIFF_BYTES)
        if diff:
            lines += ["What it had changed, which is not in this worktree:", "```diff", mask(diff), "```"]
    return "\n".join([*lines, "Do not repeat what led to that."])


def _words(message: str, output: str) -> list[str]:
    lines = [f"Error: {mask(message)}"]
    if output.strip():
        lines += ["The end of its output:", "```", mask(output)[-_OUTPUT_CHARACTERS:].strip(), "```"]
    return lines
