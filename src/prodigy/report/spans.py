"""From the events of a run to its spans: run > phase > item > attempt > step, and what else takes time.

A fold over facts: the same events give the same spans, live and afterwards. A span is told when it ends, once. So what
ends more than once, because the run was paused or an item was tried again after its dead letter, is a span each time:
every session after the first one is a span below the run's, and phases and items have one for each of their lives.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator

from prodigy.report.open_spans import OpenSpans
from prodigy.report.span_facts import Span, Value, known, of_step, of_use, usage_of
from prodigy.state import events as ev
from prodigy.state.step_path import attempt_path, check_path, is_in_an_item, split_try

ROOT = "run"
_ATTEMPT = re.compile(r"it\d+/.*/i\d+/a\d+(?=/)")
_CHECK = re.compile(r"merges/.+/c\d+(?=/)")


def spans(run_id: str, events: Iterable[tuple[ev.Event, int]]) -> Iterator[Span]:
    """The spans that ended. events: with the UNIX time of each, in nanoseconds."""
    fold = SpanFold(run_id)
    for event, at_ns in events:
        yield from fold.apply(event, at_ns)


def nanoseconds(timestamp: str) -> int:
    """UNIX time of an RFC 3339 timestamp with milliseconds at most."""
    return round(dt.datetime.fromisoformat(timestamp).timestamp() * 1000) * 1_000_000


class SpanFold:
    """What is going on in a run, and since when."""

    def __init__(self, run_id: str) -> None:
        self.open = OpenSpans()
        self.closed_gates: dict[str, str] = {}  # account -> agent
        self._run_id = run_id
        self._workflow = ""
        self._session: str | None = None
        self._sessions = 0
        self._phase: tuple[tuple[str, str], str] | None = None  # (name, path), key of its span
        self._last_phase: tuple[str, str] | None = None
        self._homes: dict[str, tuple[str, str]] = {}  # step or fan-out -> its phase
        self._items: dict[str, str] = {}  # path of an item -> key of its span
        self._executions: dict[str, dict[str, str]] = {}  # attempt or "" -> step -> its newest execution
        self._last_ns = self._ended_ns = 0

    @property
    def running_items(self) -> int:
        """Items with an attempt that is going on; that waits to be merged counts too."""
        return len(self.open.keys_of("attempt"))

    def apply(self, event: ev.Event, at_ns: int) -> list[Span]:
        """Take one more event; the spans that it ends."""
        match event:
            case ev.ItemEvent():
                self._item(event, at_ns)
            case ev.StepStarted():
                self._step_started(event, at_ns)
            case ev.StepFinished() | ev.StepLost():
                self._step_ended(event, at_ns)
            case ev.StepAdopted(path=path):
                self.open.note(path, "adopted", at_ns, {})
            case ev.StepRetrying(path=path, delay_s=delay_s, reason=reason):
                facts = known(prodigy__step__path=path, prodigy__delay_s=delay_s, prodigy__reason=reason)
                self.open.note(self._parent(split_try(path)[0]) or self._here(), "retrying", at_ns, facts)
            case ev.StepSkipped(path=path, reason=reason):
                facts = known(prodigy__step__path=path, prodigy__reason=reason)
                self.open.note(self._parent(split_try(path)[0]) or self._here(), "skipped", at_ns, facts)
            case ev.Merging() | ev.WorktreeMerged() | ev.MergeCheckStarted() | ev.MergeCheckFinished():
                self._merge(event, at_ns)
            case ev.FinalMergeStarted() | ev.FinalMergeFinished() | ev.FinalMergeRefused():
                self._final_merge(event, at_ns)
            case ev.AgentGateClosed() | ev.AgentGateOpened():
                self._gate(event, at_ns)
            case _:
                self._run(event, at_ns)
        self._last_ns = at_ns
        return self.open.take()

    # The run -----------------------------------------------------------------------------------------------

    def _run(self, event: ev.Event, at_ns: int) -> None:
        match event:
            case ev.JobStarted():
                self._workflow = event.workflow
                facts = known(prodigy__base=event.base, prodigy__target=event.target)
                self._begin_session(at_ns, f"run {event.workflow}", facts)
            case ev.JobResumed(command=command):
                if self._session is not None:  # its process was killed: it lived until the last that it said
                    self._end_session(self._last_ns, "killed", ok=False, kind="killed")
                self._begin_session(at_ns, f"{command} {self._workflow}".strip(), known(prodigy__command=command))
            case ev.PhaseStarted(phase=phase, path=path):
                self._begin_phase((phase, path), at_ns, again=True)
            case ev.JobCompleted(status=status):
                self._end_session(at_ns, status, ok=True)
            case ev.JobFailed(error=error):
                self._end_session(at_ns, "failed", ok=False, kind="failed", message=error)
            case ev.JobPaused(status=status, stop_reason=reason, error=error):
                kind = "error" if error else None
                self._end_session(at_ns, status, ok=None, kind=kind, message=error, stop_reason=reason)
            case ev.Warned(message=message):
                self.open.note(self._session, "warning", at_ns, known(prodigy__message=message))
            case ev.JobHeld() | ev.JobReleased() | ev.JobSteered() | ev.WorkflowChanged():
                self.open.note(self._session, event.type.removeprefix("job_"), at_ns, {})
            case ev.BreakerOpened() | ev.BreakerClosed():
                self.open.note(self._here(), event.type, at_ns, known(prodigy__fanout=event.fanout))

    def _begin_session(self, at_ns: int, name: str, facts: dict[str, Value]) -> None:
        self._sessions += 1
        key, parent = (ROOT, None) if self._sessions == 1 else (f"session/{self._sessions}", ROOT)
        facts |= known(prodigy__run__id=self._run_id, prodigy__session=self._sessions)
        facts |= known(gen_ai__workflow__name=self._workflow or None)
        self._session = key
        self.open.begin(key, "run" if parent is None else "session", name, parent, at_ns, facts)

    def _end_session(
        self,
        at_ns: int,
        status: str,
        *,
        ok: bool | None,
        kind: str | None = None,
        message: str | None = None,
        stop_reason: str | None = None,
    ) -> None:
        """End what can't go on without the process; steps and their attempts do."""
        alive = {key.rpartition("/")[0] for key in self.open.keys_of("attempt")}
        for path, item in list(self._items.items()):
            if path not in alive:
                self.open.end(item, at_ns, ok=None, attributes=known(prodigy__item__state="unfinished"))
                del self._items[path]
        for key in (*self.open.keys_of("gate"), *self.open.keys_of("final_merge"), *self.open.keys_of("phase")):
            self.open.end(key, at_ns, ok=ok or None)
        self.closed_gates.clear()
        self._phase = None
        if self._session is not None:
            facts = known(prodigy__run__status=status, prodigy__run__stop_reason=stop_reason)
            self.open.end(self._session, at_ns, ok=ok, kind=kind, message=message, attributes=facts)
        self._session, self._ended_ns = None, at_ns

    def _begin_phase(self, phase: tuple[str, str], at_ns: int, *, again: bool = False) -> str:
        if self._phase is not None:
            if self._phase[0] == phase and not again:
                return self._phase[1]
            self.open.end(self._phase[1], at_ns)
        name, path = phase
        key = self.open.new_key(f"phase/{name}/{path}")
        facts = known(prodigy__phase=name, prodigy__path=path)
        self.open.begin(key, "phase", name, self._session or ROOT, at_ns, facts)
        self._phase, self._last_phase = (phase, key), phase
        if name == "map":
            self._homes.setdefault(path, phase)
        return key

    def _home(self, path: str, at_ns: int) -> str:
        """The phase in which a step outside the items, or a fan-out, is: that in which it was at first, also when a
        resume comes back to it."""
        phase = self._homes.get(path) or (self._phase[0] if self._phase else self._last_phase)
        if phase is None or self._session is None:
            return self._here()
        self._homes.setdefault(path, phase)
        return self._begin_phase(phase, at_ns)

    def _here(self) -> str:
        return self._phase[1] if self._phase else self._session or ROOT

    # Items -------------------------------------------------------------------------------------------------

    def _item(self, event: ev.ItemEvent, at_ns: int) -> None:
        attempt = attempt_path(event.fanout, event.ordinal, event.attempt)
        match event:
            case ev.AgentStarted():
                self._attempt_started(event, attempt, at_ns)
            case ev.AgentQueued():
                self.open.begin(self.open.new_key(f"{attempt}/queue"), "queue", "wait for merge", attempt, at_ns, {})
            case ev.AgentRequeued():
                self._end_within(attempt, at_ns)
            case ev.AgentCompleted(commits=commits, merged=merged):
                facts = known(prodigy__commits=len(commits), prodigy__merged=merged)
                self._end_attempt(attempt, at_ns, ok=True, facts=facts)
                self._end_item(event, at_ns, "succeeded", ok=True)
            case ev.AgentFailed(kind=kind, error=error):
                self._end_attempt(attempt, at_ns, ok=False, kind=kind, message=error)
                facts = known(error__type=kind)
                self.open.add(self._items.get(_item_path(event), ""), facts)
            case ev.AgentInterrupted():
                self._end_attempt(attempt, at_ns, ok=None, facts=known(prodigy__interrupted=True))
            case ev.AgentRetrying(delay_s=delay_s):
                key = self._items.get(_item_path(event))
                self.open.note(key, "retrying", at_ns, known(prodigy__delay_s=delay_s))
            case ev.AgentSkipped():
                self._end_item(event, at_ns, "skipped", ok=None)
            case ev.DlqItemAdded(error_signature=signature):
                self._end_item(event, at_ns, "dead", ok=False, signature=signature)

    def _attempt_started(self, event: ev.AgentStarted, attempt: str, at_ns: int) -> None:
        path = _item_path(event)
        identity = known(
            prodigy__item__id=event.item_id, prodigy__item__label=event.label, prodigy__item__ordinal=event.ordinal,
            prodigy__fanout=event.fanout,
        )  # fmt: skip
        if path not in self._items:
            phase = self._home(event.fanout, at_ns)
            self._items[path] = self.open.new_key(path)
            self.open.begin(self._items[path], "item", f"item {event.label}", phase, at_ns, identity)
        facts = known(
            prodigy__attempt=event.attempt, prodigy__worktree=event.worktree, prodigy__base=event.base,
            prodigy__continues=event.continues,
        )  # fmt: skip
        name = f"attempt {event.attempt}"
        self.open.begin(attempt, "attempt", name, self._items[path], at_ns, identity | facts)

    def _end_within(self, attempt: str, at_ns: int) -> None:
        """The attempt waits no more."""
        for of in ("queue", "merge"):
            for key in self.open.keys_of(of):
                if key.startswith(f"{attempt}/"):
                    self.open.end(key, at_ns, ok=None)

    def _end_attempt(
        self,
        attempt: str,
        at_ns: int,
        *,
        ok: bool | None,
        kind: str | None = None,
        message: str | None = None,
        facts: dict[str, Value] | None = None,
    ) -> None:
        self._end_within(attempt, at_ns)
        self._executions.pop(attempt, None)
        self.open.end(attempt, at_ns, ok=ok, kind=kind, message=message, attributes=facts)

    def _end_item(
        self, event: ev.ItemEvent, at_ns: int, state: str, *, ok: bool | None, signature: str | None = None
    ) -> None:
        facts = known(
            prodigy__item__state=state, prodigy__item__attempts=event.attempt, prodigy__error_signature=signature
        )
        key = self._items.pop(_item_path(event), None)
        if key is not None:
            self.open.end(key, at_ns, ok=ok, attributes=facts)

    # Steps -------------------------------------------------------------------------------------------------

    def _step_started(self, event: ev.StepStarted, at_ns: int) -> None:
        step, _ = split_try(event.path)
        parent = self._parent(step)
        if parent is None:
            parent = self._home(step, at_ns)
        name = f"invoke_agent {event.agent}" if event.agent else f"step {event.label or step}"
        self.open.begin(event.path, "step", name, parent, at_ns, of_step(event))
        self._executions.setdefault(_owner(step), {})[step] = event.path

    def _step_ended(self, event: ev.StepFinished | ev.StepLost, at_ns: int) -> None:
        usage = usage_of(event)
        facts = of_use(event, usage)
        if isinstance(event, ev.StepFinished):
            facts |= known(process__exit__code=event.exit_code)
            self.open.end(
                event.path, at_ns, ok=event.kind is None, kind=event.kind, message=event.message, attributes=facts,
                usage=usage,
            )  # fmt: skip
            return
        start_ns = self.open.start_of(event.path)
        if event.reason == "lost" and start_ns is not None and start_ns <= self._ended_ns:
            at_ns = self._ended_ns  # nobody knows when; not later than the process that looked after it
        kind = "lost" if event.reason == "lost" else None
        facts |= known(prodigy__lost=event.reason)
        self.open.end(event.path, at_ns, ok=False if kind else None, kind=kind, attributes=facts, usage=usage)

    def _parent(self, step: str) -> str | None:
        """The span in which a step is: the step that it belongs to, else the attempt or the check; None for one of the
        run's own."""
        executions, above = self._executions.get(_owner(step), {}), step
        while "/" in above:
            above = above.rpartition("/")[0]
            if above in executions:
                return executions[above]
        return _owner(step) or None

    # Merges and gates --------------------------------------------------------------------------------------

    def _merge(
        self, event: ev.Merging | ev.WorktreeMerged | ev.MergeCheckStarted | ev.MergeCheckFinished, at_ns: int
    ) -> None:
        match event:
            case ev.Merging(path=path, new=new):
                within = is_in_an_item(f"{path}/") or path in self.open
                parent = path if within else self._here()
                self.open.begin(f"{path}/merge/{new}", "merge", "merge", parent, at_ns, known(prodigy__path=path))
            case ev.WorktreeMerged(path=path, new=new):
                self.open.end(f"{path}/merge/{new}", at_ns)
            case ev.MergeCheckStarted(fanout=fanout, number=number, ordinals=ordinals):
                key = check_path(fanout, number)
                facts = known(prodigy__fanout=fanout, prodigy__check=number, prodigy__items=len(ordinals))
                self.open.begin(key, "check", f"merge check {number}", self._here(), at_ns, facts)
            case ev.MergeCheckFinished(fanout=fanout, number=number, passed=passed, message=message):
                key, kind = check_path(fanout, number), "check_rejected" if passed is False else None
                self._executions.pop(key, None)
                self.open.end(key, at_ns, ok=passed, kind=kind, message=message)

    def _final_merge(
        self, event: ev.FinalMergeStarted | ev.FinalMergeFinished | ev.FinalMergeRefused, at_ns: int
    ) -> None:
        match event:
            case ev.FinalMergeStarted(target=target):
                key = self.open.new_key("final_merge")
                self.open.begin(key, "final_merge", "final merge", self._here(), at_ns, known(prodigy__target=target))
            case ev.FinalMergeFinished():
                for key in self.open.keys_of("final_merge"):
                    self.open.end(key, at_ns)
            case ev.FinalMergeRefused(problem=problem):
                for key in self.open.keys_of("final_merge"):
                    self.open.end(key, at_ns, ok=False, kind="refused", message=problem)
                self.open.note(self._session, "final merge refused", at_ns, known(prodigy__message=problem))

    def _gate(self, event: ev.AgentGateClosed | ev.AgentGateOpened, at_ns: int) -> None:
        gates = {key.partition("#")[0]: key for key in self.open.keys_of("gate")}
        key = f"gate/{event.account}"
        if isinstance(event, ev.AgentGateOpened):
            self.closed_gates.pop(event.account, None)
            if key in gates:
                self.open.end(gates[key], at_ns, ok=None)
            return
        self.closed_gates[event.account] = event.agent
        if key not in gates:
            gates[key] = self.open.new_key(key)
            facts = known(gen_ai__agent__name=event.agent, prodigy__cause=event.cause)
            name = f"gate closed: {event.agent}"
            self.open.begin(gates[key], "gate", name, self._session or ROOT, at_ns, facts)
        self.open.note(gates[key], "closed", at_ns, known(prodigy__until=event.until, prodigy__message=event.message))


def _item_path(event: ev.ItemEvent) -> str:
    return attempt_path(event.fanout, event.ordinal, event.attempt).rpartition("/")[0]


def _owner(step: str) -> str:
    """The attempt or the merge check that a step belongs to; "" for one of the run's own."""
    found = _CHECK.match(step) or _ATTEMPT.match(step)
    return found[0] if found else ""
