"""What the user chooses when a run is driven, and what follows from it before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from prodigy.engine.places import fan_out_at
from prodigy.engine.run import Options
from prodigy.engine.versions import Edited
from prodigy.errors import UsageError
from prodigy.executors.registry import known_executor
from prodigy.state import events as ev
from prodigy.store.database import now
from prodigy.store.rows import FINISHED, RunRow
from prodigy.store.store import Store
from prodigy.workflow.configuration import Configuration
from prodigy.workflow.model import Workflow

Listener = Callable[[ev.Event], None]


@dataclass(frozen=True)
class Choices:
    """What this call changes of the run's stored options (None keeps the stored choice), and what is for it alone.

    configured: what is configured now.

    max_tries: items that have failed so often do not run. past_limit: they do, and so do those past the workflow's
    limit. edited: a workflow for all that has not begun. reduce: reduce runs again after items that are retried.
    force: the lock of a process on another host is broken. ended_only: a run that has not ended is refused.
    """

    merge: str | None = None
    max_parallel: int | None = None
    budget_usd: float | None = None
    agent: str | None = None
    executor: str | None = None
    configured: Configuration | None = None
    items_from: str | None = None
    max_tries: int | None = None
    past_limit: bool = False
    edited: Edited | None = None
    reduce: bool = False
    force: bool = False
    ended_only: bool = False

    def applied(self, stored: Options) -> Options:
        return replace(
            stored,
            merge=self.merge or stored.merge,
            max_parallel=self.max_parallel or stored.max_parallel,
            budget_usd=self.budget_usd or stored.budget_usd,
            agent=self.agent or stored.agent,
            executor=known_executor(self.executor) or stored.executor,
            day_usd=self.configured.per_day_usd if self.configured else stored.day_usd,
            items_from=self.items_from or stored.items_from,
            items_since=now() if self.items_from else stored.items_since,
        )


NO_CHOICES = Choices()


def require_ended(row: RunRow) -> None:
    """Raise UsageError for a run of which something is left to run."""
    if row.status not in FINISHED:
        raise UsageError(
            f"run {row.id} has not ended yet",
            hint=f"`prodigy resume {row.id} --include-dlq` goes on with it and runs its dead letters too.",
        )


def retired(store: Store, choices: Choices) -> frozenset[str]:
    """The steps that will run again although they have ended: the one that failed the run, and reduce on demand."""
    failed = store.run().failed_path
    paths = {failed} if failed is not None else set()
    return frozenset(paths | (set(reduce_paths(store)) if choices.reduce else set()))


def reduce_paths(store: Store) -> list[str]:
    """The paths of all reduce steps of the fan-outs that have items."""
    workflow = Workflow.model_validate_json(store.workflow()[1])
    paths = []
    for row in store.fanouts():
        action = fan_out_at(workflow, row["path"])
        assert action is not None
        paths += [f"{row['path']}/{number}" for number, _ in enumerate(action.reduce, 1)]
    return paths
