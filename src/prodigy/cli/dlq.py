"""`dlq`: the dead letters of a run."""

from __future__ import annotations

import json
from contextlib import closing
from typing import cast

import click

from prodigy.cli import common
from prodigy.cli.dlq_retry import retry_command
from prodigy.cli.words import printable
from prodigy.store.paths import run_directory
from prodigy.store.store import Store


@click.group("dlq")
def dlq_group() -> None:
    """The dead letter queue: items that failed, with everything needed to understand and retry them."""


dlq_group.add_command(retry_command)


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
