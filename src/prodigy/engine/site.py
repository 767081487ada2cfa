"""Where a list of steps runs, and how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from prodigy.engine.captures import Scope
from prodigy.executors.base import Snapshot, Workspace
from prodigy.state.dead_letter import Failure
from prodigy.workflow.model import Workflow


@dataclass(frozen=True)
class Site:
    """Where a list of steps runs.

    prefix: the step path of the list, e.g. `it1/3/i0042/a2`. scope: what placeholders may name.
    env: the environment of the steps. keep: makes the commits of a boundary reachable before it is recorded;
    it is told whether the boundary is the run's from now on, and may object to what it is given.
    workflow: the one whose settings of agents count. item: the item's JSON for PRODIGY_ITEM_FILE, None outside items.
    inner: whether the steps belong to another step,
    as checks and handlers do, which alone decides what becomes of their work.
    """

    workspace: Workspace
    prefix: str
    scope: Scope
    env: Mapping[str, str]
    keep: Callable[[Snapshot, bool], Awaitable[Failure | None]]
    workflow: Workflow
    item: object | None = None
    inner: bool = False

    def below(self, prefix: str, names: Mapping[str, object]) -> Site:
        """The place of the steps that belong to one of this place's steps."""
        return replace(self, prefix=prefix, scope=self.scope.with_names(names), inner=True)


@dataclass(frozen=True)
class Outcome:
    """How steps ended, and the workspace's boundary then. names: what later steps may name because of them."""

    boundary: Snapshot
    failure: Failure | None = None
    names: Mapping[str, object] | None = None
