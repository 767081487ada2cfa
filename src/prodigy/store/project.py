"""How each event changes the tables. Called inside the transaction that appends the event, nowhere else."""

from __future__ import annotations

import json
import sqlite3

from prodigy.errors import CorruptState
from prodigy.state import events as ev
from prodigy.state.items import NOT_A_TRY, ItemState, follow
from prodigy.state.step_path import attempt_path, is_of_the_run, parse_attempt, split_try


def project(db: sqlite3.Connection, event: ev.Event, at: str) -> None:
    """Move the tables by one event that happened at `at` (RFC 3339)."""
    match event:
        case ev.ItemEvent():
            _item(db, event, at)
        case ev.DlqItemsReprocessed(fanout=fanout, ordinals=ordinals):
            for ordinal in ordinals:
                _move_item(db, fanout, ordinal, event.type)
            db.execute("UPDATE fanout SET finished = 0 WHERE path = ?", (fanout,))
        case ev.ItemsDeduplicated(fanout=fanout, ordinals=ordinals):
            for ordinal in ordinals:
                _move_item(db, fanout, ordinal, event.type)
            db.execute("UPDATE fanout SET duplicates = duplicates + ? WHERE path = ?", (len(ordinals), fanout))
        case ev.DlqItemRemoved(fanout=fanout, ordinal=ordinal):
            db.execute("DELETE FROM dead_letter WHERE fanout = ? AND ordinal = ?", (fanout, ordinal))
        case ev.ItemsPlanned(fanout=fanout, total=total, duplicates=duplicates):
            db.execute("INSERT INTO fanout (path, total, duplicates) VALUES (?, ?, ?)", (fanout, total, duplicates))
        case ev.FanoutFinished(fanout=fanout):
            db.execute("UPDATE fanout SET finished = 1 WHERE path = ?", (fanout,))
        case (
            ev.StepStarted()
            | ev.StepSkipped()
            | ev.StepFinished()
            | ev.StepSettled()
            | ev.StepLost()
            | ev.StepRetired()
        ):
            _step(db, event, at)
        case ev.WorktreeCreated(worktree=worktree):
            db.execute("UPDATE run SET slot = ?, failed_path = NULL", (worktree,))
        case ev.WorkspaceLost(path=path, worktree=worktree):
            _move_attempt(db, path, worktree)
        case ev.AgentGateClosed():
            gate = (event.account, event.agent, event.cause, event.until, event.told, event.hits, event.message, at)
            db.execute("INSERT OR REPLACE INTO gate VALUES (?, ?, ?, ?, ?, ?, ?, ?)", gate)
        case ev.AgentGateOpened(account=account):
            db.execute("DELETE FROM gate WHERE account = ?", (account,))
        case ev.MergeCheckStarted():
            members = list(zip(event.ordinals, event.attempts, event.commits, strict=True))
            row = (event.fanout, event.number, event.base, event.fingerprint, json.dumps(members), at)
            db.execute(
                "INSERT INTO merge_check (fanout, number, base, fingerprint, members, state, started_at)"
                " VALUES (?, ?, ?, ?, ?, 'running', ?)",
                row,
            )
        case ev.MergeCheckFinished(fanout=fanout, number=number, passed=passed):
            db.execute(
                "UPDATE merge_check SET state = ?, ended_at = ?, message = ?, step = ? WHERE fanout = ? AND number = ?",
                (ev.CHECKED[passed], at, event.message, event.step, fanout, number),
            )
        case ev.Merging(path=path, old=old, new=new):
            db.execute("INSERT INTO merge_intent VALUES (1, ?, ?, ?)", (path, old, new))
        case ev.WorktreeMerged(path=path, new=new):
            _delete_one(db, "DELETE FROM merge_intent WHERE path = ? AND new = ?", (path, new))
            # What the target holds is not the run's result any more; the final merge will say so again.
            db.execute("UPDATE run SET tip = ?, merged = NULL", (new,))
        case ev.FinalMergeStarted(target=target, old=old, new=new, checkout=checkout):
            db.execute("INSERT INTO final_merge_intent VALUES (1, ?, ?, ?, ?)", (target, old, new, checkout))
        case ev.FinalMergeFinished(new=new):
            db.execute("DELETE FROM final_merge_intent")
            db.execute("UPDATE run SET merged = ?, merge_problem = NULL", (new,))
        case ev.FinalMergeRefused(problem=problem):
            db.execute("DELETE FROM final_merge_intent")
            db.execute("UPDATE run SET merge_problem = ?", (problem,))
        case ev.JobHeld(by=by):
            db.execute("UPDATE run SET held_by = ?, held_at = ?", (by, at))
        case ev.JobReleased():
            db.execute("UPDATE run SET held_by = NULL, held_at = NULL")
        case _:
            _run(db, event)


def _run(db: sqlite3.Connection, event: ev.Event) -> None:
    match event:
        case ev.JobStarted():
            db.execute("UPDATE run SET status = 'running'")
        case ev.JobResumed(options=options, still_held=still_held):
            if not still_held:
                db.execute("UPDATE run SET held_by = NULL, held_at = NULL")
            # The worktrees of a completed run were taken away, or were about to be.
            db.execute("UPDATE run SET slot = NULL WHERE status LIKE 'completed%'")
            db.execute(
                "UPDATE run SET status = 'running', stop_reason = NULL, error = NULL, merge_problem = NULL,"
                " options = ?",
                (options,),
            )
        case ev.JobSteered(options=options):
            db.execute("UPDATE run SET options = ?", (options,))
        case ev.PhaseStarted(phase=phase, path=path, head=head, snapshot=snapshot):
            db.execute("UPDATE run SET phase = ?", (phase,))
            db.execute("INSERT OR IGNORE INTO phase VALUES (?, ?)", (path, phase))
            if head is not None:
                db.execute("UPDATE run SET head = ?, snapshot = ?", (head, snapshot))
        case ev.JobCompleted(status=status):
            db.execute("UPDATE run SET status = ?, stop_reason = NULL, error = NULL", (status,))
        case ev.JobFailed(error=error, path=path):
            db.execute("UPDATE run SET status = 'failed', error = ?, failed_path = ?", (error, path))
        case ev.JobPaused(status=status, stop_reason=reason, error=error):
            db.execute("UPDATE run SET status = ?, stop_reason = ?, error = ?", (status, reason, error))
        case ev.WorkflowChanged(file=file):
            db.execute("UPDATE run SET file = ?", (file,))
        case ev.JobImported(repo=repo, common_dir=common_dir):
            # Its worktrees are elsewhere, and what the target holds here the next final merge will see.
            db.execute("UPDATE run SET repo = ?, common_dir = ?, slot = NULL, merged = NULL", (repo, common_dir))
        case ev.Warned() | ev.StepAdopted() | ev.StepRetrying() | ev.JobExported() | ev.RunCleaned():
            pass  # told in the event log only


def _item(db: sqlite3.Connection, event: ev.ItemEvent, at: str) -> None:
    key = (event.fanout, event.ordinal, event.attempt)
    _move_item(db, event.fanout, event.ordinal, event.type)
    match event:
        case ev.AgentStarted():
            db.execute("UPDATE item SET attempt = ? WHERE fanout = ? AND ordinal = ?", (event.attempt, *key[:2]))
            db.execute(
                "INSERT INTO attempt (fanout, ordinal, number, state, base, worktree, workflow, started_at,"
                " start_head, start_snapshot) VALUES (?, ?, ?, 'running', ?, ?, ?, ?, ?, ?)",
                (*key, event.base, event.worktree, event.workflow, at, event.head, event.snapshot),
            )
            for step in event.taken:
                _take_over(db, event, f"/{step}", "(path = :old OR (path >= :old || '/' AND path < :old || '0'))")
            for execution in event.inside:
                step_, number = split_try(f"/{execution}")
                _take_over(db, event, step_, f"path = :old AND try = {number}")
        case ev.AgentQueued(head=head):
            db.execute(
                f"UPDATE attempt SET queued = ?, queued_at = ?, turn = {_NEXT_SEQ}, worktree = ''"  # noqa: S608
                " WHERE fanout = ? AND ordinal = ? AND number = ?",
                (head, at, *key),
            )
        case ev.AgentRequeued(worktree=worktree):
            db.execute(
                "UPDATE attempt SET queued = NULL, worktree = ? WHERE fanout = ? AND ordinal = ? AND number = ?",
                (worktree, *key),
            )
        case ev.AgentCompleted():
            _end_attempt(db, key, "succeeded", at, duration_s=event.duration_s, merged=event.merged)
            _count_try(db, key)
        case ev.AgentFailed():
            _end_attempt(
                db, key, "failed", at, kind=event.kind, error=event.error, exit_code=event.exit_code,
                step=event.step, log=event.log, last_output=event.last_output,
                duration_s=event.duration_s, head=event.head,
            )  # fmt: skip
            if event.kind not in NOT_A_TRY:
                _count_try(db, key)
        case ev.AgentInterrupted():
            _end_attempt(db, key, "interrupted", at)
        case ev.AgentRetrying(delay_s=delay_s):
            db.execute(
                "UPDATE attempt SET retry_delay_s = ? WHERE fanout = ? AND ordinal = ? AND number = ?", (delay_s, *key)
            )
        case ev.DlqItemAdded():
            db.execute(
                "INSERT OR REPLACE INTO dead_letter (fanout, ordinal, error_signature, reprocess_eligible,"
                " manual_review_required, branch, worktree_path, snapshot) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*key[:2], event.error_signature, event.reprocess_eligible, event.manual_review_required,
                 event.branch, event.worktree_path, event.snapshot),
            )  # fmt: skip


def _move_item(db: sqlite3.Connection, fanout: str, ordinal: int, event_type: str) -> None:
    row = db.execute("SELECT state FROM item WHERE fanout = ? AND ordinal = ?", (fanout, ordinal)).fetchone()
    if row is None:
        raise CorruptState(f"item {ordinal} of {fanout} is not in the database")
    after = follow(ItemState(row["state"]), event_type)
    db.execute("UPDATE item SET state = ? WHERE fanout = ? AND ordinal = ?", (after, fanout, ordinal))


def _count_try(db: sqlite3.Connection, key: tuple[str, int, int]) -> None:
    db.execute("UPDATE item SET tries = tries + 1 WHERE fanout = ? AND ordinal = ?", key[:2])


def _end_attempt(db: sqlite3.Connection, key: tuple[str, int, int], state: str, at: str, **facts: object) -> None:
    columns = {"state": state, "ended_at": at, "queued": None, **facts}
    assignments = ", ".join(f"{column} = ?" for column in columns)
    db.execute(
        f"UPDATE attempt SET {assignments} WHERE fanout = ? AND ordinal = ? AND number = ?",  # noqa: S608 - our names
        (*columns.values(), *key),
    )


def _take_over(db: sqlite3.Connection, event: ev.AgentStarted, step: str, which: str) -> None:
    """What the earlier attempt had finished of a step is finished in this one. step: its path in the attempt, with a
    slash in front. which: an SQL condition for the rows, of which `:old` is the step's path."""
    assert event.continues is not None
    old = f"{attempt_path(event.fanout, event.ordinal, event.continues)}{step}"
    new = f"{attempt_path(event.fanout, event.ordinal, event.attempt)}{step}"
    columns = (
        "try, state, fingerprint, started_at, finished_at, kind, message, exit_code, duration_s, head, snapshot,"
        " ended, skipped, settled, cost_usd, tokens, agent, session, unfinished,"
        " before_head, before_snapshot, adapter, estimated"
    )
    db.execute(
        f"INSERT INTO step (path, reused_from, {columns})"  # noqa: S608 - our names
        f" SELECT :new || substr(path, :rest), coalesce(reused_from, path || '/t' || try), {columns}"
        f" FROM step WHERE {which} AND state = 'finished'",
        {"new": new, "rest": len(old) + 1, "old": old},
    )


_NEXT_SEQ = "(SELECT coalesce(max(seq), 0) + 1 FROM event)"
_StepEvent = ev.StepStarted | ev.StepSkipped | ev.StepFinished | ev.StepSettled | ev.StepLost | ev.StepRetired


def _step(db: sqlite3.Connection, event: _StepEvent, at: str) -> None:
    path, number = split_try(event.path)
    match event:
        case ev.StepStarted(fingerprint=fingerprint, agent=agent, head=head, snapshot=snapshot):
            db.execute(
                "INSERT INTO step (path, try, state, fingerprint, started_at, agent, before_head, before_snapshot,"
                " adapter, reserved_usd, reserved_tokens) VALUES (?, ?, 'started', ?, ?, ?, ?, ?, ?, ?, ?)",
                (path, number, fingerprint, at, agent, head, snapshot,
                 event.adapter, event.reserved_usd, event.reserved_tokens),
            )  # fmt: skip
        case ev.StepSkipped(fingerprint=fingerprint):
            db.execute(
                "INSERT INTO step"
                " (path, try, state, fingerprint, started_at, finished_at, skipped, settled, duration_s)"
                " VALUES (?, ?, 'finished', ?, ?, ?, 1, 1, 0)",
                (path, number, fingerprint, at, at),
            )
        case ev.StepFinished():
            db.execute(
                f"UPDATE step SET state = 'finished', finished_at = ?, ended = {_NEXT_SEQ}, kind = ?, message = ?,"  # noqa: S608
                " exit_code = ?, duration_s = ?, head = ?, snapshot = ?, cost_usd = ?, tokens = ?, session = ?,"
                " settled = ?, unfinished = ?, estimated = ? WHERE path = ? AND try = ?",
                (at, event.kind, event.message, event.exit_code, event.duration_s, event.head,
                 event.snapshot, event.cost_usd, event.tokens, event.session,
                 event.kind is None and event.settles, event.unfinished, event.estimated, path, number),
            )  # fmt: skip
            _use(db, path, number, event.usage)
            if event.kind is None and event.settles and event.moves_run:
                _move_run(db, path, event.head, event.snapshot)
        case ev.StepSettled(head=head, snapshot=snapshot, moves_run=moves_run):
            db.execute("UPDATE step SET settled = 1 WHERE path = ? AND try = ?", (path, number))
            if moves_run:
                _move_run(db, path, head, snapshot)
        case ev.StepLost(cost_usd=cost_usd, tokens=tokens):
            db.execute(
                "UPDATE step SET state = 'lost', cost_usd = ?, tokens = ?, session = ?, estimated = ?,"
                " message = ? WHERE path = ? AND try = ?",
                (cost_usd, tokens, event.session, event.estimated, event.reason, path, number),
            )
            _use(db, path, number, event.usage)
        case ev.StepRetired():
            db.execute("UPDATE step SET state = 'retired' WHERE path = ? AND try = ?", (path, number))


def _use(db: sqlite3.Connection, path: str, number: int, usage: str | None) -> None:
    """Note what an execution used of each model."""
    for model, *facts in json.loads(usage) if usage else ():
        row = (path, number, model or "", *facts)
        db.execute("INSERT OR REPLACE INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def _move_run(db: sqlite3.Connection, path: str, head: str, snapshot: str | None) -> None:
    """A step outside the items makes its boundary the run's."""
    if is_of_the_run(path):
        db.execute("UPDATE run SET head = ?, snapshot = ?", (head, snapshot))


def _move_attempt(db: sqlite3.Connection, path: str, worktree: str | None) -> None:
    """An attempt goes on in another slot; the run's own workspace has none until it is made again."""
    if attempt := parse_attempt(path):
        db.execute(
            "UPDATE attempt SET worktree = ? WHERE fanout = ? AND ordinal = ? AND number = ?",
            (worktree, *attempt),
        )
    else:
        db.execute("UPDATE run SET slot = NULL")


def _delete_one(db: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> None:
    if db.execute(statement, values).rowcount != 1:
        raise CorruptState("a merge was recorded that was not announced before", where=str(values[0]))
