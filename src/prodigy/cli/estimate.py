"""The longest that a workflow can take, with time limits, tries, handlers and repairs all used to the full, and where
budgets stop what it costs.

Times are in seconds; None means that it cannot be told. They cover what steps do, not the merging between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from prodigy.executors.base import DEFAULT_TIMEOUT_S
from prodigy.state.retry import delay
from prodigy.workflow.failures import Retry
from prodigy.workflow.item_limits import ItemLimits
from prodigy.workflow.model import (
    Agent,
    Check,
    Foreach,
    Group,
    Input,
    MapReduce,
    Phase,
    Shell,
    Step,
    Workflow,
    WriteFile,
)
from prodigy.workflow.timeouts import places_of
from prodigy.workflow.walk import every_step, walk

_COUNTED_PAUSES = 200  # further ones are taken as the longest there can be

# (how many items a fan-out or a loop has, how many of them run at a time); None: not known.
Width = tuple[int | None, int]
WidthOf = Callable[[MapReduce], Width]


def workflow_s(workflow: Workflow, width_of: WidthOf) -> float | None:
    """All steps of the workflow once, with the steps before the final merge."""
    limits = dict(workflow.limits)
    found: list[float | None] = []
    setup = [step for step in workflow.steps if step.phase == "setup"]
    rest = [step for step in workflow.steps if step.phase != "setup"]
    found.append(_within(steps_s(setup, width_of), limits.get("setup")))
    found += [step_s(step, width_of, limits) for step in rest]
    found.append(_within(steps_s(workflow.merge, width_of), limits.get("merge")))
    return _sum(found)


def steps_s(steps: Iterable[Step], width_of: WidthOf) -> float | None:
    """One step after the other."""
    return _sum(step_s(step, width_of) for step in steps)


def step_s(step: Step, width_of: WidthOf, limits: dict[Phase, float] | None = None) -> float | None:
    """One step with its tries, handlers and checks. limits: of the phases of a fan-out."""
    once = _sum([_action_s(step, width_of, limits or {}), *(_check_s(check, width_of) for check in step.checks)])
    tried = _tried(once, step.policy.retry)
    ends: list[float | None] = [0.0]
    for handler in step.handlers:
        do = steps_s(handler.do, width_of)
        ends.append(_sum([_times(do, handler.again + 1), _times(tried, handler.again)]))
    # One handler of those that fit an end runs; which one is not known before.
    return _sum([tried, _most(ends)])


def item_s(mapping: MapReduce, width_of: WidthOf) -> float | None:
    """One item with all its tries."""
    steps = [mapping.template, *(part.do for part in mapping.named)]
    once = _most([_limited_s(each, mapping.limits, width_of) for each in steps if each])
    return _tried(once, mapping.errors.retry if mapping.errors.on_item_failure == "retry" else None)


def count_of(source: Input) -> int | None:
    """How many values a written list has; None for what is read when the workflow runs."""
    return len(source.values) if source.kind == "values" else None


# Parts -------------------------------------------------------------------------------------------------------


def _action_s(step: Step, width_of: WidthOf, limits: dict[Phase, float]) -> float | None:
    match step.action:
        case Shell() | Agent():
            return step.policy.timeout_s or DEFAULT_TIMEOUT_S
        case WriteFile():
            return 0.0
        case Group(do=do):
            return steps_s(do, width_of)
        case Foreach(input=source, do=do, max_items=most):
            known = [count for count in (count_of(source), most) if count is not None]
            reading = DEFAULT_TIMEOUT_S if source.kind in ("command", "source") else 0.0
            return _sum([reading, _times(steps_s(do, width_of), min(known, default=None))])
        case MapReduce() as mapping:
            count, at_once = width_of(mapping)
            rounds = None if count is None else math.ceil(count / at_once)
            reading = DEFAULT_TIMEOUT_S if mapping.input.kind in ("command", "source") else 0.0
            reduce = _within(steps_s(mapping.reduce, width_of), limits.get("reduce"))
            return _sum([reading, _times(item_s(mapping, width_of), rounds), reduce])


def _check_s(check: Check, width_of: WidthOf) -> float | None:
    """All looks, and the repairs or pauses between them."""
    run = [
        step.model_copy(update={"policy": step.policy.model_copy(update={"timeout_s": check.timeout_s})})
        if check.timeout_s and step.policy.timeout_s is None
        else step
        for step in check.run
    ]
    rounds = check.rounds or 0
    between = steps_s(check.repair, width_of) if check.repair else (check.delay_s or 0.0)
    return _sum([_times(steps_s(run, width_of), rounds + 1), _times(between, rounds)])


def _limited_s(steps: Sequence[Step], limits: ItemLimits | None, width_of: WidthOf) -> float | None:
    """The steps of one attempt under the limits of its map."""
    if limits is None:
        return steps_s(steps, width_of)
    commands = dict(limits.commands) if limits.policy != "per_agent" else {}
    each = limits.item_s if limits.policy == "per_command" else None
    changed = []
    for number, step in enumerate(steps, 1):
        names = places_of(tuple(steps), number)
        limit = next((commands[name] for name in names if name in commands), each)
        own = step.policy.timeout_s
        known = [seconds for seconds in (limit, own) if seconds is not None]
        policy = step.policy.model_copy(update={"timeout_s": min(known, default=None)})
        changed.append(step.model_copy(update={"policy": policy}))
    return _within(steps_s(changed, width_of), None if limits.policy == "per_command" else limits.item_s)


def _tried(once: float | None, retry: Retry | None) -> float | None:
    if retry is None:
        return once
    counted = min(retry.attempts - 1, _COUNTED_PAUSES)
    pauses = sum(delay(retry, tries) for tries in range(1, counted + 1))
    pauses = (pauses + (retry.attempts - 1 - counted) * retry.max_delay_s) * (1 + retry.jitter / 2)
    if retry.budget_s is not None:
        pauses = min(pauses, retry.budget_s)
    return _sum([_times(once, retry.attempts), pauses])


def _within(time: float | None, limit: float | None) -> float | None:
    return time if limit is None else limit if time is None else min(time, limit)


def _sum(times: Iterable[float | None]) -> float | None:
    found = list(times)
    return None if None in found else math.fsum(time for time in found if time is not None)


def _times(time: float | None, count: int | None) -> float | None:
    if count == 0 or time == 0:
        return 0.0
    return None if time is None or count is None else time * count


def _most(times: Sequence[float | None]) -> float | None:
    return None if None in times else max((time for time in times if time is not None), default=0.0)


# Money -------------------------------------------------------------------------------------------------------


def worst_usd(
    workflow: Workflow, items_of: Callable[[MapReduce], int | None], total: float | None, iterations: int
) -> float | None:
    """Where budgets stop a run, in dollars; None when nothing does.

    items_of: how many items a map has at most, None when that is not known. total: the run's budget, in place of the
    workflow's.
    """
    cap = total or (workflow.budget.usd if workflow.budget else None)
    maps = [step.action for step in every_step(workflow) if isinstance(step.action, MapReduce)]
    inside = {id(step) for mapping in maps for step in _in_items(mapping)}
    parts = [_worst_of_items(workflow, mapping, items_of(mapping)) for mapping in maps if _agents(_in_items(mapping))]
    outside = [step for step in every_step(workflow) if id(step) not in inside]
    parts += [step.policy.budget.usd if step.policy.budget else None for step in _agents(outside)]
    of_parts = _times(_sum(parts), iterations)
    return min((usd for usd in (cap, of_parts) if usd is not None), default=None)


def _in_items(mapping: MapReduce) -> list[Step]:
    return list(walk([*mapping.template, *(step for part in mapping.named for step in part.do)]))


def _agents(steps: Iterable[Step]) -> list[Step]:
    return [step for step in steps if isinstance(step.action, Agent)]


def _worst_of_items(workflow: Workflow, mapping: MapReduce, items: int | None) -> float | None:
    budgets = [budget for budget in (mapping.budget, workflow.budget) if budget]
    each = next((budget.usd_per_item for budget in budgets if budget.usd_per_item), None)
    whole = mapping.budget.usd if mapping.budget else None
    caps = (whole, None if each is None or items is None else each * items)
    return min((usd for usd in caps if usd is not None), default=None)
