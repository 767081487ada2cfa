"""`dlq`: the dead letters of a run."""

from __future__ import annotations

import json
from contextlib import closing
from typing import cast

import click

from prodigy.cli import common
from prodigy.cli.driving import drive, drive_in_background
from prodigy.cli.words import printable
from prodigy.engine.session import Choices, retry
from prodigy.store.paths import run_directory
from prodigy.store.store import Store


@click.group("dlq")
def dlq_group() -> None:
    """The dead letter queue: items that failed, with everything needed to understand and retry them."""


@dlq_group.command("list")
@click.argument("run_reference", metavar="[RUN]", default="latest")
@common.json_option
def list_command(run_reference: str, *, as_json: bool) -> None:
    """List the dead letters of RUN (by default the latest run of this repository)."""
    run_id = common.resolve(run_reference)
    with closing(Store.open(run_directory(run_id))) as store:
        letters = store.dead_letters()
    if as_json:
        click.echo(json.dumps(letters, indent=2, ensure_ascii=False))
        return
    if not letters:
        click.echo(f"run {run_id} has no dead letters")
        return
    for letter in letters:
        _show(letter)
    click.echo(f"\n{len(letters)} in run {run_id}. Retry them with: prodigy dlq retry {run_id}")


def _show(letter: dict[str, object]) -> None:
    history = cast("list[dict[str, object]]", letter["failure_history"])
    last = history[-1]
    flags = []
    if not letter["reprocess_eligible"]:
        flags.append("not eligible for retry")
    if letter["manual_review_required"]:
        flags.append("look at it first")
    note = f"  ({', '.join(flags)})" if flags else ""
    artifacts = cast("dict[str, object]", letter["worktree_artifacts"])
    name = str(letter["item_id"])
    if letter["label"] != name:
        name = f"{letter['label']} ({name})"
    click.echo(f"{printable(name)}: {last['error_type']}, attempt {last['attempt_number']}{note}")
    click.echo(f"    {printable(str(last['error_message']))}")
    click.echo(
        f"    branch {artifacts['branch_name']}" + (f", step {last['step_failed']}" if last["step_failed"] else "")
    )


@dlq_group.command("retry")
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
