"""Limits on the time that several steps may take together: those of an item, of setup, reduce or merge.

Only steps that run use the time up: pauses between tries and the wait for a slot do not. What they have used is on
record, so that it holds across resumes. A step's process gets what is left as its own limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from prodigy.engine.places import fan_out_at
from prodigy.executors.base import DEFAULT_TIMEOUT_S, Exit, ProcessSpec
from prodigy.state.dead_letter import Failure
from prodigy.state.step_path import split_try
from prodigy.store.questions import Questions
from prodigy.store.rows import StepRow
from prodigy.workflow.item_limits import ItemLimits, TimeoutAction
from prodigy.workflow.model import Step, Workflow
from prodigy.workflow.timeouts import kind_of, places_of

# Between the end that `graceful_terminate` asks for and the one that is forced, where the workflow does not say.
GRACEFUL_S = 30.0
# A process that was ended for its limit has run at least so long, but for what clocks are out by.
_SLACK_S = 0.01
# What is left for a process that is started is never nothing.
_LEAST_S = 0.001


@dataclass(frozen=True)
class TimeLimit:
    """roots: paths whose executions, with all below them, take at most `total_s` seconds together; None: any time.

    what: the limit's words for people. commands: (name, seconds) of limits of single steps, and steps the list that
    they name. each_s: of every step that has no other. grace_s: before an end is forced; None: the executor's own.
    action: what becomes of an item that took too long. outer: a limit that holds as well.
    """

    roots: tuple[str, ...]
    total_s: float | None
    what: str
    commands: Mapping[str, float]
    steps: tuple[Step, ...] = ()
    each_s: float | None = None
    grace_s: float | None = None
    action: TimeoutAction = "dlq"
    outer: TimeLimit | None = None

    def left_s(self, store: Questions) -> float | None:
        """Seconds until the limit of all of them together, 0 when they are used up; None: there is none."""
        return self.nearest(store)[0]

    def words(self, store: Questions) -> str:
        """What is said when the time of all of them together is used up."""
        return self.nearest(store)[1].what

    def nearest(self, store: Questions) -> tuple[float | None, TimeLimit]:
        """Of this limit and the outer ones, the one that is reached first, and the seconds until then."""
        own = None if self.total_s is None else max(0.0, self.total_s - store.active_s(self.roots))
        outer_s, outer = self.outer.nearest(store) if self.outer else (None, self)
        return (outer_s, outer) if own is None or (outer_s is not None and outer_s < own) else (own, self)

    def of_step(self, path: str, kind: str | None) -> float | None:
        """The limit of the single step with this path, which does something of this kind."""
        if self.outer is not None and (found := self.outer.of_step(path, kind)) is not None:
            return found
        number = path.removeprefix(f"{self.roots[0]}/")
        in_list = number.isdecimal() and 0 < int(number) <= len(self.steps)
        names = places_of(self.steps, int(number)) if in_list else (kind or "",)
        return next((self.commands[name] for name in names if name in self.commands), self.each_s)


def item_limit(limits: ItemLimits | None, steps: tuple[Step, ...], attempt: str) -> TimeLimit | None:
    """The limit of an attempt's steps. attempt: its path."""
    if limits is None:
        return None
    together = limits.policy != "per_command"
    grace_s = limits.grace_s
    if grace_s is None and limits.action == "graceful_terminate":
        grace_s = GRACEFUL_S
    return TimeLimit(
        roots=(attempt,),
        total_s=limits.item_s if together else None,
        what=f"the item ran longer than {limits.item_s or 0:g} s (agent_timeout_secs)",
        commands=dict(limits.commands) if limits.policy != "per_agent" else {},
        steps=steps,
        each_s=None if together else limits.item_s,
        grace_s=grace_s,
        action=limits.action,
    )


def phase_limit(workflow: Workflow, step: Step, prefix: str, outer: TimeLimit | None = None) -> TimeLimit | None:
    """The limit of the phase that a step outside the items belongs to, and `outer`. prefix: the path of the list it
    stands in."""
    total_s = dict(workflow.limits).get(step.phase)
    if total_s is None:
        return outer
    return TimeLimit(
        roots=_roots(workflow, step, prefix),
        total_s=total_s,
        what=f"the steps of {step.phase} ran longer than {total_s:g} s together (its `timeout`)",
        commands={},
        outer=outer,
    )


def part_limit(step: Step, below: str, outer: TimeLimit | None) -> TimeLimit | None:
    """The limit of the steps that a step consists of. below: the path that theirs begin with."""
    total_s = step.policy.timeout_s
    if total_s is None:
        return outer
    what = f"the steps of `{step.label}` ran longer than {total_s:g} s together (its `timeout`)"
    return TimeLimit(roots=(below,), total_s=total_s, what=what, commands={}, outer=outer)


def _roots(workflow: Workflow, step: Step, prefix: str) -> tuple[str, ...]:
    """The paths of the phase's steps."""
    if step.phase == "reduce":
        while "/do" in prefix and fan_out_at(workflow, prefix) is None:
            prefix = _around(prefix)
        fan_out = fan_out_at(workflow, prefix)
        return tuple(f"{prefix}/{number}" for number, _ in enumerate(fan_out.reduce if fan_out else (), 1))
    while "/do" in prefix:
        prefix = _around(prefix)
    if step.phase == "setup":
        return tuple(f"{prefix}/{number}" for number, one in enumerate(workflow.steps, 1) if one.phase == "setup")
    return (prefix,)


def _around(prefix: str) -> str:
    """The list in which the step stands whose own list has the path `prefix`."""
    return prefix.rpartition("/do")[0].rpartition("/")[0]


# One step --------------------------------------------------------------------------------------------------


def is_used_up(store: Questions, limit: TimeLimit | None) -> bool:
    """Whether nothing is left of the time of all steps together: what is tried now has no chance."""
    left_s = limit.left_s(store) if limit else None
    return left_s is not None and left_s <= _SLACK_S


def usual_timeout_s(workflow: Workflow) -> float:
    """The limit of steps that have none of their own, in seconds."""
    return workflow.configured.timeout_s or DEFAULT_TIMEOUT_S


def within(
    store: Questions,
    limit: TimeLimit | None,
    step: Step,
    execution: str,
    spec: ProcessSpec,
    usual_s: float = DEFAULT_TIMEOUT_S,
) -> ProcessSpec:
    """The process under the limits that it has beside its own; in their place, the usual one does not count."""
    if limit is None:
        return spec
    own = limit.of_step(split_try(execution)[0], kind_of(step))
    first = spec.timeout_s if spec.timeout_s != usual_s else None
    limits = [seconds for seconds in (first, own, limit.left_s(store)) if seconds is not None]
    grace_s = spec.grace_s if limit.grace_s is None else limit.grace_s
    return replace(spec, timeout_s=max(_LEAST_S, min(limits, default=spec.timeout_s)), grace_s=grace_s)


def overrun(
    store: Questions, limit: TimeLimit | None, step: Step, execution: str, exit_: Exit
) -> tuple[str, str] | None:
    """(error kind, message) of an execution that one of these limits ended, or did not let begin, else None."""
    if limit is None or exit_.reason not in ("timeout", "not_started"):
        return None
    left_s = limit.left_s(store)
    if left_s is not None and exit_.duration_s >= left_s - _SLACK_S:
        return "timeout", limit.words(store)
    own = limit.of_step(split_try(execution)[0], kind_of(step))
    if own is not None and exit_.reason == "timeout" and exit_.duration_s >= own - _SLACK_S:
        if step.policy.timeout_s is not None and step.policy.timeout_s <= own:
            return None
        return "timeout", f"the step ran longer than {own:g} s (timeout_config)"
    return None


def ended_by(store: Questions, limit: TimeLimit | None, failure: Failure) -> bool:
    """Whether one of these limits is what an attempt failed by."""
    if is_used_up(store, limit):
        return True  # whatever the step that it ended was for, such as a check
    if limit is None or failure.kind != "timeout" or failure.step is None:
        return False
    row = store.execution(failure.step)
    own = limit.of_step(row.path, _kind(row))
    return own is not None and (row.duration_s or 0.0) >= own - _SLACK_S


def _kind(row: StepRow) -> str:
    return "claude" if row.agent else "shell"
