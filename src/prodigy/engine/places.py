"""From the path of a step outside the items to the step in the workflow."""

from __future__ import annotations

from collections.abc import Sequence

from prodigy.workflow.model import Foreach, Group, MapReduce, Step, Workflow

MERGE = "merge"  # the segment that stands before the numbers of the steps under `merge`


def step_at(workflow: Workflow, path: str) -> Step | None:
    """The step with this path (without its try); None when the workflow has none there."""
    segments = path.split("/")[1:]  # behind the iteration
    if segments[:1] == [MERGE]:
        return _follow(workflow.merge, None, segments[1:])
    return _follow(workflow.steps, None, segments)


def step_inside(step: Step, segments: Sequence[str]) -> Step | None:
    """The step at these segments behind the path of `step`, which is a loop or another workflow's steps."""
    return _follow((), step, segments)


def fan_out_at(workflow: Workflow, path: str) -> MapReduce | None:
    """The fan-out with this path; None when there is none, or another step."""
    step = step_at(workflow, path)
    return step.action if step and isinstance(step.action, MapReduce) else None


def _follow(steps: Sequence[Step], step: Step | None, segments: Sequence[str]) -> Step | None:
    for segment in segments:
        if segment == "do":
            steps = step.action.do if step and isinstance(step.action, Foreach | Group) else ()
        elif segment.isdecimal():
            number = int(segment)
            step = steps[number - 1] if 0 < number <= len(steps) else None
            steps = step.action.reduce if step and isinstance(step.action, MapReduce) else ()
    return step
