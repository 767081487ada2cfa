"""`mcp`: the tools of this repository for agents, on standard input and output."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click

from prodigy.errors import EnvironmentProblem


@click.command("mcp")
@click.option("-p", "--path", "where", type=click.Path(path_type=Path), default=Path(), help="The repository.")
@click.option("--read-only", is_flag=True, help="Offer only the tools that look.")
def mcp_command(where: Path, *, read_only: bool) -> None:
    """Serve tools to an agent by the Model Context Protocol, on standard input and output.

    With them an agent validates workflows, starts runs of this repository in the background, waits for them, looks at
    dead letters and retries them. It is started by the agent's program: docs/integrations.md has its settings.
    """
    try:
        from prodigy.mcp_server.server import inside_of_run, server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise EnvironmentProblem(
            "the server needs the package mcp, which is not installed",
            hint="Install it with Prodigy: pip install 'prodigy-agents[mcp]'",
        ) from error
    from prodigy.mcp_server.access import Access

    access = Access.around(where)
    why = "It was started with --read-only." if read_only else None
    if why is None and (run_id := inside_of_run()) is not None:
        why = f"It was started in a step of run {run_id}, and a step starts no runs by it."
        click.echo(f"Warning: {why} Only the tools that look are offered.", err=True)
    if sys.stdin.isatty():
        click.echo("waiting for an agent's messages on standard input; Ctrl-C ends it", err=True)
    # The thread that reads would keep a terminal waiting; nothing is lost, for runs have processes of their own.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    server(access, read_only=why).run("stdio")
