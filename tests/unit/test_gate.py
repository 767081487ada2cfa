"""When a map starts nothing more: the limits on failures, the circuit breaker, and that counting survives a crash."""

from __future__ import annotations

import dataclasses
import io
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from prodigy.cli.live import announcement
from prodigy.cli.progress import Progress
from prodigy.report.view import RunView
from prodigy.state import events as ev
from prodigy.state.collected import Collected, collect, report
from prodigy.state.gate import BREAKER, FAILURE_THRESHOLD, MAX_FAILURES, MAX_PAUSES, Counted, count, pause_s, stop
from prodigy.workflow.failures import Breaker, ErrorPolicy

FANOUT = "it1/1"
TEN_S = Breaker(failures=3, timeout_s=10, probes=2, successes=2)


def started(ordinal: int, attempt: int = 1) -> ev.AgentStarted:
    return ev.AgentStarted(
        fanout=FANOUT, ordinal=ordinal, attempt=attempt, item_id=str(ordinal), label=f"item {ordinal}",
        agent_id="a", worktree="w", base="b", workflow=1, continues=None,
    )  # fmt: skip


def succeeded(ordinal: int, attempt: int = 1) -> ev.AgentCompleted:
    return ev.AgentCompleted(
        fanout=FANOUT, ordinal=ordinal, attempt=attempt, item_id=str(ordinal), label=f"item {ordinal}",
        duration_s=1.0, commits=(), merged=None,
    )  # fmt: skip


def failed(ordinal: int, attempt: int = 1, kind: str = "command_failed", error: str = "no") -> ev.AgentFailed:
    return ev.AgentFailed(
        fanout=FANOUT, ordinal=ordinal, attempt=attempt, item_id=str(ordinal), label=f"item {ordinal}",
        kind=kind, error=error, retry_eligible=True,
    )  # fmt: skip


def parked(ordinal: int, attempt: int = 1) -> ev.DlqItemAdded:
    return ev.DlqItemAdded(
        fanout=FANOUT, ordinal=ordinal, attempt=attempt, item_id=str(ordinal), label=f"item {ordinal}",
        error_signature="s", reprocess_eligible=True, manual_review_required=False, branch=None, worktree_path=None,
    )  # fmt: skip


def counted(*events: ev.Event, breaker: Breaker | None = None, at: float = 0.0) -> Counted:
    """The state after the events, one a second, the last of them at `at`."""
    state = Counted()
    for number, event in enumerate(events, 1):
        state = count(state, event, at - len(events) + number, breaker)
    return state


def dead(*ordinals: int) -> list[ev.Event]:
    return [event for ordinal in ordinals for event in (started(ordinal), failed(ordinal), parked(ordinal))]


def reason(state: Counted, policy: ErrorPolicy, total: int = 10) -> str | None:
    found = stop(state, policy, total)
    return found.reason if found else None


# Limits on failures ----------------------------------------------------------------------------------------


def test_max_failures_stops_when_so_many_items_have_failed_for_good() -> None:
    policy = ErrorPolicy(max_failures=2)
    assert reason(counted(*dead(1)), policy) is None
    retried = failed(2)  # it has tries left
    assert reason(counted(*dead(1), started(2), retried), policy) is None
    found = stop(counted(*dead(1, 2)), policy, 10)
    assert found is not None
    assert found.reason == MAX_FAILURES
    assert "2 items have failed" in found.error
    assert "item 2: no" in found.error


def test_an_item_that_succeeds_after_all_is_no_failure() -> None:
    state = counted(*dead(1, 2), ev.DlqItemsReprocessed(fanout=FANOUT, ordinals=(1,)), started(1, 2), succeeded(1, 2))
    assert reason(state, ErrorPolicy(max_failures=2)) is None
    assert state.ended == {1, 2}


def test_one_failure_alone_does_not_pass_a_threshold_that_more_items_could_keep() -> None:
    policy = ErrorPolicy(failure_threshold=0.5)
    assert reason(counted(*dead(1)), policy) is None
    assert reason(counted(*dead(1), succeeded(2)), policy) is None
    assert reason(counted(*dead(1, 2)), policy) == FAILURE_THRESHOLD


def test_a_threshold_of_nothing_stops_at_the_first_failure() -> None:
    assert reason(counted(succeeded(1), *dead(2)), ErrorPolicy(failure_threshold=0.0)) == FAILURE_THRESHOLD


def test_a_small_threshold_stops_as_soon_as_it_cannot_be_kept_any_more() -> None:
    policy = ErrorPolicy(failure_threshold=0.01)
    assert reason(counted(*dead(*range(1, 11))), policy, total=1000) is None
    assert reason(counted(*dead(*range(1, 12))), policy, total=1000) == FAILURE_THRESHOLD


@given(st.floats(0, 1), st.lists(st.booleans(), min_size=1, max_size=40))
@settings(max_examples=200)
def test_when_all_have_ended_the_threshold_decides_alone(threshold: float, outcomes: list[bool]) -> None:
    events: list[ev.Event] = []
    for ordinal, fine in enumerate(outcomes, 1):
        events += [succeeded(ordinal)] if fine else dead(ordinal)
    too_many = outcomes.count(False) > threshold * len(outcomes)
    assert (reason(counted(*events), ErrorPolicy(failure_threshold=threshold), len(outcomes)) is not None) == too_many


def test_after_a_stop_counting_begins_anew_but_not_after_a_crash_or_a_ctrl_c() -> None:
    policy = ErrorPolicy(max_failures=2)
    resumed = ev.JobResumed(command="resume", options="{}", total=10, done=2)
    for status, why, stops in (("paused", MAX_FAILURES, False), ("interrupted", "user", True)):
        paused = ev.JobPaused(status=status, stop_reason=why, error="x")
        state = counted(*dead(1), paused, resumed, *dead(2))
        assert (reason(state, policy) is not None) == stops
    assert reason(counted(*dead(1), resumed, *dead(2)), policy) == MAX_FAILURES


# The breaker -----------------------------------------------------------------------------------------------


def opened(*more: ev.Event, at: float = 100.0) -> Counted:
    return counted(*dead(1, 2, 3), *more, breaker=TEN_S, at=at)


def test_the_breaker_opens_after_failures_in_a_row_only() -> None:
    mixed = counted(*dead(1, 2), succeeded(3), *dead(4, 5), breaker=TEN_S)
    assert pause_s(mixed, TEN_S, 0.0) == 0
    blameless = [failed(ordinal, kind="lost") for ordinal in (6, 7, 8)]
    assert pause_s(counted(*blameless, breaker=TEN_S), TEN_S, 0.0) == 0
    state = counted(failed(1), failed(2), failed(3), breaker=TEN_S, at=100.0)
    assert pause_s(state, TEN_S, 100.0) == 10
    assert pause_s(state, TEN_S, 107.0) == 3
    assert pause_s(state, TEN_S, 0.0) == 10, "a clock that was set back makes nobody wait for longer"


def test_after_the_pause_a_few_are_tried() -> None:
    state = opened()
    assert pause_s(state, TEN_S, 200.0) == 0
    state = count(state, started(4), 200.0, TEN_S)
    assert pause_s(state, TEN_S, 200.0) == 0
    state = count(state, started(5), 200.0, TEN_S)
    assert pause_s(state, TEN_S, 200.0) == math.inf


def test_what_was_tried_closes_the_breaker_or_opens_it_again() -> None:
    state = opened(started(4), started(5), succeeded(4), succeeded(5))
    assert state.opened_at is None
    assert state.pauses == 0
    state = opened(started(4), started(5), succeeded(4), failed(5))
    assert pause_s(state, TEN_S, 100.0) == 10
    assert state.pauses == 2


def test_what_ran_before_the_breaker_opened_decides_nothing() -> None:
    before = [started(ordinal) for ordinal in (4, 5, 6)]
    state = counted(*before, *dead(1, 2, 3), succeeded(4), failed(5), succeeded(6), breaker=TEN_S, at=9.0)
    assert state.opened_at is not None
    assert state.pauses == 1


def test_a_breaker_behind_whose_pauses_nothing_succeeds_stops_the_run() -> None:
    policy = ErrorPolicy(breaker=TEN_S)
    state = opened()
    for ordinal in range(4, 4 + MAX_PAUSES):
        assert reason(state, policy) is None
        for event in dead(ordinal):
            state = count(state, event, 100.0 + ordinal, TEN_S)
    assert reason(state, policy) == BREAKER


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=60), st.integers(0, 60))
@settings(max_examples=200)
def test_a_process_that_takes_over_counts_as_the_one_before(outcomes: list[tuple[int, bool]], cut: int) -> None:
    events = [
        event
        for number, (ordinal, fine) in enumerate(outcomes, 1)
        for event in (started(ordinal, number), succeeded(ordinal, number) if fine else failed(ordinal, number))
    ]
    at_once = Counted()
    for at, event in enumerate(events):
        at_once = count(at_once, event, float(at), TEN_S)
        assert len(at_once.probes) <= 1
        assert pause_s(at_once, TEN_S, float(at)) >= 0
    later = Counted()
    for part in (events[:cut], events[cut:]):
        for event in part:
            later = count(later, event, float(events.index(event)), TEN_S)
    assert later == at_once


# Errors that are told together -----------------------------------------------------------------------------


def test_errors_are_collected_until_they_are_told() -> None:
    collected = Collected()
    for event in (failed(1, error="exited with code 1"), parked(1), failed(2), succeeded(2), failed(3)):
        collect(collected, event)
    assert collected.errors == [("item 1", "exited with code 1")]
    collect(collected, ev.ErrorsCollected(fanout=FANOUT, message="x"))
    assert collected.errors == []
    collect(collected, parked(3))
    assert collected.errors == [("item 3", "no")]


def test_an_item_that_ends_badly_twice_before_that_is_told_is_told_once() -> None:
    collected = Collected()
    for event in (failed(1, error="first"), parked(1), failed(1, error="second"), parked(1), failed(2), parked(2)):
        collect(collected, event)
    assert collected.errors == [("item 1", "second"), ("item 2", "no")]
    collect(collected, succeeded(2))
    assert collected.errors == [("item 1", "second")]


def test_alike_errors_are_told_in_one_line() -> None:
    errors = [(name, f"no file /tmp/{name}") for name in "abcde"] + [("f", "out of\nmemory")]
    assert report(errors).split("\n") == [
        "6 items failed:",
        "  a, b, c and 2 more: errors such as no file /tmp/a",
        "  f: out of memory",
    ]
    many = [(str(number), "x" * number) for number in range(1, 31)]
    assert report(many).split("\n")[-1] == "  and 10 other errors; see `prodigy dlq list`"


def test_an_error_that_is_collected_is_not_shown_before_it_is_told() -> None:
    now, later = failed(1, error="no"), dataclasses.replace(failed(1, error="no"), collected=True)
    assert announcement(now) == ("FAILED item 1: no", "red")
    assert announcement(later) == ("FAILED item 1", "red")
    for event, message in ((now, "no"), (later, "")):
        view = RunView("r")
        view.apply(event, 0.0)
        assert [note.message for note in view.failures] == [message]
    stream = io.StringIO()
    progress = Progress("r", stream)
    progress.event(later)
    progress.event(ev.ErrorsCollected(fanout=FANOUT, message="1 item failed:\n  item 1: no"))
    lines = [line.partition("] ")[2] for line in stream.getvalue().splitlines()]
    assert lines == ["FAILED item 1", "1 item failed:", "  item 1: no"]


def test_what_the_breaker_does_is_shown() -> None:
    opened_ = ev.BreakerOpened(fanout=FANOUT, failures=5, pause_s=30.0)
    for event, text in ((opened_, "nothing starts for 30 s"), (ev.BreakerClosed(fanout=FANOUT), "going on as before")):
        shown = announcement(event)
        assert shown is not None
        assert text in shown[0]
