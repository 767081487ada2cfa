"""What a run's database says of where time and money went, as plain values that `metrics` counts with.

All times are seconds since the epoch.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from prodigy.store.lock import is_held
from prodigy.store.store import Store

_BEGINS, _ENDS = ("job_started", "job_resumed"), ("job_completed", "job_failed", "job_paused")
_IN_ATTEMPT = re.compile(r"(?P<fanout>.+)/i(?P<ordinal>\d+)/a(?P<attempt>\d+)/")
_KINDS = (  # of what a path has in it
    (re.compile(r"^merges/"), "merge check"),
    (re.compile(r"/(check|repair)/"), "check"),
    (re.compile(r"/(on_failure|on_success|exit\d+)/"), "handler"),
    (re.compile(r"/conflict/"), "conflict"),
)

Key = tuple[str, int, int]  # fan-out, ordinal, number of the attempt


@dataclass(frozen=True)
class AttemptFacts:
    """One attempt. queued: when its work was done and waited to be merged. ended: None while it goes on."""

    key: Key
    item_id: str
    label: str
    state: str
    kind: str | None
    started: float
    queued: float | None
    ended: float | None


@dataclass(frozen=True)
class ExecutionFacts:
    """One execution of a step that was really run (not taken over from another attempt).

    attempt: the one that it belongs to, None for a step outside the items. name: the step's, for people. doer: the
    agent, or `shell`. role: `step`, `check`, `handler`, `conflict` or `merge check`. state: `started`, `finished`,
    `lost` or `retired`; kind: of its failure, None for success.
    """

    path: str
    attempt: Key | None
    name: str
    doer: str
    role: str
    state: str
    kind: str | None
    started: float
    ended: float | None
    duration_s: float | None
    cost_usd: float | None
    tokens: int | None
    estimated: bool


@dataclass(frozen=True)
class CheckFacts:
    """One check of the merge queue: how many items were looked at together, whether they passed (None: not known)."""

    members: int
    passed: bool | None
    started: float
    ended: float | None


@dataclass(frozen=True)
class GateFacts:
    """A time in which an account let no agent start."""

    account: str
    closed: float
    opened: float | None


@dataclass(frozen=True)
class Facts:
    """sessions: when processes drove the run, in order, without overlaps; the last one ends now if it goes on.
    items: state -> how many. tries: how many attempts count against limits."""

    sessions: tuple[tuple[float, float], ...]
    items: dict[str, int]
    tries: int
    attempts: tuple[AttemptFacts, ...]
    executions: tuple[ExecutionFacts, ...]
    checks: tuple[CheckFacts, ...]
    gates: tuple[GateFacts, ...]


def read(store: Store, now: float) -> Facts:
    """The facts of a run as it stands at `now`."""
    return Facts(
        sessions=sessions(store, now),
        items={state.value: number for state, number in store.counts().items()},
        tries=int(store.ask("SELECT coalesce(sum(tries), 0) AS n FROM item")[0]["n"]),
        attempts=_attempts(store),
        executions=_executions(store),
        checks=_checks(store),
        gates=_gates(store),
    )


def sessions(store: Store, now: float) -> tuple[tuple[float, float], ...]:
    """When processes drove the run, in order, without overlaps. One that was killed drove it until its last event."""
    marks = store.ask("SELECT seq, at, type FROM event WHERE type IN (?, ?, ?, ?, ?) ORDER BY seq", *_BEGINS, *_ENDS)
    found: list[tuple[float, float]] = []
    begun: float | None = None
    for mark in marks:
        at = seconds(mark["at"])
        if begun is not None and mark["type"] in _BEGINS:
            (last,) = store.ask("SELECT max(at) AS at FROM event WHERE seq < ?", mark["seq"])
            found.append((begun, max(begun, seconds(last["at"]))))
        if mark["type"] in _ENDS:
            if begun is not None:
                found.append((begun, max(begun, at)))
            begun = None
        else:
            begun = at
    if begun is not None:
        found.append((begun, max(begun, _last_sign(store, now))))
    return tuple(found)


def _last_sign(store: Store, now: float) -> float:
    """Now, if a process drives the run; else its last event."""
    if is_held(store.directory):
        return now
    (last,) = store.ask("SELECT max(at) AS at FROM event")
    return seconds(last["at"])


def _attempts(store: Store) -> tuple[AttemptFacts, ...]:
    rows = store.ask(
        "SELECT attempt.fanout, attempt.ordinal, number, item_id, label, attempt.state, kind, started_at, queued_at,"
        " ended_at FROM attempt JOIN item USING (fanout, ordinal) ORDER BY started_at, fanout, ordinal, number"
    )
    return tuple(
        AttemptFacts(
            key=(row["fanout"], row["ordinal"], row["number"]),
            item_id=row["item_id"],
            label=row["label"],
            state=row["state"],
            kind=row["kind"],
            started=seconds(row["started_at"]),
            queued=seconds(row["queued_at"]) if row["queued_at"] else None,
            ended=seconds(row["ended_at"]) if row["ended_at"] else None,
        )
        for row in rows
    )


def _executions(store: Store) -> tuple[ExecutionFacts, ...]:
    names = {
        row["fingerprint"]: row["label"]
        for row in store.ask(
            "SELECT json_extract(data, '$.fingerprint') AS fingerprint, max(json_extract(data, '$.label')) AS label"
            " FROM event WHERE type = 'step_started' GROUP BY 1"
        )
    }
    rows = store.ask(
        "SELECT path, try, fingerprint, agent, state, kind, started_at, finished_at, duration_s, cost_usd, tokens,"
        " estimated FROM step WHERE reused_from IS NULL AND NOT skipped ORDER BY started_at, path, try"
    )
    return tuple(
        ExecutionFacts(
            path=f"{row['path']}/t{row['try']}",
            attempt=_attempt_of(row["path"]),
            name=names.get(row["fingerprint"]) or "(no name)",
            doer=row["agent"] or "shell",
            role=role_of(row["path"]),
            state=row["state"],
            kind=row["kind"],
            started=seconds(row["started_at"]),
            ended=seconds(row["finished_at"]) if row["finished_at"] else None,
            duration_s=row["duration_s"],
            cost_usd=row["cost_usd"],
            tokens=row["tokens"],
            estimated=bool(row["estimated"]),
        )
        for row in rows
    )


def role_of(path: str) -> str:
    """What a step is for, by its path: `step`, `check`, `handler`, `conflict` or `merge check`."""
    return next((kind for pattern, kind in _KINDS if pattern.search(path)), "step")


def _attempt_of(path: str) -> Key | None:
    found = _IN_ATTEMPT.match(f"{path}/")
    return (found["fanout"], int(found["ordinal"]), int(found["attempt"])) if found else None


def _checks(store: Store) -> tuple[CheckFacts, ...]:
    rows = store.ask(
        "SELECT json_array_length(members) AS members, state, started_at, ended_at FROM merge_check"
        " WHERE state != 'void' ORDER BY started_at"
    )
    return tuple(
        CheckFacts(
            members=row["members"],
            passed={"passed": True, "failed": False}.get(row["state"]),
            started=seconds(row["started_at"]),
            ended=seconds(row["ended_at"]) if row["ended_at"] else None,
        )
        for row in rows
    )


def _gates(store: Store) -> tuple[GateFacts, ...]:
    rows = store.ask(
        "SELECT at, type, json_extract(data, '$.account') AS account FROM event"
        " WHERE type IN ('agent_gate_closed', 'agent_gate_opened') ORDER BY seq"
    )
    found: list[GateFacts] = []
    closed: dict[str, float] = {}
    for row in rows:
        at = seconds(row["at"])
        if row["type"] == "agent_gate_closed":
            closed.setdefault(row["account"], at)
        elif row["account"] in closed:
            found.append(GateFacts(row["account"], closed.pop(row["account"]), at))
    found += [GateFacts(account, at, None) for account, at in closed.items()]
    return tuple(found)


def seconds(text: str) -> float:
    """A time of the database as seconds since the epoch."""
    return dt.datetime.fromisoformat(text).timestamp()
