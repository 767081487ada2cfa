"""When agents of an account may start again."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from prodigy.state import rate_limit
from prodigy.state.rate_limit import OPEN, Account, answered, came_to_nothing, pause_s, refused, rest_s, started

NOW = 1_000_000.0
TIMES = st.floats(min_value=NOW - 1e6, max_value=NOW + 1e6)


def test_the_first_refusal_closes_until_the_time_that_was_told() -> None:
    closed = refused(OPEN, NOW + 90, NOW, NOW)
    assert (rest_s(closed, NOW), closed.told, closed.hits) == (90 + rate_limit.MARGIN_S, True, 1)
    assert rest_s(closed, NOW + 92) == 0


def test_one_probe_goes_first_and_its_answer_opens() -> None:
    closed = refused(OPEN, NOW + 5, NOW, NOW)
    later = NOW + 10
    probing = started(closed)
    assert rest_s(probing, later) == math.inf
    assert rest_s(came_to_nothing(probing), later) == 0
    assert answered(probing, later) == OPEN
    assert rest_s(OPEN, later) == 0


def test_an_answer_that_began_before_the_limit_proves_nothing() -> None:
    closed = refused(OPEN, NOW + 50, NOW, NOW)
    assert answered(closed, NOW + 10) == closed


def test_without_a_time_the_pauses_double_up_to_half_an_hour() -> None:
    account, now, pauses = OPEN, NOW, []
    for _ in range(8):
        account = refused(account, None, now, now)
        pauses.append(rest_s(account, now))
        now += pauses[-1] + 1
        account = started(account)
    assert pauses == [60, 120, 240, 480, 960, 1800, 1800, 1800]
    assert pause_s(10_000) == 1800


def test_a_time_that_has_passed_since_it_was_said_is_over() -> None:
    """An old log that is read again."""
    assert refused(OPEN, NOW - 10, NOW, NOW - 100) == OPEN


def test_a_time_that_had_passed_when_it_was_said_is_none() -> None:
    assert rest_s(refused(OPEN, NOW - 10, NOW, NOW), NOW) == 60


def test_many_refusals_at_once_are_one() -> None:
    account = refused(OPEN, None, NOW, NOW)
    assert refused(account, None, NOW + 1, NOW + 1) == account
    told = refused(OPEN, NOW + 50, NOW, NOW)
    assert refused(told, NOW + 40, NOW, NOW) == told


@given(st.lists(st.tuples(st.sampled_from(["refused", "told", "started", "nothing", "answered"]), TIMES), max_size=30))
def test_at_most_one_agent_is_on_its_way_while_it_is_closed(steps: list[tuple[str, float]]) -> None:
    account, now, underway = OPEN, NOW, 0
    for what, moment in steps:
        now = max(now, moment)
        match what:
            case "refused":
                account, underway = refused(account, None, now, now), 0
            case "told":
                account, underway = refused(account, now + 100, now, now), 0
            case "started" if rest_s(account, now) <= 0:
                underway += account.until is not None
                account = started(account)
            case "nothing" if underway:
                account, underway = came_to_nothing(account), underway - 1
            case "answered" if underway:
                account, underway = answered(account, now), 0
        assert underway <= 1
        assert rest_s(account, now) >= 0
        assert account.until is None or account.hits >= 1


def test_the_account_is_a_value() -> None:
    assert Account() == OPEN
