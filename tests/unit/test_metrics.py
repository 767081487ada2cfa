"""What is counted of a run: parts add up, slots never overlap, nothing is lost between two sessions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.report.facts import AttemptFacts, CheckFacts, ExecutionFacts, Facts, GateFacts
from prodigy.report.metrics import Clock, Segment, in_lanes, measure, spread
from prodigy.report.plots import MOST_BARS, thinned
from prodigy.report.words import dollars, duration

times = st.floats(0, 1000, allow_nan=False).map(lambda value: round(value, 3))


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    pairs = draw(st.lists(st.tuples(times, times), max_size=40))
    return [Segment(min(pair), max(pair), str(n), 1, "succeeded") for n, pair in enumerate(pairs)]


@given(segments())
def test_no_slot_does_two_things_at_once_and_there_are_as_few_as_possible(found: list[Segment]) -> None:
    lanes = in_lanes(found)
    assert sorted(segment.label for lane in lanes for segment in lane) == sorted(one.label for one in found)
    for lane in lanes:
        assert all(before.end <= after.start for before, after in pairwise(lane))
    at_once = [sum(o.start <= one.start < o.end or o is one for o in found) for one in found]
    assert len(lanes) <= max(at_once, default=0) + sum(one.start == one.end for one in found)


@given(st.lists(times, min_size=1, max_size=60))
def test_percentiles_are_numbers_that_are_there_and_in_order(numbers: list[float]) -> None:
    found = spread(numbers)
    assert found is not None
    assert {found.p50, found.p90, found.p99, found.most} <= set(numbers)
    assert found.p50 <= found.p90 <= found.p99 <= found.most
    assert sum(number <= found.p90 for number in numbers) >= 0.9 * len(numbers)
    assert found.total == pytest.approx(sum(numbers))


@given(st.lists(st.tuples(times, st.floats(0.001, 50)), max_size=8), times)
def test_driven_time_goes_on_only_while_a_process_drives(parts: list[tuple[float, float]], moment: float) -> None:
    sessions, at = [], 0.0
    for pause, length in parts:
        sessions.append((at + pause, at + pause + length))
        at += pause + length
    clock = Clock(sessions)
    assert clock.total == pytest.approx(sum(length for _, length in parts))
    assert 0 <= clock.at(moment) <= clock.total + 1e-9
    assert clock.at(moment) <= clock.at(moment + 1) + 1e-9
    assert clock.at(at + 1) == pytest.approx(clock.total)


def attempt(ordinal: int, number: int, state: str, *moments: float | None) -> AttemptFacts:
    started, queued, ended = moments
    assert started is not None
    kind = "timeout" if state == "failed" else None
    return AttemptFacts(
        ("it1/1", ordinal, number), f"i{ordinal}", f"item {ordinal}", state, kind, started, queued, ended
    )


def execution(attempt: tuple[str, int, int] | None, start: float, end: float, **more: object) -> ExecutionFacts:
    facts: dict[str, object] = {
        "path": "p", "name": "fix", "doer": "claude", "role": "step", "state": "finished", "kind": None,
        "cost_usd": 1.0, "tokens": 10, "estimated": False,
    }  # fmt: skip
    return ExecutionFacts(
        attempt=attempt, started=start, ended=end, duration_s=end - start,
        **{**facts, **more},  # type: ignore[arg-type]
    )  # fmt: skip


RUN = Facts(
    sessions=((100.0, 110.0), (1000.0, 1010.0)),  # a night between them
    items={"succeeded": 2, "dead": 1},
    tries=3,
    attempts=(
        attempt(1, 1, "succeeded", 100.0, None, 108.0),
        attempt(2, 1, "failed", 102.0, None, 106.0),
        attempt(2, 2, "interrupted", 108.0, None, 1001.0),  # two seconds, a night, and another one
        attempt(3, 1, "succeeded", 1002.0, 1006.0, 1009.0),
    ),
    executions=(
        execution(("it1/1", 1, 1), 100.0, 107.0),
        execution(("it1/1", 2, 1), 102.0, 106.0, kind="timeout", cost_usd=0.5),
        execution(("it1/1", 2, 2), 108.0, 110.0, state="lost", kind=None, cost_usd=0.25),
        execution(("it1/1", 3, 1), 1002.0, 1005.0, doer="shell", cost_usd=None, tokens=None),
        execution(("it1/1", 3, 1), 1005.0, 1006.0, role="check", doer="shell", cost_usd=None),
        execution(None, 1009.0, 1010.0, doer="shell", cost_usd=None),
    ),
    checks=(CheckFacts(1, True, 1006.5, 1008.5),),
    gates=(GateFacts("claude", 109.0, 1001.0),),
)


def test_the_figures_of_a_run() -> None:
    found = measure(RUN)
    assert (found.elapsed_s, found.driven_s, found.sessions) == (910.0, 20.0, 2)
    assert (found.attempts, found.tries, found.again) == (4, 3, 1)
    assert found.slots == 2
    assert found.map_s == 11 + 4  # from 100 over the night to 1001; from 1002 to 1006
    assert found.items_an_hour == 2 / 15 * 3600
    # 8 + 4 + 3 + 4 seconds of attempts, of which agents 13, shell 3, checks 1
    assert (found.time.agents, found.time.shell, found.time.checks, found.time.around) == (13, 3, 1, 2)
    assert found.time.idle == 2 * 15 - 19
    assert found.efficiency == pytest.approx(19 / 30)
    assert (found.waste.failed_s, found.waste.failed_usd) == (4, 0.5)
    assert (found.waste.repeated_s, found.waste.repeated_usd) == (2, 0.25)
    assert found.gate_closed_s == 2
    assert found.failures == {"timeout": 1}
    assert found.merges.wait is not None
    assert (found.merges.queued, found.merges.wait.p50, found.merges.checks_an_item) == (1, 3, 1.0)
    assert [(item.label, item.work_s) for item in found.slowest] == [("item 1", 8), ("item 2", 7), ("item 3", 4)]
    assert [(item.label, item.cost_usd) for item in found.dearest] == [("item 1", 1.0), ("item 2", 0.75)]
    assert found.throughput == ((8, 1), (19, 2))
    assert {(one.doer, one.executions, one.failed, one.lost) for one in found.doers} == {
        ("claude", 3, 1, 1),
        ("shell", 3, 0, 0),
    }


def test_a_run_of_nothing_has_figures_too() -> None:
    found = measure(Facts((), {}, 0, (), (), (), ()))
    assert (found.driven_s, found.slots, found.efficiency, found.items_an_hour) == (0, 0, None, None)


def test_a_long_timeline_is_thinned_and_loses_no_failure_and_no_time() -> None:
    lane = [Segment(n, n + 1, f"i{n}", 1, "failed" if n == 5000 else "succeeded") for n in range(10_000)]
    (thin,) = thinned([lane], 10_000)
    assert len(thin) <= MOST_BARS * 1.2
    assert sum(one.end - one.start for one in thin) == 10_000
    assert [one.label for one in thin if one.state == "failed"] == ["i5000"]
    assert any(one.label.endswith(" attempts") for one in thin)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.44, "0.4 s"), (9.96, "10 s"), (59.4, "59 s"), (60, "1 min"), (185, "3 min 5 s"),
     (7800, "2 h 10 min"), (90_000, "1 d 1 h")],
)  # fmt: skip
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_dollars_for_people() -> None:
    assert [dollars(usd) for usd in (None, 0, 0.0125, 3.2, 1250)] == ["unknown", "$0", "$0.0125", "$3.20", "$1,250"]
