"""What waits to be merged, and why it waits: for people and for machines."""

from __future__ import annotations

from prodigy.state import merge_queue
from prodigy.state.merge_queue import Check, Findings, Member
from prodigy.store import merges
from prodigy.store.store import Store

MOST_TOLD = 50  # items by name; of more, only the number


def queue_told(store: Store) -> dict[str, object]:
    """{waiting, checking, items}: how many items wait to be merged, how many of them are being checked right now, and
    the first of them as {item_id, since, state, why}. state: `checking`, `suspected` or `waiting`."""
    queue = merges.waiting(store)
    if not queue:
        return {"waiting": 0, "checking": 0, "items": []}
    facts = {fanout: merges.checks(store, fanout) for fanout in {one.fanout for one in queue}}
    running = {fanout: next((one for one in of if one.ended_at is None), None) for fanout, of in facts.items()}
    members = {fanout: [one.member for one in queue if one.fanout == fanout] for fanout in facts}
    found = {fanout: merge_queue.found((one.check for one in of), members[fanout]) for fanout, of in facts.items()}
    rows = []
    for place, one in enumerate(queue[:MOST_TOLD]):
        now = running[one.fanout]
        state, why = _why(one.member, place, now.check if now else None, found[one.fanout])
        rows.append({"item_id": one.item_id, "since": one.since, "state": state, "why": why})
    checking = sum(len(now.check.members) for now in running.values() if now)
    return {"waiting": len(queue), "checking": checking, "items": rows}


def _why(member: Member, place: int, running: Check | None, found: Findings) -> tuple[str, str]:
    if running is not None and member in running.members:
        others = len(running.members) - 1
        return "checking", f"check {running.number} runs" + (f", of it and {others} others together" if others else "")
    if running is not None and not running.members:
        return "waiting", "the run branch itself is checked, for a merge did not pass"
    if member in found.suspects:
        return "suspected", f"{len(found.suspects)} merges did not pass together, and it is one of them"
    return "waiting", "it is next" if place == 0 else f"{place} are before it"
