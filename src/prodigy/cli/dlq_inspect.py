"""`dlq inspect`: everything about one dead letter."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click

from prodigy.cli import common
from prodigy.cli.dlq_letters import find_letter, name_of, print_json, queue, retry_command, stage_of
from prodigy.cli.words import counted, printable, quoted
from prodigy.git.command import GitError
from prodigy.git.context import repository
from prodigy.git.repo import Repo
from prodigy.report.letter_advice import advice
from prodigy.report.letter_analysis import kind_of
from prodigy.state.dead_letter import NOT_ELIGIBLE
from prodigy.store.letters import Record
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

_SHORT = 12  # characters of a commit's id
_ITEM_SHOWN = 2000  # characters of an item


@click.command("inspect")
@click.argument("item")
@click.argument("run_reference", metavar="[RUN]", required=False)
@click.option("--job-id", metavar="RUN", hidden=True, help="The same as RUN.")
@common.json_option
def inspect_command(item: str, run_reference: str | None, *, job_id: str | None, as_json: bool) -> None:
    """Show everything about the dead letter of ITEM (its id or label) in RUN, by default the latest run."""
    found = queue(run_reference, job_id, all_runs=False)
    run_id = str(found.run_id)
    letter = find_letter(found.letters, item, run_id)
    repo = _repository(run_id)
    work = letter["worktree_artifacts"]
    work["uncommitted_changes"] = _uncommitted(repo, work)
    if as_json:
        print_json(letter)
        return
    click.echo(f"{name_of(letter)}: {kind_of(letter)}, {counted(letter['failure_count'], 'failed attempt')}")
    click.echo(f"  run {run_id}, fan-out {letter['fanout']}, item {letter['ordinal']}")
    click.echo(f"  {_shortened(json.dumps(letter['item_data'], ensure_ascii=False))}")
    for failure in letter["failure_history"]:
        _show_failure(failure)
    _show_work(repo, work)
    _show_next(letter)


def _shortened(text: str) -> str:
    if len(text) > _ITEM_SHOWN:
        text = f"{text[:_ITEM_SHOWN]} … ({len(text):,} characters; --json shows all)"
    return printable(text)


# The work --------------------------------------------------------------------------------------------------


def _repository(run_id: str) -> Repo | None:
    """The run's repository, None when it is not there any more."""
    with closing(Store.open(run_directory(run_id))) as store:
        common_dir = Path(store.run().common_dir)
    return repository(common_dir) if common_dir.is_dir() else None


def _uncommitted(repo: Repo | None, work: Record) -> str | None:
    """What was not committed, a line for each file as git marks it (`M shared.txt`); the commit that holds it when
    git can't tell, None when there is nothing."""
    head, snapshot = work["head"], work["snapshot"]
    if snapshot is None or head is None or repo is None:
        return None if snapshot is None else str(snapshot)
    options = ("-r", "-z", "--name-status", "--no-renames", "--no-ext-diff", "--no-textconv")
    try:
        done = repo.run("diff-tree", *options, head, snapshot)
    except GitError:
        return str(snapshot)
    records = done.records()
    lines = (f"{status} {name}" for status, name in zip(records[::2], records[1::2], strict=True))
    return "\n".join(lines).encode(errors="backslashreplace").decode()


def _show_work(repo: Repo | None, work: Record) -> None:
    branch = work["branch_name"]
    if branch is None:
        return
    shown = printable(branch)
    if repo is None or repo.read_ref(f"refs/heads/{branch}") is None:
        click.echo(f"  branch {shown} is gone")
        return
    click.echo(f"  branch {shown} keeps the work; see it with")
    click.echo(f"    git log -p {work['base'][:_SHORT]}..{shown}")
    click.echo(f"    git diff {work['base'][:_SHORT]} {shown}")
    if work["snapshot"] and work["head"]:
        click.echo("  not committed were")
        for line in work["uncommitted_changes"].splitlines():
            click.echo(f"    {printable(line)}")
        click.echo(f"    git diff {work['head'][:_SHORT]} {work['snapshot'][:_SHORT]}")
    if work["worktree_path"]:
        click.echo(f"  worktree {printable(work['worktree_path'])}")
    if work["bundle"]:
        click.echo(f"  bundle {printable(work['bundle'])} (git fetch from it where {work['base'][:12]} is)")


# The failures ----------------------------------------------------------------------------------------------


def _show_failure(failure: Record) -> None:
    facts = [failure["error_type"]]
    if failure["exit_code"] is not None:
        facts.append(f"exit {failure['exit_code']}")
    facts.append(f"after {failure['duration_ms'] / 1000:.1f} s")
    if failure["json_log_location"] is not None:
        facts.append("cost unknown" if failure["cost_usd"] is None else f"${failure['cost_usd']:.4f}")
        facts.append(f"{failure['tokens']:,} tokens")
    click.echo(f"\n  attempt {failure['attempt_number']}, {failure['timestamp']}: {', '.join(facts)}")
    click.echo(f"    {printable(str(failure['error_message']))}")
    if failure["step_failed"]:
        click.echo(f"    step {failure['step_failed']}")
    for line in failure["error_context"]:
        click.echo(f"    | {printable(line)}")
    if failure["log"]:
        click.echo(f"    log {printable(failure['log'])}")
    if failure["json_log_location"]:
        click.echo(f"    agent's JSON {printable(failure['json_log_location'])}")


# What next -------------------------------------------------------------------------------------------------


def _show_next(letter: Record) -> None:
    run_id, item, kind = letter["run_id"], quoted(letter["item_id"]), kind_of(letter)
    click.echo("")
    if letter["state"] != "dead":
        click.echo(f"  It is {letter['state']}: being retried. Go on with: prodigy resume {run_id}")
    elif letter["reprocess_eligible"]:
        click.echo(f"  It can be retried{'; look at it first' if letter['manual_review_required'] else ''}.")
    else:
        why = f"{kind} does not change by itself" if kind in NOT_ELIGIBLE else f"it failed as {kind}"
        click.echo(f"  It is not eligible for retry: {why}.")
    click.echo(f"  {advice(kind).text}")
    every = "" if letter["reprocess_eligible"] else " --all"
    click.echo(f"    prodigy logs {run_id} --item {item}")
    if command := retry_command(run_id, stage_of(run_id), f" --item {item}{every}"):
        click.echo(f"    {command}")
    else:
        click.echo("  The run is going on: there is nothing to run before it has ended.")
