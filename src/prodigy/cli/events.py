"""`events`: what happened in runs."""

from __future__ import annotations

import click

from prodigy.cli.group import LazyGroup

_COMMANDS = {
    "ls": ("prodigy.cli.events_ls", "ls_command", "List the events of RUN, oldest first."),
    "follow": ("prodigy.cli.events_ls", "follow_command", "Print events as they come."),
    "search": ("prodigy.cli.events_search", "search_command", "List the events that a pattern matches."),
    "stats": ("prodigy.cli.events_search", "stats_command", "Count the events of RUN."),
    "export": ("prodigy.cli.events_export", "export_command", "Write events as JSON, CSV or Markdown."),
    "clean": ("prodigy.cli.events_clean", "clean_command", "Take away events of runs that are over."),
}


@click.group("events", cls=LazyGroup, places=_COMMANDS, aliases={"list": "ls"})
def events_group() -> None:
    """What happened in a run: every event, afterwards and live."""
