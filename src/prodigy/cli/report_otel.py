"""`report --otel`: the spans of a run, sent to a collector."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict

import click

from prodigy.cli.words import counted, printable
from prodigy.report.otlp import send
from prodigy.store.paths import run_directory
from prodigy.store.store import Store


def send_spans(run_id: str, *, as_json: bool) -> None:
    """Send them, and say how many. Raises as `send` does."""
    with closing(Store.open(run_directory(run_id))) as store:
        sent = send(store)
    if as_json:
        click.echo(json.dumps({"run_id": run_id, **asdict(sent)}, indent=2))
        return
    click.echo(
        printable(f"sent {counted(sent.spans, 'span')} of run {run_id} to {sent.endpoint} as trace {sent.trace}")
    )
    if sent.still_open:
        note = f"{counted(sent.still_open, 'span')} left out, for what they are of goes on; send again when it is over"
        click.echo(note, err=True)
