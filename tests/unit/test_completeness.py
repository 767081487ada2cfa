"""What a validation says of how complete the work is, and what is made of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodigy.engine.completeness import read_result
from prodigy.workflow.model import Check

PLAIN = Check(expect="result")


@pytest.mark.parametrize(
    ("text", "succeeded", "percent", "status"),
    [
        ('{"completion_percentage": 85, "missing": ["a", "b"]}', True, 85.0, "incomplete"),
        ('{"completion_percentage": 100}', False, 100.0, "complete"),
        ('{"status": "complete"}', True, 100.0, "complete"),
        ('{"status": "incomplete"}', True, 0.0, "incomplete"),
        ("all tests pass", True, 100.0, "complete"),
        ("3 tests fail", False, 0.0, "failed"),
        ('I looked at it.\n```json\n{"completion_percentage": 60}\n```\nThat is all.', True, 60.0, "incomplete"),
        ('The result is {"completion_percentage": 12.5}.', True, 12.5, "incomplete"),
        ("", True, 100.0, "complete"),
    ],
)
def test_the_result_is_found_in_what_was_printed(text: str, succeeded: bool, percent: float, status: str) -> None:
    result = read_result(text, succeeded=succeeded, check=PLAIN)
    assert (result.percent, result.status, result.problem) == (percent, status, None)


@pytest.mark.parametrize("percent", [-1, 101, "90", True, None])
def test_a_percentage_that_is_none_is_told(percent: object) -> None:
    result = read_result(json.dumps({"completion_percentage": percent, "status": "x"}), succeeded=True, check=PLAIN)
    assert not result.holds(PLAIN)
    assert result.problem is None or "completion_percentage must be a number" in result.problem


@pytest.mark.parametrize(
    "text",
    [
        '{"completion_percentage": 20, "missing": ["cut off \\ud83d"]}',
        '{"completion_percentage": 20, "missing": ["a"',
        '{"completion_percentage": NaN}',
        '{"completion": ' + "9" * 5000 + "}",
        'Done.\n```json\n{"completion_percentage": 20,}\n```',
    ],
)
def test_a_result_that_cannot_be_read_is_no_success(text: str) -> None:
    result = read_result(text, succeeded=True, check=PLAIN)
    assert not result.holds(Check(expect="result", threshold=10))
    assert result.problem is not None
    assert result.problem.startswith("the result is no JSON object")


def test_a_result_file_must_hold_a_result() -> None:
    check = Check(expect="result", result_file="r.json")
    assert read_result("all is well", succeeded=True, check=check).problem is not None


def test_a_pattern_of_a_schema_cannot_hang() -> None:
    schema = json.dumps({"properties": {"x": {"pattern": "^(a+)+$"}}, "patternProperties": {"^(b+)+$": False}})
    check = Check(expect="result", json_schema=schema)
    text = json.dumps({"completion_percentage": 100, "x": "a" * 5000 + "!", "b" * 5000 + "!": 1})
    assert "does not match" in (read_result(text, succeeded=True, check=check).problem or "")


def test_an_answer_of_fences_and_newlines_is_read_in_one_pass() -> None:
    assert read_result("```" + "\n" * 400_000 + "x", succeeded=True, check=PLAIN).percent == 100


def test_the_threshold_decides() -> None:
    result = read_result('{"completion_percentage": 90}', succeeded=True, check=PLAIN)
    assert result.holds(Check(expect="result", threshold=90))
    assert not result.holds(Check(expect="result", threshold=90.5))
    assert not result.holds(PLAIN)


def test_a_result_must_fit_the_schema() -> None:
    schema = json.dumps({"type": "object", "required": ["gaps"], "properties": {"gaps": {"type": "object"}}})
    check = Check(expect="result", json_schema=schema)
    good = read_result('{"completion_percentage": 100, "gaps": {}}', succeeded=True, check=check)
    bad = read_result('{"completion_percentage": 100, "gaps": []}', succeeded=True, check=check)
    missing = read_result("fine", succeeded=True, check=check)
    assert good.holds(check)
    assert bad.problem == "the result does not fit expected_schema: $.gaps: [] is not of type 'object'"
    assert missing.problem == "there is no JSON object in the result"


def test_the_steps_that_repair_see_what_is_missing() -> None:
    gaps = {"g": {"severity": "low"}}
    result = {"completion_percentage": 70, "missing": ["docs"], "implemented": ["code"], "gaps": gaps}
    names = read_result(json.dumps(result), succeeded=True, check=PLAIN).names(3)["validation"]
    assert isinstance(names, dict)
    assert names["completion"] == 70
    assert names["missing"] == names["incomplete_specs"] == ["docs"]
    assert names["missing_count"] == 1
    assert names["gaps"] == {"g": {"severity": "low"}}
    assert names["attempt_number"] == 3


@given(st.text(), st.booleans())
def test_any_output_is_a_result(text: str, succeeded: bool) -> None:
    assert 0 <= read_result(text, succeeded=succeeded, check=PLAIN).percent <= 100
