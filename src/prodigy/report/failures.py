"""Dead letters that failed alike, counted by the database."""

from __future__ import annotations

from dataclasses import dataclass

from prodigy.report.letter_advice import advice
from prodigy.store.store import Store

MOST_GROUPS = 50


@dataclass(frozen=True)
class FailureGroup:
    """The dead letters with one signature. eligible: how many of them a retry can help. kind, message: of the newest
    failure. first, last: when items of it failed for good, RFC 3339. samples: labels of some. advice: what to do."""

    signature: str
    count: int
    eligible: int
    kind: str
    message: str
    first: str
    last: str
    samples: tuple[str, ...]

    @property
    def advice(self) -> str:
        return advice(self.kind).text


def failure_groups(store: Store) -> list[FailureGroup]:
    """The groups, the largest first; at most MOST_GROUPS."""
    rows = store.ask(
        "SELECT error_signature AS signature, count(*) AS count, sum(reprocess_eligible) AS eligible,"
        " min(ended_at) AS first, max(ended_at) AS last, kind, error, group_concat(label, char(31)) AS labels FROM"
        " (SELECT letter.error_signature, letter.reprocess_eligible, item.label, attempt.kind, attempt.error,"
        " attempt.ended_at FROM dead_letter AS letter JOIN item USING (fanout, ordinal) JOIN attempt ON"
        " attempt.fanout = letter.fanout AND attempt.ordinal = letter.ordinal AND attempt.number ="
        " (SELECT max(number) FROM attempt AS failed WHERE failed.fanout = letter.fanout AND failed.ordinal ="
        " letter.ordinal AND failed.state = 'failed'))"
        " GROUP BY error_signature ORDER BY count(*) DESC, error_signature LIMIT ?",
        MOST_GROUPS,
    )
    return [
        FailureGroup(
            signature=row["signature"],
            count=row["count"],
            eligible=row["eligible"],
            kind=row["kind"] or "unknown",
            message=row["error"] or "",
            first=row["first"],
            last=row["last"],
            samples=tuple(row["labels"].split("\x1f")[:3]),
        )
        for row in rows
    ]
