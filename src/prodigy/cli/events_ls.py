"""`events ls` and `events follow`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing

import click

from prodigy.cli.event_options import (
    ago,
    checked_types,
    item_option,
    json_lines,
    of_a_run,
    show,
    since_option,
    types_option,
)
from prodigy.cli.references import find_item, the_run
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

TERMINAL_LIMIT = 100  # events on a terminal, unless the user says how many
FOLLOW_BEFORE = 10  # events of before that `follow` begins with
FOLLOW_POLL_S = 0.3


@click.command("ls")
@of_a_run
@types_option
@item_option
@since_option
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"Only the newest N; {TERMINAL_LIMIT} on a terminal, elsewhere all, unless given.",
)
@json_lines
def ls_command(
    run_reference: str | None,
    *,
    job_id: str | None,
    types: tuple[str, ...],
    item: str | None,
    since: float | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the events of RUN (by default the latest run of this repository), oldest first."""
    run_id = the_run(run_reference, job_id)
    known_types = checked_types(types)
    shortened = limit is None and not as_json and sys.stdout.isatty()
    shown = 0
    with closing(Store.open(run_directory(run_id))) as store:
        item_id = find_item(store, item) if item is not None else None
        for record in store.events(
            types=known_types,
            since=ago(since) if since is not None else None,
            item=item_id,
            limit=TERMINAL_LIMIT if shortened else limit,
        ):
            show(record, as_json=as_json)
            shown += 1
    if shortened and shown == TERMINAL_LIMIT:
        click.echo(f"These are the newest {TERMINAL_LIMIT}; --limit shows more.", err=True)


@click.command("follow")
@of_a_run
@types_option
@json_lines
def follow_command(run_reference: str | None, *, job_id: str | None, types: tuple[str, ...], as_json: bool) -> None:
    """Print the last events of RUN and then new ones as they come, until nobody works on it any more."""
    run_id = the_run(run_reference, job_id)
    known_types = checked_types(types)
    try:
        with closing(Store.open(run_directory(run_id))) as store:
            for record in _as_they_come(store, known_types):
                show(record, as_json=as_json)
    except KeyboardInterrupt:
        return  # the way to end it
    click.echo(f"nobody works on run {run_id} now", err=True)


def _as_they_come(store: Store, types: tuple[str, ...]) -> Iterator[dict[str, object]]:
    last, limit = 0, FOLLOW_BEFORE
    while True:
        live = is_held(store.directory)  # asked first: what its holder wrote last is read below
        for record in store.events(last, types=types, limit=limit or None):
            last = int(str(record["seq"]))
            yield record
        limit = 0
        if not live:
            return
        time.sleep(FOLLOW_POLL_S)
