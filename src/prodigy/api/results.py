"""How a run stands or ended, as a value: what the command line prints with `--json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from prodigy.engine.summary import exit_code
from prodigy.errors import ProdigyError


class RunFailed(ProdigyError):
    """A run did not end as it should: see `result`."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.exit_code = result.exit_code
        first, _, more = (result.error or "").partition("\n")
        if result.error and result.status not in ("completed", "completed_with_failures"):
            what, hint = f"run {result.run_id} is {result.status}: {first}", more.strip() or _resume(result)
        elif result.dead_letters:
            letters = "dead letter" if result.dead_letters == 1 else "dead letters"
            what = f"run {result.run_id} has {result.dead_letters} {letters}"
            hint = f"Look at `prodigy.find({result.run_id!r}).dead_letters()`, then `prodigy.retry_dead_letters`."
        elif result.merge_problem:
            what, hint = f"run {result.run_id} was not merged: {result.merge_problem}", _resume(result)
        else:
            what, hint = f"run {result.run_id} is {result.status}", _resume(result)
        super().__init__(what, hint=hint)


def _resume(result: Result) -> str:
    return f"Go on with `prodigy.resume({result.run_id!r})`, or `prodigy resume {result.run_id}`."


@dataclass(frozen=True)
class ItemCounts:
    """How many items of a run are in each state; the five add up to `total`. failed: dead ones too."""

    total: int
    successful: int
    failed: int
    skipped: int
    running: int
    pending: int


@dataclass(frozen=True)
class Result:
    """How a run stands.

    status: `completed`, `completed_with_failures` (some items are dead letters), `failed` (a step outside the items
        did), `interrupted`, `cancelled`, `paused`; of a run that goes on `new` or `running`.
    stop_reason: `budget`, `rate_limit`, `max_failures`, `failure_threshold`, `breaker`, `user`, or None.
    phase: what it is at, or was at last.
    dead_letters, duplicates: how many items failed for good, and were left out because their ids were there already.
    cost_usd: dollars, None when agents ran and none of them could tell. tokens: of all kinds.
    duration_s, steps_run, steps_reused: of this call alone; None for a run that was only looked at.
    branch: the run branch. target: the branch it is for, None when HEAD was detached. merged: whether it is merged
        into it. merge_problem: why that was not possible. changed: whether there is anything to merge.
    held: who paused a run that goes on, and since when. error: what stopped it. created_at: RFC 3339, UTC. spend,
        gates, merge_queue: as in the summary with `--json`.
    """

    run_id: str
    workflow: str
    status: str
    stop_reason: str | None
    phase: str
    items: ItemCounts
    dead_letters: int
    duplicates: int
    cost_usd: float | None
    tokens: int
    duration_s: float | None
    branch: str
    target: str | None
    merged: bool
    merge_problem: str | None
    steps_run: int | None
    steps_reused: int | None
    changed: bool = False
    error: str | None = None
    created_at: str = ""
    spend: Mapping[str, Any] = field(default_factory=dict, hash=False)
    gates: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    merge_queue: Mapping[str, Any] = field(default_factory=dict, hash=False)
    held: Mapping[str, str] | None = field(default=None, hash=False)
    cause: ProdigyError | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, summary: Mapping[str, object], cause: ProdigyError | None = None) -> Result:
        """From the summary that the engine makes. cause: the error that stopped the run in this call."""
        names = {each.name for each in dataclasses.fields(cls)} - {"items", "gates", "cause"}
        fields = cast("dict[str, Any]", {name: value for name, value in summary.items() if name in names})
        items = ItemCounts(**cast("dict[str, int]", summary["items"]))
        gates = tuple(cast("list[dict[str, Any]]", summary["gates"]))
        if cause is not None and fields["error"] is None:
            fields["error"] = str(cause)
        return cls(**fields, items=items, gates=gates, cause=cause)

    @property
    def ok(self) -> bool:
        """Whether everything was done: completed, without dead letters, and merged if that was asked for."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """The exit status that the command line would have ended with."""
        return self.cause.exit_code if self.cause is not None else exit_code(self.as_dict())

    def check(self) -> Result:
        """Itself when it is `ok`; else raises RunFailed, which has it as `result`."""
        if not self.ok:
            raise RunFailed(self) from self.cause
        return self

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        fields = {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "cause"}
        return {**fields, "items": dataclasses.asdict(self.items), "gates": list(self.gates)}
