"""From events to spans, without a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from prodigy.report.otlp import readable
from prodigy.report.otlp_metrics import Instruments
from prodigy.report.span_facts import Span
from prodigy.report.spans import SpanFold, nanoseconds, spans
from prodigy.state import events as ev
from prodigy.state.trace_ids import span_id, trace_id, traceparent

SECOND = 1_000_000_000
STARTED = ev.JobStarted(workflow="w", base="b", branch="r", target=None)
RESUMED = ev.JobResumed(command="resume", options="{}", total=1, done=0)
PAUSED = ev.JobPaused(status="interrupted", stop_reason=None)
COMPLETED = ev.JobCompleted(status="completed")
MAP = ev.PhaseStarted(phase="map", path="it1/1")
USAGE = '[["small", 1, 2, 3, 4, 0.1], ["large", 10, 20, 0, 0, 0.5]]'


def item(ordinal: int, attempt: int) -> dict[str, str | int]:
    return {"fanout": "it1/1", "ordinal": ordinal, "attempt": attempt, "item_id": f"n{ordinal}", "label": f"n{ordinal}"}


def began(ordinal: int = 1, attempt: int = 1) -> ev.AgentStarted:
    facts = {"agent_id": "", "worktree": "s1", "base": "b", "workflow": 1, "continues": None}
    return ev.AgentStarted(**item(ordinal, attempt), **facts)  # type: ignore[arg-type]


def succeeded(ordinal: int = 1, attempt: int = 1) -> ev.AgentCompleted:
    return ev.AgentCompleted(**item(ordinal, attempt), duration_s=1.0, commits=(), merged=None)  # type: ignore[arg-type]


def failed(ordinal: int = 1, attempt: int = 1) -> ev.AgentFailed:
    return ev.AgentFailed(**item(ordinal, attempt), kind="timeout", error="too slow", retry_eligible=True)  # type: ignore[arg-type]


def died(ordinal: int = 1, attempt: int = 1) -> ev.DlqItemAdded:
    facts = {"error_signature": "s", "reprocess_eligible": True, "manual_review_required": False}
    return ev.DlqItemAdded(**item(ordinal, attempt), **facts, branch=None, worktree_path=None)  # type: ignore[arg-type]


def interrupted(ordinal: int = 1, attempt: int = 1) -> ev.AgentInterrupted:
    return ev.AgentInterrupted(**item(ordinal, attempt))  # type: ignore[arg-type]


def step(path: str, agent: str | None = None) -> ev.StepStarted:
    return ev.StepStarted(path=path, fingerprint="f", label="make", agent=agent)


def ended(path: str, kind: str | None = None, usage: str | None = None) -> ev.StepFinished:
    cost = 0.6 if usage else None
    return ev.StepFinished(
        path=path,
        kind=kind,
        message=None,
        exit_code=0,
        duration_s=1,
        head="h",
        snapshot=None,
        usage=usage,
        cost_usd=cost,
    )


def told(*events: ev.Event) -> list[Span]:
    """The spans of events that are a second apart."""
    return list(spans("r", ((event, number * SECOND) for number, event in enumerate(events))))


def one(found: list[Span], key: str) -> Span:
    (span,) = [span for span in found if span.key == key]
    return span


def test_what_belongs_to_a_step_is_below_its_newest_execution() -> None:
    found = told(
        STARTED, ev.PhaseStarted(phase="steps", path="it1"), step("it1/1/t1"), ended("it1/1/t1", "command_failed"),
        step("it1/1/on_failure/r1/1/t1"), ended("it1/1/on_failure/r1/1/t1"), step("it1/1/t2"), ended("it1/1/t2"),
        step("it1/1/check/r1/1/t1"), ended("it1/1/check/r1/1/t1"), COMPLETED,
    )  # fmt: skip
    assert one(found, "it1/1/t1").parent == "phase/steps/it1"
    assert one(found, "it1/1/on_failure/r1/1/t1").parent == "it1/1/t1"
    assert one(found, "it1/1/check/r1/1/t1").parent == "it1/1/t2"


def test_steps_of_a_merge_check_are_below_the_check_and_a_failed_one_is_an_error() -> None:
    path = "merges/it1/1/c0001/1/t1"
    found = told(
        STARTED, MAP, ev.MergeCheckStarted(fanout="it1/1", number=1, base="b", ordinals=(1,), attempts=(1,)),
        step(path), ended(path, "command_failed"), ev.MergeCheckFinished(fanout="it1/1", number=1, passed=False),
    )  # fmt: skip
    assert one(found, path).parent == "merges/it1/1/c0001"
    check = one(found, "merges/it1/1/c0001")
    assert (check.parent, check.ok, check.attributes["error.type"]) == ("phase/map/it1/1", False, "check_rejected")


def test_an_attempt_that_outlives_its_process_is_one_span_over_both_sessions() -> None:
    path = "it1/1/i0001/a1/1/t1"
    found = told(
        STARTED, MAP, began(), step(path), PAUSED, RESUMED, ev.StepAdopted(path=path), ended(path), succeeded()
    )
    assert (one(found, path).start_ns, one(found, path).end_ns) == (3 * SECOND, 7 * SECOND)
    assert one(found, "it1/1/i0001").parent == "phase/map/it1/1"
    assert one(found, "run").end_ns == 4 * SECOND


def test_an_interrupted_item_goes_on_as_another_span_in_the_next_session() -> None:
    found = told(STARTED, MAP, began(), interrupted(), PAUSED, RESUMED, began(1, 2), succeeded(1, 2), COMPLETED)
    assert one(found, "it1/1/i0001").ok is None
    assert one(found, "it1/1/i0001#2").parent == "phase/map/it1/1#2"
    assert one(found, "phase/map/it1/1#2").parent == "session/2"
    assert one(found, "session/2").parent == "run"


def test_a_step_that_was_lost_ends_with_the_process_that_looked_after_it() -> None:
    path = "it1/1/i0001/a1/1/t1"
    lost = ev.StepLost(path=path, reason="lost")
    found = told(STARTED, MAP, began(), step(path), RESUMED, ev.Warned(message="later"), lost)
    assert (one(found, path).end_ns, one(found, path).attributes["error.type"]) == (3 * SECOND, "lost")


def test_an_account_that_lets_no_agent_start_is_a_span_until_it_does() -> None:
    closed = ev.AgentGateClosed(account="a", agent="claude", cause="rate_limit", until=9.0, told=True, hits=1)
    fold = SpanFold("r")
    fold.apply(STARTED, 0)
    fold.apply(closed, SECOND)
    fold.apply(closed, 2 * SECOND)
    assert fold.closed_gates == {"a": "claude"}
    (gate,) = fold.apply(ev.AgentGateOpened(account="a"), 3 * SECOND)
    assert (gate.of, gate.start_ns, gate.end_ns) == ("gate", SECOND, 3 * SECOND)
    assert [moment.name for moment in gate.moments] == ["closed", "closed"]
    assert fold.closed_gates == {}


def test_a_failure_is_an_error_and_an_exception_in_what_the_sdk_exports() -> None:
    exporter = InMemorySpanExporter()
    found = told(STARTED, MAP, began(), failed(), died(), COMPLETED)
    exporter.export(readable("r", found, Resource({})))
    attempt = next(span for span in exporter.get_finished_spans() if span.name == "attempt 1")
    assert (attempt.status.status_code, attempt.status.description) == (StatusCode.ERROR, "too slow")
    (event,) = attempt.events
    assert (event.name, dict(event.attributes or {})) == (
        "exception", {"exception.type": "timeout", "exception.message": "too slow"}
    )  # fmt: skip
    context = attempt.get_span_context()
    assert context is not None
    assert (context.trace_id, context.span_id) == (trace_id("r"), span_id("r", "it1/1/i0001/a1"))
    assert attempt.parent is not None
    assert attempt.parent.span_id == span_id("r", "it1/1/i0001")


def test_what_an_agent_used_is_told_by_the_conventions_and_input_counts_the_cache() -> None:
    found = told(STARTED, step("it1/1/t1", "claude"), ended("it1/1/t1", usage=USAGE))
    facts = one(found, "it1/1/t1").attributes
    assert facts["gen_ai.response.model"] == "large"
    assert facts["gen_ai.usage.input_tokens"] == 18
    assert facts["gen_ai.usage.output_tokens"] == 22
    assert facts["gen_ai.usage.cache_read.input_tokens"] == 3


def test_metrics_count_items_tokens_and_dollars_and_see_what_runs() -> None:
    reader, fold = InMemoryMetricReader(), SpanFold("r")
    instruments = Instruments(MeterProvider([reader], shutdown_on_exit=False), fold, "w")
    path = "it1/1/i0001/a1/1/t1"
    events = (STARTED, MAP, began(), began(2), step(path, "claude"), ended(path, usage=USAGE), succeeded())
    for number, event in enumerate(events):
        for span in fold.apply(event, number * SECOND):
            instruments.record(span)
    data = reader.get_metrics_data()
    assert data is not None
    points = {
        metric.name: list(metric.data.data_points)
        for about in data.resource_metrics
        for scope in about.scope_metrics
        for metric in scope.metrics
    }
    values = {name: [getattr(point, "value", None) for point in found] for name, found in points.items()}
    assert values["prodigy.items"] == [1]
    assert values["prodigy.items.running"] == [1]
    assert sorted(value for value in values["prodigy.cost"] if value is not None) == [0.1, 0.5]
    assert len(points["gen_ai.client.token.usage"]) == 4  # two models, input and output


def test_the_trace_context_of_a_step_is_well_formed_and_always_the_same() -> None:
    parent = traceparent("r", "it1/1/t1")
    assert parent == f"00-{trace_id('r'):032x}-{span_id('r', 'it1/1/t1'):016x}-01"
    assert parent == "00-" + parent[3:35] + "-" + parent[36:52] + "-01"
    assert traceparent("other", "it1/1/t1")[3:35] != parent[3:35]


def test_a_timestamp_of_the_database_is_nanoseconds_of_the_epoch() -> None:
    assert nanoseconds("1970-01-01T00:00:01.250Z") == 1_250_000_000


@st.composite
def histories(draw: st.DrawFn) -> list[ev.Event]:
    """A run of some sessions, which are paused, killed or completed, with items in any state between."""
    return list(_history(draw))


def _history(draw: st.DrawFn) -> Iterator[ev.Event]:
    attempts, running = Counter[int](), set[int]()
    for session in range(draw(st.integers(1, 4))):
        yield RESUMED if session else STARTED
        if draw(st.booleans()):
            yield MAP
        for _ in range(draw(st.integers(0, 8))):
            ordinal = draw(st.integers(1, 3))
            if ordinal not in running:
                attempts[ordinal] += 1
                running.add(ordinal)
                yield began(ordinal, attempts[ordinal])
                continue
            running.discard(ordinal)
            path = f"it1/1/i{ordinal:04d}/a{attempts[ordinal]}/1/t1"
            yield step(path)
            yield ended(path, draw(st.sampled_from([None, "timeout"])))
            how = draw(st.sampled_from(["succeeded", "dead", "failed", "interrupted"]))
            if how == "succeeded":
                yield succeeded(ordinal, attempts[ordinal])
            elif how == "interrupted":
                yield interrupted(ordinal, attempts[ordinal])
            else:
                yield failed(ordinal, attempts[ordinal])
                if how == "dead":
                    yield died(ordinal, attempts[ordinal])
        end: ev.Event | None = draw(st.sampled_from([PAUSED, None, COMPLETED]))
        if end is not None:
            yield end


@given(histories())
def test_no_span_is_told_twice_and_each_begins_within_one_that_is_known(history: list[ev.Event]) -> None:
    fold = SpanFold("r")
    found = [span for number, event in enumerate(history) for span in fold.apply(event, number * SECOND)]
    by_key = {span.key: span for span in found}
    assert len(by_key) == len(found)
    assert len({span_id("r", key) for key in by_key}) == len(found)
    for span in found:
        assert span.start_ns <= span.end_ns
        assert (span.parent is None) == (span.key == "run")
        assert span.parent is None or span.parent in by_key or span.parent in fold.open
        if span.parent in by_key:
            assert by_key[span.parent].start_ns <= span.start_ns
