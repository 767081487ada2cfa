"""What becomes of items that fail: how the policy is written, and what it decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.state.dead_letter import Failure
from prodigy.state.retry import Again, Park, Skip, decide_item
from prodigy.workflow.failures import ErrorPolicy, OnItemFailure, Retry
from prodigy.workflow.load import parse
from prodigy.workflow.model import MapReduce
from unit.workflow_texts import TEMPLATE

MAP = f"map: {{input: x.json, {TEMPLATE}}}"
FIXED = "backoff: {fixed: {delay: 1m}}"


def policy(text: str) -> ErrorPolicy:
    (step,) = parse(text, "w.yml").workflow.steps
    assert isinstance(step.action, MapReduce)
    return step.action.errors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MAP, ErrorPolicy()),
        (f"on_item_failure: stop\n{MAP}", ErrorPolicy(on_item_failure="stop")),
        (f"error_policy: {{on_item_failure: skip}}\n{MAP}", ErrorPolicy(on_item_failure="skip")),
        (f"error_policy: {{on_item_failure: skip}}\non_item_failure: dlq\n{MAP}", ErrorPolicy()),
        (f"continue_on_failure: false\n{MAP}", ErrorPolicy(continue_on_failure=False)),
        (f"settings: {{continue_on_error: false}}\n{MAP}", ErrorPolicy(continue_on_failure=False)),
        (f"on_item_failure: stop\nmap: {{input: x.json, on_item_failure: skip, {TEMPLATE}}}",
         ErrorPolicy(on_item_failure="skip")),
        (f"- mapreduce: {{{MAP}, on_item_failure: skip, continue_on_failure: false}}",
         ErrorPolicy(on_item_failure="skip", continue_on_failure=False)),
        (f"on_item_failure: retry\nretry_config: 5\n{MAP}",
         ErrorPolicy(on_item_failure="retry", retry=Retry(attempts=5))),
        (f"error_policy: {{on_item_failure: retry, retry_config: {{max_attempts: 2, {FIXED}}}}}\n{MAP}",
         ErrorPolicy(on_item_failure="retry", retry=Retry(attempts=2, backoff="fixed", initial_delay_s=60,
                                                          max_delay_s=60))),
    ],
)  # fmt: skip
def test_the_policy_in_its_forms(text: str, expected: ErrorPolicy) -> None:
    assert policy(text) == expected


def test_a_retry_config_that_does_nothing_is_warned_of() -> None:
    (warning,) = parse(f"retry_config: 5\n{MAP}", "w.yml").warnings
    assert "`retry_config` does nothing alone" in warning.message


def decide(on: OnItemFailure, kind: str, tries: int = 1, attempts: int = 3) -> Again | Skip | Park:
    policy = ErrorPolicy(on_item_failure=on, retry=Retry(attempts=attempts, backoff="fixed", initial_delay_s=4))
    return decide_item(Failure("x", kind=kind), tries, 0.0, policy, 0.5)


def test_by_default_a_failed_item_is_parked_and_the_others_go_on() -> None:
    assert decide("dlq", "command_failed") == Park(stops=False)


def test_stop_parks_the_item_and_stops() -> None:
    assert decide("stop", "timeout") == Park(stops=True)
    assert decide_item(Failure("x"), 1, 0.0, ErrorPolicy(continue_on_failure=False), 0.5) == Park(stops=True)


@pytest.mark.parametrize("kind", ["rate_limited", "interrupted", "lost", "budget_exceeded"])
def test_skip_leaves_out_items_that_are_to_blame_only(kind: str) -> None:
    assert decide("skip", "command_failed") == Skip()
    assert decide("skip", kind) == Park()


def test_retry_runs_an_item_again_until_its_tries_are_used_up() -> None:
    assert decide("retry", "command_failed", tries=2) == Again(4)
    assert decide("retry", "command_failed", tries=3) == Park()


@pytest.mark.parametrize("kind", ["permission", "invalid_item", "tampered", "rate_limited"])
def test_what_cannot_change_by_waiting_is_not_tried_again(kind: str) -> None:
    assert decide("retry", kind) == Park()


@given(st.integers(1, 50), st.integers(1, 50))
def test_an_item_never_gets_more_tries_than_its_limit(tries: int, attempts: int) -> None:
    assert isinstance(decide("retry", "timeout", tries, attempts), Again) == (tries < attempts)
