"""The executions of a run's steps: listed, found, and where their files are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from prodigy.errors import UsageError
from prodigy.executors.base import ProcessState
from prodigy.executors.processes import Processes
from prodigy.state.step_path import execution_path, split_try
from prodigy.store.lock import is_held
from prodigy.store.rows import StepRow
from prodigy.store.store import Store

_TRY = re.compile(r"(?P<step>.+)/t(?P<number>\d+)")
_ATTEMPT = re.compile(r"(?P<fanout>.+?)/i(?P<ordinal>\d+)/a\d+/.+")
_BEGINNINGS = ("step_started", "step_skipped")
_SUGGESTIONS_AMONG = 2000


@dataclass(frozen=True)
class Execution:
    """One execution of a step. state: ok, failed, skipped, running, lost, retired; interrupted: no end on record."""

    path: str
    label: str
    item_id: str | None
    state: str
    kind: str | None
    message: str | None
    exit_code: int | None
    duration_s: float | None
    started_at: str
    directory: str


class Log:
    """The executions of a run, and where their files are."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.processes = Processes(store.directory / "steps")

    def executions(self, paths: list[str] | None, newest: int | None) -> Iterator[Execution]:
        """In the order they began. paths: only these; newest: only so many."""
        held = is_held(self.store.directory)
        if paths is not None:
            wanted = set(paths)
            events = (e for e in self.store.events(types=_BEGINNINGS) if event_of(e)["path"] in wanted)
        else:
            events = (e for e in self.store.events(types=_BEGINNINGS, limit=newest))
        for record in events:
            yield self._execution(record, held=held)

    def _execution(self, record: dict[str, object], *, held: bool) -> Execution:
        path = str(event_of(record)["path"])
        row = self.row(path)
        state = "retired"
        if row is not None:
            state = self.state_of(path, row.state, skipped=row.skipped, kind=row.kind, held=held)
        place = _ATTEMPT.fullmatch(path)
        item = self.store.item(place["fanout"], int(place["ordinal"])).item_id if place else None
        return Execution(
            path, str(event_of(record).get("label") or ""), item, state,
            kind=row.kind if row else None,
            message=row.message if row else None,
            exit_code=row.exit_code if row else None,
            duration_s=row.duration_s if row else None,
            started_at=str(record["timestamp"]),
            directory=str(self.directory(path)),
        )  # fmt: skip

    def state_of(self, path: str, stored: str, *, skipped: bool, kind: str | None, held: bool | None = None) -> str:
        """The state of an execution for people, see `Execution`. stored: as the database has it. held: whether a
        process drives the run, looked up when it is not known."""
        if stored == "finished":
            return "skipped" if skipped else "failed" if kind else "ok"
        if stored == "started":
            held = is_held(self.store.directory) if held is None else held
            return "running" if held or self.processes.state(path) is ProcessState.RUNNING else "interrupted"
        return stored

    def places_of_item(self, item_id: str) -> list[tuple[str, int]]:
        """(fan-out, ordinal) of every item with this id."""
        rows = self.store.fanouts()
        return [(row["path"], i.ordinal) for row in rows for i in self.store.items(row["path"]) if i.item_id == item_id]

    def paths_of_item(self, item_id: str) -> list[str]:
        """The executions of the item's newest attempt, and of those it continues, in order."""
        of_fanout: dict[str, list[str]] = {}
        for record in self.store.events(types=("agent_started", *_BEGINNINGS), item=item_id):
            data = event_of(record)
            if data["event_type"] == "agent_started":
                if data["continues"] is None:
                    of_fanout[str(data["fanout"])] = []
            elif place := _ATTEMPT.fullmatch(str(data["path"])):
                of_fanout.setdefault(place["fanout"], []).append(str(data["path"]))
        return [path for paths in of_fanout.values() for path in paths]

    def execution_named(self, name: str) -> str:
        """The execution that `name` means: a step path, with its try or without. Raises UsageError."""
        name = name.strip("/")
        given = _TRY.fullmatch(name)
        step = given["step"] if given else name
        newest = self.store.next_try(step) - 1
        if newest == 0:
            started = (str(event_of(e)["path"]) for e in self.store.events(types=_BEGINNINGS))
            steps = list(dict.fromkeys(split_try(path)[0] for path in islice(started, _SUGGESTIONS_AMONG)))
            near = get_close_matches(step, steps, n=3)
            hint = f"Did you mean {', '.join(near)}?" if near else "`prodigy logs` lists them."
            raise UsageError(f"no step {name} has begun in run {self.store.directory.name}", hint=hint)
        number = int(given["number"]) if given else newest
        if not 1 <= number <= newest:
            raise UsageError(f"step {step} has no try {number}", hint=f"Its newest one is t{newest}.")
        return execution_path(step, number)

    def row(self, execution: str) -> StepRow | None:
        """What is on record of an execution; None for one that was retired."""
        step, number = split_try(execution)
        return next((row for row in self.store.executions(step) if row.number == number), None)

    def directory(self, execution: str) -> Path:
        """Where the files of an execution are: those of an earlier attempt, when it was taken over from there."""
        row = self.row(execution)
        return self.store.directory / "steps" / (row.log if row is not None else execution)


def event_of(record: dict[str, object]) -> dict[str, object]:
    """The event inside a record of `Store.events`."""
    event = record["event"]
    assert isinstance(event, dict)
    return event
