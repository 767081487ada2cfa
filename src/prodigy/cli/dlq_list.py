"""`dlq list` and `dlq stats`."""

from __future__ import annotations

import click

from prodigy.cli import common
from prodigy.cli.dlq_letters import (
    Choice,
    Queue,
    choice_options,
    dead_letters,
    name_of,
    print_json,
    queue,
    retry_command,
    run_options,
)
from prodigy.cli.words import printable
from prodigy.report.letter_analysis import statistics
from prodigy.store.letters import Record

LIST_LIMIT = 50  # letters for people, unless the user says how many


@click.command("list")
@run_options
@choice_options
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"The newest N, 0 for all; {LIST_LIMIT}, and with --json all, unless given.",
)
@common.json_option
def list_command(
    run_reference: str | None,
    *,
    job_id: str | None,
    all_runs: bool,
    eligible: bool,
    kinds: tuple[str, ...],
    filter_text: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the dead letters of RUN (by default the latest run of this repository), the newest failure first.

    In --filter a name is a field of the item or, where the item has no such field, of its dead letter: item_id, label,
    error_type, error_message, exit_code, step_failed, duration_ms, error_signature, failure_count, tries, attempts,
    reprocess_eligible, manual_review_required, first_attempt, last_attempt, cost_usd, tokens.
    """
    found = queue(run_reference, job_id, all_runs=all_runs)
    choice = Choice(eligible, kinds, filter_text)
    chosen = choice.of(found.letters)
    if limit is None:
        limit = 0 if as_json else LIST_LIMIT
    shown = chosen[: limit or None]
    if as_json:
        print_json(shown)
        return
    for letter in shown:
        _show(letter, with_run=all_runs)
    _show_end(found, choice, chosen, len(shown))


def _show(letter: Record, *, with_run: bool) -> None:
    history = letter["failure_history"]
    flags = []
    if letter["state"] != "dead":
        flags.append("being retried")
    if not letter["reprocess_eligible"]:
        flags.append("not eligible for retry")
    if letter["manual_review_required"]:
        flags.append("look at it first")
    note = f"  ({', '.join(flags)})" if flags else ""
    run = f" of run {letter['run_id']}" if with_run else ""
    last = history[-1]
    click.echo(f"{name_of(letter)}: {last['error_type']}, attempt {last['attempt_number']}{run}{note}")
    click.echo(f"    {printable(str(last['error_message']))}")
    step = f", step {last['step_failed']}" if last["step_failed"] else ""
    click.echo(f"    branch {printable(str(letter['worktree_artifacts']['branch_name']))}{step}")


def _show_end(found: Queue, choice: Choice, chosen: list[Record], shown: int) -> None:
    if not found.letters:
        _say_none(found)
    elif not chosen:
        click.echo(f"none of the {dead_letters(len(found.letters))} {found.where} is meant")
    else:
        of = f" of {len(found.letters)}" if shown < len(found.letters) else ""
        more = f" (all {len(chosen)} with --limit 0)" if shown < len(chosen) else ""
        every = "" if any(letter["reprocess_eligible"] for letter in chosen) else " --all"
        command = retry_command(found.run_id or "RUN", found.stage, every, choice.expression(found.letters))
        then = f"Retry them with: {command}" if command else "The run is going on; retry them when it has ended."
        click.echo(f"\n{shown}{of} {found.where}{more}. {then}")


def _say_none(found: Queue) -> None:
    click.echo(f"run {found.run_id} has no dead letters" if found.run_id else "this repository has no dead letters")


@click.command("stats")
@run_options
@common.json_option
def stats_command(run_reference: str | None, *, job_id: str | None, all_runs: bool, as_json: bool) -> None:
    """Count the dead letters of RUN (by default the latest run of this repository) by error and by kind."""
    found = queue(run_reference, job_id, all_runs=all_runs)
    numbers = statistics(found.letters)
    if as_json:
        print_json({"run_id": found.run_id, **numbers})
        return
    if not found.letters:
        _say_none(found)
        return
    click.echo(f"{dead_letters(numbers['total_items'])} {found.where}")
    click.echo(f"    eligible for retry: {numbers['eligible_for_reprocess']}")
    click.echo(f"    to be looked at first: {numbers['requiring_manual_review']}")
    click.echo(f"    failed first {numbers['oldest_item']}, last {numbers['newest_item']}")
    for title, counts in (("By kind", numbers["kinds"]), ("By signature", numbers["error_categories"])):
        click.echo(f"{title}:")
        for name, count in counts.items():
            click.echo(f"    {count:5}  {name}")
    click.echo(f"What they have in common: prodigy dlq analyze {found.run_id or '--all-runs'}")
