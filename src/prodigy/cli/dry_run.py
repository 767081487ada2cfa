"""`run --dry-run`: what a run would do, found without making anything."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from prodigy.cli.estimate import Width, count_of, workflow_s, worst_usd
from prodigy.cli.words import counted, printable
from prodigy.engine.lodging import workspace_of
from prodigy.engine.run import Options, inherited_environment, parameter_variables
from prodigy.engine.scoped import withheld
from prodigy.engine.start import Checked, check_run
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.executors.capacity import AGENT_STEP_MB, SHELL_STEP_MB, Capacity, capacity
from prodigy.plan.identity import Plan, identify, label
from prodigy.plan.sources import items_of_output
from prodigy.workflow.load import Loaded
from prodigy.workflow.model import Agent, Foreach, Group, MapReduce, Step, Workflow
from prodigy.workflow.walk import every_step

SHOWN_ITEMS = 10
SHOWN_NAMES = 12
INPUT_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class FanOut:
    """One map, wherever it stands: its number in the workflow's list of steps (None: it is inside another step), how
    many items it has at most (None: not known before it runs), and how many of them run at a time."""

    number: int | None
    mapping: MapReduce
    items: int | None
    room: Capacity
    wanted: int


@dataclass(frozen=True)
class Forecast:
    """What a run would take. doers: id of an agent's step -> who does it. worst_s: in seconds; worst_usd: in
    dollars; None: cannot be told. checkout: the files of the commit, in bytes."""

    fan_outs: tuple[FanOut, ...]
    doers: dict[int, str]
    worst_s: float | None
    worst_usd: float | None
    checkout: int
    worktrees: int

    @property
    def agents(self) -> Counter[str]:
        """Who -> how many steps."""
        return Counter(self.doers.values())


def show_plan(loaded: Loaded, where: Path, options: Options, *, as_json: bool, run_input: bool = False) -> None:
    """Print what a run of the workflow would do. run_input: whether the command that prints the items is run for it."""
    checked = check_run(loaded, where, options)
    if run_input and (mapping := _first_command(loaded.workflow)):
        variables = parameter_variables(loaded.workflow)
        checked = replace(checked, items=_items_of(mapping, checked.context.repo.root, variables))
    forecast = _forecast(loaded.workflow, checked, options)
    if as_json:
        click.echo(json.dumps(_as_json(loaded, checked, options, forecast), indent=2))
        return
    for warning in checked.warnings:
        click.echo(f"Warning: {warning}", err=True)
    for line in _text(loaded.workflow, checked, options, forecast):
        click.echo(printable(line))


# What it would take ------------------------------------------------------------------------------------------


def _forecast(workflow: Workflow, checked: Checked, options: Options) -> Forecast:
    numbers = {id(step): number for number, step in enumerate(workflow.steps, 1)}
    fan_outs = tuple(
        _fan_out(workflow, numbers.get(id(step)), step.action, checked, options)
        for step in every_step(workflow)
        if isinstance(step.action, MapReduce)
    )

    def width_of(mapping: MapReduce) -> Width:
        return next((one.items, one.room.slots) for one in fan_outs if one.mapping is mapping)

    once = workflow_s(workflow, width_of)
    pools = [_pool(workflow, one) for one in fan_outs]
    return Forecast(
        fan_outs,
        _doers(workflow, options),
        None if once is None else once * len(options.iterations()),
        worst_usd(workflow, lambda mapping: width_of(mapping)[0], options.budget_usd, len(options.iterations())),
        _checkout_size(checked),
        1 + max(pools, default=0),
    )


def _doers(workflow: Workflow, options: Options) -> dict[int, str]:
    """The agents that may do each step that has one; the first of them if it can."""
    return {
        id(step): " or ".join(workflow.agents.candidates(step.action.wanted or options.agent))
        for step in every_step(workflow)
        if isinstance(step.action, Agent)
    }


def _fan_out(workflow: Workflow, number: int | None, mapping: MapReduce, checked: Checked, options: Options) -> FanOut:
    items = _count(number, mapping, checked)
    wanted = options.max_parallel or mapping.max_parallel
    settings = workspace_of(workflow, mapping)
    steps = (*mapping.template, *(step for part in mapping.named for step in part.do))
    usual = AGENT_STEP_MB if any(isinstance(step.action, Agent) for step in steps) else SHELL_STEP_MB
    at_once = max(1, wanted if items is None else min(wanted, items))
    if settings.per_run is not None:
        at_once = min(at_once, settings.per_run)
    room = capacity(at_once, settings.memory_per_item_mb or usual, settings.max_memory_mb)
    return FanOut(number, mapping, items, room, wanted)


def _count(number: int | None, mapping: MapReduce, checked: Checked) -> int | None:
    """The items of a map, or the most that there can be."""
    if number == 1 and checked.items is not None:
        return len(checked.items.items)
    most = mapping.select.max_items if mapping.select else None
    known = [count for count in (count_of(mapping.input), most) if count is not None]
    return min(known, default=None)


def _pool(workflow: Workflow, fan_out: FanOut) -> int:
    """Worktrees for items: one more than run at a time, so that one is made ready meanwhile."""
    settings = workspace_of(workflow, fan_out.mapping)
    most = fan_out.room.slots + 1
    limits = [most, *(limit for limit in (fan_out.items, settings.per_run) if limit is not None)]
    return min(limits)


def _checkout_size(checked: Checked) -> int:
    """Bytes of all files of the commit that the run starts from."""
    listed = checked.context.repo.run("ls-tree", "-r", "-l", "-z", "--full-tree", checked.context.head).stdout
    sizes = (entry.partition(b"\t")[0].split()[-1] for entry in listed.split(b"\0") if entry)
    return sum(int(size) for size in sizes if size.isdigit())


def _first_command(workflow: Workflow) -> MapReduce | None:
    """The first step, when it is a map whose items a command prints."""
    first = workflow.steps[0]
    mapping = first.action
    return mapping if isinstance(mapping, MapReduce) and mapping.input.kind == "command" and not first.when else None


def _items_of(mapping: MapReduce, root: Path, variables: dict[str, str]) -> Plan:
    """Run the command in the user's checkout, as the user asked for, with more variables than the user's. Raises
    UsageError when it fails."""
    options = mapping.input.options if mapping.input.options is not None else ("-e", "-o", "pipefail")
    argv = ["bash", "--noprofile", "--norc", *options, "-c", mapping.input.text]
    try:
        done = subprocess.run(
            argv, cwd=root, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            timeout=INPUT_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"the input command ran longer than {INPUT_TIMEOUT_S:g} s",
            hint="Leave --run-input out; in a run it may take as long as its `timeout` says.",
        ) from None
    except OSError as error:
        raise EnvironmentProblem(
            f"bash cannot be started: {error.strerror}", hint="Install bash, or put it on PATH."
        ) from error
    if done.returncode:
        raise UsageError(
            f"the input command failed with exit code {done.returncode}",
            where=mapping.input.text,
            hint="What it printed stands above; run it by hand in the repository.",
        )
    return identify(items_of_output(done.stdout, mapping.json_path, mapping.select).values)


# For people --------------------------------------------------------------------------------------------------


def _text(workflow: Workflow, checked: Checked, options: Options, forecast: Forecast) -> Iterator[str]:
    target = (checked.context.branch or "").removeprefix("refs/heads/") or "no branch (HEAD is detached)"
    yield f"{workflow.name}: from {checked.context.head[:12]}, to be merged into {target}"
    count = len(options.iterations())
    if count > 1:
        yield f"{count} iterations, one after another"
    yield from _phases(workflow, checked, forecast)
    agents = ", ".join(f"{name} ({counted(steps, 'step')})" for name, steps in sorted(forecast.agents.items()))
    yield f"agents: {agents or 'none'}"
    for name, missing in _withheld(workflow, options).items():
        more = f" and {len(missing) - SHOWN_NAMES} more" if len(missing) > SHOWN_NAMES else ""
        yield f"{name} does not get of your environment: {', '.join(missing[:SHOWN_NAMES])}{more} (see `pass_env`)"
    yield f"time: {_time_words(forecast)}"
    yield f"cost: {_cost_words(forecast)}"
    size = forecast.worktrees * forecast.checkout
    worktrees = counted(forecast.worktrees, "worktree")
    yield f"disk: about {_bytes(size)}, for {worktrees} of {_bytes(forecast.checkout)}, and what steps write"
    yield "nothing was run"


def _withheld(workflow: Workflow, options: Options) -> dict[str, list[str]]:
    """The user's variables that each agent does not get, by its name; agents that get all are left out."""
    mine = inherited_environment()
    wanted = [step.action.wanted for step in every_step(workflow) if isinstance(step.action, Agent)]
    agents = {name for one in wanted for name in workflow.agents.candidates(one or options.agent)}
    found = {name: withheld(workflow.agents, name, mine) for name in sorted(agents)}
    return {name: names for name, names in found.items() if names}


def _phases(workflow: Workflow, checked: Checked, forecast: Forecast) -> Iterator[str]:
    before = ""
    for number, step in enumerate(workflow.steps, 1):
        if step.phase == "setup" != before:
            yield "  setup:"
        before = step.phase
        yield from _lines([step], checked, forecast, "    " if step.phase == "setup" else "  ", number)
    if workflow.merge:
        yield "  merge, before the final merge:"
        yield from _lines(workflow.merge, checked, forecast, "    ")


def _lines(steps: Sequence[Step], checked: Checked, forecast: Forecast, indent: str, first: int = 1) -> Iterator[str]:
    for number, step in enumerate(steps, first):
        condition = f"  (when {step.when})" if step.when else ""
        if not isinstance(step.action, MapReduce):
            yield f"{indent}{number}. {_what(step, forecast)}{condition}"
            if isinstance(step.action, Foreach | Group):
                yield from _lines(step.action.do, checked, forecast, indent + "     ")
            continue
        mapping = step.action
        fan_out = next(one for one in forecast.fan_outs if one.mapping is mapping)
        yield f"{indent}{number}. map over {_source(mapping)}, {fan_out.room.slots} at a time{condition}"
        yield from (f"{indent}   ({reason})" for reason in fan_out.room.reasons)
        yield from _items(fan_out, checked if fan_out.number == 1 else None, indent + "   ")
        for part in mapping.named:
            yield f"{indent}   in the worktree {part.name}:"
            yield from _lines(part.do, checked, forecast, indent + "     ")
        if mapping.template:
            yield f"{indent}   for each item:"
            yield from _lines(mapping.template, checked, forecast, indent + "     ")
        if mapping.reduce:
            yield f"{indent}   then reduce:"
            yield from _lines(mapping.reduce, checked, forecast, indent + "     ")


def _source(mapping: MapReduce) -> str:
    """Where the items come from; of a command with several lines, the first."""
    first, _, more = (mapping.input.text or ", ".join(mapping.input.values)).strip().partition("\n")
    return f"{mapping.input.kind} {first}{' ...' if more else ''}"


def _what(step: Step, forecast: Forecast) -> str:
    kind = forecast.doers.get(id(step), step.action.kind)
    limit = f", at most {step.policy.timeout_s:g} s" if step.policy.timeout_s else ""
    tries = f", up to {step.policy.retry.attempts} tries" if step.policy.retry else ""
    return f"{kind}: {step.label}{limit}{tries}"


def _items(fan_out: FanOut, checked: Checked | None, indent: str) -> Iterator[str]:
    if fan_out.mapping.named:
        return
    if checked is None or checked.items is None:
        yield f"{indent}items: {_unknown(fan_out)}"
        return
    items = checked.items.items
    duplicates = f", {checked.items.duplicates} duplicates left out" if checked.items.duplicates else ""
    yield f"{indent}{counted(len(items), 'item')}{duplicates}"
    for item in items[:SHOWN_ITEMS]:
        yield f"{indent}  {label(item)}"
    if len(items) > SHOWN_ITEMS:
        yield f"{indent}  ... and {len(items) - SHOWN_ITEMS} more"


def _unknown(fan_out: FanOut) -> str:
    most = "" if fan_out.items is None else f"at most {fan_out.items}; "
    if fan_out.mapping.input.kind == "values":
        return f"{len(fan_out.mapping.input.values)}"
    if fan_out.mapping.input.kind == "command" and fan_out.number == 1:
        return f"{most}the command would be run; with --run-input it is run now, in your checkout"
    if fan_out.mapping.input.kind == "source":
        return f"{most}the source is asked when the run has begun"
    return f"{most}known when the steps before have run"


def _time_words(forecast: Forecast) -> str:
    if forecast.worst_s is None:
        return "unknown: how many items or values there are is not known yet"
    how = "if every step takes as long as its limits and tries allow"
    return f"at most {_duration(forecast.worst_s)}, {how}"


def _cost_words(forecast: Forecast) -> str:
    if not forecast.agents:
        return "none, no step runs an agent"
    if forecast.worst_usd is None:
        return "unknown: nothing limits what agents may cost (see `budget`)"
    return f"at most about ${forecast.worst_usd:,.2f}, where the budgets stop it"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h" if seconds < 172_800 else f"{seconds / 86400:,.1f} days"


def _bytes(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


# For programs ------------------------------------------------------------------------------------------------


def _as_json(loaded: Loaded, checked: Checked, options: Options, forecast: Forecast) -> dict[str, object]:
    items = checked.items
    workflow = loaded.workflow
    return {
        "workflow": workflow.name,
        "base": checked.context.head,
        "target": (checked.context.branch or "").removeprefix("refs/heads/") or None,
        "iterations": len(options.iterations()),
        "items": None if items is None else [{"item_id": item.id, "label": label(item)} for item in items.items],
        "steps": [_step_json(step) for step in workflow.steps],
        "merge": [_step_json(step) for step in workflow.merge],
        "fan_outs": [
            {
                "step": one.number,
                "input": {"kind": one.mapping.input.kind, "text": one.mapping.input.text},
                "max_items": one.items,
                "wanted_parallel": one.wanted,
                "parallel": one.room.slots,
                "reasons": list(one.room.reasons),
            }
            for one in forecast.fan_outs
        ],
        "agents": dict(sorted(forecast.agents.items())),
        "withheld_variables": _withheld(workflow, options),
        "worst_case_s": forecast.worst_s,
        "worst_case_cost_usd": forecast.worst_usd,
        "uses_agents": bool(forecast.agents),
        "disk": {
            "worktrees": forecast.worktrees,
            "checkout_bytes": forecast.checkout,
            "bytes": forecast.worktrees * forecast.checkout,
        },
        "warnings": list(checked.warnings),
    }


def _step_json(step: Step) -> object:
    return json.loads(step.model_dump_json(exclude_defaults=True))
