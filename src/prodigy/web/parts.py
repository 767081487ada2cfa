"""The live parts of a run's pages: from how the run stands to HTML, the same for everybody who looks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup

from prodigy.executors.warden import STDOUT
from prodigy.report.failures import failure_groups
from prodigy.report.slots import Slots, slot_order, slots
from prodigy.report.view import Line
from prodigy.report.words import duration, printable
from prodigy.state.step_path import attempt_path, parse_attempt
from prodigy.store import merges
from prodigy.web.rendering import render
from prodigy.web.watching import Part, Seen

MOST_RUNNING = 100  # lines of what runs
MOST_CHECKS = 30
LANE, LOW_LANE, MANY_LANES = 18, 10, 24  # pixels that a lane is high, and when there are many
WIDTH, LEAST_WIDTH = 1000, 1.5  # of the picture, and of a bar in it
# Stands for the token of a form until the part is sent to somebody; no value can contain it.
FORM_TOKEN = secrets.token_hex(16)


def head(seen: Seen) -> str:
    """State, phases, progress, what is left, spend and what may not start; and what can be done about it."""
    summary, view = seen.summary, seen.view
    eta_s = view.eta_s(time.monotonic()) if seen.is_driven and not summary["held"] else None
    waiting, _ = view.waiting(time.monotonic())
    budget = view.budget_usd
    return render(
        "part_head.html",
        run=summary, is_driven=seen.is_driven, form_token=FORM_TOKEN,
        phases=list(view.phases) or ([summary["phase"]] if summary["phase"] else []),
        eta_s=eta_s, waiting=waiting, width=view.max_parallel,
        budget=budget, gates=summary["gates"],
        over=summary["status"] in ("completed", "completed_with_failures"),
    )  # fmt: skip


def lanes(seen: Seen) -> str:
    """What each slot did when."""
    found = slots(seen.store, seen.now)
    height = LANE if len(found.lanes) <= MANY_LANES else LOW_LANE
    return render(
        "part_slots.html",
        slots=found, run_id=seen.summary["run_id"], is_driven=seen.is_driven, height=height,
        drawn=Markup("\n").join(_drawn(found, height)),
    )  # fmt: skip


_IDLE = Markup('<rect class="idle" x="0" y="{}" width="{}" height="{}"/>')
_BAR = Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}"{}><title>{}</title></rect>')
_GO = Markup(' data-go="{}/i{:04d}"')


def _drawn(found: Slots, height: int) -> Iterator[Markup]:
    """The bars of all lanes, WIDTH units wide. Not by a template: there are hundreds, again every few seconds."""
    scale = WIDTH / found.span_s
    for row, lane in enumerate(found.lanes):
        y = row * height + 1
        yield _IDLE.format(y, WIDTH, height - 2)
        for bar in lane.bars:
            start = max(bar.start, found.start) - found.start
            width = max((min(bar.end, found.end) - found.start - start) * scale, LEAST_WIDTH)
            again = f", attempt {bar.attempt}" if bar.attempt > 1 else ""
            title = printable(f"{bar.label}{again}: {bar.state.replace('_', ' ')}, {duration(bar.took_s)}")
            go = _GO.format(*bar.place) if bar.place else ""
            yield _BAR.format(bar.state, start * scale, y, width, height - 2, go, title)


def running(seen: Seen) -> str:
    """A line for each thing that runs, by its slot: what comes next in the same slot takes the same place."""
    offset = time.time() - time.monotonic()
    slot = {
        attempt_path(row["fanout"], row["ordinal"], row["number"]): slot_order(row["worktree"])
        for row in seen.store.ask(
            "SELECT attempt.fanout, attempt.ordinal, number, worktree FROM item JOIN attempt ON attempt.fanout ="
            " item.fanout AND attempt.ordinal = item.ordinal AND number = item.attempt WHERE item.state = 'running'"
        )
    }
    shown = sorted(seen.view.lines.items(), key=lambda pair: (slot.get(pair[0], slot_order("")), pair[1].since))
    rows = [_running(seen, path, line, offset) for path, line in shown[:MOST_RUNNING]]
    return render(
        "part_running.html",
        rows=rows, more=len(shown) - len(rows), now=seen.now, run_id=seen.summary["run_id"], is_driven=seen.is_driven,
    )  # fmt: skip


def _running(seen: Seen, path: str, line: Line, offset: float) -> dict[str, Any]:
    place = parse_attempt(path)
    step = line.step
    doing = step.label if step else "merging" if line.merging else "waits for its agent" if line.waiting else ""
    if line.retry is not None:
        doing = f"tries again: {line.retry.reason}"
    return {
        "label": line.label, "attempt": line.attempt, "agent": step.agent if step else None, "doing": doing,
        "since": line.since + offset, "cost_usd": line.cost_usd, "tokens": line.tokens,
        "said_at": _said_at(seen.store.directory / "steps" / step.path / STDOUT) if step else None,
        "place": (place.fanout, place.ordinal) if place else None,
    }  # fmt: skip


def _said_at(log: Path) -> float | None:
    """When a step printed something last, in seconds since the epoch."""
    try:
        status = log.stat()
    except OSError:
        return None  # it has printed nothing yet, or its files were cleaned away
    return status.st_mtime if status.st_size else None


def failures(seen: Seen) -> str:
    """Dead letters that failed alike."""
    groups = failure_groups(seen.store)
    return render("part_failures.html", groups=groups, run_id=seen.summary["run_id"])


def queue(seen: Seen) -> str:
    """What waits to be merged, what is checked, what did not pass and why."""
    store = seen.store
    labels = {(one.fanout, one.member.ordinal): one.label for one in merges.waiting(store)}
    checks = merges.checks(store)[-MOST_CHECKS:][::-1]
    for one in checks:
        for member in one.check.members:
            key = (one.fanout, member.ordinal)
            if key not in labels:
                labels[key] = store.item(*key).label
    return render(
        "part_queue.html",
        queue=seen.summary["merge_queue"], waiting=merges.waiting(store)[:50], checks=checks, labels=labels,
        evicted=_evicted(seen), now=seen.now, run_id=seen.summary["run_id"],
    )  # fmt: skip


def _evicted(seen: Seen) -> list[dict[str, Any]]:
    """Attempts whose merge was refused, the newest first."""
    rows = seen.store.ask(
        "SELECT attempt.fanout, attempt.ordinal, number, label, attempt.kind, attempt.error, ended_at, attempt.step"
        " FROM attempt JOIN item USING (fanout, ordinal) WHERE attempt.state = 'failed' AND (queued_at IS NOT NULL OR"
        " attempt.kind = 'merge_conflict') ORDER BY ended_at DESC LIMIT 20"
    )
    return [dict(row) for row in rows]


def activity(seen: Seen) -> str:
    """What happened lately, and who wanted it."""
    return render("part_activity.html", events=seen.activity, run_id=seen.summary["run_id"])


PARTS = {
    "head": Part(head, 1.0), "slots": Part(lanes, 4.0), "running": Part(running, 2.0),
    "failures": Part(failures, 2.0), "queue": Part(queue, 1.0), "activity": Part(activity, 1.0),
}  # fmt: skip
