"""`run --dry-run`: what a run would do, found without making anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from prodigy.cli.words import printable
from prodigy.engine.run import Options
from prodigy.engine.start import Checked, check_run
from prodigy.plan.identity import label
from prodigy.store.checked import CheckedScripts
from prodigy.workflow.load import Loaded, load
from prodigy.workflow.model import Agent, MapReduce, Step

SHOWN_ITEMS = 10


def show_plan(workflow: Path, where: Path, options: Options, *, as_json: bool) -> None:
    """Print the steps of the workflow and, where they are known already, its items."""
    loaded = load(workflow, CheckedScripts())
    checked = check_run(loaded, where, options)
    if as_json:
        click.echo(json.dumps(_as_json(loaded, checked, options), indent=2))
        return
    for warning in checked.warnings:
        click.echo(f"Warning: {warning}", err=True)
    target = (checked.context.branch or "").removeprefix("refs/heads/") or "no branch (HEAD is detached)"
    click.echo(f"{loaded.workflow.name}: from {checked.context.head[:12]}, to be merged into {target}")
    count = len(options.iterations())
    if count > 1:
        click.echo(f"{count} iterations, one after another")
    for line in _lines(loaded.workflow.steps, checked, options, "  "):
        click.echo(printable(line))
    click.echo("nothing was run")


def _lines(steps: Sequence[Step], checked: Checked, options: Options, indent: str) -> Iterator[str]:
    for number, step in enumerate(steps, 1):
        condition = f"  (when {step.when})" if step.when else ""
        if not isinstance(step.action, MapReduce):
            yield f"{indent}{number}. {_what(step)}{condition}"
            continue
        mapping = step.action
        at_once = options.max_parallel or mapping.max_parallel
        yield f"{indent}{number}. map over {mapping.input.kind} {mapping.input.text}, {at_once} at a time{condition}"
        yield from _items(checked if number == 1 else None, indent + "   ")
        yield f"{indent}   for each item:"
        yield from _lines(mapping.template, checked, options, indent + "     ")
        if mapping.reduce:
            yield f"{indent}   then reduce:"
            yield from _lines(mapping.reduce, checked, options, indent + "     ")


def _what(step: Step) -> str:
    kind = step.action.use if isinstance(step.action, Agent) else step.action.kind
    limit = f", at most {step.policy.timeout_s:g} s" if step.policy.timeout_s else ""
    tries = f", up to {step.policy.retry.attempts} tries" if step.policy.retry else ""
    return f"{kind}: {step.label}{limit}{tries}"


def _items(checked: Checked | None, indent: str) -> Iterator[str]:
    if checked is None or checked.items is None:
        yield f"{indent}items: known when the steps before have run"
        return
    items = checked.items.items
    yield f"{indent}{len(items)} items" + (
        f", {checked.items.duplicates} duplicates left out" if checked.items.duplicates else ""
    )
    for item in items[:SHOWN_ITEMS]:
        yield f"{indent}  {label(item)}"
    if len(items) > SHOWN_ITEMS:
        yield f"{indent}  ... and {len(items) - SHOWN_ITEMS} more"


def _as_json(loaded: Loaded, checked: Checked, options: Options) -> dict[str, object]:
    items = checked.items
    return {
        "workflow": loaded.workflow.name,
        "base": checked.context.head,
        "target": (checked.context.branch or "").removeprefix("refs/heads/") or None,
        "iterations": len(options.iterations()),
        "items": None if items is None else [{"item_id": item.id, "label": label(item)} for item in items.items],
        "steps": [json.loads(step.model_dump_json(exclude_defaults=True)) for step in loaded.workflow.steps],
        "warnings": list(checked.warnings),
    }
