"""`dlq analyze`: what the dead letters have in common, and what to do next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from prodigy.cli import common
from prodigy.cli.dlq_export import write_whole
from prodigy.cli.dlq_letters import dead_letters, print_json, queue, retry_command, run_options, stage_of
from prodigy.cli.words import counted, printable
from prodigy.report.letter_analysis import analyse
from prodigy.report.letter_table import json_text

HOURS = 24  # rows of the chart
_BAR = 40  # cells of its longest bar


@click.command("analyze")
@run_options
@click.option(
    "--export",
    "export_to",
    type=click.Path(path_type=Path),
    help="Also write the analysis as JSON to PATH; - is stdout, with nothing else there.",
)
@common.json_option
def analyze_command(
    run_reference: str | None, *, job_id: str | None, all_runs: bool, export_to: Path | None, as_json: bool
) -> None:
    """Group the dead letters of RUN (by default the latest run) by error, kind and time, and say what to do next."""
    found = queue(run_reference, job_id, all_runs=all_runs)
    to_stdout = export_to is not None and str(export_to) == "-"
    stages = {letter["run_id"]: stage_of(letter["run_id"]) for letter in found.letters}

    def retry(run_id: str, options: str, expression: str) -> str | None:
        return retry_command(run_id, stages[run_id], options, expression)

    analysis = {"run_id": found.run_id, **analyse(found.letters, retry)}
    if export_to is not None and not to_stdout:
        write_whole(export_to, json_text(analysis) + "\n")
        click.echo(f"wrote the analysis to {printable(str(export_to))}", err=True)
    if as_json or to_stdout:
        print_json(analysis)
        return
    if not found.letters:
        click.echo(f"no dead letters {found.where}")
        return
    total = analysis["total_failures"]
    click.echo(f"{dead_letters(len(found.letters))} {found.where}, {counted(total, 'failure')} in all")
    for group in analysis["pattern_groups"]:
        _show_group(group)
    click.echo("\nFailures by kind")
    for kind, count in analysis["error_distribution"].items():
        click.echo(f"  {count:5}  {kind}")
    _show_hours(analysis["temporal_distribution"])
    click.echo("\nWhat to do")
    for one in analysis["recommendations"]:
        click.echo(f"  {one['kind']} ({one['count']}): {one['text']}")
        if one["command"] is not None:
            click.echo(f"    {printable(one['command'])}")
    if "going on" in stages.values():
        click.echo("\nWhile a process works on the run there is nothing to retry.")


def _show_group(group: dict[str, Any]) -> None:
    kinds = ", ".join(group["kinds"])
    click.echo(
        f"\n{group['count']} × {kinds}, signature {group['signature']}, {group['eligible_count']} can be retried"
    )
    click.echo(f"    {printable(group['example_message'])}")
    more = group["count"] - len(group["sample_items"])
    others = f" and {more} more" if more else ""
    click.echo(f"    {printable(', '.join(group['sample_items']))}{others}")
    first, last = group["first_occurrence"], group["last_occurrence"]
    click.echo(f"    {first}" if first == last else f"    first {first}, last {last}")
    if group["command"] is not None:
        click.echo(f"    {printable(group['command'])}")


def _show_hours(hours: dict[str, int]) -> None:
    """A bar for each hour with failures, the newest ones."""
    click.echo("\nFailures by hour (UTC)")
    shown = list(hours.items())[-HOURS:]
    if len(shown) < len(hours):
        click.echo(f"  {len(hours) - len(shown)} earlier hours are left out here; --json has them")
    most = max(count for _, count in shown)
    mark = "█" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"
    for hour, count in shown:
        bar = mark * max(1, round(count * _BAR / most))
        click.echo(f"  {hour[:10]} {hour[11:16]}  {bar} {count}")
