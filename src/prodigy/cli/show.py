"""`status`: how runs stand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import click

from prodigy.cli import common
from prodigy.engine.summary import summarise
from prodigy.errors import ProdigyError
from prodigy.store import index
from prodigy.store.paths import run_directory
from prodigy.store.store import Store


@click.command("status")
@click.argument("run_reference", metavar="[RUN]", required=False)
@common.json_option
def status_command(run_reference: str | None, *, as_json: bool) -> None:
    """Show RUN, or list the runs of this repository (of all repositories, outside of one)."""
    if run_reference is not None:
        summary = _summary(common.resolve(run_reference))
        if as_json:
            click.echo(json.dumps(summary, indent=2))
        else:
            common.show_summary(summary)
            if summary["error"] and summary["stop_reason"] is None:
                common.show_error(summary)
        return
    summaries = list(_summaries())
    if as_json:
        click.echo(json.dumps(summaries, indent=2))
    elif not summaries:
        click.echo("no runs yet; start one with: prodigy run WORKFLOW")
    for summary in [] if as_json else summaries:
        items = summary["items"]
        assert isinstance(items, dict)
        done = f"{items['successful']}/{items['total']} items"
        why = f" ({summary['stop_reason']})" if summary["status"] == "paused" else ""
        waits = " (waits)" if summary["status"] == "running" and summary["gates"] else ""
        status = f"{summary['status']}{why}{waits}"
        click.echo(f"{summary['run_id']}  {status:26} {done:>14}  {summary['workflow']}")


def _summaries() -> Iterator[dict[str, object]]:
    """Every run of this repository, newest first; one that can't be read does not hide the others."""
    for row in index.runs(common.here()):
        try:
            yield _summary(row.id)
        except ProdigyError as error:
            click.echo(f"Warning: {error}", err=True)


def _summary(run_id: str) -> dict[str, object]:
    with closing(Store.open(run_directory(run_id))) as store:
        return summarise(store)
