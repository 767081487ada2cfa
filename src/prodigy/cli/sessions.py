"""`sessions`: the earlier system's word for runs; and each process that drove one."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Unpack

import click

from prodigy.cli import common
from prodigy.cli.clean import Options, clean_parts_of, options
from prodigy.cli.group import Group
from prodigy.cli.references import the_run
from prodigy.cli.run_table import Which, chosen, show_table, which_options
from prodigy.cli.words import counted, printable
from prodigy.engine import clean_parts as parts
from prodigy.engine.summary import summarise
from prodigy.report.driving_sessions import ENDS, STARTS, Session, sessions
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store


@click.group("sessions", cls=Group, aliases={"list": "ls"})
def sessions_group() -> None:
    """Runs, by the earlier system's name, and who drove them when."""


@sessions_group.command("ls")
@which_options
@common.json_option
def ls_command(*, as_json: bool, **which: Unpack[Which]) -> None:
    """List the runs of this repository; the same as `status`."""
    found = list(chosen(which))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    show_table(found, all_repos=which["all_repos"])
    if not found:
        click.echo("no runs")


@sessions_group.command("show")
@click.argument("run_reference", metavar="[RUN]", required=False)
@common.json_option
def show_command(run_reference: str | None, *, as_json: bool) -> None:
    """Show RUN (by default the latest), and each process that drove it: who, where, from when to when, how it ended."""
    run_id = the_run(run_reference, None)
    with closing(Store.open(run_directory(run_id))) as store:
        summary = summarise(store)
        found = sessions(store.events(types=(*STARTS, *ENDS)), is_held=is_held(store.directory))
    if as_json:
        click.echo(json.dumps({**summary, "sessions": [one.to_json() for one in found]}, indent=2))
        return
    common.show_summary(summary)
    click.echo(f"\n{counted(len(found), 'session')}:")
    for one in found:
        click.echo(printable(_line(one)))


def _line(one: Session) -> str:
    who = f"{one.user}@{one.host} ({one.pid})" if one.host else "?"
    until = f"{one.duration_s:.0f} s" if one.duration_s is not None else "?"
    why = f": {one.why.splitlines()[0][:60]}" if one.why else ""
    return f"  {one.started_at[:19]}Z  {until:>7}  {one.command:10}  {who}  {one.how.replace('_', ' ')}{why}"


@sessions_group.command("clean")
@click.option("--all", "every", is_flag=True, help="The same as --all-repos.")
@options
def clean_command(*, every: bool, **given: Unpack[Options]) -> None:
    """Remove runs that are over and merged, whole; the same as `clean sessions`."""
    clean_parts_of((parts.RUNS,), {**given, "all_repos": given["all_repos"] or every})
