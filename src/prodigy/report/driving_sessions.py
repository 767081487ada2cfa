"""The times a run was driven, one after another, as its events tell them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

STARTS = ("job_started", "job_resumed")
ENDS = ("job_completed", "job_failed", "job_paused")
KILLED = "ended without a word"


@dataclass(frozen=True)
class Session:
    """One process that drove the run. command: `run`, `resume`, `dlq retry`, ... how: the status it left the run with;
    KILLED when it did not come to say so; `running`. why: the reason of a stop, or the error. Times are RFC 3339 in
    UTC; ended_at is None where nobody knows. user, host and pid are empty in runs of before they were noted."""

    command: str
    user: str
    host: str
    pid: int
    started_at: str
    ended_at: str | None = None
    how: str = KILLED
    why: str | None = None

    @property
    def duration_s(self) -> float | None:
        if self.ended_at is None:
            return None
        begun, ended = dt.datetime.fromisoformat(self.started_at), dt.datetime.fromisoformat(self.ended_at)
        return round((ended - begun).total_seconds(), 3)

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "duration_s": self.duration_s}


def _process(one: Session) -> tuple[str, int]:
    return one.host, one.pid


def sessions(records: Iterable[dict[str, object]], *, is_held: bool) -> list[Session]:
    """records: the events of STARTS and ENDS, oldest first. is_held: whether a process drives the run now."""
    found: list[Session] = []
    for record in records:
        event, at = record["event"], str(record["timestamp"])
        assert isinstance(event, dict)
        if event["event_type"] in STARTS:
            begun = Session(
                str(event.get("command", "run")), event.get("user", ""), event.get("host", ""), event.get("pid", 0), at
            )
            # A new run in the background says both.
            same = found and found[-1].how == KILLED and begun.pid and _process(begun) == _process(found[-1])
            if not same:
                found.append(begun)
        elif found:
            status = "failed" if event["event_type"] == "job_failed" else str(event["status"])
            why = event.get("error") or event.get("stop_reason")
            found[-1] = replace(found[-1], ended_at=at, how=status, why=str(why) if why else None)
    if found and is_held and found[-1].how == KILLED:
        found[-1] = replace(found[-1], how="running")
    return found
