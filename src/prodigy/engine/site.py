"""Where a list of steps runs, and how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from prodigy.engine.captures import Scope
from prodigy.engine.time_limits import TimeLimit
from prodigy.executors.base import Snapshot, Workspace
from prodigy.state.dead_letter import Failure
from prodigy.workflow.model import Step, Workflow


@dataclass(frozen=True)
class Site:
    """Where a list of steps runs.

    prefix: the step path of the list, e.g. `it1/3/i0042/a2`. scope: what placeholders may name.
    env: the environment of the steps. keep: makes the commits of a boundary reachable before it is recorded;
    it is told whether the boundary is the run's from now on, and may object to what it is given.
    workflow: the one whose settings of agents count. item: the item's JSON for PRODIGY_ITEM_FILE, None outside items.
    inner: whether the steps belong to another step,
    as checks and handlers do, which alone decides what becomes of their work. base: what every step may name.
    limit: on the time that the steps may take together, those inside of them included. failed_before: what agents are
    told of how the last try failed.
    """

    workspace: Workspace
    prefix: str
    scope: Scope
    env: Mapping[str, str]
    keep: Callable[[Snapshot, bool], Awaitable[Failure | None]]
    workflow: Workflow
    item: object | None = None
    inner: bool = False
    base: Mapping[str, object] = field(default_factory=dict)
    limit: TimeLimit | None = None
    failed_before: str | None = None

    def below(self, prefix: str, names: Mapping[str, object]) -> Site:
        """The place of the steps that belong to one of this place's steps."""
        return replace(self, prefix=prefix, scope=self.scope.with_names(names), inner=True)

    def within(self, prefix: str, names: Mapping[str, object]) -> Site:
        """The place of the steps that one of this place's steps consists of: each counts by itself."""
        return replace(self, prefix=prefix, scope=self.scope.with_names(names))


def workspace_env(workspace: Workspace) -> dict[str, str]:
    """What the environment of every step says of where it runs. A step's project is its own worktree: the user's
    checkout is nobody's to work in."""
    path = str(workspace.path)
    return {"PRODIGY_WORKTREE": path, "WORKTREE": path, "PROJECT_ROOT": path}


def workspace_names(workspace: Workspace) -> dict[str, object]:
    """The same as names for texts that no shell reads."""
    path = str(workspace.path)
    return {"WORKTREE": path, "PROJECT_ROOT": path}


@dataclass(frozen=True)
class Outcome:
    """How steps ended, and the workspace's boundary then. names: what later steps may name because of them."""

    boundary: Snapshot
    failure: Failure | None = None
    names: Mapping[str, object] | None = None


class RunList(Protocol):
    """The step executor's way to run a list of steps, the first of which has the number `first` in its list."""

    async def __call__(self, steps: Sequence[Step], site: Site, start: Snapshot, first: int = 1) -> Outcome: ...
