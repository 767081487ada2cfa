"""The longest that a workflow can take."""

from __future__ import annotations

import pytest

from prodigy.cli.estimate import Width, workflow_s
from prodigy.executors.base import DEFAULT_TIMEOUT_S
from prodigy.workflow.load import parse
from prodigy.workflow.model import MapReduce


def worst_s(text: str, items: int | None = 4, at_once: int = 2) -> float | None:
    def width_of(_: MapReduce) -> Width:
        return items, at_once

    return workflow_s(parse(text, "w.yml").workflow, width_of)


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        ("{shell: a, timeout: 10}", 10),
        ("{shell: a}", DEFAULT_TIMEOUT_S),
        ("{write_file: {path: a, content: b}}", 0),
        # three tries, pauses of 1 s and 2 s
        ("{shell: a, timeout: 10, retry: 3}", 33),
        ("{shell: a, timeout: 10, retry: {attempts: 2, backoff: fixed, initial_delay: 5s, jitter: true}}", 25.75),
        ("{shell: a, timeout: 10, retry: {attempts: 4, retry_budget: 1s}}", 41),
        # the step, its handler, the step again, the handler again
        ("{shell: a, timeout: 10, on_failure: {shell: b, timeout: 3}}", 26),
        ("{shell: a, timeout: 10, on_failure: true}", 10),
        ("{shell: a, timeout: 10, validate: [{shell: b, timeout: 2}]}", 12),
        # looked at three times, repaired twice
        (
            "{shell: a, timeout: 10, validate: {shell: b, timeout: 2, on_incomplete: {shell: c, timeout: 5}}}",
            26,
        ),
        ("{foreach: [x, y, z], do: [{shell: a, timeout: 10}]}", 30),
        ("{foreach: [x, y, z], max_items: 2, do: [{shell: a, timeout: 10}]}", 20),
    ],
)
def test_a_step(step: str, seconds: float) -> None:
    assert worst_s(f"- {step}\n") == pytest.approx(seconds)


def test_a_map_takes_its_items_in_rounds() -> None:
    text = "map: {input: a.json, agent_template: [{shell: a, timeout: 10}]}\nreduce: [{shell: b, timeout: 5}]\n"
    assert worst_s(text, items=5, at_once=2) == 35
    assert worst_s(text, items=0) == 5
    assert worst_s(text, items=None) is None


def test_limits_of_items_and_phases_hold() -> None:
    text = """
setup: {commands: [{shell: a, timeout: 100}], timeout: 30}
map:
  input: a.json
  agent_timeout_secs: 15
  on_item_failure: retry
  retry_config: {attempts: 2, backoff: fixed, initial_delay: 1s}
  agent_template: [{shell: a, timeout: 10}, {shell: b, timeout: 10}]
merge: [{shell: c, timeout: 7}]
"""
    assert worst_s(text, items=2, at_once=2) == 30 + (15 + 1 + 15) + 7


def test_a_loop_over_what_a_command_prints_has_no_bound() -> None:
    assert worst_s("- {foreach: ls, do: [{shell: a}]}\n") is None


def test_a_great_number_of_tries_is_no_trouble() -> None:
    found = worst_s("- {shell: a, timeout: 1, retry: {attempts: 900000000, backoff: fibonacci}}\n")
    assert found is not None
    assert found > 900_000_000
