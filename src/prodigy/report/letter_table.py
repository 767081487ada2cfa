"""Dead letters as files for other programs: JSON, and CSV that a spreadsheet can open without running any of it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from prodigy.report.letter_filter import letter_names

Letter = Mapping[str, Any]

_OF_THE_WORK = ("branch_name", "base", "head", "snapshot", "worktree_path", "error_logs")
COLUMNS = (
    "run_id", "fanout", "ordinal", "item_id", "label", "state", "error_type", "error_message", "exit_code",
    "error_signature", "reprocess_eligible", "manual_review_required", "failure_count", "attempts", "tries",
    "first_attempt", "last_attempt", "step_failed", "duration_ms", "cost_usd", "tokens", *_OF_THE_WORK,
    "json_log_location", "item_data",
)  # fmt: skip
# What makes a spreadsheet take a cell for a formula, in either width; a tab or line end before one is skipped by some.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_NOT_PLAIN = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def to_json(letters: Sequence[Letter]) -> str:
    """One array of records, indented."""
    return json_text(list(letters)) + "\n"


def json_text(value: object) -> str:
    """A JSON document in which nothing moves a terminal's cursor, and which UTF-8 can hold: control characters and half
    characters are spelled as JSON does."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _NOT_PLAIN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def to_csv(letters: Sequence[Letter]) -> str:
    """One row per letter under a row of names (`COLUMNS`): what it says of the last failure, and the item as JSON.

    Lines end as RFC 4180 says, with CRLF. Empty where there is nothing; `true` and `false`. A text that a spreadsheet
    would take for a formula gets a `'` in front.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for letter in letters:
        facts = _facts(letter)
        writer.writerow([safe_cell(facts[column]) for column in COLUMNS])
    return out.getvalue()


def _facts(letter: Letter) -> dict[str, object]:
    last = letter["failure_history"][-1] if letter["failure_history"] else {}
    return {
        **letter_names(letter),
        **{name: letter["worktree_artifacts"][name] for name in _OF_THE_WORK},
        "ordinal": letter["ordinal"],
        "json_log_location": last.get("json_log_location"),
        "item_data": json.dumps(letter["item_data"], ensure_ascii=False),
    }


def safe_cell(value: object) -> object:
    """A value as a cell of CSV; a text that a spreadsheet would take for a formula gets a `'` in front."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return "" if value is None else value
