"""`dlq`: the dead letters of runs."""

from __future__ import annotations

import click

from prodigy.cli.group import LazyGroup

_COMMANDS = {
    "list": ("prodigy.cli.dlq_list", "list_command", "List the dead letters of RUN, the newest failure first."),
    "inspect": ("prodigy.cli.dlq_inspect", "inspect_command", "Everything about one dead letter."),
    "retry": ("prodigy.cli.dlq_retry", "retry_command", "Run the dead items of RUN once more."),
    "analyze": ("prodigy.cli.dlq_analyze", "analyze_command", "What failed in the same way, when, and what to do."),
    "stats": ("prodigy.cli.dlq_list", "stats_command", "How many dead letters of which kinds there are."),
    "export": ("prodigy.cli.dlq_export", "export_command", "Write the dead letters to a file, as JSON or CSV."),
    "purge": ("prodigy.cli.dlq_purge", "purge_command", "Remove old dead letters for good, with their branches."),
    "clear": ("prodigy.cli.dlq_purge", "clear_command", "Remove all dead letters of RUN for good."),
}


@click.group("dlq", cls=LazyGroup, places=_COMMANDS)
def dlq_group() -> None:
    """The dead letter queue: items that failed, with everything needed to understand and retry them."""
