"""What the commands of `events` have in common: which run, which of its events, and how one is shown."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, TypeVar

import click

from prodigy.cli.references import duration
from prodigy.cli.words import printable
from prodigy.errors import UsageError
from prodigy.state import events as ev

Command = TypeVar("Command", bound=Callable[..., Any])


def _refuse_file(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None and not context.resilient_parsing:
        raise UsageError(
            "there is no file of events: they are in the run's database",
            hint="Name the run: RUN, or --job-id RUN. `prodigy events export RUN --output FILE` writes a file.",
        )


def of_a_run(command: Command) -> Command:
    """RUN and its synonym of the earlier system; `--file` is answered with what takes its place."""
    for option in reversed(
        (
            click.argument("run_reference", metavar="[RUN]", required=False),
            click.option("--job-id", metavar="RUN", hidden=True, help="The same as RUN."),
            click.option(
                "--file", hidden=True, expose_value=False, is_eager=True, callback=_refuse_file, help="Not any more."
            ),
        )
    ):
        command = option(command)
    return command


types_option = click.option(
    "--event-type", "types", multiple=True, metavar="TYPE", help="Only events of this type; may be given again."
)
item_option = click.option("--item", "--agent-id", metavar="ID", help="Only what happened to this item.")
since_option = click.option(
    "--since", type=duration("m"), metavar="AGO", help="Only what happened since: 30m, 2h, 7d; a number is minutes."
)
json_lines = click.option("--json", "as_json", is_flag=True, help="Print JSON Lines.")


def checked_types(types: tuple[str, ...]) -> tuple[str, ...]:
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


def ago(seconds: float) -> str:
    """A time as events carry it, so that the two compare as texts."""
    try:
        then = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
    except OverflowError:
        return ""  # before everything
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fields_of(record: dict[str, object]) -> dict[str, object]:
    """An event's own fields, with its number, time and id."""
    event = record["event"]
    assert isinstance(event, dict)
    return {"seq": record["seq"], "timestamp": record["timestamp"], "id": record["id"], **event}


def facts_text(record: dict[str, object]) -> str:
    """What an event says, as `key=value ...`; what it does not say is left out."""
    event = record["event"]
    assert isinstance(event, dict)
    said = {key: value for key, value in event.items() if key != "event_type" and value not in (None, "", [], ())}
    return " ".join(f"{key}={value}" for key, value in said.items())


def show(record: dict[str, object], *, as_json: bool) -> None:
    """One event on stdout: as a line of JSON, or in words."""
    if as_json:
        click.echo(json.dumps(record))
        return
    click.echo(printable(f"{record['timestamp']}  {fields_of(record)['event_type']:22} {facts_text(record)}"))
