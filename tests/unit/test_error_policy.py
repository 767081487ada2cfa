"""What becomes of items that fail: how the policy is written, and what it decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.state.dead_letter import Failure
from prodigy.state.retry import Again, Park, Skip, decide_item
from prodigy.workflow.failures import Breaker, ErrorPolicy, OnItemFailure, Retry
from prodigy.workflow.load import parse
from prodigy.workflow.model import MapReduce
from unit.workflow_texts import TEMPLATE, problems_of

MAP = f"map: {{input: x.json, {TEMPLATE}}}"
PROBES = "success_threshold: 1, half_open_requests: 4"
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
        (f"max_failures: 3\n{MAP}", ErrorPolicy(max_failures=3)),
        (f"failure_threshold: 0.25\n{MAP}", ErrorPolicy(failure_threshold=0.25)),
        (f"failure_threshold: 25%\n{MAP}", ErrorPolicy(failure_threshold=0.25)),
        (f"circuit_breaker: {{}}\n{MAP}", ErrorPolicy(breaker=Breaker())),
        (f"error_policy: {{circuit_breaker: {{failure_threshold: 2, timeout: 1m, {PROBES}}}}}\n{MAP}",
         ErrorPolicy(breaker=Breaker(failures=2, timeout_s=60, successes=1, probes=4))),
        (f"error_collection: aggregate\n{MAP}", ErrorPolicy(collection="aggregate")),
        (f"error_collection: immediate\n{MAP}", ErrorPolicy(collection="immediate")),
        (f"error_collection: batched:7\n{MAP}", ErrorPolicy(collection="batched", batch_size=7)),
        (f"error_collection: {{batched: {{size: 7}}}}\n{MAP}", ErrorPolicy(collection="batched", batch_size=7)),
        (f"error_collection: batched\n{MAP}", ErrorPolicy(collection="batched", batch_size=10)),
        (f"map: {{input: x.json, retry_on_failure: 4, {TEMPLATE}}}",
         ErrorPolicy(on_item_failure="retry", retry=Retry(attempts=4))),
        (f"map: {{input: x.json, retry_on_failure: true, {TEMPLATE}}}", ErrorPolicy(on_item_failure="retry")),
        (f"map: {{input: x.json, retry_on_failure: false, {TEMPLATE}}}", ErrorPolicy()),
    ],
)  # fmt: skip
def test_the_policy_in_its_forms(text: str, expected: ErrorPolicy) -> None:
    assert policy(text) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("on_item_failure: dql", "`on_item_failure` must be one of dlq, retry, skip, stop"),
        ("on_item_failure: {custom: mine}", "names a handler, and there are none"),
        ("max_failures: 0", "`max_failures` must be a whole number of at least 1"),
        ("failure_threshold: -1", "`failure_threshold` must be a number from 0 to 100"),
        ("failure_threshold: 101%", "`failure_threshold` must be a number from 0 to 100"),
        ("circuit_breaker: 5", "`circuit_breaker` must be a mapping"),
        ("circuit_breaker: {treshold: 5}", "unknown key `treshold` under `circuit_breaker`"),
        ("error_collection: batched:0", "`error_collection` can't be"),
        ("error_collection: sometimes", "`error_collection` must be one of aggregate, immediate, batched"),
        ("error_collection: {batched: {sise: 3}}", "`batched` takes `size` alone"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(line: str, message: str) -> None:
    (problem,) = problems_of(f"{line}\n{MAP}")
    assert message in problem.message
    assert problem.line == 1


def test_retry_on_failure_contradicts_skip_and_stop() -> None:
    text = f"map: {{input: x.json, retry_on_failure: 2, on_item_failure: skip, {TEMPLATE}}}"
    (problem,) = problems_of(text)
    assert "contradict each other" in problem.message


def test_a_threshold_above_1_is_percent_with_a_warning() -> None:
    loaded = parse(f"failure_threshold: 30\n{MAP}", "w.yml")
    (warning,) = loaded.warnings
    assert "is read as 30 percent" in warning.message
    assert policy(f"failure_threshold: 30\n{MAP}").failure_threshold == 0.3


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
