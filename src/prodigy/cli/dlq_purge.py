"""`dlq purge` and `dlq clear`: take dead letters away for good."""

from __future__ import annotations

import datetime as dt
import sys
from dataclasses import asdict

import click

from prodigy.cli import common
from prodigy.cli.dlq_letters import all_run_ids, dead_letters, print_json
from prodigy.cli.references import the_run
from prodigy.cli.words import printable
from prodigy.engine.purging import Plan, Purged, plan, purge
from prodigy.errors import ProdigyError, RunLocked, UsageError

_NAMED = 5  # branches

_yes_option = click.option("-y", "--yes", is_flag=True, help="Don't ask.")


@click.command("purge")
@click.argument("run_reference", metavar="[RUN]", required=False)
@click.option("--job-id", metavar="RUN", hidden=True, help="The same as RUN.")
@click.option("--all-runs", is_flag=True, help="Of every run of this repository.")
@click.option(
    "--older-than-days", "days", type=click.IntRange(0, 36500), required=True, metavar="N",
    help="Only letters whose last failure is older.",
)  # fmt: skip
@_yes_option
@common.json_option
def purge_command(
    run_reference: str | None, *, job_id: str | None, all_runs: bool, days: int, yes: bool, as_json: bool
) -> None:
    """Remove old dead letters of RUN (by default the latest run) for good, with the branches that keep their work.

    Their items stay failed, and can't be retried any more. What their steps printed stays.
    """
    named = job_id if run_reference is None else run_reference
    run_ids = all_run_ids(named) if all_runs else [the_run(run_reference, job_id, to_act=True)]
    before = (dt.datetime.now(dt.UTC) - dt.timedelta(days=days)).isoformat(timespec="milliseconds")
    _purge(run_ids, before.replace("+00:00", "Z"), alone=not all_runs, yes=yes, as_json=as_json)


@click.command("clear")
@click.argument("run_reference", metavar="RUN")
@_yes_option
@common.json_option
def clear_command(run_reference: str, *, yes: bool, as_json: bool) -> None:
    """Remove all dead letters of RUN for good, with the branches that keep their work.

    Their items stay failed, and can't be retried any more. What their steps printed stays.
    """
    _purge([common.resolve_to_act(run_reference)], None, alone=True, yes=yes, as_json=as_json)


def _purge(run_ids: list[str], before: str | None, *, alone: bool, yes: bool, as_json: bool) -> None:
    """Plan, ask, do. alone: the user named one run, whose errors are the command's; else the other runs go on, and the
    worst is the exit status."""
    plans: list[Plan] = []
    purged: list[Purged] = []
    worst = 0
    for run_id in run_ids:
        try:
            plans.append(plan(run_id, before))
        except ProdigyError as error:
            worst = _told(error, worst, alone=alone)
    doomed = sum(len(one.doomed) for one in plans)
    if doomed and not yes:
        _ask(plans, doomed)
    for one in plans:
        try:
            purged.append(purge(one))  # also without letters: an earlier one may have been killed half-way
        except ProdigyError as error:
            worst = _told(error, worst, alone=alone)
    _report(purged, alone=alone, as_json=as_json)
    if status := worst or int(any(one.kept for one in purged)):
        sys.exit(status)


def _told(error: ProdigyError, worst: int, *, alone: bool) -> int:
    """Say it and go on; the exit status so far."""
    if alone:
        raise error
    click.echo(f"Error: {error.told()}", err=True)
    return RunLocked.exit_code if isinstance(error, RunLocked) else max(worst, error.exit_code)


def _ask(plans: list[Plan], doomed: int) -> None:
    """Ask on a terminal; a no ends the command. Raises UsageError elsewhere."""
    concerned = [one.run_id for one in plans if one.doomed]
    which = f"run {concerned[0]}" if len(concerned) == 1 else f"{len(concerned)} runs"
    lost = [branch for one in plans for branch in one.unmerged]
    what = f"{dead_letters(doomed)} of {which} would go for good"
    if lost:
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        what += (
            f", with {_branches(len(lost))} of work that is not in the run's branch: {', '.join(lost[:_NAMED])}{more}"
        )
    what = printable(what)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(what, hint="Nothing was removed. `dlq export` keeps a copy; --yes removes them.")
    if not click.confirm(f"{what}. Remove them?", err=True):
        click.echo("nothing was removed", err=True)
        sys.exit(0)


def _branches(number: int) -> str:
    return f"{number} branch" if number == 1 else f"{number} branches"


def _report(purged: list[Purged], *, alone: bool, as_json: bool) -> None:
    if as_json:
        records = [{**asdict(one), "branches": one.branches} for one in purged]
        print_json(records[0] if alone else records)
        return
    for one in purged:
        if one.item_ids or one.refs or alone:
            parts = [dead_letters(len(one.item_ids)) if one.item_ids else "no dead letters"]
            parts += [_branches(len(one.branches))] if one.branches else []
            click.echo(f"removed {' and '.join(parts)} of run {one.run_id}")
        for kept in one.kept:
            click.echo(f"kept {printable(kept.item_id)}: {printable(kept.reason)}")
    if not any(one.item_ids or one.kept or one.refs for one in purged) and not alone:
        click.echo("no dead letters to remove")
