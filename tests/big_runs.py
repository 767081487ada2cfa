"""Runs that nobody wants to wait for, written into their tables as the engine would have."""

from __future__ import annotations

import datetime as dt
import json
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

BEGUN = dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC)
DEAD_EVERY = 97  # items; each has failed twice


def big_run(home: Path, like: str, run_id: str, items: int, slots: int = 8) -> None:
    """A run of so many items that is over, made after one that there is, `like`."""
    directory = home / "runs" / run_id
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    source = sqlite3.connect(home / "runs" / like / "run.db")
    db = sqlite3.connect(directory / "run.db")
    with closing(source), closing(db):
        source.backup(db)
        db.execute("PRAGMA journal_mode = WAL")
        with db:
            _fill(db, run_id, items, slots)


def _fill(db: sqlite3.Connection, run_id: str, items: int, slots: int) -> None:
    for table in ("dead_letter", "attempt", "step", "event", "usage", "merge_check", "item"):
        db.execute(f"DELETE FROM {table}")
    (fanout,) = db.execute("SELECT path FROM fanout").fetchone()
    db.execute("UPDATE run SET id = ?, workflow = 'big', status = 'completed_with_failures'", (run_id,))
    db.execute("UPDATE fanout SET total = ?", (items,))
    dice, free = random.Random(1), [0.0] * slots
    events = [(0.0, "job_started", {"workflow": "big", "base": "x", "branch": "b", "target": None})]
    for ordinal in range(1, items + 1):
        name = f"src/module_{ordinal:06d}.py"
        dead = ordinal % DEAD_EVERY == 0
        data = {"path": name, "lines": dice.randint(1, 2000), "owner": dice.choice(["core", "web", "data"])}
        _insert(
            db, "item", fanout=fanout, ordinal=ordinal, item_id=name, label=name, data=json.dumps(data),
            state="dead" if dead else "succeeded", attempt=1 + dead, tries=1 + dead,
        )  # fmt: skip
        for number in range(1, 2 + dead):
            slot = min(range(slots), key=free.__getitem__)
            start, end = free[slot], free[slot] + dice.uniform(20, 90)
            free[slot] = end
            failure = {"kind": "command_failed", "error": f"exit 1 in line {ordinal}"} if dead else {}
            _insert(
                db, "attempt", fanout=fanout, ordinal=ordinal, number=number, base="0" * 40, worktree=f"/w/s{slot + 1}",
                state="failed" if dead else "succeeded", workflow=1, started_at=_at(start), ended_at=_at(end),
                duration_s=end - start, **failure,
            )  # fmt: skip
            _insert(
                db, "step", path=f"{fanout}/i{ordinal:04d}/a{number}/1", fingerprint="f", state="finished",
                started_at=_at(start), finished_at=_at(end), exit_code=0, duration_s=end - start, ended=1, settled=1,
                agent="claude", cost_usd=dice.uniform(0.01, 0.4), tokens=dice.randint(100, 90_000), **{"try": 1},
            )  # fmt: skip
            named = {"fanout": fanout, "ordinal": ordinal, "attempt": number, "item_id": name, "label": name}
            done = {"duration_s": end - start, "commits": [], "merged": "m"}
            event = {**named, **failure, "retry_eligible": True} if dead else {**named, **done}
            events.append((end, "agent_failed" if dead else "agent_completed", event))
        if dead:
            _insert(
                db, "dead_letter", fanout=fanout, ordinal=ordinal, error_signature=f"s{ordinal % 3}",
                reprocess_eligible=1, manual_review_required=0,
            )  # fmt: skip
    events.append((max(free), "job_completed", {"status": "completed_with_failures"}))
    for at, kind, facts in sorted(events, key=lambda one: one[0]):
        _insert(db, "event", id="x", at=_at(at), type=kind, data=json.dumps(facts))


def _insert(db: sqlite3.Connection, table: str, **columns: Any) -> None:
    marks = ", ".join("?" * len(columns))
    db.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values()))


def _at(seconds: float) -> str:
    moment = BEGUN + dt.timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
