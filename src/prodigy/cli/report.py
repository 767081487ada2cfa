"""`report`: where the time and the money of a run went."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from prodigy.cli import common
from prodigy.cli.agent_words import spend_lines
from prodigy.cli.words import counted, printable
from prodigy.engine.summary import summarise
from prodigy.errors import UsageError
from prodigy.report import facts as run_facts
from prodigy.report.metrics import Metrics, StepStats, measure
from prodigy.report.words import dollars, duration, pace, percent
from prodigy.store.paths import run_directory
from prodigy.store.spending import by_item, by_model, by_step
from prodigy.store.store import Store

_SHOWN = 5
_STEP_WIDTH = 34
_BAR = 40


@click.command("report")
@click.argument("run_reference", metavar="[RUN]", default="latest")
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with pictures.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "csv"]), help="csv has a row for each item or step."
)
@click.option(
    "--rows", type=click.Choice(["items", "steps"]), default="items", show_default=True, help="What csv has rows of."
)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it there; `-` is standard output."
)
@click.option("--otel", is_flag=True, help="Send its spans to OTEL_EXPORTER_OTLP_ENDPOINT instead.")
@common.json_option
def report_command(
    run_reference: str,
    *,
    page: Path | None,
    form: str | None,
    rows: str,
    output: Path | None,
    otel: bool,
    as_json: bool,
) -> None:
    """Show where the time and the money of RUN (by default the latest run) went.

    Times are those in which a process drove the run. Slots are what items ran in; around is what Prodigy itself does
    for an item. Costs are the agents' own words; what is estimated from tokens says `about`. Wasted is what was spent
    on work that failed or was repeated.
    """
    if otel:
        from prodigy.cli.report_otel import send_spans

        if page or form or output:
            raise UsageError("--otel sends spans and writes nothing", hint="Leave out --html, --format and --output.")
        send_spans(common.resolve(run_reference), as_json=as_json)
        return
    if as_json and form not in (None, "json"):
        raise UsageError(f"--json and --format {form} exclude each other", hint="Give one of them.")
    form = "json" if as_json else form or "text"
    with closing(Store.open(run_directory(common.resolve(run_reference)))) as store:
        facts = run_facts.read(store, time.time())
        metrics = measure(facts)
        summary = summarise(store)
        if page is not None:
            _write_page(store, page, summary, metrics)
            return
        if form == "csv":
            from prodigy.report.table import items_csv, steps_csv

            _give(steps_csv(facts) if rows == "steps" else items_csv(facts), output)
            return
        found = {"by_model": by_model(store), "by_item": by_item(store), "by_step": by_step(store)}
    if form == "json":
        from prodigy.report.table import as_json as metrics_json

        told = {key: summary[key] for key in ("run_id", "workflow", "status", "cost_usd", "tokens", "spend")}
        _give(json.dumps({**told, **found, "metrics": metrics_json(metrics)}, indent=2) + "\n", output)
        return
    _give("".join(f"{printable(line)}\n" for line in _lines(summary, metrics, found)), output)


def _give(text: str, output: Path | None) -> None:
    if output is None or str(output) == "-":
        click.echo(text, nl=False)
        return
    from prodigy.cli.dlq_export import write_whole

    write_whole(output, text)
    click.echo(f"wrote {printable(str(output))}", err=True)


def _write_page(store: Store, file: Path, summary: dict[str, Any], metrics: Metrics) -> None:
    from prodigy.report.letter_analysis import analyse
    from prodigy.report.page import page

    groups = analyse(store.dead_letters())["pattern_groups"]
    _give(page(summary, metrics, groups, by_model(store)), file)


# For people --------------------------------------------------------------------------------------------------


def _lines(summary: dict[str, Any], metrics: Metrics, found: dict[str, list[dict[str, object]]]) -> Iterator[str]:
    yield f"{summary['workflow']} (run {summary['run_id']}, {str(summary['status']).replace('_', ' ')})"
    yield from _overview(summary, metrics)
    yield from _step_lines(metrics)
    if metrics.failures:
        yield "failed attempts:"
        yield from (f"  {count:>6}  {kind.replace('_', ' ')}" for kind, count in metrics.failures.items())
    if len(metrics.slowest) > 1:
        yield "slowest items:"
        yield from (f"  {duration(item.work_s):>12}  {_short(item.label, 60)}" for item in metrics.slowest[:5])
    yield from _money(summary, found)


def _overview(summary: dict[str, Any], metrics: Metrics) -> Iterator[str]:
    items = summary["items"]
    if items["total"]:
        parts = [f"{count} {name}" for name, count in items.items() if count and name != "total"]
        again = f"; {counted(metrics.again, 'item')} more than once" if metrics.again else ""
        yield f"  items   {items['total']} ({', '.join(parts)}){again}"
    sessions = f" in {counted(metrics.sessions, 'session')}" if metrics.sessions > 1 else ""
    speed = f", {pace(metrics.items_an_hour)} items an hour" if metrics.items_an_hour else ""
    yield f"  time    {duration(metrics.driven_s)}{sessions}{speed}"
    split = metrics.time
    total = split.agents + split.shell + split.checks + split.around + split.idle
    if total:
        filled = round((metrics.efficiency or 0) * _BAR)
        yield f"  slots   {metrics.slots}  {'█' * filled}{'░' * (_BAR - filled)}  {percent(metrics.efficiency)} used"
        parts = [
            f"{name} {value / total * 100:.0f} %"
            for name, value in (
                ("agents", split.agents), ("shell", split.shell), ("checks", split.checks), ("around", split.around),
                ("idle", split.idle),
            )
            if value / total >= 0.005
        ]  # fmt: skip
        yield f"          {', '.join(parts)}"
    if metrics.gate_closed_s:
        yield f"  limits  no agent could start for {duration(metrics.gate_closed_s)}"
    merges = metrics.merges
    if merges.checks:
        each = f", {merges.checks_an_item:.2f} for each merged item" if merges.checks_an_item else ""
        failed = f"{merges.failed_checks} failed"
        yield f"  merges  {counted(merges.checks, 'check')} in {duration(merges.check_s)}, {failed}{each}"
    waste = metrics.waste
    if waste.failed_s or waste.repeated_s:
        yield (
            f"  waste   {duration(waste.failed_s)} and {dollars(waste.failed_usd)} on what failed,"
            f" {duration(waste.repeated_s)} and {dollars(waste.repeated_usd)} repeated"
        )


def _step_lines(metrics: Metrics) -> Iterator[str]:
    if not metrics.steps:
        return
    yield f"{'steps':{_STEP_WIDTH}}{'runs':>7}{'failed':>7}{'p50':>10}{'p90':>10}{'longest':>12}"
    for one in metrics.steps[:_SHOWN]:
        yield _step_line(one)
    if len(metrics.steps) > _SHOWN:
        yield f"  and {len(metrics.steps) - _SHOWN} more; all of them with --json"


def _step_line(one: StepStats) -> str:
    role = "" if one.role == "step" else f"{one.role}, "
    name = _short(f"{role}{one.doer}: {one.name}", _STEP_WIDTH - 3)
    times = (
        [duration(value) for value in (one.duration.p50, one.duration.p90, one.duration.most)] if one.duration else []
    )
    columns = [*times, "-", "-", "-"][:3]
    return (
        f"  {name:{_STEP_WIDTH - 2}}{one.executions:>7}{one.failed or '-':>7}"
        f"{columns[0]:>10}{columns[1]:>10}{columns[2]:>12}"
    )


def _short(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _money(summary: dict[str, Any], found: dict[str, list[dict[str, object]]]) -> Iterator[str]:
    if not found["by_step"]:
        yield "no agent has run"
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
