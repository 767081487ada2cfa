"""`dlq retry`: run dead items once more."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from prodigy.cli import common
from prodigy.cli.driving import drive, drive_in_background
from prodigy.cli.words import printable
from prodigy.engine.choices import Choices
from prodigy.engine.run import BY_OUTCOME
from prodigy.engine.session import Chosen, retry
from prodigy.errors import UsageError
from prodigy.report.letter_filter import letter_filter
from prodigy.state.items import ItemRow
from prodigy.store.paths import run_directory
from prodigy.store.store import Store


@click.command("retry")
@click.argument("run_reference", metavar="RUN")
@click.option("--item", "items", multiple=True, metavar="ID", help="Only this item; may be given again.")
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
    max_retries: int | None,
    file: Path | None,
    from_start: bool,
    from_failed_step: bool,
    force: bool,
    yes: bool,
    no_merge: bool,
    max_parallel: int | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Run the dead items of RUN once more; what succeeds is merged and leaves the queue."""
    choices = Choices(
        merge=common.merge_choice(yes=yes, no_merge=no_merge),
        max_parallel=max_parallel or parallel,
        items_from=common.items_from(from_start=from_start, from_failed_step=from_failed_step) or BY_OUTCOME,
        max_tries=max_retries,
        edited=common.edited(file),
        reduce=reduce,
        force=force,
    )
    run_id = common.resolve(run_reference)
    chosen = _chosen(run_id, items, expression, every=every)
    if detach:
        which = [word for item in items for word in ("--item", item)] + (["--all"] if every else [])
        which += ["--filter", expression] if expression else []
        drive_in_background(run_id, ("dlq", "retry", run_id, *which, *common.flags(choices)), as_json=as_json)
        return
    drive(
        run_id,
        "dlq retry",
        lambda caller: retry(run_id, caller, choices, chosen=chosen, every=every),
        as_json=as_json,
    )


def _chosen(run_id: str, items: tuple[str, ...], expression: str | None, *, every: bool) -> Chosen:
    """Which dead items the call means. Raises UsageError for an item that has no dead letter, or can't be retried."""
    fits = letter_filter(expression) if expression is not None else None
    with closing(Store.open(run_directory(run_id))) as store:
        records = store.dead_letters()
    if unknown := sorted(set(items) - {str(record["item_id"]) for record in records}):
        names = printable(", ".join(unknown))
        raise UsageError(f"no dead letter for {names}", hint=f"`prodigy dlq list {run_id}` names them.")
    meant = [record for record in records if not items or record["item_id"] in items]
    hopeless = [str(record["item_id"]) for record in meant if not (every or record["reprocess_eligible"])]
    if items and hopeless:
        names = printable(", ".join(sorted(hopeless)))
        raise UsageError(f"{names} can't succeed by running again", hint="Mend what is wrong first, then add --all.")
    if hopeless:
        click.echo(f"not eligible, left alone: {len(hopeless)}; --all runs them too", err=True)
    keys = {(record["fanout"], record["ordinal"]) for record in meant if fits is None or fits(record)}
    if records and not keys:
        click.echo(f"no dead letter of run {run_id} fits; nothing is retried", err=True)

    def chosen(fanout: str, row: ItemRow) -> bool:
        return (fanout, row.ordinal) in keys

    return chosen
