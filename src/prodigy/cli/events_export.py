"""`events export`: the events of a run as a file for other programs, or for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import click

from prodigy.cli.dlq_export import write_whole
from prodigy.cli.event_options import (
    ago,
    checked_types,
    facts_text,
    fields_of,
    item_option,
    of_a_run,
    since_option,
    types_option,
)
from prodigy.cli.references import find_item, the_run
from prodigy.cli.words import counted, printable
from prodigy.report.letter_table import json_text, safe_cell
from prodigy.secrets import mask
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

FORMATS = ("json", "csv", "markdown")
COLUMNS = ("seq", "timestamp", "run_id", "event_type", "item_id", "path", "data")
_ENDINGS = {".csv": "csv", ".md": "markdown", ".markdown": "markdown"}


@click.command("export")
@of_a_run
@click.option("--format", "form", type=click.Choice(FORMATS), help="By default what the file's ending says, else json.")
@click.option("-o", "--output", metavar="FILE", default="-", help="Where to; standard output without it.")
@types_option
@item_option
@since_option
def export_command(
    run_reference: str | None,
    *,
    job_id: str | None,
    form: str | None,
    output: str,
    types: tuple[str, ...],
    item: str | None,
    since: float | None,
) -> None:
    """Write the events of RUN (by default the latest run) as JSON, CSV or Markdown.

    JSON is an array of what `events ls --json` prints. CSV has a row for each event, with what is particular to it as
    JSON in the last column; a text that a spreadsheet would take for a formula gets a ' in front.
    """
    run_id = the_run(run_reference, job_id)
    with closing(Store.open(run_directory(run_id))) as store:
        records = list(
            store.events(
                types=checked_types(types),
                since=ago(since) if since is not None else None,
                item=find_item(store, item) if item is not None else None,
            )
        )
    form = form or _ENDINGS.get(Path(output).suffix.lower(), "json")
    text = {"json": _json, "csv": _csv, "markdown": _markdown}[form](records)
    if output == "-":
        click.echo(mask(text).encode(errors="backslashreplace"), nl=False)
        return
    write_whole(Path(output), text)
    click.echo(f"wrote {counted(len(records), 'event')} of run {run_id} to {printable(output)}")


def _json(records: list[dict[str, object]]) -> str:
    return f"{json_text(records)}\n"


def _csv(records: Iterable[dict[str, object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for record in records:
        fields = fields_of(record)
        fields |= {"run_id": record["correlation_id"], "data": json.dumps(_particular(record), ensure_ascii=False)}
        writer.writerow([safe_cell(fields.get(name)) for name in COLUMNS])
    return out.getvalue()


def _markdown(records: Iterable[dict[str, object]]) -> str:
    lines = ["| time | event | facts |", "| --- | --- | --- |"]
    lines += [
        f"| {record['timestamp']} | {fields_of(record)['event_type']} | {_cell(facts_text(record))} |"
        for record in records
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text in a cell, where it can neither end the cell nor be markup."""
    escaped = "".join(f"\\{c}" if c in "\\|`*_{}[]<>#" else c for c in printable(text))
    return escaped.replace("&", "&amp;")


def _particular(record: dict[str, object]) -> dict[str, object]:
    event = record["event"]
    assert isinstance(event, dict)
    return {name: value for name, value in event.items() if name not in ("event_type", "item_id", "path")}
