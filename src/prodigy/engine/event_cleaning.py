"""Taking away the audit trails of runs that are over, by age and by how much of them there is.

A trail goes whole, but for the few events that are still asked for: one that is cut in the middle would mislead. The
tables say all that counts, and stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prodigy.engine.clean_parts import EVENTS, Finding, Wanted
from prodigy.engine.run_cleaning import of_run, runs_of


@dataclass(frozen=True)
class Limits:
    """older_than_s: only of runs that nothing has happened to for so long. max_events, max_bytes: as many runs,
    the oldest first, as it takes until the trails of the others hold no more together."""

    older_than_s: float | None = None
    max_events: int | None = None
    max_bytes: float | None = None


def clean_events(
    run_id: str | None, common_dir: Path | None, limits: Limits, *, dry_run: bool, archive: Path | None = None
) -> list[Finding]:
    """Of one run, or of all of a repository (None: of the whole home). archive: as in `Wanted`.

    Raises nothing on account of a single run: its finding says what is wrong.
    """
    runs, unreadable = runs_of(common_dir if run_id is None else None)
    known = [run for run in runs if run_id in (None, run.id)]
    looked = {run.id: of_run(run.id, Wanted((EVENTS,), dry_run=True)) for run in known}
    kept = [one for found in looked.values() for one in found if one.kept is not None]
    going = [one for run in known for one in looked[run.id] if one.kept is None]
    old = {run.id for run in known if run.idle_s >= (limits.older_than_s or 0.0)}
    chosen = [one for one in _above(going, limits) if one.run_id in old]
    if not dry_run:
        chosen = [one for going in chosen for one in of_run(going.run_id, Wanted((EVENTS,), archive=archive))]
    return chosen + kept + (unreadable if run_id is None else [])


def _above(going: Sequence[Finding], limits: Limits) -> list[Finding]:
    """Those that go so that the rest is within the limits, the oldest first; all of them without limits."""
    if limits.max_events is None and limits.max_bytes is None:
        return list(going)
    events, size = sum(one.count for one in going), sum(one.size_bytes for one in going)
    chosen = []
    for one in going:
        fits = (limits.max_events is None or events <= limits.max_events) and (
            limits.max_bytes is None or size <= limits.max_bytes
        )
        if fits:
            break
        chosen.append(one)
        events, size = events - one.count, size - one.size_bytes
    return chosen
