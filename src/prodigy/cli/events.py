"""`events`: what happened in a run, afterwards and live."""

from __future__ import annotations

import copy
import datetime as dt
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from difflib import get_close_matches

import click

from prodigy.cli import common
from prodigy.cli.words import printable
from prodigy.errors import UsageError
from prodigy.state import events as ev
from prodigy.store.index import LATEST
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

TERMINAL_LIMIT = 100  # events on a terminal, unless the user says how many
FOLLOW_BEFORE = 10  # events of before that `follow` begins with
FOLLOW_POLL_S = 0.3

_SUGGESTIONS_AMONG = 2000
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")


def duration(bare: str) -> Callable[[str], float]:
    """A type for options: seconds, from a text such as `90s`, `1h30m`, `7d`. A bare number counts in `bare` units."""

    def seconds(text: str) -> float:
        text = text.strip().lower()
        if re.fullmatch(r"\d+(?:\.\d+)?", text):
            text += bare
        if not _DURATION.fullmatch(text):
            raise click.BadParameter(f"{text!r} is no duration; write for example 90s, 30m, 12h or 7d")
        return sum(float(n) * _UNITS_S[unit] for n, unit in re.findall(r"([\d.]+)([smhdw])", text))

    return seconds


def add_synonym(group: click.Group, command: click.Command, name: str) -> None:
    """Let `command` be called by another name too, which the help does not show."""
    synonym = copy.copy(command)
    synonym.hidden = True
    group.add_command(synonym, name)


_run_argument = click.argument("run_reference", metavar="[RUN]", required=False)
_job_option = click.option("--job-id", metavar="RUN", hidden=True, help="The same as RUN.")
_types_option = click.option(
    "--event-type", "types", multiple=True, metavar="TYPE", help="Only events of this type; may be given again."
)
_json_lines = click.option("--json", "as_json", is_flag=True, help="Print JSON Lines.")


@click.group("events")
def events_group() -> None:
    """What happened in a run."""


@events_group.command("ls")
@_run_argument
@_job_option
@_types_option
@click.option("--item", "--agent-id", metavar="ID", help="Only what happened to this item.")
@click.option(
    "--since", type=duration("m"), metavar="AGO", help="Only what happened since: 30m, 2h, 7d; a number is minutes."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"Only the newest N; {TERMINAL_LIMIT} on a terminal, elsewhere all, unless given.",
)
@_json_lines
def events_ls_command(
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
    known_types = _checked_types(types)
    shortened = limit is None and not as_json and sys.stdout.isatty()
    shown = 0
    with closing(Store.open(run_directory(run_id))) as store:
        item_id = find_item(store, item) if item is not None else None
        for record in store.events(
            types=known_types,
            since=_ago(since) if since is not None else None,
            item=item_id,
            limit=TERMINAL_LIMIT if shortened else limit,
        ):
            _show(record, as_json=as_json)
            shown += 1
    if shortened and shown == TERMINAL_LIMIT:
        click.echo(f"These are the newest {TERMINAL_LIMIT}; --limit shows more.", err=True)


add_synonym(events_group, events_ls_command, "list")


@events_group.command("follow")
@_run_argument
@_job_option
@_types_option
@_json_lines
def events_follow_command(
    run_reference: str | None, *, job_id: str | None, types: tuple[str, ...], as_json: bool
) -> None:
    """Print the last events of RUN and then new ones as they come, until nobody works on it any more."""
    run_id = the_run(run_reference, job_id)
    known_types = _checked_types(types)
    try:
        with closing(Store.open(run_directory(run_id))) as store:
            for record in _as_they_come(store, known_types):
                _show(record, as_json=as_json)
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


def the_run(reference: str | None, job_id: str | None, *, to_act: bool = False) -> str:
    """The run that RUN, or its synonym of the earlier system, means; the latest when neither is given.

    to_act: for a command that takes something away, see `common.resolve_to_act`.
    """
    if reference is not None and job_id is not None and reference != job_id:
        raise UsageError("RUN and --job-id name two runs", hint="They mean the same: give one of them.")
    named = job_id if reference is None else reference
    resolve = common.resolve_to_act if to_act else common.resolve
    return resolve(LATEST if named is None else named)


def find_item(store: Store, name: str) -> str:
    """The id of the item that `name` means: its id, its label, or `agent-` and its id. Raises UsageError."""
    items = [item for row in store.fanouts() for item in store.items(row["path"])]
    for wanted in (name, name.removeprefix("agent-")):
        for item in items:
            if wanted in (item.item_id, item.label):
                return item.item_id
    if not items:
        raise UsageError(f"run {store.directory.name} has no items yet", hint="`prodigy logs` lists its steps.")
    names = [item.label for item in items]
    if near := get_close_matches(name, names[:_SUGGESTIONS_AMONG], n=3, cutoff=0.5):
        hint = f"Did you mean {', '.join(near)}?"
    else:
        hint = f"There are: {', '.join(names[:8])}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    raise UsageError(f"run {store.directory.name} has no item {name}", hint=printable(hint))


def _checked_types(types: tuple[str, ...]) -> tuple[str, ...]:
    known = {
        cls.type for cls in vars(ev).values()
        if isinstance(cls, type) and issubclass(cls, ev.Event) and cls not in (ev.Event, ev.ItemEvent)
    }  # fmt: skip
    for name in types:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(known))}"
            raise UsageError(f"no event has the type {name}", hint=hint)
    return types


def _ago(seconds: float) -> str:
    """A time as events carry it, so that the two compare as texts."""
    try:
        then = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
    except OverflowError:
        return ""  # before everything
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _show(record: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(record))
        return
    data = dict(record["event"])  # type: ignore[call-overload]
    name = data.pop("event_type")
    facts = " ".join(f"{key}={value}" for key, value in data.items() if value not in (None, "", [], ()))
    click.echo(printable(f"{record['timestamp']}  {name:22} {facts}"))
