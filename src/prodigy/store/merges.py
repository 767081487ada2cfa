"""The merge queue as it is on record: what waits, what was checked."""

from __future__ import annotations

import json
from dataclasses import dataclass

from prodigy.state.merge_queue import Check, Member
from prodigy.store.store import Store


@dataclass(frozen=True)
class Waiting:
    """An attempt whose work waits to be merged. turn: orders those of one priority. since: RFC 3339."""

    fanout: str
    member: Member
    item_id: str
    label: str
    head: str
    priority: float
    turn: int
    since: str


@dataclass(frozen=True)
class CheckFacts:
    """What is told of a check beside what it decides. fingerprint: of the steps that check. step: the execution that
    failed it."""

    fanout: str
    check: Check
    fingerprint: str
    started_at: str
    ended_at: str | None
    message: str | None
    step: str | None


def waiting(store: Store, fanout: str | None = None, ordinal: int | None = None) -> list[Waiting]:
    """What waits to be merged, in order, of one fan-out or of all, and of one item or of all."""
    rows = store.ask(
        "SELECT fanout, ordinal, number, item_id, label, queued, priority, turn, queued_at"
        " FROM attempt JOIN item USING (fanout, ordinal)"
        " WHERE queued IS NOT NULL AND fanout = coalesce(?, fanout) AND ordinal = coalesce(?, ordinal)"
        " ORDER BY fanout, priority DESC, turn",
        *(fanout, ordinal),
    )
    return [
        Waiting(
            fanout=row["fanout"],
            member=Member(row["ordinal"], row["number"]),
            item_id=row["item_id"],
            label=row["label"],
            head=row["queued"],
            priority=row["priority"],
            turn=row["turn"],
            since=row["queued_at"],
        )
        for row in rows
    ]


def checks(store: Store, fanout: str | None = None, *, after: int = 0) -> list[CheckFacts]:
    """The checks that were made, in order, of one fan-out or of all. after: only those with a higher number."""
    rows = store.ask(
        "SELECT * FROM merge_check WHERE fanout = coalesce(?, fanout) AND number > ? ORDER BY fanout, number",
        *(fanout, after),
    )
    found = []
    for row in rows:
        members = json.loads(row["members"])
        check = Check(
            number=row["number"],
            base=row["base"],
            members=tuple(Member(ordinal, attempt) for ordinal, attempt, _ in members),
            commits=tuple(commit for _, _, commit in members),
            passed={"passed": True, "failed": False}.get(row["state"]),
        )
        found.append(
            CheckFacts(
                row["fanout"],
                check,
                row["fingerprint"],
                row["started_at"],
                row["ended_at"],
                row["message"],
                row["step"],
            )
        )
    return found


def check_numbered(store: Store, fanout: str, number: int) -> CheckFacts:
    """One check, which is on record."""
    return next(facts for facts in checks(store, fanout, after=number - 1) if facts.check.number == number)
