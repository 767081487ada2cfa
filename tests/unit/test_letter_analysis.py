"""What is made of dead letters: filters, groups, numbers, advice, tables, and the names of items."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from prodigy.cli.dlq_letters import find_letter
from prodigy.errors import UsageError
from prodigy.plan.identity import Item
from prodigy.report.letter_advice import ADVICE, advice
from prodigy.report.letter_analysis import analyse, statistics
from prodigy.report.letter_filter import NAMES, letter_filter
from prodigy.report.letter_table import COLUMNS, to_csv, to_json
from prodigy.state.dead_letter import KINDS
from prodigy.state.signature import signature


def failure(number: int, message: str, at: str, kind: str = "command_failed", **more: Any) -> dict[str, Any]:
    return {
        "attempt_number": number, "timestamp": at, "error_type": kind, "error_message": message, "error_context": [],
        "stack_trace": None, "agent_id": "agent-x", "step_failed": f"it1/1/i0001/a{number}/2/t1", "exit_code": 3,
        "duration_ms": 1500, "cost_usd": 0.5, "tokens": 10, "log": "/runs/r/steps/s", "json_log_location": None, **more,
    }  # fmt: skip


def letter(name: str, *failures: dict[str, Any], data: object = None, **more: Any) -> dict[str, Any]:
    """A record as the store makes it."""
    history = list(failures) or [failure(1, "no such host", "2026-03-14T10:15:00.000Z")]
    data = {"id": name} if data is None else data
    work = {
        "worktree_path": None, "branch_name": f"prodigy/r/items/0001-{name}", "base": "b" * 40, "head": "a" * 40,
        "snapshot": None, "uncommitted_changes": None, "error_logs": "/runs/r/steps/s",
    }  # fmt: skip
    return {
        "run_id": "r", "item_id": name, "label": name, "item_data": data, "fanout": "it1/1", "ordinal": 1,
        "state": "dead", "attempts": len(history), "tries": len(history),
        "first_attempt": "2026-03-14T10:00:00.000Z", "last_attempt": history[-1]["timestamp"],
        "failure_count": len(history), "failure_history": history,
        "error_signature": signature(history[-1]["error_message"], Item(1, name, data)),
        "cost_usd": 0.5 * len(history), "tokens": 10 * len(history), "worktree_artifacts": work,
        "reprocess_eligible": True, "manual_review_required": False, **more,
    }  # fmt: skip


# Filters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("priority > 4", True),
        ("item.priority > 4", True),
        ("${item.priority} == 5 && error_type == 'timeout'", True),
        ("error_message contains 'host'", True),
        ("exit_code in [3, 4] and attempts == 2 and tries == 2", True),
        ("cost_usd >= 1 and failure_count == 2 and duration_ms > 1000", True),
        ("step_failed ends_with 'a2/2/t1'", True),
        ("reprocess_eligible and not manual_review_required", True),
        ("first_attempt < '2026-03-15' && last_attempt > '2026-03-14T11'", True),
        ("label == 'the item has its own'", True),
        ("letter.label == 'x'", True),
        ("item.error_type == 'timeout'", False),
        ("exists(item.error_type)", False),
        ("is_null(nowhere)", True),
        ("priority < 'text'", False),
    ],
)
def test_a_filter_reads_the_item_first_and_then_its_letter(text: str, holds: bool) -> None:
    one = letter(
        "x",
        failure(1, "no such file", "2026-03-14T10:15:00.000Z"),
        failure(2, "no such host", "2026-03-14T12:00:00.000Z", "timeout"),
        data={"id": "x", "priority": 5, "label": "the item has its own"},
    )
    assert letter_filter(text)(one) is holds


@pytest.mark.parametrize("data", ["a/file.py", 7, [1, 2], None, {"error_type": {"deep": 1}}])
def test_a_filter_never_fails_whatever_an_item_is(data: object) -> None:
    one = letter("x", data=data)
    for name in NAMES:
        assert letter_filter(f"exists({name})")(one), name
    assert letter_filter("priority > 3 || item.a.b[3].c == 'x'")(one) is False


def test_every_name_that_the_contract_lists_is_there() -> None:
    assert set(NAMES) >= {
        "item_id", "label", "error_type", "error_message", "exit_code", "error_signature", "failure_count", "tries",
        "attempts", "reprocess_eligible", "manual_review_required", "first_attempt", "last_attempt", "cost_usd",
        "step_failed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "column", "line"),
    [("priority >", 11, "priority >"), ("a == 1 &&\n\tb ??", 14, "\tb ??"), ("x matches '('", 11, "x matches '('")],
)
def test_a_mistake_in_a_filter_is_shown_with_a_caret_below_it(text: str, column: int, line: str) -> None:
    with pytest.raises(UsageError) as raised:
        letter_filter(text)
    first, shown, caret = raised.value.what.split("\n")
    assert first.startswith(f"--filter, column {column}: ")
    assert shown == f"    {line}"
    before = text[: column - 1].rpartition("\n")[2]
    assert len(caret) == 4 + len(before) + 1
    assert caret.strip() == "^"


def test_a_name_that_nothing_has_is_told() -> None:
    letters = [letter("x"), letter("y", data={"id": "y", "size": 3})]
    assert letter_filter("error_type == timeout && size > 2").unknown(letters) == ["timeout"]
    assert letter_filter("error_type == 'timeout'").unknown(letters) == []


# Analysis --------------------------------------------------------------------------------------------------


def test_letters_with_the_same_error_are_one_group_the_largest_first() -> None:
    letters = [
        letter("alone", failure(1, "disk full", "2026-03-14T09:59:59.000Z", "resource_exhausted")),
        *(
            letter(f"n{hour}", failure(1, f"no such host 10.0.0.{hour}", f"2026-03-14T1{hour}:30:00.000Z"))
            for hour in range(4)
        ),
    ]
    letters[2]["reprocess_eligible"] = False
    large, small = analyse(letters)["pattern_groups"]
    assert (large["count"], large["eligible_count"], large["kinds"]) == (4, 3, {"command_failed": 4})
    assert large["sample_items"] == ["n0", "n1", "n2"]
    assert (large["first_occurrence"], large["last_occurrence"]) == (
        "2026-03-14T10:30:00.000Z", "2026-03-14T13:30:00.000Z",
    )  # fmt: skip
    assert large["example_message"] == "no such host 10.0.0.3"
    assert (small["sample_items"], small["kinds"]) == (["alone"], {"resource_exhausted": 1})


def test_occurrences_are_failures_of_any_attempt_with_the_same_error() -> None:
    one = letter(
        "x",
        failure(1, "no such host 1", "2026-03-14T08:00:00.000Z"),
        failure(2, "something else", "2026-03-14T07:00:00.000Z"),
        failure(3, "no such host 2", "2026-03-14T12:00:00.000Z"),
    )
    (group,) = analyse([one])["pattern_groups"]
    assert (group["first_occurrence"], group["last_occurrence"], group["count"]) == (
        "2026-03-14T08:00:00.000Z", "2026-03-14T12:00:00.000Z", 1,
    )  # fmt: skip


def test_kinds_and_hours_count_the_failures_of_all_attempts() -> None:
    one = letter(
        "x",
        failure(1, "a", "2026-03-14T23:59:59.999Z", "timeout"),
        failure(2, "b", "2026-03-15T00:00:00.000Z", "timeout"),
        failure(3, "c", "2026-03-15T00:30:00.000Z", "lost"),
    )
    analysis = analyse([one])
    assert analysis["error_distribution"] == {"timeout": 2, "lost": 1}
    assert list(analysis["temporal_distribution"].items()) == [("2026-03-14T23:00:00Z", 1), ("2026-03-15T00:00:00Z", 2)]
    assert [rule["kind"] for rule in analysis["recommendations"]] == ["lost"], "what failed last is what is to be done"


def test_no_letters_are_an_analysis_too() -> None:
    analysis = analyse([])
    assert (analysis["total_items"], analysis["pattern_groups"], analysis["recommendations"]) == (0, [], [])
    assert statistics([])["newest_item"] is None


def test_statistics_are_those_of_the_earlier_system_and_the_kinds() -> None:
    letters = [
        letter("a", failure(1, "x", "2026-03-14T10:00:00.000Z"), first_attempt="2026-03-14T09:00:00.000Z"),
        letter("b", failure(1, "x", "2026-03-14T11:00:00.000Z", "permission"), reprocess_eligible=False,
               manual_review_required=True),
    ]  # fmt: skip
    assert statistics(letters) == {
        "total_items": 2, "eligible_for_reprocess": 1, "requiring_manual_review": 1,
        "oldest_item": "2026-03-14T09:00:00.000Z", "newest_item": "2026-03-14T11:00:00.000Z",
        "error_categories": {letters[0]["error_signature"]: 2}, "kinds": {"command_failed": 1, "permission": 1},
    }  # fmt: skip


def test_there_is_advice_for_every_kind_of_error() -> None:
    assert set(ADVICE) == KINDS
    assert advice("of the future") == ADVICE["unknown"]


def test_advice_names_the_run_and_an_item_that_a_shell_can_read() -> None:
    one = letter("it's $(rm)", failure(1, "odd", "2026-03-14T10:00:00.000Z", "unknown"))
    (rule,) = analyse([one])["recommendations"]
    assert rule["command"] == """prodigy dlq inspect 'it'"'"'s $(rm)' r"""


# Tables ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"])
def test_no_cell_is_a_formula(text: str) -> None:
    one = letter(text, failure(1, text, "2026-03-14T10:00:00.000Z", step_failed=text), data=text)
    (row,) = csv.DictReader(io.StringIO(to_csv([one]), newline=""))
    for column in ("item_id", "label", "error_message", "step_failed"):
        assert row[column] == f"'{text}"
    assert not [value for value in row.values() if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


def test_a_csv_row_holds_the_last_failure_and_the_item() -> None:
    data = {"id": "x", "text": 'a "quoted", line\nand more'}
    one = letter("x", failure(1, "first", "t"), failure(2, "second, of two", "u", exit_code=None), data=data)
    (row,) = csv.DictReader(io.StringIO(to_csv([one]), newline=""))
    assert tuple(row) == COLUMNS
    assert json.loads(row["item_data"]) == data
    assert (row["error_message"], row["exit_code"], row["failure_count"]) == ("second, of two", "", "2")
    assert (row["reprocess_eligible"], row["manual_review_required"]) == ("true", "false")
    assert row["branch_name"] == "prodigy/r/items/0001-x"


def test_json_gives_the_records_back() -> None:
    letters = [letter("ä"), letter("b", data={"id": "b", "n": [1, None]})]
    assert json.loads(to_json(letters)) == letters


def test_json_moves_no_cursor_and_can_be_encoded() -> None:
    text = to_json([letter("x", data={"id": "x", "text": "\x1b[2J \x9b2J \x7f \u2028 \udcff"})])
    assert json.loads(text)[0]["item_data"]["text"] == "\x1b[2J \x9b2J \x7f \u2028 \udcff"
    assert all(character.isprintable() or character == "\n" for character in text)
    text.encode()


# Names -----------------------------------------------------------------------------------------------------


def test_a_letter_is_found_by_id_label_or_path() -> None:
    letters = [letter("a", label="first"), letter("b", label="a", ordinal=2), letter("c", label="first", ordinal=3)]
    assert find_letter(letters, "a", "r") is letters[0], "an id goes before a label"
    assert find_letter(letters, "it1/1/i0002", "r") is letters[1]
    with pytest.raises(UsageError, match="2 dead letters of run r are called first") as raised:
        find_letter(letters, "first", "r")
    assert raised.value.hint == "Name one of them by its path: it1/1/i0001, it1/1/i0003"
