"""`report`: what a run has cost, by model, item and step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import click

from prodigy.cli import common
from prodigy.cli.agent_words import spend_lines
from prodigy.cli.words import printable
from prodigy.engine.summary import summarise
from prodigy.store.paths import run_directory
from prodigy.store.spending import by_item, by_model, by_step
from prodigy.store.store import Store

_SHOWN = 10


@click.command("report")
@click.argument("run_reference", metavar="[RUN]", default="latest")
@click.option("--otel", is_flag=True, help="Send its spans to OTEL_EXPORTER_OTLP_ENDPOINT instead.")
@common.json_option
def report_command(run_reference: str, *, otel: bool, as_json: bool) -> None:
    """Show what the agents of RUN (by default the latest run) have cost: by model, by item and by step.

    Costs are the agents' own words; what is estimated from tokens says `about`. Wasted is what was spent on work that
    failed or was repeated.
    """
    if otel:
        from prodigy.cli.report_otel import send_spans

        send_spans(common.resolve(run_reference), as_json=as_json)
        return
    with closing(Store.open(run_directory(common.resolve(run_reference)))) as store:
        summary = summarise(store)
        found = {"by_model": by_model(store), "by_item": by_item(store), "by_step": by_step(store)}
    if as_json:
        facts = {key: summary[key] for key in ("run_id", "workflow", "status", "cost_usd", "tokens", "spend")}
        click.echo(json.dumps({**facts, **found}, indent=2))
        return
    for line in _lines(summary, found):
        click.echo(printable(line))


def _lines(summary: dict[str, Any], found: dict[str, list[dict[str, object]]]) -> Iterator[str]:
    yield f"{summary['workflow']} (run {summary['run_id']}, {str(summary['status']).replace('_', ' ')})"
    if not found["by_step"]:
        yield "  no agent has run"
        return
    yield from spend_lines(summary)
    yield "by model:"
    for row in found["by_model"]:
        tokens = f"{row['input']:,} in, {row['output']:,} out"
        cached = f"{row['cache_read']:,} read from the cache, {row['cache_write']:,} written to it"
        model = row["model"] or "(model not told)"
        yield f"  {_cost(row['cost_usd'])}  {row['agent']} {model}: {tokens}, {cached}"
    for heading, name, label in (("by item:", "by_item", "label"), ("by step:", "by_step", "execution")):
        rows = found[name]
        if rows:
            yield heading
        for row in rows[:_SHOWN]:
            how = row["kind"] or row["state"] if name == "by_step" else row["state"]
            yield f"  {_cost(row['cost_usd'])}  {row[label]}: {how}, {row['tokens'] or 0:,} tokens"
        if len(rows) > _SHOWN:
            yield f"  and {len(rows) - _SHOWN} more; all of them with --json"


def _cost(usd: object) -> str:
    return f"{'unknown':>10}" if usd is None else f"{f'${usd:.4f}':>10}"
