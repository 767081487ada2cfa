"""The names of one attempt of one item: its path, its refs, the fields of its events; and what moves those refs."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import TypedDict

from prodigy.engine import refs
from prodigy.engine.merge_queue import MergeRequest, Strategy
from prodigy.engine.run import Run
from prodigy.executors.base import Snapshot
from prodigy.git.repo import ANY, RefChange
from prodigy.state import events as ev
from prodigy.state.step_path import attempt_path
from prodigy.store.rows import AttemptRow
from prodigy.store.store import Store


class _EventKey(TypedDict):
    fanout: str
    ordinal: int
    attempt: int
    item_id: str
    label: str


@dataclass(frozen=True)
class AttemptKey:
    """One attempt of one item, and the names that follow from it."""

    fanout: str
    ordinal: int
    number: int
    item_id: str
    label: str

    @property
    def path(self) -> str:
        return attempt_path(self.fanout, self.ordinal, self.number)

    def event(self) -> _EventKey:
        """The fields that every event about this attempt begins with."""
        return {
            "fanout": self.fanout,
            "ordinal": self.ordinal,
            "attempt": self.number,
            "item_id": self.item_id,
            "label": self.label,
        }

    def refs(self, run: Run) -> tuple[str, str, str]:
        """(attempt, snapshot, branch): everything that keeps this attempt's commits."""
        owner = refs.owner("" if self.fanout == run.first_fanout else self.fanout, self.ordinal)
        return (
            refs.attempt_ref(run.id, owner, self.number),
            refs.snapshot_ref(run.id, f"{owner}/a{self.number}"),
            refs.item_branch(run.merges.branch, owner, self.label),
        )


async def keep_boundary(run: Run, key: AttemptKey, base: str, now: Snapshot) -> None:
    """Point the attempt's refs at a boundary. A commit that the new head does not descend from is kept apart."""
    attempt, snapshot, branch = key.refs(run)
    before = run.repo.read_ref(attempt)
    changes: list[RefChange] = []
    apart = dict.fromkeys(now.abandoned)
    if now.head not in (before, base if before is None else None):
        changes += [RefChange(attempt, ANY, now.head), RefChange(branch, ANY, now.head)]
        for held in {before, run.repo.read_ref(branch)}:  # a person may have worked on the branch
            if held is not None and not await asyncio.to_thread(run.private.is_ancestor, held, now.head):
                apart[held] = None
    changes += [RefChange(refs.kept_ref(run.id, commit), ANY, commit) for commit in apart]
    if now.commit is not None:
        changes.append(RefChange(snapshot, ANY, now.commit))
    if changes:
        await asyncio.to_thread(run.repo.update_refs, changes)


def merge_request(run: Run, key: AttemptKey, attempt: AttemptRow, head: str, strategy: Strategy) -> MergeRequest:
    """What the merge of an attempt's work is to do. head: the last of its commits."""
    title = f"Merge {key.label} ({run.workflow.name})"
    return MergeRequest(
        path=key.path,
        head=head,
        base=attempt.base,
        message=f"{title}\n\n{trailers(run, key)}",
        obsolete=obsolete(run, key, strategy),
        strategy=strategy,
    )


def obsolete(run: Run, key: AttemptKey, strategy: Strategy) -> tuple[str, ...]:
    """The refs that go when an attempt's work is merged. Commits that get another form in the branch are kept."""
    commits, snapshot, branch = key.refs(run)
    return (commits, snapshot, branch) if strategy == "merge" else (snapshot, branch)


def trailers(run: Run, key: AttemptKey) -> str:
    """What every commit that we make of an item's work says of it."""
    return f"Prodigy-Run: {run.id}\nProdigy-Item: {key.item_id}\n"


async def drop_refs(run: Run, key: AttemptKey) -> None:
    """Forget an attempt's refs: it has nothing that is not in the run branch."""
    changes = [RefChange(name, ANY, None) for name in key.refs(run) if run.repo.read_ref(name)]
    if changes:
        await asyncio.to_thread(run.repo.update_refs, changes)


def completion(store: Store, key: AttemptKey, commits: tuple[str, ...], merged: str | None) -> tuple[ev.Event, ...]:
    """The events of an attempt's success; its dead letter, if it had one, goes with them."""
    started = store.attempts(key.fanout, key.ordinal)[-1].started_at
    duration_s = seconds_since(started)
    done = ev.AgentCompleted(**key.event(), duration_s=duration_s, commits=commits, merged=merged)
    removed = (
        ev.DlqItemRemoved(fanout=key.fanout, ordinal=ordinal, item_id=key.item_id, reason="succeeded")
        for ordinal in store.dead_letters_of(key.fanout, key.item_id)
    )
    return (done, *removed)


def seconds_since(timestamp: str) -> float:
    """Seconds from an RFC 3339 time to now, never negative."""
    then = dt.datetime.fromisoformat(timestamp)
    return max(0.0, (dt.datetime.now(dt.UTC) - then).total_seconds())
