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
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


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

    An agent may write around the JSON: then its last fenced block counts, or what stands between the outer braces.
    """
    value = _value(text)
    if not isinstance(value, dict):
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


def _value(text: str) -> object:
    fenced = _FENCED.findall(text)
    outer = text[text.find("{") : text.rfind("}") + 1]
    for candidate in (text, *fenced[-1:], outer):
        try:
            return parse_json(candidate)
        except (NotJsonError, UnusableJsonError):
            continue
    return None


def _percent(value: dict[str, object], *, succeeded: bool) -> float | str:
    percent = value.get("completion_percentage", value.get("completion"))
    if percent is None:
        complete = value.get("status") == "complete" if "status" in value else succeeded
        return FULL if complete else 0.0
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= FULL:
        return f"completion_percentage must be a number from 0 to 100, got {_short(percent)}"
    return float(percent)


def _schema_problem(schema: str, value: dict[str, object]) -> str | None:
    from jsonschema import Draft202012Validator  # few workflows have a schema, and it takes long to import
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    nothing_else: Registry[bool | Mapping[str, Any]] = (
        Registry()
    )  # a schema that names another one must not make us fetch it
    validator = Draft202012Validator(json.loads(schema), registry=nothing_else)
    try:
        errors = sorted(validator.iter_errors(value), key=lambda error: error.json_path)
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
