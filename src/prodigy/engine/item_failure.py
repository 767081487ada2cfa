"""What becomes of an item that failed: another attempt, a dead letter, or nothing more, by the fan-out's policy."""

from __future__ import annotations

import asyncio
import hashlib

from prodigy.engine.item_keys import AttemptKey, seconds_since
from prodigy.engine.run import Run
from prodigy.executors.base import Snapshot
from prodigy.git.repo import ANY, RefChange
from prodigy.plan.identity import Item
from prodigy.state import events as ev
from prodigy.state.dead_letter import DeadLetter, Failure, dead_letter
from prodigy.state.items import NOT_A_TRY
from prodigy.state.retry import Again, Park, Skip, decide_item
from prodigy.store.rows import AttemptRow
from prodigy.workflow.failures import ErrorPolicy

STOPPED_BY_POLICY = "max_failures"  # the reason in the summary, whichever key of the policy said so


async def fail(
    run: Run, key: AttemptKey, attempt: AttemptRow, policy: ErrorPolicy, boundary: Snapshot, failure: Failure
) -> Again | None:
    """Record a failed attempt and what follows from it, after the branch that keeps its work is in place.

    Again: the item is to run once more; None: it is not. A policy that stops the run makes it drain.
    """
    letter = _letter(run, key, failure)
    branch = key.refs(run)[2]
    await asyncio.to_thread(run.repo.update_refs, [RefChange(branch, ANY, boundary.commit or boundary.head)])
    tries = run.store.item(key.fanout, key.ordinal).tries + (letter.kind not in NOT_A_TRY)
    decision = _decide(run, key, policy, failure, letter, tries)
    failed = ev.AgentFailed(
        **key.event(),
        kind=letter.kind,
        error=letter.message,
        retry_eligible=letter.reprocess_eligible,
        exit_code=letter.exit_code,
        step=failure.step,
        log=failure.log,
        last_output=failure.last_output,
        duration_s=seconds_since(attempt.started_at),
        head=boundary.head,
    )
    short = branch.removeprefix("refs/heads/")
    follows: ev.Event
    match decision:
        case Again(delay_s=delay_s):
            follows = ev.AgentRetrying(**key.event(), delay_s=delay_s)
        case Skip():
            follows = ev.AgentSkipped(**key.event(), reason="on_item_failure is skip", branch=short)
        case Park():
            follows = _parked(key, letter, short, boundary.commit)
    left_out = run.store.dead_letters_of(key.fanout, key.item_id) if isinstance(decision, Skip) else []
    removed = (
        ev.DlqItemRemoved(fanout=key.fanout, ordinal=ordinal, item_id=key.item_id, reason="skipped")
        for ordinal in left_out
    )
    run.store.record(failed, follows, *removed)
    if isinstance(decision, Park) and decision.stops:
        run.control.pause(STOPPED_BY_POLICY, f"the item {key.label} failed, and the error policy stops the run then")
    return decision if isinstance(decision, Again) else None


def park(run: Run, key: AttemptKey, attempt: AttemptRow) -> None:
    """Put an item whose last attempt failed into the dead letter queue: its tries are used up now."""
    letter = _letter(run, key, Failure(attempt.error or "", kind=attempt.kind))
    boundary = run.store.last_boundary(key.path)
    branch = key.refs(run)[2].removeprefix("refs/heads/")
    run.store.record(_parked(key, letter, branch, boundary[1] if boundary else None))


def _letter(run: Run, key: AttemptKey, failure: Failure) -> DeadLetter:
    item = Item(key.ordinal, key.item_id, run.store.item_data(key.fanout, key.ordinal))
    letter = dead_letter(failure, item, key.number)
    assert letter is not None
    return letter


def _parked(key: AttemptKey, letter: DeadLetter, branch: str, snapshot: str | None) -> ev.DlqItemAdded:
    return ev.DlqItemAdded(
        **key.event(),
        error_signature=letter.signature,
        reprocess_eligible=letter.reprocess_eligible,
        manual_review_required=letter.manual_review_required,
        branch=branch,
        worktree_path=None,
        snapshot=snapshot,
    )


def _decide(
    run: Run, key: AttemptKey, policy: ErrorPolicy, failure: Failure, letter: DeadLetter, tries: int
) -> Again | Skip | Park:
    known = Failure(failure.message, letter.kind, letter.exit_code, last_output=failure.last_output)
    if letter.kind == "lost":
        tries = max(tries, key.number)  # it does not count, but it has to end some day
    if run.max_tries is not None:
        attempts = min(run.max_tries, policy.retry.attempts)
        policy = policy.model_copy(update={"retry": policy.retry.model_copy(update={"attempts": attempts})})
    slept_s = run.store.item_pauses(key.fanout, key.ordinal)
    return decide_item(known, tries, slept_s, policy, _chance(key.path))


def _chance(path: str) -> float:
    """The dice of a pause, the same on every resume."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:6]) / 2**48
