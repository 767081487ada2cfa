"""`dashboard`: runs in a browser."""

from __future__ import annotations

import ipaddress
import json
import sys
import webbrowser

import click

from prodigy.cli import common


@click.command("dashboard")
@click.argument("run_reference", metavar="[RUN]", required=False)
@click.option("--port", type=click.IntRange(0, 65535), help="Serve there; by default at 7070, or any free port.")
@click.option("--open", "open_browser", is_flag=True, help="Open it in your browser.")
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="Be reached there; by default from here only.")
@click.option("--allow-host", "names", multiple=True, metavar="NAME", help="A name that others call this machine by.")
@click.option("--read-only", is_flag=True, help="Show, and let nobody steer.")
@click.option("--link", "only_link", is_flag=True, help="Print another link to a dashboard that is served already.")
@common.json_option
def dashboard_command(
    run_reference: str | None,
    *,
    port: int | None,
    open_browser: bool,
    host: str,
    names: tuple[str, ...],
    read_only: bool,
    only_link: bool,
    as_json: bool,
) -> None:
    """Watch and steer runs in a browser, all of them or RUN, until Ctrl-C.

    It shows every run of this machine's PRODIGY_HOME, also those that other processes drive and those that are over.
    The link that it prints opens once; the browser that opened it is known for a week.
    """
    from prodigy.web.serve import Place, another_link, serve

    page = "/" if run_reference is None else f"/runs/{common.resolve(run_reference)}"

    def ready(address: str) -> None:
        if as_json:
            click.echo(json.dumps({"url": address}))
        else:
            click.echo(f"Dashboard: {address}")
        sys.stdout.flush()
        if open_browser and not webbrowser.open(address):
            click.echo("No browser could be started: open the link in one.", err=True)

    if only_link:
        ready(another_link(host, port, page))
        return
    if not _is_loopback(host):
        click.echo(
            f"Warning: {host} can be reached from other machines, and what they send and get is not encrypted. Whoever"
            " has the link steers your runs as you do. An SSH tunnel is safer: ssh -L 7070:127.0.0.1:7070 HOST",
            err=True,
        )
    click.echo("Ctrl-C ends the dashboard; the runs go on.", err=True)
    serve(Place(host, port, names), page, read_only=read_only, ready=ready)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
