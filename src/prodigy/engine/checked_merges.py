"""The merge queue of a fan-out whose merges are checked before the run branch moves.

Agents hand their work over and go on with other items; here it is merged in memory, one after another, and the check
runs on what that gives, in a workspace that is kept warm. What to do next is decided by `state.merge_queue`; what
waits and what was checked is on record, so that a later process goes on where this one stood.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from prodigy.engine import refs
from prodigy.engine.captures import Scope
from prodigy.engine.conflicts import conflict_failure
from prodigy.engine.control import Interrupted, Stopped
from prodigy.engine.fanout_place import FanoutPlace
from prodigy.engine.item_failure import fail
from prodigy.engine.item_keys import AttemptKey, completion, merge_request
from prodigy.engine.merge_queue import Done, MergeRequest, Recorded
from prodigy.engine.places import fan_out_at
from prodigy.engine.queue_workspace import NotReady, QueueWorkspace
from prodigy.engine.run import Run
from prodigy.engine.time_limits import item_limit
from prodigy.engine.verdict import last_output
from prodigy.executors.base import Snapshot
from prodigy.git.command import GitError
from prodigy.git.merge import Conflict
from prodigy.git.repo import ANY, RefChange
from prodigy.state import events as ev
from prodigy.state import merge_queue
from prodigy.state.dead_letter import Failure
from prodigy.state.items import NOT_A_TRY, ItemRow
from prodigy.state.merge_queue import Check, Evict, Examine, Member, Stop
from prodigy.state.retry import Again
from prodigy.state.step_path import check_path
from prodigy.store import merges
from prodigy.store.merges import CheckFacts
from prodigy.store.rows import AttemptRow
from prodigy.workflow.canonical import short_hash
from prodigy.workflow.walk import fingerprint

# Takes an item back to where items wait for a slot, after a pause in seconds.
Back = Callable[[ItemRow, float], None]


@dataclass(frozen=True, order=True)
class _Place:
    """A place in the queue: a higher priority comes first, then who came first."""

    before: float
    turn: int
    member: Member


class CheckedMerges:
    """One fan-out's queue. `take` is called by those who have work to merge, `work` by one task."""

    def __init__(self, run: Run, here: FanoutPlace, back: Back) -> None:
        self._run = run
        self._here = here
        self._rules = here.mapping.merge
        self._back = back
        self._changed = asyncio.Event()
        self._closed = False
        self._at_work = False
        self._places = [_Place(-one.priority, one.turn, one.member) for one in merges.waiting(run.store, here.path)]
        facts = merges.checks(run.store, here.path)
        self._checks = len(facts)
        self._running = next((one.check for one in facts if one.ended_at is None), None)
        self._fingerprint = short_hash("".join(fingerprint(step) for step in self._rules.check), 16)
        same = [one.check for one in facts if one.fingerprint == self._fingerprint]
        self._findings = merge_queue.found(same, self._waiting)
        self._is_outdated = self._running is not None and self._running not in same
        self._workspace = QueueWorkspace(run, here)

    @property
    def busy(self) -> bool:
        """Whether items may still come back from here."""
        return bool(self._places) or self._at_work

    @property
    def _waiting(self) -> list[Member]:
        return [place.member for place in self._places]

    async def take(self, key: AttemptKey, request: MergeRequest) -> Conflict | None:
        """Queue the work of an attempt; None when it waits, else what keeps it from being merged as it is."""
        run = self._run
        merged = await run.merges.merged(run.merges.tip(), request)
        if isinstance(merged, Conflict):
            return merged
        run.store.record(ev.AgentQueued(**key.event(), head=request.head))
        (own,) = merges.waiting(run.store, key.fanout, key.ordinal)
        insort(self._places, _Place(-own.priority, own.turn, own.member))
        self._changed.set()
        return None

    def close(self) -> None:
        """Nobody will hand over anything any more."""
        self._closed = True
        self._changed.set()

    async def work(self) -> None:
        """Merge what is handed over, until the queue is closed and empty or the run drains."""
        try:
            await self._look_at_running()
            while True:
                self._changed.clear()
                move = self._next()
                if move is not None:
                    self._at_work = True
                    await self._do(move)
                    self._at_work = False
                elif self._closed:
                    break
                else:
                    await self._changed.wait()
        except (Stopped, Interrupted):
            return
        finally:
            self._at_work = False
        await self._workspace.tear_down()

    def _next(self) -> Examine | Evict | Stop | None:
        if self._running is not None:
            return Examine(self._running.members, self._running.commits)
        return merge_queue.next_move(self._waiting, self._findings, self._rules.batch or 1, self._run.merges.tip())

    async def _do(self, move: Examine | Evict | Stop) -> None:
        match move:
            case Examine():
                await self._examine(move)
            case Evict(member=member):
                await self._evict(member)
            case Stop():
                facts = self._last()
                what = facts.message if facts else "see the log"
                self._pause(
                    f"the check of merges fails on the run branch itself: {what}", facts.step if facts else None
                )

    async def _look_at_running(self) -> None:
        """A check that an earlier coordinator began says nothing when the run branch has moved since, or the workflow
        checks otherwise now."""
        check = self._running
        if check is None or (check.base == self._run.merges.tip() and not self._is_outdated):
            return
        path = check_path(self._here.path, check.number)
        await self._workspace.give_up_steps(path)
        self._run.store.record(ev.MergeCheckFinished(fanout=self._here.path, number=check.number, passed=None))
        self._running = None

    # Checking ----------------------------------------------------------------------------------------------

    async def _examine(self, move: Examine) -> None:
        check = self._running or await self._begin(move)
        if check is None:
            return
        try:
            failure = await self._failure(check)
        except NotReady as problem:
            failure, blameless = problem.failure, True
        else:
            blameless = failure is not None and failure.kind in NOT_A_TRY
        self._running = None
        ended = replace(check, passed=None if blameless else failure is None)
        event = ev.MergeCheckFinished(
            fanout=self._here.path,
            number=check.number,
            passed=ended.passed,
            message=failure.message if failure else None,
            step=failure.step if failure else None,
        )
        if ended.passed and check.members:
            await self._merge(ended, event)
        else:
            self._run.store.record(event)
        if blameless and failure is not None:
            self._pause(f"merges can't be checked: {failure.message}", failure.step)
        self._findings = merge_queue.after(self._findings, ended)
        if ended.passed:
            self._leave(*check.members)

    async def _begin(self, move: Examine) -> Check | None:
        """Announce a check; None when one of its members has to go first, for it does not merge."""
        run, tip = self._run, self._run.merges.tip()
        run.control.check()
        members, commits = move.members, move.commits
        if members and not (commits and await self._are_there(commits)):
            commits = await self._commits(members, tip)
            members = members[: len(commits)]
            if not members:
                return None
            change = RefChange(refs.check_ref(run.id), ANY, commits[-1])
            await asyncio.to_thread(run.repo.update_refs, [change])
        self._checks += 1
        check = Check(self._checks, tip, members, commits, None)
        run.store.record(
            ev.MergeCheckStarted(
                fanout=self._here.path,
                number=check.number,
                base=tip,
                fingerprint=self._fingerprint,
                ordinals=tuple(member.ordinal for member in members),
                attempts=tuple(member.attempt for member in members),
                commits=commits,
            )
        )
        self._running = check
        return check

    async def _are_there(self, commits: Sequence[str]) -> bool:
        try:
            await asyncio.to_thread(self._run.private.tree_of, commits[-1])
        except GitError:
            return False
        return True

    async def _commits(self, members: Sequence[Member], tip: str) -> tuple[str, ...]:
        """What the merges of the members make of the branch, up to one that conflicts. One that conflicts with the
        branch itself leaves the queue."""
        commits: list[str] = []
        for member in members:
            key, attempt = self._attempt(member)
            request = merge_request(self._run, key, attempt, attempt.queued or "", self._rules.strategy)
            merged = await self._run.merges.merged(commits[-1] if commits else tip, request)
            if isinstance(merged, Conflict):
                if not commits:
                    await self._send_back(key, attempt, merged)
                break
            commits.append(merged)
        return tuple(commits)

    async def _failure(self, check: Check) -> Failure | None:
        """Run the check; why it does not pass. Raises Stopped when the run drains, Interrupted when it was ended."""
        steps = self._rules.check
        if not steps:
            return None  # the workflow has been edited
        path = check_path(self._here.path, check.number)
        keys = [self._attempt(member)[0] for member in check.members]
        files = await asyncio.to_thread(self._run.private.changed_paths, check.base, check.commit)
        names = {
            "check.items": [key.item_id for key in keys],
            "check.count": len(keys),
            "check.base": check.base,
            "check.files": [change.path for change in files],
        }
        return await self._workspace.run(steps, path, check.commit, Scope({**self._here.names, **names}))

    # What follows ------------------------------------------------------------------------------------------

    async def _merge(self, check: Check, event: ev.MergeCheckFinished) -> None:
        """The check has passed: move the run branch. That it has, and that the branch is to move, is one fact."""
        run = self._run
        done, recorded = passed(run, CheckFacts(self._here.path, check, "", "", None, None, None))
        path = check_path(self._here.path, check.number)
        await run.merges.advance(path, check.commit, done=done, first=event, recorded=recorded)

    async def _evict(self, member: Member) -> None:
        """This one does not pass: it is told why, and tried once more where the workflow wants that."""
        facts = self._last()
        output = self._output(facts.step) if facts and facts.step else ""
        failure = Failure(
            f"with it, the check of merges fails: {facts.message if facts else 'see the log'}",
            kind="check_rejected",
            step=facts.step if facts else None,
            log=f"steps/{facts.step}" if facts and facts.step else None,
            last_output=output,
        )
        key, attempt = self._attempt(member)
        await self._fail(key, attempt, failure, second_chance=self._rules.on_reject == "retry")

    def _output(self, execution: str) -> str:
        row = self._run.store.execution(execution)
        return last_output(self._run.directory / "steps" / row.log, row)

    async def _send_back(self, key: AttemptKey, attempt: AttemptRow, conflict: Conflict) -> None:
        """It merged when it came here, and now others have come first."""
        member = Member(key.ordinal, key.number)
        if self._here.mapping.on_conflict:
            self._leave(member)
            self._back(self._run.store.item(key.fanout, key.ordinal), 0.0)
            return
        failure = await asyncio.to_thread(conflict_failure, self._run.private, self._run.merges.tip(), conflict)
        await self._fail(key, attempt, failure)

    async def _fail(
        self, key: AttemptKey, attempt: AttemptRow, failure: Failure, *, second_chance: bool = False
    ) -> None:
        mapping = self._here.mapping
        limit = item_limit(mapping.limits, mapping.steps_of(key.ordinal), key.path)
        work = Snapshot(attempt.queued or attempt.base, None)
        again: Again | None = await fail(
            self._run, key, attempt, mapping.errors, work, failure, limit, second_chance=second_chance
        )
        self._leave(Member(key.ordinal, key.number))
        if again is not None:
            self._back(self._run.store.item(key.fanout, key.ordinal), again.delay_s)

    def _leave(self, *members: Member) -> None:
        self._places = [place for place in self._places if place.member not in members]
        if not set(self._findings.suspects) <= set(self._waiting):
            self._findings = replace(self._findings, suspects=(), commits=())

    def _pause(self, what: str, step: str | None) -> None:
        """Nothing can be checked as things are, and no item is to blame. Raises Stopped."""
        where = f" (its output is in {self._run.directory / 'steps' / step})" if step else ""
        self._run.control.pause(None, f"{what}{where}. Mend that, then resume: what waits to be merged waits on")
        raise Stopped

    def _last(self) -> CheckFacts | None:
        """The newest check that did not pass, which says why."""
        facts = merges.checks(self._run.store, self._here.path, after=max(0, self._checks - 64))
        return next((one for one in reversed(facts) if one.check.passed is False), None)

    def _attempt(self, member: Member) -> tuple[AttemptKey, AttemptRow]:
        return _attempt(self._run, self._here.path, member)


def passed(run: Run, facts: CheckFacts) -> tuple[Done, Recorded]:
    """What follows when the members of a check are merged: of their commits and refs, and the events."""
    pairs = [_attempt(run, facts.fanout, member) for member in facts.check.members]
    mapping = fan_out_at(run.workflow, facts.fanout)
    strategy = mapping.merge.strategy if mapping else "merge"
    requests = [merge_request(run, key, attempt, attempt.queued or "", strategy) for key, attempt in pairs]
    done = Done(tuple(one.head for one in requests), tuple(name for one in requests for name in one.obsolete))

    def recorded(_tip: str) -> Sequence[ev.Event]:
        events: list[ev.Event] = []
        for (key, attempt), commit in zip(pairs, facts.check.commits, strict=True):
            _, added = run.private.commits_between(attempt.base, attempt.queued or attempt.base)
            events += completion(run.store, key, added, commit)
        return events

    return done, recorded


def _attempt(run: Run, fanout: str, member: Member) -> tuple[AttemptKey, AttemptRow]:
    item = run.store.item(fanout, member.ordinal)
    key = AttemptKey(fanout, member.ordinal, member.attempt, item.item_id, item.label)
    row = next(row for row in run.store.attempts(fanout, member.ordinal) if row.number == member.attempt)
    return key, row
