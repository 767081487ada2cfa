"""The dead letters of a run as records: what is stored about each, gathered in a few statements for the whole queue.

A record is a JSON object:

    run_id, fanout, ordinal   where the item is; item_id, label, item_data: what it is
    state                     `dead`; while it is being retried `pending` or `running`
    attempts, tries           its newest attempt's number; how many attempts counted against limits
    first_attempt             when its first failed attempt began; last_attempt: when the newest one ended
    failure_count             length of failure_history
    failure_history           one object for each failed attempt, oldest first, see `_failure`
    error_signature           the same for the same error of two items
    cost_usd, tokens          of all failed attempts together
    worktree_artifacts        what is left of the work, see `_artifacts`
    reprocess_eligible        whether a retry can help; manual_review_required: whether a person should look first

Times are RFC 3339 in UTC, durations milliseconds, costs dollars: 0 where no agent ran, null where none could tell.
Every path in it is absolute.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prodigy.state.step_path import execution_path

if TYPE_CHECKING:
    from collections.abc import Iterator

# A statement and its values, answered with all rows.
Ask = Callable[..., list[sqlite3.Row]]
Record = dict[str, Any]

_LETTERS = (
    "SELECT item.item_id, item.label, item.data, item.state AS item_state, item.attempt, item.tries, letter.*"
    " FROM dead_letter AS letter JOIN item USING (fanout, ordinal)"
)
_FAILURES = (
    "SELECT attempt.* FROM dead_letter AS letter CROSS JOIN attempt USING (fanout, ordinal)"
    " WHERE attempt.state = 'failed' ORDER BY fanout, ordinal, number"
)
# The attempt's path is made here again (as `step_path.attempt_path` does) so that the primary key of the steps finds
# them; `0` is the character after the slash.
_ATTEMPT_PATH = "printf('%s/i%04d/a%d', attempt.fanout, attempt.ordinal, attempt.number)"
_AGENT_STEPS = (
    "SELECT attempt.fanout, attempt.ordinal, attempt.number, step.path, step.try, step.reused_from, step.cost_usd,"  # noqa: S608 - our names
    " step.tokens FROM dead_letter AS letter CROSS JOIN attempt USING (fanout, ordinal) CROSS JOIN step"
    f" ON step.path >= {_ATTEMPT_PATH} || '/' AND step.path < {_ATTEMPT_PATH} || '0'"
    " WHERE attempt.state = 'failed' AND step.agent IS NOT NULL AND step.state != 'started'"
    " ORDER BY step.started_at, step.ended IS NULL, step.ended"
)


@dataclass
class _Agents:
    """What the agents of one attempt used. cost_usd: None when they ran and none could tell. log: of the newest."""

    cost_usd: float | None = 0.0
    tokens: int = 0
    log: str | None = None
    paid: bool = False  # whether one of them ran in this very attempt

    def add(self, row: sqlite3.Row) -> None:
        self.log = row["reused_from"] or execution_path(row["path"], row["try"])
        if row["reused_from"] is not None:
            return  # paid for in an earlier attempt
        if row["cost_usd"] is not None:
            self.cost_usd = (self.cost_usd or 0.0) + row["cost_usd"]
        elif not self.paid:
            self.cost_usd = None
        self.tokens += row["tokens"] or 0
        self.paid = True


_Key = tuple[str, int, int]


def dead_letters(ask: Ask, directory: Path) -> list[Record]:
    """Every dead letter of the run in `directory`, with its whole history; the newest failure comes first."""
    with _one_moment(ask):
        rows = ask(_LETTERS)
        failures: dict[tuple[str, int], list[sqlite3.Row]] = defaultdict(list)
        for row in ask(_FAILURES):
            failures[row["fanout"], row["ordinal"]].append(row)
        agents: dict[_Key, _Agents] = defaultdict(_Agents)
        for row in ask(_AGENT_STEPS):
            agents[_key(row)].add(row)
    letters = [_letter(row, failures[row["fanout"], row["ordinal"]], agents, directory) for row in rows]
    return sorted(letters, key=lambda letter: (letter["last_attempt"] or "", -letter["ordinal"]), reverse=True)


@contextmanager
def _one_moment(ask: Ask) -> Iterator[None]:
    """All statements see the same moment of a run that goes on meanwhile."""
    ask("BEGIN")
    try:
        yield
    finally:
        ask("COMMIT")


def _key(row: sqlite3.Row) -> _Key:
    return row["fanout"], row["ordinal"], row["number"]


def _letter(row: sqlite3.Row, failures: list[sqlite3.Row], agents: dict[_Key, _Agents], directory: Path) -> Record:
    used = [agents[_key(failure)] for failure in failures]
    known = [one.cost_usd for one in used if one.cost_usd is not None and one.paid]
    unknown = any(one.cost_usd is None for one in used)
    return {
        "run_id": directory.name,
        "item_id": row["item_id"],
        "label": row["label"],
        "item_data": json.loads(row["data"]),
        "fanout": row["fanout"],
        "ordinal": row["ordinal"],
        "state": row["item_state"],
        "attempts": row["attempt"],
        "tries": row["tries"],
        "first_attempt": failures[0]["started_at"] if failures else None,
        "last_attempt": failures[-1]["ended_at"] if failures else None,
        "failure_count": len(failures),
        "failure_history": [
            _failure(failure, row["item_id"], one, directory) for failure, one in zip(failures, used, strict=True)
        ],
        "error_signature": row["error_signature"],
        "cost_usd": None if unknown and not known else round(sum(known), 6),
        "tokens": sum(one.tokens for one in used),
        "worktree_artifacts": _artifacts(row, failures[-1] if failures else None, directory),
        "reprocess_eligible": bool(row["reprocess_eligible"]),
        "manual_review_required": bool(row["manual_review_required"]),
    }


def _failure(failure: sqlite3.Row, item_id: str, agents: _Agents, directory: Path) -> Record:
    """One failed attempt. step_failed: the step's path, null when it failed between steps. error_context: the end of
    what that step printed, line by line. log: its directory. json_log_location: the file with what the attempt's
    newest agent said in JSON; null when no agent ran. cost_usd, tokens: of the attempt's own steps."""
    return {
        "attempt_number": failure["number"],
        "timestamp": failure["ended_at"],
        "error_type": failure["kind"],
        "error_message": failure["error"],
        "error_context": [line for line in (failure["last_output"] or "").splitlines() if line.strip()],
        "stack_trace": None,
        "agent_id": f"agent-{item_id}",
        "step_failed": failure["step"],
        "exit_code": failure["exit_code"],
        "duration_ms": round((failure["duration_s"] or 0.0) * 1000),
        "cost_usd": None if agents.cost_usd is None else round(agents.cost_usd, 6),
        "tokens": agents.tokens,
        "log": _log(failure, directory),
        "json_log_location": None if agents.log is None else f"{directory}/steps/{agents.log}/stdout",
    }


def _artifacts(row: sqlite3.Row, newest: sqlite3.Row | None, directory: Path) -> Record:
    """What the newest failed attempt left. worktree_path: where that still is. bundle: a git bundle of what was in it,
    made when it went because of newer ones; it needs the commit `base`.

    branch_name holds it all; base: where the attempt began; head: its last
    commit; snapshot, uncommitted_changes: the commit with what was not committed, null when nothing was;
    error_logs: as `log` of the failure."""
    bundle = bundle_path(directory, row["branch"]) if row["branch"] else None
    return {
        "worktree_path": row["worktree_path"] if row["worktree_path"] and Path(row["worktree_path"]).is_dir() else None,
        "bundle": str(bundle) if bundle and bundle.is_file() else None,
        "branch_name": row["branch"],
        "base": newest["base"] if newest else None,
        "head": newest["head"] if newest else None,
        "snapshot": row["snapshot"],
        "uncommitted_changes": row["snapshot"],
        "error_logs": _log(newest, directory) if newest else None,
    }


def of_worktree(ask: Ask, path: str) -> tuple[str, int, str] | None:
    """(fan-out, ordinal, branch) of the dead letter that keeps this worktree; None without one that has a branch."""
    rows = ask("SELECT fanout, ordinal, branch FROM dead_letter WHERE worktree_path = ? AND branch NOT NULL", path)
    return (rows[0]["fanout"], rows[0]["ordinal"], rows[0]["branch"]) if rows else None


def bundle_path(directory: Path, branch: str) -> Path:
    """Where the bundle of an item is, or would be. directory: the run's; branch: the item's."""
    return directory / "bundles" / f"{branch.rpartition('/')[2]}.bundle"


def _log(failure: sqlite3.Row, directory: Path) -> str | None:
    return None if failure["log"] is None else f"{directory}/{failure['log']}"
