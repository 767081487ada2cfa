"""How complete a step's work is, as its `validate` commands tell it: reading and judging their result. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prodigy.plan.strict_json import NotJsonError, UnusableJsonError, parse_json
from prodigy.workflow.model import Check

FULL = 100.0
_STATUSES = ("complete", "incomplete", "failed", "skipped")
_FENCE = "```"
# A text with one of these means to be a result, also when it can't be read.
_KEYS = re.compile(r'"(?:completion_percentage|completion)"')


@dataclass(frozen=True)
class Result:
    """What a validation found. percent: from 0 to 100. problem: what is wrong with the result itself, or None."""

    percent: float
    status: str = "incomplete"
    implemented: tuple[object, ...] = ()
    missing: tuple[object, ...] = ()
    gaps: object = None
    problem: str | None = None

    def holds(self, check: Check) -> bool:
        wanted = FULL if check.threshold is None else check.threshold
        return self.problem is None and self.percent >= wanted

    def message(self, check: Check) -> str:
        """Why it does not hold, in one line."""
        if self.problem is not None:
            return f"validation: {self.problem}"
        wanted = FULL if check.threshold is None else check.threshold
        missing = f"; missing: {', '.join(map(_short, self.missing[:5]))}" if self.missing else ""
        return f"validation: {self.percent:g} % complete, {wanted:g} % wanted{missing}"

    def names(self, round_: int) -> dict[str, object]:
        """What `${validation...}` names in the steps that repair."""
        percent = int(self.percent) if self.percent.is_integer() else self.percent
        validation = {
            "completion": percent,
            "completion_percentage": percent,
            "status": self.status,
            "implemented": list(self.implemented),
            "missing": list(self.missing),
            "incomplete_specs": list(self.missing),
            "missing_count": len(self.missing),
            "gaps": {} if self.gaps is None else self.gaps,
            "attempt_number": round_,
        }
        return {"validation": validation}


def read_result(text: str, *, succeeded: bool, check: Check) -> Result:
    """The result in what a validation printed or wrote; without one, its success or failure is the result.

    An agent may write around the JSON: then its last fenced block counts, or what stands between the outer braces. What
    can't be read though it means to be a result, and a result file without one, is a result that is wrong.
    """
    value, reason = _value(text)
    if not isinstance(value, dict):
        if check.result_file is not None or _KEYS.search(text):
            return Result(0.0, "failed", problem=f"the result is no JSON object{f': {reason}' if reason else ''}")
        plain = Result(FULL, "complete") if succeeded else Result(0.0, "failed")
        if check.json_schema is not None and succeeded:
            return Result(0.0, "failed", problem="there is no JSON object in the result")
        return plain
    percent = _percent(value, succeeded=succeeded)
    if isinstance(percent, str):
        return Result(0.0, "failed", problem=percent)
    status = value.get("status")
    return Result(
        percent,
        status if status in _STATUSES else ("complete" if percent >= FULL else "incomplete"),
        _tuple(value.get("implemented")),
        _tuple(value.get("missing")),
        value.get("gaps"),
        _schema_problem(check.json_schema, value) if check.json_schema is not None else None,
    )


def _value(text: str) -> tuple[object, str]:
    """The JSON value in a text, and why there is none. An object counts more than other values."""
    outer = text[text.find("{") : text.rfind("}") + 1]
    found: object = None
    reason = ""
    for candidate in (text, _last_fenced(text), outer):
        try:
            value = parse_json(candidate)
        except UnusableJsonError as error:
            return None, str(error)
        except NotJsonError as error:
            reason = reason or str(error)
            continue
        if isinstance(value, dict):
            return value, ""
        found = value
    return found, reason


def _last_fenced(text: str) -> str:
    """What stands between the last two fences, without the word behind the first."""
    end = text.rfind(_FENCE)
    begin = text.rfind(_FENCE, 0, end) if end > 0 else -1
    return text[begin + len(_FENCE) : end].removeprefix("json") if begin >= 0 else ""


def _percent(value: dict[str, object], *, succeeded: bool) -> float | str:
    percent = value.get("completion_percentage", value.get("completion"))
    if percent is None:
        complete = value.get("status") == "complete" if "status" in value else succeeded
        return FULL if complete else 0.0
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= FULL:
        return f"completion_percentage must be a number from 0 to 100, got {_short(percent)}"
    return float(percent)


def _schema_problem(schema: str, value: dict[str, object]) -> str | None:
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    from prodigy.workflow.result_schema import validator_class

    nothing_else: Registry[bool | Mapping[str, Any]] = (
        Registry()
    )  # a schema that names another one must not make us fetch it
    validator = validator_class()(json.loads(schema), registry=nothing_else)
    try:
        document: Any = value
        errors = sorted(validator.iter_errors(document), key=lambda error: error.json_path)
    except Unresolvable as error:
        return f"expected_schema names another schema, which can't be had: {error}"
    if not errors:
        return None
    told = "; ".join(f"{error.json_path}: {_short(error.message)}" for error in errors[:3])
    return f"the result does not fit expected_schema: {told}"


def _tuple(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, list) else () if value is None else (value,)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"
