"""Everything that was done for one item: its attempts, and the steps of each."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prodigy.executors.warden import COMMAND, STDIN
from prodigy.report.executions import Log
from prodigy.report.facts import role_of, seconds
from prodigy.report.step_output import opened
from prodigy.secrets import mask
from prodigy.state.step_path import attempt_path, execution_path
from prodigy.store.store import Store

MOST_STEPS = 500  # of an attempt
_COMMAND_BYTES = 4000


@dataclass(frozen=True)
class StepStory:
    """One execution of a step. state: `ok`, `failed`, `skipped`, `running`, `lost`, `retired`, or `interrupted`: no end
    is on record. role: `step`, `check`, `handler`, `conflict`. depth: 0 for the steps of the item itself. taken: the
    result of an earlier attempt was used, and not paid again. Times: seconds since the epoch."""

    path: str
    label: str
    role: str
    depth: int
    agent: str | None
    adapter: str | None
    state: str
    kind: str | None
    message: str | None
    exit_code: int | None
    started: float
    ended: float | None
    duration_s: float | None
    cost_usd: float | None
    tokens: int | None
    session: str | None
    taken: bool
    log: str


@dataclass(frozen=True)
class AttemptStory:
    """One attempt. continues: whether it began where an earlier one stood. merged: the commit of its merge."""

    number: int
    state: str
    kind: str | None
    error: str | None
    last_output: str
    started: float
    queued: float | None
    ended: float | None
    duration_s: float | None
    base: str
    head: str | None
    merged: str | None
    continues: bool
    cost_usd: float | None
    tokens: int
    steps: tuple[StepStory, ...]


def story(store: Store, fanout: str, ordinal: int) -> list[AttemptStory]:
    """The attempts of an item, newest first."""
    rows = store.ask(
        "SELECT number, state, kind, error, last_output, started_at, queued_at, ended_at, duration_s, base, head,"
        " merged, start_head FROM attempt WHERE fanout = ? AND ordinal = ? ORDER BY number DESC",
        fanout, ordinal,
    )  # fmt: skip
    labels = Labels(store)
    return [_attempt(store, labels, fanout, ordinal, row) for row in rows]


class Labels:
    """The names of steps for people."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, str] = {}

    def of(self, fingerprint: str) -> str:
        """The name of a step, as the first of its executions was told."""
        if fingerprint not in self._known:
            rows = self._store.ask(
                "SELECT json_extract(data, '$.label') AS label FROM event WHERE type = 'step_started'"
                " AND json_extract(data, '$.fingerprint') = ? LIMIT 1",
                fingerprint,
            )
            self._known[fingerprint] = str(rows[0]["label"] or "") if rows else ""
        return self._known[fingerprint]


def _attempt(store: Store, labels: Labels, fanout: str, ordinal: int, row: Any) -> AttemptStory:
    steps = _steps(store, labels, attempt_path(fanout, ordinal, row["number"]))
    costs = [step.cost_usd for step in steps if step.cost_usd is not None and not step.taken]
    return AttemptStory(
        number=row["number"],
        state=row["state"],
        kind=row["kind"],
        error=mask(row["error"]) if row["error"] else None,
        last_output=mask(row["last_output"] or ""),
        started=seconds(row["started_at"]),
        queued=seconds(row["queued_at"]) if row["queued_at"] else None,
        ended=seconds(row["ended_at"]) if row["ended_at"] else None,
        duration_s=row["duration_s"],
        base=row["base"],
        head=row["head"],
        merged=row["merged"],
        continues=row["start_head"] is not None,
        cost_usd=sum(costs) if costs else None,
        tokens=sum(step.tokens or 0 for step in steps if not step.taken),
        steps=tuple(steps),
    )


def _steps(store: Store, labels: Labels, prefix: str) -> list[StepStory]:
    rows = store.ask(
        "SELECT path, try, state, fingerprint, agent, adapter, kind, message, exit_code, started_at, finished_at,"
        " duration_s, cost_usd, tokens, session, skipped, reused_from FROM step WHERE path >= ? AND path < ?"
        " AND state != 'retired' ORDER BY started_at, ended, path LIMIT ?",
        f"{prefix}/", f"{prefix}0", MOST_STEPS,
    )  # fmt: skip
    log = Log(store)
    found = []
    for row in rows:
        path = execution_path(row["path"], row["try"])
        found.append(
            StepStory(
                path=path,
                label=labels.of(row["fingerprint"]),
                role=role_of(row["path"]),
                depth=row["path"].removeprefix(f"{prefix}/").count("/"),
                agent=row["agent"],
                adapter=(row["adapter"] or row["agent"]) if row["agent"] else None,
                state=log.state_of(path, row["state"], skipped=bool(row["skipped"]), kind=row["kind"]),
                kind=row["kind"],
                message=mask(row["message"]) if row["message"] else None,
                exit_code=row["exit_code"],
                started=seconds(row["started_at"]),
                ended=seconds(row["finished_at"]) if row["finished_at"] else None,
                duration_s=row["duration_s"],
                cost_usd=row["cost_usd"],
                tokens=row["tokens"],
                session=row["session"],
                taken=row["reused_from"] is not None,
                log=row["reused_from"] or path,
            )
        )
    return found


@dataclass(frozen=True)
class Command:
    """What was run: words of a command, the script or prompt that it was given, where."""

    words: tuple[str, ...]
    script: str
    given: str
    directory: str


def command_of(directory: Path) -> Command | None:
    """The command of an execution, by its directory; None when that is not there (any more). Secrets are masked, and
    long texts cut."""
    raw = _read(directory / COMMAND, 1 << 20)
    try:
        known = json.loads(raw)
        words = tuple(mask(str(word)) for word in known["argv"])
    except (ValueError, KeyError, TypeError):
        return None
    return Command(words, _text(directory / "script"), _text(directory / STDIN), mask(str(known.get("cwd", ""))))


def merge_checks(store: Store, fanout: str, ordinal: int) -> list[dict[str, Any]]:
    """The checks of the merge queue that the item was in, newest first: number, state, message, started_at, members."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for row in store.ask(
        "SELECT number, state, message, started_at, members FROM merge_check WHERE fanout = ? AND EXISTS"
        " (SELECT 1 FROM json_each(members) AS one WHERE json_extract(one.value, '$[0]') = ?) ORDER BY number DESC",
        fanout, ordinal,
    ):  # fmt: skip
        found[row["number"]] = {**dict(row), "members": len(json.loads(row["members"]))}
    return list(found.values())


def _text(path: Path) -> str:
    text = mask(_read(path, _COMMAND_BYTES * 4).decode(errors="replace")).strip()
    return text if len(text) <= _COMMAND_BYTES else f"{text[:_COMMAND_BYTES]}\n…"


def _read(path: Path, limit: int) -> bytes:
    file = opened(path)
    if file is None:
        return b""
    with file:
        return file.read(limit)
