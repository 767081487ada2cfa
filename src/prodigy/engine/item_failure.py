"""What becomes of an item that failed: another attempt, a dead letter, or nothing more, by the fan-out's policy."""

from __future__ import annotations

import asyncio
import hashlib

from prodigy.engine.item_keys import AttemptKey, seconds_since
from prodigy.engine.kept_failed import to_keep
from prodigy.engine.run import Run
from prodigy.engine.time_limits import TimeLimit, ended_by
from prodigy.executors.base import Snapshot
from prodigy.git.repo import ANY, RefChange
from prodigy.plan.identity import Item
from prodigy.state import events as ev
from prodigy.state import merge_queue
from prodigy.state.dead_letter import DeadLetter, Failure, dead_letter
from prodigy.state.gate import MAX_FAILURES
from prodigy.state.items import NOT_A_TRY
from prodigy.state.retry import Again, Park, Skip, decide_item
from prodigy.store.rows import AttemptRow
from prodigy.workflow.failures import ErrorPolicy


async def fail(
    run: Run,
    key: AttemptKey,
    attempt: AttemptRow,
    policy: ErrorPolicy,
    boundary: Snapshot,
    failure: Failure,
    limit: TimeLimit | None = None,
    *,
    second_chance: bool = False,
) -> Again | None:
    """Record a failed attempt and what follows from it, after the branch that keeps its work is in place.

    limit: on the time of the attempt. second_chance: whether its merge was rejected and it gets another try for that,
    once in a row. Again: the item is to run once more; None: it is not. A policy that stops the
    run makes it drain.
    """
    if run.options.fail_fast:
        policy = policy.model_copy(update={"continue_on_failure": False})
    letter = _letter(run, key, failure)
    branch = key.refs(run)[2]
    await asyncio.to_thread(run.repo.update_refs, [RefChange(branch, ANY, boundary.commit or boundary.head)])
    took_too_long = ended_by(run.store, limit, failure)
    action = limit.action if limit is not None and took_too_long else None
    match action:
        case "skip":
            decision: Again | Skip | Park = Skip()
        case "fail":
            decision = Park(stops=True)
        case _:
            chance = second_chance and _has_a_second_chance(run, key)
            decision = Again(0.0) if chance else _decide(run, key, policy, failure, letter)
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
        collected=policy.collects and not isinstance(decision, Again),
    )
    rule = f"timeout_action is {action}" if action in ("skip", "fail") else f"on_item_failure is {_rule(policy, run)}"
    run.store.record(failed, *_follows(run, key, letter, decision, boundary, rule))
    if isinstance(decision, Park) and decision.stops:
        run.control.pause(MAX_FAILURES, f"the item {key.label} failed, and {rule}: {letter.message}")
    return decision if isinstance(decision, Again) else None


def _rule(policy: ErrorPolicy, run: Run) -> str:
    """What the policy says of failed items, as it is written."""
    if run.options.fail_fast:
        return f"{policy.on_item_failure}, with --fail-fast"
    stops = policy.on_item_failure != "stop" and policy.stops
    return f"{policy.on_item_failure}, with continue_on_failure false" if stops else policy.on_item_failure


def _follows(
    run: Run, key: AttemptKey, letter: DeadLetter, decision: Again | Skip | Park, boundary: Snapshot, rule: str
) -> list[ev.Event]:
    """The events that follow the failure. rule: what made the decision, for people."""
    branch = key.refs(run)[2].removeprefix("refs/heads/")
    match decision:
        case Again(delay_s=delay_s):
            return [ev.AgentRetrying(**key.event(), delay_s=delay_s)]
        case Park():
            return [_parked(key, letter, branch, boundary.commit, to_keep(run, key.fanout, key.ordinal))]
    left_out = run.store.dead_letters_of(key.fanout, key.item_id)
    return [
        ev.AgentSkipped(**key.event(), reason=rule, branch=branch),
        *(
            ev.DlqItemRemoved(fanout=key.fanout, ordinal=ordinal, item_id=key.item_id, reason="skipped")
            for ordinal in left_out
        ),
    ]


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


def _parked(
    key: AttemptKey, letter: DeadLetter, branch: str, snapshot: str | None, worktree: str | None = None
) -> ev.DlqItemAdded:
    return ev.DlqItemAdded(
        **key.event(),
        error_signature=letter.signature,
        reprocess_eligible=letter.reprocess_eligible,
        manual_review_required=letter.manual_review_required,
        branch=branch,
        worktree_path=worktree,
        snapshot=snapshot,
    )


def _decide(
    run: Run, key: AttemptKey, policy: ErrorPolicy, failure: Failure, letter: DeadLetter
) -> Again | Skip | Park:
    known = Failure(failure.message, letter.kind, letter.exit_code, last_output=failure.last_output)
    tries = run.store.item(key.fanout, key.ordinal).tries + (letter.kind not in NOT_A_TRY)
    if letter.kind == "lost":
        tries = max(tries, key.number)  # it does not count, but it has to end some day
    if run.max_tries is not None:
        attempts = min(run.max_tries, policy.retry.attempts)
        policy = policy.model_copy(update={"retry": policy.retry.model_copy(update={"attempts": attempts})})
    slept_s = run.store.item_pauses(key.fanout, key.ordinal)
    return decide_item(known, tries, slept_s, policy, _chance(key.path))


def _has_a_second_chance(run: Run, key: AttemptKey) -> bool:
    kinds = [attempt.kind for attempt in run.store.attempts(key.fanout, key.ordinal)[:-1]]
    tries = run.store.item(key.fanout, key.ordinal).tries + 1
    return merge_queue.second_chance([*kinds, "check_rejected"]) and (run.max_tries is None or tries < run.max_tries)


def _chance(path: str) -> float:
    """The dice of a pause, the same on every resume."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:6]) / 2**48
