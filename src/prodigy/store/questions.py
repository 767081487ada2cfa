"""What a run's database is asked."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from prodigy.errors import CorruptState
from prodigy.state.items import ItemRow, ItemState
from prodigy.state.step_path import is_of_the_run, split_try, step_in_list
from prodigy.store import letters, results, trail
from prodigy.store.rows import AttemptRow, FinalIntent, GateRow, Intent, RunRow, StepRow
from prodigy.store.trouble import trouble

_EVENT_PAGE = 500  # rows read at a time


class Questions:
    """The database as its readers see it. directory: the run's. view: a connection whose schema is today's."""

    def __init__(self, directory: Path, view: sqlite3.Connection) -> None:
        self.directory = directory
        self._view = view

    def run(self) -> RunRow:
        row = self._one("SELECT * FROM run")
        if row is None:
            raise CorruptState("the run's database has no run in it", where=str(self.directory))
        return RunRow(**dict(row))

    def workflow(self, version: int | None = None) -> tuple[int, str]:
        """(version, normalised workflow as JSON); the newest unless a version is named."""
        row = self._one(
            "SELECT version, workflow FROM workflow_version WHERE version = coalesce(?,"
            " (SELECT max(version) FROM workflow_version))",
            version,
        )
        if row is None:
            raise CorruptState(f"workflow version {version} is not in the run's database")
        return int(row["version"]), str(row["workflow"])

    def fanout(self, path: str) -> sqlite3.Row | None:
        return self._one("SELECT * FROM fanout WHERE path = ?", path)

    def fanouts(self) -> list[sqlite3.Row]:
        return self._all("SELECT * FROM fanout ORDER BY path")

    def items(self, fanout: str) -> list[ItemRow]:
        return self._items("WHERE fanout = ? ORDER BY ordinal", fanout)

    def item(self, fanout: str, ordinal: int) -> ItemRow:
        rows = self._items("WHERE fanout = ? AND ordinal = ?", fanout, ordinal)
        if not rows:
            raise CorruptState(f"item {ordinal} of {fanout} is not in the database")
        return rows[0]

    def _items(self, where: str, *values: object) -> list[ItemRow]:
        rows = self._all(
            "SELECT item.ordinal, item_id, state, attempt, tries, label, letter.ordinal IS NOT NULL AS has_letter,"  # noqa: S608
            " coalesce(reprocess_eligible, 1) AS eligible, priority"
            f" FROM item LEFT JOIN dead_letter AS letter USING (fanout, ordinal) {where}",
            *values,
        )
        return [
            ItemRow(
                ordinal=row["ordinal"],
                item_id=row["item_id"],
                state=ItemState(row["state"]),
                attempt=row["attempt"],
                tries=row["tries"],
                label=row["label"],
                has_letter=bool(row["has_letter"]),
                eligible=bool(row["eligible"]),
                priority=row["priority"],
            )
            for row in rows
        ]

    def item_data(self, fanout: str, ordinal: int) -> object:
        row = self._one("SELECT data FROM item WHERE fanout = ? AND ordinal = ?", fanout, ordinal)
        if row is None:
            raise CorruptState(f"item {ordinal} of {fanout} is not in the database")
        return json.loads(row["data"])

    def counts(self, fanout: str | None = None) -> dict[ItemState, int]:
        """How many items are in each state, in one fan-out or in all."""
        rows = self._all(
            "SELECT state, count(*) AS n FROM item WHERE fanout = coalesce(?, fanout) GROUP BY state", fanout
        )
        found = {row["state"]: int(row["n"]) for row in rows}
        return {state: found.get(state, 0) for state in ItemState}

    def duplicates(self) -> int:
        row = self._one("SELECT coalesce(sum(duplicates), 0) AS n FROM fanout")
        return int(row["n"]) if row else 0

    def last_output(self, fanout: str, ordinal: int, number: int) -> str:
        """The end of what the failing step of an attempt printed."""
        row = self._one(
            "SELECT last_output FROM attempt WHERE fanout = ? AND ordinal = ? AND number = ?", fanout, ordinal, number
        )
        return str(row["last_output"] or "") if row else ""

    def attempts(self, fanout: str, ordinal: int) -> list[AttemptRow]:
        rows = self._all(
            "SELECT number, state, base, worktree, workflow, started_at, ended_at, start_head, start_snapshot, kind,"
            " error, head, retry_delay_s, queued FROM attempt"
            " WHERE fanout = ? AND ordinal = ? ORDER BY number",
            fanout,
            ordinal,
        )
        return [AttemptRow(**dict(row)) for row in rows]

    def running_worktrees(self) -> set[str]:
        """The slots that attempts in flight own."""
        return {
            row["worktree"]
            for row in self._all("SELECT worktree FROM attempt WHERE state = 'running' AND worktree != ''")
        }

    def kept_worktrees(self) -> list[tuple[str, str]]:
        """(fan-out, path) of every worktree that a dead letter keeps for people, by the age of the failure, the oldest
        first. Some may be gone."""
        rows = self._all(
            "SELECT letter.fanout, worktree_path, max(attempt.ended_at) AS at FROM dead_letter AS letter"
            " JOIN attempt USING (fanout, ordinal) WHERE worktree_path IS NOT NULL"
            " GROUP BY letter.fanout, letter.ordinal ORDER BY at"
        )
        return [(row["fanout"], row["worktree_path"]) for row in rows]

    def items_of_kept_worktrees(self) -> dict[str, str]:
        """path -> id of the item whose dead letter keeps it."""
        rows = self._all(
            "SELECT worktree_path, item_id FROM dead_letter JOIN item USING (fanout, ordinal)"
            " WHERE worktree_path IS NOT NULL"
        )
        return {row["worktree_path"]: row["item_id"] for row in rows}

    def kept_worktree(self, fanout: str, ordinal: int) -> str | None:
        """The path of the worktree that the item's dead letter keeps."""
        row = self._one("SELECT worktree_path FROM dead_letter WHERE fanout = ? AND ordinal = ?", fanout, ordinal)
        return row["worktree_path"] if row else None

    def executions(self, path: str) -> list[StepRow]:
        """Every execution of the step `path`, oldest first."""
        return self._steps("WHERE path = ? AND state != 'retired' ORDER BY try", path)

    def execution(self, path: str) -> StepRow:
        """One execution, by its path with its try."""
        step, number = split_try(path)
        rows = self._steps("WHERE path = ? AND try = ?", step, number)
        if not rows:
            raise CorruptState(f"the execution {path} is not in the database")
        return rows[0]

    def is_done(self, path: str) -> bool:
        """Whether the step has succeeded, checks and handlers included, or was skipped."""
        executions = self.executions(path)
        return bool(executions) and executions[-1].settled

    def next_try(self, path: str) -> int:
        row = self._one("SELECT coalesce(max(try), 0) + 1 AS n FROM step WHERE path = ?", path)
        return int(row["n"]) if row else 1

    def started_steps_of(self, prefix: str) -> list[StepRow]:
        """Executions below `prefix` that have no end on record."""
        return self._steps("WHERE state = 'started' AND path >= ? AND path < ?", f"{prefix}/", f"{prefix}0")

    def started_steps(self) -> list[StepRow]:
        """Executions that may have a live process."""
        return self._steps("WHERE state = 'started'")

    def _steps(self, where: str, *values: object) -> list[StepRow]:
        rows = self._all(
            "SELECT path, try AS number, state, kind, message, exit_code, duration_s, head, snapshot, finished_at,"  # noqa: S608
            " fingerprint, skipped, settled, agent, reused_from, unfinished, before_head, before_snapshot, adapter,"
            " reserved_usd, reserved_tokens, cost_usd, tokens, session"
            f" FROM step {where}",
            *values,
        )
        return [
            StepRow(**{**dict(row), "skipped": bool(row["skipped"]), "settled": bool(row["settled"])}) for row in rows
        ]

    def last_boundary(self, prefix: str, *, own: bool = False) -> tuple[str, str | None] | None:
        """(head, snapshot) of the execution below `prefix` that ended last, not counting those that only prepared
        the worktree; None before any has. own: not counting those that were taken over either."""
        row = self._one(
            "SELECT head, snapshot FROM step WHERE path >= ? AND path < ? AND state = 'finished' AND head IS NOT NULL"
            " AND path NOT GLOB ? AND (reused_from IS NULL OR NOT ?) ORDER BY ended DESC LIMIT 1",
            f"{prefix}/",
            f"{prefix}0",
            f"{prefix}/workspace*",
            own,
        )
        return (row["head"], row["snapshot"]) if row else None

    def boundary_after(self, paths: list[str]) -> tuple[str, str | None] | None:
        """(head, snapshot) after the newest execution of these steps, their checks and handlers included."""
        found = [
            row
            for path in paths
            for row in self._all(
                "SELECT head, snapshot, ended FROM step WHERE (path = ? OR (path >= ? AND path < ?))"
                " AND state = 'finished' AND head IS NOT NULL",
                path,
                f"{path}/",
                f"{path}0",
            )
        ]
        newest = max(found, key=lambda row: row["ended"], default=None)
        return (newest["head"], newest["snapshot"]) if newest else None

    def item_pauses(self, fanout: str, ordinal: int) -> float:
        """Seconds of all pauses between the item's attempts so far."""
        row = self._one(
            "SELECT coalesce(sum(retry_delay_s), 0) AS s FROM attempt WHERE fanout = ? AND ordinal = ?", fanout, ordinal
        )
        return float(row["s"]) if row else 0.0

    def active_s(self, roots: Collection[str]) -> float:
        """Seconds that the executions of these steps, and of all below them, have run. What was taken over from
        another attempt, and what prepared the worktree, does not count; nor do steps that consist of others, nor items
        of fan-outs below, which run side by side."""
        total = 0.0
        for root in roots:
            row = self._one(
                "SELECT coalesce(sum(duration_s), 0) AS s FROM step AS outer WHERE state = 'finished'"
                " AND reused_from IS NULL AND (path = ? OR (path >= ? AND path < ?))"
                " AND path NOT GLOB ? AND path NOT GLOB ? AND NOT EXISTS"
                " (SELECT 1 FROM step WHERE path >= outer.path || '/do/' AND path < outer.path || '/do0')",
                root,
                f"{root}/",
                f"{root}0",
                f"{root}/workspace*",
                f"{root}*/i[0-9]*/a[0-9]*",
            )
            total += float(row["s"]) if row else 0.0
        return total

    def last_outside_items(self) -> StepRow | None:
        """The execution outside the items that ended last; None before any has."""
        rows = self._steps(
            "WHERE state = 'finished' AND head IS NOT NULL AND path GLOB 'it*' AND path NOT GLOB '*/i[0-9]*'"
            " ORDER BY ended DESC LIMIT 1"
        )
        return rows[0] if rows else None

    def unsettled_boundary(self) -> tuple[str, str | None] | None:
        """(head, snapshot) after the newest execution outside the items, when its step has not been decided yet: the
        run's own boundary does not move before."""
        last = self.last_outside_items()
        step = step_in_list(last.path) if last else None
        return (last.head or "", last.snapshot) if last and step and not self.is_done(step) else None

    def step_outside_items_is_underway(self) -> bool:
        """Whether a step outside the items has begun and is not decided yet: the run's worktree holds its work."""
        running = any(is_of_the_run(step.path) for step in self.started_steps())
        return running or self.unsettled_boundary() is not None

    def gates(self) -> list[GateRow]:
        """The accounts of which no agent starts now."""
        return [GateRow(**{**dict(row), "told": bool(row["told"])}) for row in self._all("SELECT * FROM gate")]

    def ask(self, statement: str, *values: object) -> list[sqlite3.Row]:
        """All rows that answer a statement. For the modules beside this one."""
        return self._all(statement, *values)

    @contextmanager
    def at_one_moment(self) -> Iterator[None]:
        """All questions inside are answered as the database is at the first of them, whatever others write."""
        self._all("BEGIN")
        try:
            yield
        finally:
            self._all("COMMIT")

    def each(self, statement: str, *values: object) -> Iterator[sqlite3.Row]:
        """The rows that answer a statement, one after another: there may be more than memory should hold."""
        try:
            yield from self._view.execute(statement, values)
        except sqlite3.Error as error:
            raise trouble(self.directory, "read", error) from error

    def step_was_started(self, prefix: str) -> bool:
        """Whether any step below `prefix` began there (and was not taken over from another attempt)."""
        return (
            self._one(
                "SELECT 1 FROM step WHERE path >= ? AND path < ? AND reused_from IS NULL LIMIT 1",
                f"{prefix}/",
                f"{prefix}0",  # the character after the slash
            )
            is not None
        )

    def has_steps_below(self, prefix: str) -> bool:
        """Whether any step below `prefix` is on record."""
        return (
            self._one("SELECT 1 FROM step WHERE path >= ? AND path < ? LIMIT 1", f"{prefix}/", f"{prefix}0") is not None
        )

    def last_end(self, path: str) -> str | None:
        """When the newest execution of the step, its checks and handlers included, ended."""
        row = self._one(
            "SELECT max(finished_at) AS at FROM step WHERE path = ? OR (path >= ? AND path < ?)",
            path,
            f"{path}/",
            f"{path}0",
        )
        return row["at"] if row else None

    def phase_was_started(self, path: str, phase: str) -> bool:
        return self._one("SELECT 1 FROM phase WHERE path = ? AND phase = ?", path, phase) is not None

    def finished_below(self, path: str) -> list[StepRow]:
        """Executions of the step `path` itself and of what belongs to it that count."""
        return self._steps(
            "WHERE state = 'finished' AND (path = ? OR (path >= ? AND path < ?))", path, f"{path}/", f"{path}0"
        )

    def setup_leftovers(self) -> set[str]:
        return {os.fsdecode(row["path"]) for row in self._all("SELECT path FROM setup_leftover")}

    def merge_intent(self) -> Intent | None:
        row = self._one("SELECT path, old, new FROM merge_intent")
        return Intent(**dict(row)) if row else None

    def final_merge_intent(self) -> FinalIntent | None:
        row = self._one("SELECT target, old, new, checkout FROM final_merge_intent")
        return FinalIntent(**dict(row)) if row else None

    def dead_letters(self) -> list[letters.Record]:
        """Every dead letter with its whole history, newest failure first; see `letters` for the form."""
        return letters.dead_letters(self._all, self.directory)

    def item_facts(self, fanout: str) -> Iterator[list[results.ItemFacts]]:
        """What is known of the items of a fan-out, in their order, in pages; see `results`."""
        return results.item_facts(self._all, fanout)

    def has_dead_letter(self, fanout: str, ordinal: int) -> bool:
        return self._one("SELECT 1 FROM dead_letter WHERE fanout = ? AND ordinal = ?", fanout, ordinal) is not None

    def dead_letters_of(self, fanout: str, item_id: str) -> list[int]:
        """The ordinals of the items with this id that have a dead letter: one at most, but in a damaged database."""
        rows = self._all(
            "SELECT ordinal FROM dead_letter JOIN item USING (fanout, ordinal) WHERE fanout = ? AND item_id = ?"
            " ORDER BY ordinal",
            fanout,
            item_id,
        )
        return [int(row["ordinal"]) for row in rows]

    def dead_letter_count(self) -> int:
        row = self._one("SELECT count(*) AS n FROM dead_letter")
        return int(row["n"]) if row else 0

    def events(
        self,
        after: int = 0,
        *,
        types: Collection[str] = (),
        since: str | None = None,
        item: str | None = None,
        limit: int | None = None,
    ) -> Iterator[dict[str, object]]:
        """Event records in order: {seq, id, timestamp, correlation_id, event: {event_type, ...}}.

        after: only younger ones than this seq. types: only these event types. since: RFC 3339 in UTC, not older.
        item: only those of the item with this id, its steps included. limit: only the newest so many.
        They are read a page at a time: memory stays flat, and no lock is held between two of them.
        """
        where, values = trail.condition(self, types, since, item)
        if limit is not None:
            first = self._one(
                f"SELECT min(seq) AS n FROM (SELECT seq FROM event WHERE seq > ? AND {where}"  # noqa: S608
                " ORDER BY seq DESC LIMIT ?)",
                *(after, *values, limit),
            )
            after = first["n"] - 1 if first and first["n"] is not None else after
        while page := self._all(
            f"SELECT * FROM event WHERE seq > ? AND {where} ORDER BY seq LIMIT ?",  # noqa: S608
            *(after, *values, _EVENT_PAGE),
        ):
            yield from (trail.record(row, self.directory.name) for row in page)
            after = page[-1]["seq"]

    def _one(self, statement: str, *values: object) -> sqlite3.Row | None:
        return next(iter(self._all(statement, *values)), None)

    def _all(self, statement: str, *values: object) -> list[sqlite3.Row]:
        try:
            return self._view.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise trouble(self.directory, "read", error) from error
