"""What the workflow says of worktrees, for the fan-out that has them."""

from __future__ import annotations

from pathlib import Path

from prodigy.engine.run import Run
from prodigy.executors.capacity import AGENT_STEP_MB, SHELL_STEP_MB, Capacity, capacity
from prodigy.executors.furnishing import Furnishing, Lodging
from prodigy.state import events as ev
from prodigy.store.room import room
from prodigy.workflow.model import Agent, MapReduce, Workflow, Workspace


def workspace_of(workflow: Workflow, mapping: MapReduce | None) -> Workspace:
    """What counts for the items of a fan-out; None: for the run's own worktree."""
    return (mapping.workspace if mapping else None) or workflow.workspace


def workspaces(workflow: Workflow) -> list[Workspace]:
    """All that the workflow says of worktrees."""
    own = (step.action.workspace for step in workflow.steps if isinstance(step.action, MapReduce))
    return [workflow.workspace, *(workspace for workspace in own if workspace is not None)]


def is_clone(wanted: Workspace, workflow: Workflow) -> bool:
    """Whether it is to be a clone: where agents have a sandbox, all of the run's workspaces are."""
    return wanted.isolation == "clone" or any(settings.sandbox for settings in workflow.agents.known)


def has_clones(workflow: Workflow) -> bool:
    """Whether anything of the workflow works in a clone."""
    return any(is_clone(wanted, workflow) for wanted in workspaces(workflow))


def lodging(workflow: Workflow, mapping: MapReduce | None, source: Path) -> Lodging:
    """How the executor is to have the worktrees of a fan-out, or the run's own. source: the user's checkout."""
    wanted = workspace_of(workflow, mapping)
    return Lodging(
        furnishing=Furnishing(source, wanted.include, wanted.keep_ignored),
        fresh=wanted.reuse == "fresh",
        name=wanted.name,
        clone=is_clone(wanted, workflow),
        total=wanted.total,
        per_run=wanted.per_run,
        max_disk_mb=wanted.max_disk_mb,
        min_free_disk_mb=wanted.min_free_disk_mb,
    )


def slots_for_items(run: Run, mapping: MapReduce, items: int) -> int:
    """How many items run at a time, and the executor ready for them. What is less than asked for is warned of.

    Raises EnvironmentProblem when there is no room for a worktree, or another run has the one with the name.
    """
    wanted = max(1, min(run.options.max_parallel or mapping.max_parallel, items))
    settings = workspace_of(run.workflow, mapping)
    room = _memory(wanted, settings, mapping)
    slots = run.executor.expect(room.slots, items, lodging(run.workflow, mapping, Path(run.store.run().repo)))
    for reason in (*room.reasons, *run.executor.remarks()):
        run.store.record(ev.Warned(message=reason))
    return slots


def has_room(run: Run, mapping: MapReduce) -> bool:
    """Whether as much is free as must be (`min_free_disk_mb`) for another item to start. If not, the run pauses: no
    item is to blame, and what runs may finish."""
    floor_mb = workspace_of(run.workflow, mapping).min_free_disk_mb
    for place in (run.directory, run.repo.common_dir) if floor_mb is not None else ():
        free_mb = room(place)[0] >> 20
        if free_mb < (floor_mb or 0):
            if not run.control.draining:
                why = (
                    f"{place}: {free_mb:,} MB are free, and no item starts below min_free_disk_mb, {floor_mb:,}. Make"
                    " room there, for example with `prodigy clean all`, or lower it, then resume; nothing is lost"
                )
                run.control.pause(None, why)
                run.store.record(ev.Warned(message=f"nothing more starts: {why}"))
            return False
    return True


def _memory(wanted: int, settings: Workspace, mapping: MapReduce) -> Capacity:
    usual = AGENT_STEP_MB if any(isinstance(step.action, Agent) for step in mapping.template) else SHELL_STEP_MB
    return capacity(wanted, settings.memory_per_item_mb or usual, settings.max_memory_mb)
