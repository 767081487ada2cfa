"""How long an item may take, and what becomes of one that takes longer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prodigy.workflow.frozen import Value

TimeoutPolicy = Literal["per_agent", "per_command", "hybrid"]
TimeoutAction = Literal["dlq", "skip", "fail", "graceful_terminate"]


class ItemLimits(Value):
    """Times in seconds; None: no such limit.

    item_s: of all steps of an attempt together. commands: limits of single steps, by kind of action (`claude`,
    `shell`), by place among those of one kind (`claude_0` is the first), or by place (`cmd_0` is the first of all).
    policy: which of the two counts; under `per_command`, item_s is the limit of every step that has no other.
    grace_s: between the end that is asked for and the one that is forced. action: what becomes of an item that took
    too long.
    """

    item_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    commands: tuple[tuple[str, float], ...] = ()
    policy: TimeoutPolicy = "per_agent"
    grace_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    action: TimeoutAction = "dlq"
