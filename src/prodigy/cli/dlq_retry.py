"""`dlq retry`: run dead items once more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Unpack

import click

from prodigy.cli import common
from prodigy.cli.background import drive_in_background
from prodigy.cli.dlq_letters import filtered, find_letter, name_of
from prodigy.cli.driving import drive
from prodigy.cli.telling import note
from prodigy.engine.run import BY_OUTCOME
from prodigy.engine.session import Chosen, retry
from prodigy.errors import UsageError
from prodigy.state.items import ItemRow
from prodigy.store.letters import Record
from prodigy.store.paths import run_directory
from prodigy.store.store import Store


@click.command("retry")
@click.argument("run_reference", metavar="RUN")
@click.option(
    "--item", "items", multiple=True, metavar="ITEM", help="Only this item, by its id or label; may be given again."
)
@click.option("--filter", "expression", metavar="EXPR", help="Only dead letters for which EXPR holds.")
@click.option("--all", "every", is_flag=True, help="Also items that can't succeed by themselves.")
@click.option("--reduce", is_flag=True, help="Run the reduce steps again afterwards.")
@click.option("--parallel", type=click.IntRange(min=1), metavar="N", help="The same as --max-parallel.")
@common.again_options
@common.driving_options
def retry_command(
    run_reference: str,
    *,
    items: tuple[str, ...],
    expression: str | None,
    every: bool,
    reduce: bool,
    parallel: int | None,
    detach: bool,
    as_json: bool,
    **options: Unpack[common.AgainOptions],
) -> None:
    """Run the dead items of RUN once more; what succeeds is merged and leaves the queue."""
    run_id = common.resolve_to_act(run_reference)
    choices = common.again_choices(options, run_id)
    choices = replace(
        choices,
        max_parallel=_parallel(choices.max_parallel, parallel),
        items_from=choices.items_from or BY_OUTCOME,
        reduce=reduce,
    )
    chosen = _chosen(run_id, items, expression, every=every, max_retries=choices.max_tries)
    if detach:
        which = [word for item in items for word in ("--item", item)] + (["--all"] if every else [])
        which += ["--filter", expression] if expression is not None else []
        drive_in_background(run_id, ("dlq", "retry", run_id, *which, *common.flags(choices)), as_json=as_json)
        return
    drive(
        run_id,
        "dlq retry",
        lambda caller: retry(run_id, caller, choices, chosen=chosen, every=every),
        as_json=as_json,
    )


def _parallel(max_parallel: int | None, parallel: int | None) -> int | None:
    if None not in (max_parallel, parallel) and max_parallel != parallel:
        raise UsageError("--parallel and --max-parallel name two numbers", hint="They mean the same: give one of them.")
    return max_parallel or parallel


def _chosen(
    run_id: str, items: tuple[str, ...], expression: str | None, *, every: bool, max_retries: int | None
) -> Chosen:
    """Which dead items the call means; says which of them stay and why. Raises UsageError for an item that has no dead
    letter, or can't be retried."""
    with closing(Store.open(run_directory(run_id))) as store:
        records = store.dead_letters()
    meant = [find_letter(records, item, run_id) for item in items] if items else records
    meant = meant if expression is None else filtered(expression, meant)
    hopeless = [record for record in meant if not (every or record["reprocess_eligible"])]
    if items and hopeless:
        names = ", ".join(sorted({name_of(record) for record in hopeless}))
        raise UsageError(f"{names} can't succeed by running again", hint="Mend what is wrong first, then add --all.")
    hopeful = [record for record in meant if every or record["reprocess_eligible"]]
    tired = [record for record in hopeful if max_retries is not None and record["tries"] >= max_retries]
    for stays in _notes(run_id, records, meant, len(hopeless), len(tired), max_retries):
        note(stays)
    keys = {(record["fanout"], record["ordinal"]) for record in hopeful}

    def chosen(fanout: str, row: ItemRow) -> bool:
        return (fanout, row.ordinal) in keys

    return chosen


def _notes(
    run_id: str, records: list[Record], meant: list[Record], hopeless: int, tired: int, max_retries: int | None
) -> Iterator[str]:
    """What stays in the queue, and why."""
    if not records:
        yield f"no dead letters in run {run_id}"
    elif not meant:
        yield f"no dead letter of run {run_id} fits; nothing is retried"
    if hopeless:
        yield f"not eligible, left alone: {hopeless}; --all runs them too"
    if tired:
        yield f"left out by --max-retries {max_retries}, with as many tries or more: {tired}"
    if meant and hopeless + tired == len(meant):
        yield "that is all of them; nothing is retried"
