"""`clean`: take away what runs left on disk, and runs that are over."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypedDict, TypeVar, Unpack

import click

from prodigy.cli import common
from prodigy.cli.group import Group
from prodigy.cli.references import duration
from prodigy.cli.words import counted, printable
from prodigy.cli.words import size as human_size
from prodigy.engine import clean_parts as parts
from prodigy.engine.clean_parts import Finding, Wanted
from prodigy.engine.run_cleaning import clean
from prodigy.errors import UsageError
from prodigy.git.context import common_dir_around

Command = TypeVar("Command", bound=Callable[..., Any])


class Options(TypedDict):
    """What click gives of `options`."""

    older_than: float | None
    all_repos: bool
    dry_run: bool
    force: bool
    yes: bool
    as_json: bool


def options(command: Command) -> Command:
    for option in reversed(
        (
            click.option(
                "--older-than", type=duration("d"), metavar="AGE",
                help="Only what nothing has happened to for so long: 12h, 7d; a number is days.",
            ),
            click.option("--all-repos", is_flag=True, help="Of the runs of all repositories."),
            click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing."),
            click.option(
                "-f", "--force", is_flag=True,
                help="Also what could go on or has work of its own, which a ref keeps; don't ask.",
            ),
            click.option("-y", "--yes", is_flag=True, help="Don't ask."),
            common.json_option,
        )
    ):  # fmt: skip
        command = option(command)
    return command


@click.group("clean", cls=Group)
def clean_group() -> None:
    """Take away what runs left on disk, and runs that are over.

    Nothing of a run that somebody works on. Without --force nothing of a run that could go on, and no work that no
    branch of yours has; with it, that work is kept below refs/prodigy/kept/ first.
    """


@clean_group.command("all")
@options
def all_command(**given: Unpack[Options]) -> None:
    """Remove the runs that are over and merged, whole; of others their worktrees, old dead letters, output and events
    as far as nothing needs them."""
    clean_parts_of(parts.ALL, given)


@clean_group.command("worktrees")
@click.option("--mapreduce", is_flag=True, help="Only those of items, not the runs' own.")
@options
def worktrees_command(*, mapreduce: bool, **given: Unpack[Options]) -> None:
    """Remove worktrees that ended runs, and runs that are gone, left."""
    clean_parts_of((parts.WORKTREES,), given, items_only=mapreduce)


@clean_group.command("state")
@options
def state_command(**given: Unpack[Options]) -> None:
    """Remove runs that are over, whole: directory, branches and refs, worktrees."""
    clean_parts_of((parts.RUNS,), given)


@clean_group.command("sessions")
@options
def sessions_command(**given: Unpack[Options]) -> None:
    """The same as `clean state`: a session is a run."""
    clean_parts_of((parts.RUNS,), given)


@clean_group.command("logs")
@options
def logs_command(**given: Unpack[Options]) -> None:
    """Remove what the steps of runs printed that are over and merged."""
    clean_parts_of((parts.LOGS,), given)


@clean_group.command("events")
@options
def events_command(**given: Unpack[Options]) -> None:
    """Remove the audit trail of runs that are over and merged. What the runs came to stays."""
    clean_parts_of((parts.EVENTS,), given)


@clean_group.command("dlq")
@options
def dlq_command(**given: Unpack[Options]) -> None:
    """Remove dead letters of ended runs, with the branches that keep their work. The letters' age counts."""
    clean_parts_of((parts.DLQ,), given)


def clean_parts_of(which: tuple[str, ...], given: Options, *, items_only: bool = False) -> None:
    """Look, ask, do."""
    force = given["force"]
    common_dir = None if given["all_repos"] else common_dir_around(Path.cwd())

    def found(*, dry: bool) -> list[Finding]:
        return clean(Wanted(which, given["older_than"], force, dry, items_only), common_dir)

    ask_and_do(found, dry_run=given["dry_run"], yes=force or given["yes"], as_json=given["as_json"])


class Find(Protocol):
    """Looks, and unless `dry`, takes away what it finds."""

    def __call__(self, *, dry: bool) -> list[Finding]: ...


def ask_and_do(found: Find, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Say what would go and ask, do it, tell it; ends the command."""
    if not (dry_run or yes):
        going = [one for one in found(dry=True) if one.kept is None]
        if going:
            _ask(going)
    findings = found(dry=dry_run)
    if as_json:
        click.echo(json.dumps([_row(one, dry_run=dry_run) for one in findings], indent=2))
    else:
        _tell(findings, dry_run=dry_run)
    sys.exit(max((one.failed for one in findings), default=0))


def _ask(going: list[Finding]) -> None:
    """Ask on a terminal; a no ends the command. Raises UsageError elsewhere."""
    counts: dict[str, int] = {}
    for one in going:
        counts[one.part] = counts.get(one.part, 0) + one.count
    what = ", ".join(counted(number, _NOUNS[part]) for part, number in counts.items())
    what = f"{what} would go for good, {human_size(sum(one.size_bytes for one in going))}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(what, hint="Nothing was removed. --dry-run lists it; --yes removes it.")
    if not click.confirm(f"{what}. Remove that?", err=True):
        click.echo("nothing was removed", err=True)
        sys.exit(0)


_NOUNS = {
    parts.WORKTREES: "worktree",
    parts.DLQ: "dead letter",
    parts.RUNS: "run",
    parts.LOGS: "step output",
    parts.EVENTS: "event",
}


def _tell(findings: list[Finding], *, dry_run: bool) -> None:
    for one in findings:
        if one.kept is not None:
            click.echo(printable(f"kept {_name(one)}: {one.kept}"))
            continue
        click.echo(printable(f"{'would remove' if dry_run else 'removed'} {_name(one)} ({human_size(one.size_bytes)})"))
        if one.archived:
            click.echo(printable(f"    written to {one.archived}"))
        for name in one.refs:
            click.echo(f"    work that was only there {'would be' if dry_run else 'is'} kept: {name}")
    going = [one for one in findings if one.kept is None]
    if len(going) > 1:
        click.echo(f"in all {human_size(sum(one.size_bytes for one in going))}")
    if not findings:
        click.echo("nothing to remove")


def _name(one: Finding) -> str:
    if one.part == parts.WORKTREES:
        return one.what
    if one.part == parts.RUNS:
        return f"run {one.run_id}"
    what = one.what if one.count == 1 and one.kept is not None else counted(one.count, _NOUNS[one.part])
    return f"{what} of run {one.run_id}"


def _row(one: Finding, *, dry_run: bool) -> dict[str, object]:
    return {
        "part": one.part,
        "run_id": one.run_id,
        "what": one.what,
        "count": one.count,
        "size_bytes": one.size_bytes,
        "removed": one.kept is None and not dry_run,
        "would_remove": one.kept is None,
        "reason": one.kept,
        "refs": list(one.refs),
        "archived": one.archived,
    }
