"""`dlq retry`: run dead items once more."""

from __future__ import annotations

import click

from prodigy.cli import common
from prodigy.cli.driving import drive, drive_in_background
from prodigy.engine.session import Choices, retry


@click.command("retry")
@click.argument("run_reference", metavar="RUN")
@click.option("--item", "items", multiple=True, metavar="ID", help="Only this item; may be given again.")
@click.option("--all", "every", is_flag=True, help="Also items that can't succeed by themselves.")
@common.driving_options
def retry_command(
    run_reference: str,
    *,
    items: tuple[str, ...],
    every: bool,
    yes: bool,
    no_merge: bool,
    max_parallel: int | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Run the dead items of RUN once more; what succeeds is merged and leaves the queue."""
    run_id = common.resolve(run_reference)
    choices = Choices(common.merge_choice(yes=yes, no_merge=no_merge), max_parallel)
    if detach:
        which = [word for item in items for word in ("--item", item)] + (["--all"] if every else [])
        drive_in_background(run_id, ("dlq", "retry", run_id, *which, *common.flags(choices)), as_json=as_json)
        return
    drive(
        run_id,
        "dlq retry",
        lambda caller: retry(run_id, caller, choices, item_ids=frozenset(items), every=every),
        as_json=as_json,
    )
