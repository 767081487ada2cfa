"""`pause` and `steer`: what is asked of a run that another process drives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import click

from prodigy.cli import common
from prodigy.cli.words import counted
from prodigy.engine import steering
from prodigy.errors import UsageError
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

TERMINAL = "terminal"
PATIENCE_S = 10.0
POLL_S = 0.05

Ask = Callable[[Store, str], int]


@click.command("pause")
@click.argument("run_reference", metavar="[RUN]", default="latest")
def pause_command(run_reference: str) -> None:
    """Start nothing new in RUN until `prodigy resume RUN`. Steps that run may finish.

    The process that drives it stays, and the run stays paused when that process is ended. To end what runs as well:
    `prodigy cancel`.
    """
    run_id = common.resolve_to_act(run_reference)
    ask(run_id, steering.hold)
    click.echo(f"run {run_id} is paused; what runs may finish. Go on: prodigy resume {run_id}", err=True)


@click.command("steer")
@click.argument("run_reference", metavar="[RUN]", default="latest")
@click.option("--max-parallel", type=click.IntRange(min=1), metavar="N", help="So many items at a time from now on.")
@click.option(
    "--budget", type=click.FloatRange(min=0, min_open=True), metavar="USD", help="What it may cost in all from now on."
)
@click.option("--retry", "items", multiple=True, metavar="ITEM", help="Run a dead item again; may be given again.")
@click.option("--retry-all", is_flag=True, help="Run all dead items again.")
def steer_command(
    run_reference: str, *, max_parallel: int | None, budget: float | None, items: tuple[str, ...], retry_all: bool
) -> None:
    """Change how RUN goes on, without stopping it. The choices stay with the run.

    Items are run again at once, if their map still runs; afterwards there is `prodigy dlq retry`.
    """
    run_id = common.resolve_to_act(run_reference)
    asked = list(_asked(run_id, max_parallel, budget, items, retry_all=retry_all))
    if not asked:
        raise UsageError("this changes nothing", hint="Give --max-parallel, --budget, --retry or --retry-all.")
    for what, request in asked:
        ask(run_id, request)
        click.echo(what, err=True)


def _asked(
    run_id: str, max_parallel: int | None, budget: float | None, items: tuple[str, ...], *, retry_all: bool
) -> Iterator[tuple[str, Ask]]:
    if max_parallel is not None:
        yield f"{counted(max_parallel, 'item')} at a time", lambda s, by: steering.set_max_parallel(s, max_parallel, by)
    if budget is not None:
        yield f"a budget of {budget:g} USD", lambda store, by: steering.set_budget(store, budget, by)
    if items or retry_all:
        chosen = _chosen(run_id, items, retry_all=retry_all)
        yield f"asked to run {counted(len(chosen), 'item')} again", lambda store, by: steering.retry(store, chosen, by)


def _chosen(run_id: str, items: tuple[str, ...], *, retry_all: bool) -> list[str]:
    from prodigy.cli.references import find_item

    with closing(Store.open(run_directory(run_id))) as store:
        if retry_all:
            if dead := sorted(steering.dead_items(store)):
                return dead
            raise UsageError(f"no item of run {run_id} has failed for good", hint="There is nothing to retry.")
        return [find_item(store, item) for item in items]


def ask(run_id: str, request: Ask) -> None:
    """Ask the process that drives a run, and wait until it has obeyed, or for a while."""
    with closing(Store.open(run_directory(run_id))) as store:
        number = request(store, steering.who(TERMINAL))
        give_up = time.monotonic() + PATIENCE_S
        while not steering.is_done(store, number):
            if time.monotonic() > give_up:
                click.echo("its process has not answered yet; it will when it can", err=True)
                return
            time.sleep(POLL_S)
