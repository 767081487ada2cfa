"""What a live view of a run shows: a fold over the run's events, without clock, files or terminal.

Times (`at`, `since`, `now`) are seconds of one monotonic clock, the caller's. Every event costs the same, and what is
kept depends on how many things run at once, not on how many items there are.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import deque
from dataclasses import dataclass, field

from prodigy.state import events as ev
from prodigy.state.step_path import attempt_path, is_of_the_run, parse_attempt, parse_check, split_try

RUNNING = "running"
KEPT_FAILURES = 20
KEPT_WARNINGS = 20
KEPT_PHASES = 32
MOST_LINES = 4096  # far above any number of slots; a bound, should ends go missing
LONGEST_TEXT = 500  # characters of a message that are kept
ITEMS_BEFORE_ETA = 2

_IN_ATTEMPT = re.compile(r"(?P<attempt>.+/i\d+/a\d+)/")


@dataclass(frozen=True)
class StepNow:
    """A step that runs. `path` is its execution: the name of its directory below `steps/`."""

    path: str
    label: str
    agent: str | None
    since: float
    adapter: str | None = None  # the agent's kind, which knows how to read its output


@dataclass(frozen=True)
class Retry:
    """A step that failed and waits for its next try, which begins at `at`."""

    at: float
    reason: str


@dataclass
class Line:
    """Something that runs: an attempt of an item, or (attempt 0) a step of the run itself."""

    label: str
    attempt: int
    since: float
    cost_usd: float | None = None  # of its steps that have ended
    tokens: int | None = None
    step: StepNow | None = None
    retry: Retry | None = None
    begun: bool = False  # a step of it ran
    waiting: bool = False  # a step of it is to run again, when its agent may
    merging: bool = False


@dataclass(frozen=True)
class FailureNote:
    """One failed item or step of the run: its name for people, the error's kind and message."""

    label: str
    kind: str
    message: str
    item_id: str = ""  # empty for a step of the run


@dataclass
class Batch:
    """The items that are counted now: those of one fan-out, or of all so far after a resume (`fanout` is empty).

    0 <= failed <= done <= total, where `done` counts every item that has ended, failed ones included.
    """

    fanout: str
    total: int
    done: int = 0
    failed: int = 0
    timed: int = 0  # items whose duration is known
    timed_s: float = 0.0
    peak: int = 0  # the most items that ran at once

    def end(self, *, failed: bool, duration_s: float) -> None:
        """Count an item that ended after `duration_s` seconds."""
        self.done = min(self.done + 1, self.total)
        self.failed = min(self.failed + failed, self.done)
        self.timed += 1
        self.timed_s += max(0.0, duration_s)

    def give_up(self) -> None:
        """Count an item that will not run again, though it had not been counted as failed."""
        self.failed = min(self.failed + 1, self.total)
        self.done = max(min(self.done + 1, self.total), self.failed)

    def reopen(self) -> None:
        """A failed item is tried again."""
        if self.failed:
            self.failed -= 1
            self.done -= 1


@dataclass
class RunView:
    """The run as it stands after the events applied so far.

    state: `running`, or the status that the run ended with. cost_usd and tokens are None as long as no step told any.
    started_at: when the command that drives the run began; None before any event.
    """

    run_id: str
    workflow: str = ""
    state: str = RUNNING
    error: str | None = None
    phase: str = ""
    phases: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_PHASES))
    batch: Batch | None = None
    lines: dict[str, Line] = field(default_factory=dict)  # by path of the attempt or the step, oldest first
    failures: deque[FailureNote] = field(default_factory=lambda: deque(maxlen=KEPT_FAILURES))
    failure_count: int = 0
    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_WARNINGS))
    warning_count: int = 0
    cost_usd: float | None = None
    tokens: int | None = None
    gates: dict[str, ev.AgentGateClosed] = field(default_factory=dict)  # by account, those that are closed
    queued: dict[tuple[str, int], str] = field(default_factory=dict)  # labels of the items that wait to be merged
    checking: tuple[str, ...] = ()  # labels of those whose merge is being checked
    retries: int = 0
    merges: int = 0
    merged_into: str | None = None
    held_by: str | None = None  # who paused it
    budget_usd: float | None = None  # that it may cost in all
    max_parallel: int | None = None  # items at a time, as far as it is known
    started_at: float | None = None
    # Counted as failed, without a dead letter: they may run again.
    _open_failures: set[tuple[str, int]] = field(default_factory=set)
    _waiting: dict[tuple[str, int], float] = field(default_factory=dict)  # when their next attempt may begin

    def apply(self, event: ev.Event, at: float) -> None:
        """Take in one event that happened at `at`. Never raises, whatever came before."""
        if self.started_at is None:
            self.started_at = at
        match event:
            case ev.ItemEvent():
                self._item(event, at)
            case ev.StepStarted() | ev.StepAdopted() | ev.StepLost() | ev.StepRetrying() | ev.StepFinished() if (
                "/t" in event.path
            ):
                self._step(event, at)
            case ev.ItemsPlanned(fanout=fanout, total=total):
                self.batch = Batch(fanout, max(0, total))
                self._open_failures.clear()
                self._waiting.clear()
            case ev.FanoutFinished(fanout=fanout):
                self._drop(f"{fanout}/i")
                self._waiting.clear()
            case ev.PhaseStarted(phase=phase):
                self.phase = phase
                if phase not in self.phases:
                    self.phases.append(phase)
            case _:
                self._run(event, at)

    def waits_until(self, item: tuple[str, int], at: float) -> None:
        """Take in that an item's next attempt may begin then."""
        self._waiting[item] = at

    def waiting(self, now: float) -> tuple[int, float]:
        """How many items wait for their next attempt, and in how many seconds the first of them may begin."""
        left = [at - now for at in self._waiting.values() if at > now] if self.state == RUNNING else []
        return len(left), min(left, default=0.0)

    def eta_s(self, now: float) -> float | None:
        """Seconds until the last item ends, from the mean duration so far and the slots in use; None: can't tell."""
        batch = self.batch
        if batch is None or self.state != RUNNING or batch.timed < ITEMS_BEFORE_ETA or batch.done >= batch.total:
            return None
        mean = batch.timed_s / batch.timed
        left = [max(0.0, mean - (now - line.since)) for line in self.lines.values() if line.attempt]
        pending = max(0, batch.total - batch.done - len(left))
        slots = max(batch.peak, 1) if pending else max(len(left), 1)
        return max([(sum(left) + pending * mean) / slots, *left])

    # The run -----------------------------------------------------------------------------------------------

    def _run(self, event: ev.Event, at: float) -> None:
        match event:
            case ev.JobStarted(workflow=workflow):
                self.workflow, self.state = workflow, RUNNING
            case ev.JobResumed(total=total, done=done, failed=failed, still_held=still_held, options=options):
                self._choose(options)
                self._resume(total, done, failed, at)
                self.held_by = self.held_by if still_held else None
            case ev.JobCompleted(status=status):
                self._end(status, None)
            case ev.JobFailed(error=error):
                self._end("failed", error)
            case ev.JobPaused(status=status, error=error):
                # What is in flight stays listed: it goes on when the run is resumed.
                self.state, self.error = status, _clip(error) if error else None
            case ev.Warned(message=message) | ev.FinalMergeRefused(problem=message):
                self.warnings.append(_clip(message))
                self.warning_count += 1
            case ev.Merging(path=path) if path in self.lines:
                self.lines[path].merging = True
            case ev.WorktreeMerged(path=path):
                self.merges += parse_check(path) is None  # of a check, every item tells by itself
                if path in self.lines:
                    self.lines[path].merging = False
            case ev.MergeCheckStarted(fanout=fanout, ordinals=ordinals):
                self.checking = tuple(self.queued.get((fanout, ordinal), f"item {ordinal}") for ordinal in ordinals)
            case ev.MergeCheckFinished():
                self.checking = ()
            case ev.AgentGateClosed(account=account, message=message):
                known = self.gates.get(account)
                if not message and known is not None:  # it was said why when it was closed
                    event = dataclasses.replace(event, message=known.message)
                self.gates[account] = event
            case ev.AgentGateOpened(account=account):
                self.gates.pop(account, None)
            case ev.JobSteered(options=options):
                self._choose(options)
            case ev.JobHeld(by=by):
                self.held_by = by
            case ev.JobReleased():
                self.held_by = None
            case ev.DlqItemsReprocessed(ordinals=ordinals, by=by) if by and self.batch:  # else JobResumed has counted
                for _ in ordinals:
                    self.batch.reopen()
            case ev.FinalMergeFinished(target=target):
                self.merged_into = target.removeprefix("refs/heads/")

    def _choose(self, options: str) -> None:
        """Take in the run's choices; what is not chosen stays as the workflow has it."""
        try:
            chosen = json.loads(options)
        except ValueError:
            return  # none are told
        self.budget_usd = chosen.get("budget_usd") or self.budget_usd
        self.max_parallel = chosen.get("max_parallel") or self.max_parallel

    def _resume(self, total: int, done: int, failed: int, at: float) -> None:
        self.state, self.error, self.started_at = RUNNING, None, at
        if total > 0:
            done = max(0, min(done, total))
            self.batch = Batch("", total, done, max(0, min(failed, done)))
            self._open_failures.clear()  # whatever may run again is not counted as done

    def _end(self, status: str, error: str | None) -> None:
        self.state, self.error = status, _clip(error) if error else None
        self.lines.clear()

    def _drop(self, prefix: str) -> None:
        for path in [path for path in self.lines if path.startswith(prefix)]:
            del self.lines[path]

    # Items -------------------------------------------------------------------------------------------------

    def _item(self, event: ev.ItemEvent, at: float) -> None:
        path = attempt_path(event.fanout, event.ordinal, event.attempt)
        key = (event.fanout, event.ordinal)
        was_queued = self.queued.pop(key, None) is not None
        match event:
            case ev.AgentQueued():
                self.lines.pop(path, None)
                self.queued[key] = event.label
            case ev.AgentRequeued():
                self._add(path, Line(event.label, event.attempt, at))
            case ev.AgentStarted():
                self._waiting.pop(key, None)
                if key in self._open_failures:
                    self._open_failures.remove(key)
                    if self.batch:
                        self.batch.reopen()
                self._add(path, Line(event.label, event.attempt, at))
            case ev.AgentCompleted(duration_s=duration_s, merged=merged):
                self.merges += was_queued and merged is not None
                self._item_ended(path, failed=False, duration_s=duration_s)
            case ev.AgentFailed(duration_s=duration_s):
                self._item_ended(path, failed=True, duration_s=duration_s)
                self._open_failures.add(key)
                self.failure_count += 1
                self.note_failure(event.label, event.kind, "" if event.collected else event.error, event.item_id)
            case ev.AgentInterrupted():
                self.lines.pop(path, None)
            case ev.AgentRetrying(delay_s=delay_s):
                self._waiting[key] = at + delay_s
                if key in self._open_failures:
                    self._open_failures.remove(key)
                    if self.batch:
                        self.batch.reopen()
            case ev.DlqItemAdded():
                self._buried(key)
            case ev.AgentSkipped():
                self._open_failures.discard(key)
                self._waiting.pop(key, None)
                if self.batch:
                    self.batch.failed = max(0, self.batch.failed - 1)

    def _buried(self, key: tuple[str, int]) -> None:
        """An item is dead: one that failed just now, or one that waited and is past its limit of tries on a resume."""
        self._waiting.pop(key, None)
        if key in self._open_failures:
            self._open_failures.remove(key)
        elif self.batch:
            self.batch.give_up()

    def _item_ended(self, path: str, *, failed: bool, duration_s: float) -> None:
        self.lines.pop(path, None)
        if self.batch:
            self.batch.end(failed=failed, duration_s=duration_s)

    def note_failure(self, label: str, kind: str, message: str, item_id: str = "") -> None:
        """Keep one of the newest failures in mind. item_id: empty for a step of the run."""
        self.failures.append(FailureNote(label, kind, _clip(message), item_id))

    def _add(self, path: str, line: Line) -> None:
        self.lines.pop(path, None)
        self.lines[path] = line
        if len(self.lines) > MOST_LINES:
            del self.lines[next(iter(self.lines))]
        if self.batch and line.attempt:
            self.batch.peak = max(self.batch.peak, len(self.lines))

    # Steps -------------------------------------------------------------------------------------------------

    def _step(
        self,
        event: ev.StepStarted | ev.StepAdopted | ev.StepLost | ev.StepRetrying | ev.StepFinished,
        at: float,
    ) -> None:
        path = event.path
        match event:
            case ev.StepStarted(label=label, agent=agent, adapter=adapter):
                self._step_runs(StepNow(path, label or _nameless(path), agent, at, adapter or agent), at)
            case ev.StepAdopted():
                line = self.lines.get(owner_of(path))
                if line is None or line.step is None or line.step.path != path:  # its start was before our time
                    self._step_runs(StepNow(path, _nameless(path), None, at), at)
            case ev.StepRetrying(delay_s=delay_s, reason=reason):
                self.retries += 1
                line = self._line(path, at)
                line.step, line.retry = None, Retry(at + delay_s, _clip(reason))
            case ev.StepFinished() | ev.StepLost():
                self._step_ended(path)
                self._account(event)
                line = self.lines.get(owner_of(path))
                if line is not None and isinstance(event, ev.StepLost):
                    line.waiting = event.reason in ("rate_limited", "agent_down")

    def _step_runs(self, step: StepNow, at: float) -> None:
        line = self._line(step.path, at)
        line.step, line.retry, line.begun, line.waiting = step, None, True, False

    def _line(self, path: str, at: float) -> Line:
        """The line that a step execution belongs to; made anew when its beginning was before our time."""
        owner = owner_of(path)
        if owner not in self.lines:
            attempt = parse_attempt(owner)
            if attempt:
                self._add(owner, Line(f"item {attempt.ordinal}", attempt.attempt, at))
            else:
                label = (self.phase or "run") if is_of_the_run(owner) else "check of merges"
                self._add(owner, Line(label, 0, at))
        return self.lines[owner]

    def _step_ended(self, path: str) -> None:
        owner = owner_of(path)
        line = self.lines.get(owner)
        if line is None or line.step is None or line.step.path != path:
            return
        if line.attempt:
            line.step = None
        else:
            del self.lines[owner]

    def _account(self, event: ev.StepFinished | ev.StepLost) -> None:
        line = self.lines.get(owner_of(event.path))
        for spender in (self, line) if line is not None else (self,):
            if event.cost_usd is not None:
                spender.cost_usd = (spender.cost_usd or 0.0) + event.cost_usd
            if event.tokens is not None:
                spender.tokens = (spender.tokens or 0) + event.tokens
        if isinstance(event, ev.StepFinished) and event.kind is not None and is_of_the_run(event.path):
            self.failure_count += 1
            self.note_failure(f"step {event.path}", event.kind, event.message or "")


def owner_of(path: str) -> str:
    """The path of the line that shows a step execution: its item's attempt, else the step without its try."""
    found = _IN_ATTEMPT.match(path)
    return found["attempt"] if found else path.rpartition("/t")[0]


def _nameless(path: str) -> str:
    """What to call a step whose label is not known: its number."""
    return f"step {split_try(path)[0].rpartition('/')[2]}"


def _clip(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
