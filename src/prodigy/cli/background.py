"""A run goes on without this terminal: what is told of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from prodigy.cli import common
from prodigy.cli.words import printable
from prodigy.engine.background import BACKGROUND_LOG, POLL_S, Begun, begin_in_background

__all__ = ["BACKGROUND_LOG", "POLL_S", "drive_in_background"]


def drive_in_background(run_id: str, command: Sequence[str] = (), *, as_json: bool) -> None:
    """Let a process without a terminal go on with the run; returns when it has begun to.

    command: the arguments of that process; by default it resumes the run. When it has ended by then, the call ends as
    the same call in the foreground would have: with its exit code, and its message if it was refused. Raises as
    `begin_in_background` does.
    """
    begun = begin_in_background(run_id, command)
    if begun.summary is None:
        click.echo("\n".join(map(printable, begun.told.splitlines())), err=True)
        sys.exit(begun.code)
    _tell(begun, begun.summary, as_json=as_json)


def _tell(begun: Begun, summary: dict[str, object], *, as_json: bool) -> None:
    """stdout has the run's id, or the summary as JSON, whether the run has ended already or not."""
    click.echo(json.dumps(summary, indent=2) if as_json else begun.run_id)
    if begun.code is None:
        if not as_json:
            watch = f"prodigy attach {begun.run_id}"
            click.echo(f"the run goes on in the background; watch it: {watch}", err=True)
        return
    if not as_json:
        common.show_summary(summary, err=True)
    if summary["error"]:
        click.echo("Error: " + "\n".join(map(printable, str(summary["error"]).splitlines())), err=True)
    sys.exit(begun.code)
