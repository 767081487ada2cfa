"""`status`, `events ls`, `worktree ls`: the commands that only look."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click

from prodigy.cli import common
from prodigy.cli.progress import printable
from prodigy.engine.summary import summarise
from prodigy.errors import ProdigyError
from prodigy.git.context import discover
from prodigy.git.worktrees import listed
from prodigy.store import index
from prodigy.store.paths import home, run_directory
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
            if summary["error"]:
                click.echo(f"  error: {printable(str(summary['error']))}")
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
        click.echo(f"{summary['run_id']}  {summary['status']!s:24} {done:>14}  {summary['workflow']}")


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


@click.group("events")
def events_group() -> None:
    """What happened in a run."""


@events_group.command("ls")
@click.argument("run_reference", metavar="[RUN]", default="latest")
@click.option("--event-type", help="Only events of this type.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest N.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines.")
def events_ls_command(run_reference: str, *, event_type: str | None, limit: int | None, as_json: bool) -> None:
    """List the events of RUN, oldest first."""
    with closing(Store.open(run_directory(common.resolve(run_reference)))) as store:
        records = [
            record
            for record in store.events()
            if event_type in (None, record["event"]["event_type"])  # type: ignore[index]
        ]
    for record in records[-limit:] if limit else records:
        if as_json:
            click.echo(json.dumps(record))
            continue
        data = dict(record["event"])  # type: ignore[call-overload]
        name = data.pop("event_type")
        facts = " ".join(f"{key}={value}" for key, value in data.items() if value not in (None, "", [], ()))
        click.echo(printable(f"{record['timestamp']}  {name:22} {facts}"))


@click.group("worktree")
def worktree_group() -> None:
    """The worktrees that runs use."""


@worktree_group.command("ls")
@common.json_option
def worktree_ls_command(*, as_json: bool) -> None:
    """List Prodigy's worktrees of this repository; finished runs leave none."""
    repo = discover(Path.cwd()).repo
    folder = home() / "worktrees"
    ours = [tree for tree in listed(repo) if tree.root.is_relative_to(folder)]
    if as_json:
        rows = [{"path": str(tree.root), "head": tree.oid, "slot": tree.root.name} for tree in ours]
        click.echo(json.dumps(rows, indent=2))
        return
    for tree in ours:
        click.echo(f"{tree.root}  {(tree.oid or '?')[:12]}")
    if not ours:
        click.echo("no worktrees of Prodigy here")
