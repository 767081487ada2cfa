"""What there is to know of a run's items and events, as values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from prodigy.state import events as ev
from prodigy.state.items import ItemRow


@dataclass(frozen=True)
class Event:
    """Something that happened in a run.

    type: e.g. `agent_started`, `agent_completed`, `agent_failed`, `step_finished`, `warned`, `job_completed`; `prodigy
        events ls` shows them. data: what there is to say of it, by name.
    number: its place in the run, None while it is being told live. time: in UTC.
    """

    run_id: str
    type: str
    time: dt.datetime
    data: Mapping[str, Any] = field(hash=False)
    number: int | None = None

    @property
    def item_id(self) -> str | None:
        """The id of the item that it is about."""
        return self.data.get("item_id")

    @classmethod
    def live(cls, run_id: str, event: ev.Event) -> Event:
        """An event at the moment it happens."""
        return cls(run_id, event.type, dt.datetime.now(dt.UTC), event.data())

    @classmethod
    def stored(cls, run_id: str, record: Mapping[str, object]) -> Event:
        """An event as the store tells it."""
        data = dict(cast("dict[str, Any]", record["event"]))
        time = dt.datetime.fromisoformat(str(record["timestamp"]))
        return cls(run_id, str(data.pop("event_type")), time, data, cast("int", record["seq"]))


@dataclass(frozen=True)
class Item:
    """One item of a fan-out.

    state: `pending`, `running`, `succeeded`, `failed` (it will be tried again), `dead` (it has a dead letter) or
        `skipped`. attempts: how often it was begun. tries: how many of those count against limits.
    data: the JSON value. fanout: the step that fans out, as a path. ordinal: its number there, from 1.
    """

    id: str
    label: str
    state: str
    attempts: int
    tries: int
    data: Any = field(hash=False)
    fanout: str
    ordinal: int

    @classmethod
    def of(cls, fanout: str, row: ItemRow, data: object) -> Item:
        return cls(row.item_id, row.label, row.state.value, row.attempt, row.tries, data, fanout, row.ordinal)


@dataclass(frozen=True)
class Failure:
    """One failed attempt of an item.

    kind: e.g. `timeout`, `command_failed`, `check_rejected`, `merge_conflict`. step: the path of the step that failed,
    None between steps. output: the end of what it printed. log: the directory with all of it.
    """

    attempt: int
    time: str
    kind: str
    message: str
    step: str | None
    exit_code: int | None
    output: tuple[str, ...]
    log: str | None
    cost_usd: float | None
    tokens: int

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Failure:
        return cls(
            attempt=record["attempt_number"],
            time=record["timestamp"],
            kind=record["error_type"],
            message=record["error_message"],
            step=record["step_failed"],
            exit_code=record["exit_code"],
            output=tuple(record["error_context"]),
            log=record["log"],
            cost_usd=record["cost_usd"],
            tokens=record["tokens"],
        )


@dataclass(frozen=True)
class DeadLetter:
    """An item that failed for good, and all that is known of it.

    item: its JSON value. failures: oldest first. branch: a branch with what its attempts did.
    eligible: whether a retry can help. needs_review: whether a person should look first. record: everything, with the
    names of `prodigy dlq list --json`.
    """

    run_id: str
    item_id: str
    label: str
    item: Any = field(hash=False)
    failures: tuple[Failure, ...]
    tries: int
    branch: str | None
    worktree: str | None
    eligible: bool
    needs_review: bool
    cost_usd: float | None
    tokens: int
    record: Mapping[str, Any] = field(repr=False, hash=False)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> DeadLetter:
        artifacts = record["worktree_artifacts"]
        return cls(
            run_id=record["run_id"],
            item_id=record["item_id"],
            label=record["label"],
            item=record["item_data"],
            failures=tuple(map(Failure.of, record["failure_history"])),
            tries=record["tries"],
            branch=artifacts["branch_name"],
            worktree=artifacts["worktree_path"],
            eligible=record["reprocess_eligible"],
            needs_review=record["manual_review_required"],
            cost_usd=record["cost_usd"],
            tokens=record["tokens"],
            record=record,
        )

    @property
    def last_failure(self) -> Failure:
        """The newest."""
        return self.failures[-1]
