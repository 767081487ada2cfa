"""What steps printed, as text for a program or an agent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prodigy.agents import AGENTS
from prodigy.agents.transcript import Lines
from prodigy.errors import UsageError
from prodigy.executors.warden import STDERR, STDOUT
from prodigy.report.executions import Execution, Log
from prodigy.report.transcript import Transcript
from prodigy.secrets import mask
from prodigy.store.store import Store

# Bytes of a file that are read for one character of its end that is wanted: an agent's stream says little with much.
_BYTES_A_CHARACTER = 16


@dataclass(frozen=True)
class StepLog:
    """One execution of a step.

    state: `ok`, `failed`, `skipped`, `running`, `lost`, `retired`, or `interrupted`: no end is on record. kind,
        message: why it failed.
    output: the end of what it printed on both streams, an agent's in words, without secrets. directory: all of it.
    """

    path: str
    label: str
    item_id: str | None
    state: str
    kind: str | None
    message: str | None
    exit_code: int | None
    duration_s: float | None
    output: str
    directory: str


def logs_of(store: Store, item_id: str | None, characters: int) -> list[StepLog]:
    """Of the item's newest attempt, step by step; None: of the steps outside the items. characters: of each output.
    Raises UsageError for an item that there is not."""
    log = Log(store)
    if item_id is not None and not log.places_of_item(item_id):
        hint = "Items have the ids that `Run.items()` and `prodigy status` show."
        raise UsageError(f"run {store.directory.name} has no item {item_id}", hint=hint)
    paths = None if item_id is None else log.paths_of_item(item_id)
    found = [one for one in log.executions(paths, None) if item_id is not None or one.item_id is None]
    return [_told(log, one, characters) for one in found]


def _told(log: Log, one: Execution, characters: int) -> StepLog:
    row = log.row(one.path)
    kind = row.kind_of_agent if row else None
    directory = Path(one.directory)
    parts = [_end(directory / STDOUT, characters, kind), _end(directory / STDERR, characters, None)]
    output = "\n".join(part for part in parts if part)[-characters:]
    return StepLog(
        one.path, one.label, one.item_id, one.state, one.kind, mask(one.message or "") or None, one.exit_code,
        one.duration_s, output, one.directory,
    )  # fmt: skip


def _end(path: Path, characters: int, kind: str | None) -> str:
    """The end of a file. kind: of the agent whose stream it is."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = max(0, size - characters * (_BYTES_A_CHARACTER if kind else 4))
            file.seek(start)
            data = file.read()
    except OSError:
        return ""  # nothing was printed, or it was cleaned away
    if start:
        data = data.partition(b"\n")[2]  # not from the middle of a line, of which a secret may be cut off
    if kind is None or kind not in AGENTS:
        return mask(data.decode(errors="replace")).strip()
    transcript = Transcript(AGENTS[kind])
    lines = [*Lines().feed(data if data.endswith(b"\n") else data + b"\n")]
    return mask("\n".join(text for line in lines for text in transcript.lines(line))).strip()
