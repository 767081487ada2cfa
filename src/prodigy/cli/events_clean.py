"""`events clean`: the audit trails of runs that are over."""

from __future__ import annotations

import re
from pathlib import Path

import click

from prodigy.cli import common
from prodigy.cli.clean import ask_and_do
from prodigy.cli.event_options import of_a_run
from prodigy.cli.references import duration, the_run
from prodigy.engine.clean_parts import Finding
from prodigy.engine.event_cleaning import Limits, clean_events
from prodigy.errors import UsageError
from prodigy.git.context import common_dir_around
from prodigy.home import home

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b)?|b)?", re.IGNORECASE)


def size(text: str) -> float:
    """A type for options: bytes, from a text such as 500KB, 10MB, 1.5G; units of 1024."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is no size; write for example 500KB, 10MB or 1G")
    return float(found[1]) * 1024.0 ** (1 + "kmgt".index(found[2].lower()) if found[2] else 0)


@click.command("clean")
@of_a_run
@click.option("--all-jobs", is_flag=True, help="Of every run of this repository.")
@click.option("--older-than", type=duration("d"), metavar="AGE", help="Only of runs idle for so long: 12h, 7d.")
@click.option("--max-events", type=click.IntRange(min=0), metavar="N", help="Until N are left, the oldest first.")
@click.option("--max-size", type=size, metavar="SIZE", help="Until so much is left, e.g. 10MB, the oldest first.")
@click.option("--archive", is_flag=True, help="Write them to a compressed file first.")
@click.option("--archive-path", type=click.Path(path_type=Path), metavar="DIR", help="Where; else in Prodigy's home.")
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@click.option("-y", "--yes", "-f", "--force", "yes", is_flag=True, help="Don't ask.")
@common.json_option
def clean_command(
    run_reference: str | None,
    *,
    job_id: str | None,
    all_jobs: bool,
    older_than: float | None,
    max_events: int | None,
    max_size: float | None,
    archive: bool,
    archive_path: Path | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Take away the events of RUN, or with --all-jobs of every run of this repository.

    Only of runs that are over and merged, so that every run can still be resumed, and a trail goes whole: half of one
    would mislead. What runs came to stays, with the few events that tell it.
    """
    named = run_reference is not None or job_id is not None
    if named == all_jobs:
        hint = "Give one run, or --all-jobs for all of this repository."
        raise UsageError("RUN and --all-jobs exclude each other" if named else "whose events are meant?", hint=hint)
    run_id = the_run(run_reference, job_id, to_act=True) if named else None
    common_dir = None if named else common_dir_around(Path.cwd())
    limits = Limits(older_than, max_events, max_size)
    place = (archive_path or home() / "archive").absolute() if archive or archive_path else None

    def found(*, dry: bool) -> list[Finding]:
        return clean_events(run_id, common_dir, limits, dry_run=dry, archive=place)

    ask_and_do(found, dry_run=dry_run, yes=yes, as_json=as_json)
