"""`worktree`: the worktrees that runs use, the merge that was put off, and taking away what is left."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

import click

from prodigy.cli import common
from prodigy.cli.driving import drive
from prodigy.cli.group import Group
from prodigy.cli.references import duration
from prodigy.cli.words import printable
from prodigy.cli.words import size as human_size
from prodigy.engine import cleaning
from prodigy.engine.choices import Choices
from prodigy.engine.cleaning import Left, Verdict
from prodigy.engine.session import resume
from prodigy.errors import ProdigyError, UsageError
from prodigy.executors.allowance import disk_usage
from prodigy.git.context import common_dir_around
from prodigy.store import index
from prodigy.store.lock import is_held, require_free
from prodigy.store.paths import run_directory
from prodigy.store.rows import RunRow
from prodigy.store.store import Store

STOPPED_BY_USER = (130, 143)

_dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")


@click.group("worktree", cls=Group, aliases={"list": "ls"})
def worktree_group() -> None:
    """The worktrees that runs use."""


# Listing ---------------------------------------------------------------------------------------------------


@worktree_group.command("ls")
@click.option("-d", "--detailed", is_flag=True, help="Also the workflow, the last activity and the size on disk.")
@common.json_option
def worktree_ls_command(*, detailed: bool, as_json: bool) -> None:
    """List Prodigy's worktrees of this repository with their runs; finished runs leave none."""
    lefts = cleaning.left_on_disk(common_dir_around(Path.cwd()))
    if as_json:
        click.echo(json.dumps([_row(left, detailed=detailed) for left in lefts], indent=2))
        return
    for left in lefts:
        click.echo(f"{left.run_id}  {left.slot:4} {_state(left):24} {(left.head or '?')[:12]:12}  {left.path}")
        if left.item_id is not None:
            click.echo(f"    kept for the failed item {printable(left.item_id)}")
        if detailed:
            at = left.last_active.isoformat(timespec="seconds") if left.last_active else "?"
            size = human_size(disk_usage(left.path))
            click.echo(f"    {printable(left.workflow or '?')}, last active {at}, {size}")
    if not lefts:
        click.echo("no worktrees of Prodigy here")


def _row(left: Left, *, detailed: bool) -> dict[str, object]:
    row: dict[str, object] = {
        "path": str(left.path),
        "run_id": left.run_id,
        "slot": left.slot,
        "status": left.status,
        "merged": left.merged,
        "head": left.head,
        "workflow": left.workflow,
        "last_active": left.last_active.isoformat(timespec="seconds") if left.last_active else None,
        "item_id": left.item_id,
    }
    return {**row, "size_bytes": disk_usage(left.path)} if detailed else row


def _state(left: Left) -> str:
    state = left.status.replace("_", " ")
    return f"{state}, unmerged" if left.status.startswith("completed") and not left.merged else state


# Merging ---------------------------------------------------------------------------------------------------


@worktree_group.command("merge")
@click.argument("run_reference", metavar="[RUN]", required=False)
@click.option("--all", "every", is_flag=True, help="Every unmerged run of this repository, oldest first.")
def worktree_merge_command(run_reference: str | None, *, every: bool) -> None:
    """Merge the result of RUN (by default the latest), which has ended, into its branch.

    It is what `prodigy resume RUN --yes` does: nothing is overwritten in your checkout, and what stands in the way is
    named.
    """
    if not every:
        run_id = common.resolve_to_act(index.LATEST if run_reference is None else run_reference)
        if problem := _why_not_merged(run_id):
            click.echo(problem)
            return
        _merge(run_id)
        return
    if run_reference is not None:
        raise UsageError("RUN and --all exclude each other", hint="Give one of them.")
    sys.exit(_merge_all(_unmerged(str(common_dir_around(Path.cwd())))))


def _merge(run_id: str) -> None:
    drive(run_id, "worktree merge", lambda caller: resume(run_id, caller, Choices(merge="yes")), as_json=False)


def _merge_all(run_ids: list[str]) -> int:
    """Merge one after another; the exit status is that of the one that went worst."""
    worst = 0
    for run_id in run_ids:
        try:
            _merge(run_id)
        except ProdigyError as error:
            click.echo(f"Error: {error.told()}", err=True)
            worst = max(worst, error.exit_code)
        except SystemExit as ended:  # how a drive tells how it went
            status = ended.code if isinstance(ended.code, int) else 1
            if status in STOPPED_BY_USER:
                return status
            worst = max(worst, status)
    if not run_ids:
        click.echo("no run of this repository waits to be merged")
    return worst


def _unmerged(common_dir: str) -> list[str]:
    """Runs that have ended with something to merge, oldest first; one that can't be read does not hide the others."""
    found = []
    for row in reversed(index.runs(common_dir)):
        try:
            run = _run(row.id)
        except ProdigyError as error:
            click.echo(f"Warning: {error}", err=True)
            continue
        has_ended = run.status.startswith("completed") and not is_held(run_directory(row.id))
        if has_ended and run.target is not None and run.merged is None and run.tip != run.base:
            found.append(row.id)
    return found


def _run(run_id: str) -> RunRow:
    with closing(Store.open(run_directory(run_id))) as store:
        return store.run()


def _why_not_merged(run_id: str) -> str | None:
    """What to say when there is nothing to do. Raises UsageError or RunLocked when the run can't be merged now."""
    run = _run(run_id)
    require_free(run_directory(run_id))
    if not run.status.startswith("completed"):
        status = "failed" if run.status == "failed" else "has not ended"
        raise UsageError(f"run {run_id} {status}: it has no result yet", hint=f"Go on with `prodigy resume {run_id}`.")
    branch = run.branch.removeprefix("refs/heads/")
    if run.target is None:
        raise UsageError(
            f"run {run_id} has no branch to merge into: HEAD was detached when it began",
            hint=f"Switch to a branch and `git merge {branch}`.",
        )
    if run.merged is not None:
        return f"run {run_id} is merged into {run.target.removeprefix('refs/heads/')}"
    return f"run {run_id} has nothing to merge" if run.tip == run.base else None


# Cleaning --------------------------------------------------------------------------------------------------


@worktree_group.command("clean")
@click.argument("run_reference", metavar="[RUN]", required=False)
@click.option("--job-id", metavar="RUN", hidden=True, help="The same as RUN.")
@click.option("-a", "--all", "every", is_flag=True, help="Of every run of this repository; so it is without RUN.")
@click.option("-f", "--force", is_flag=True, help="Also of runs that could go on in them, and those with a name.")
@click.option("--mapreduce", is_flag=True, help="Only those of items, not the runs' own.")
@click.option("--merged-only", is_flag=True, help="Only of runs whose result is merged.")
@click.option("--older-than", type=duration("d"), metavar="AGE", help="Only of runs idle for so long: 12h, 7d.")
@_dry_run_option
@common.json_option
def worktree_clean_command(
    run_reference: str | None,
    *,
    job_id: str | None,
    every: bool,
    force: bool,
    mapreduce: bool,
    merged_only: bool,
    older_than: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove worktrees that ended runs, and runs that are gone, left on disk.

    Never those of a run that somebody works on. Branches and commits stay. A run that was interrupted keeps its
    worktrees unless --force is given: its work is then restorable as it was at the end of its last finished step.
    """
    reference = job_id if run_reference is None else run_reference
    if reference is not None and every:
        raise UsageError("RUN and --all exclude each other", hint="Give one of them.")
    common_dir, lefts = _of_repository() if reference is None else _of_run(reference)
    if reference is not None and not force:  # a worktree with a name is the next run's as well
        lefts = [left for left in lefts if left.status != cleaning.NAMED]
    chosen = [left for left in lefts if (left.merged or not merged_only) and cleaning.idle_for(left, older_than)]
    chosen = [left for left in chosen if not (mapreduce and left.slot == "run")]
    verdicts = cleaning.clean(common_dir, chosen, cleaning.How(force=force, dry_run=dry_run))
    _report(verdicts, dry_run=dry_run, as_json=as_json)
    if reference is not None and any(verdict.kept for verdict in verdicts):
        sys.exit(1)


@worktree_group.command("clean-orphaned")
@click.argument("run_reference", metavar="[RUN]", required=False)
@_dry_run_option
@click.option("-f", "--force", is_flag=True, help="Accepted for scripts: nothing asks here.")
@common.json_option
def clean_orphaned_command(run_reference: str | None, *, dry_run: bool, force: bool, as_json: bool) -> None:
    """Remove worktrees whose run is gone."""
    if run_reference == "":
        raise UsageError("an empty text names no run", hint="`prodigy worktree ls` lists the worktrees.")
    common_dir, lefts = _of_repository()
    chosen = [
        left for left in lefts
        if left.status == cleaning.ORPHANED and run_reference in (None, left.run_id)
    ]  # fmt: skip
    _report(
        cleaning.clean(common_dir, chosen, cleaning.How(force=force, dry_run=dry_run)), dry_run=dry_run, as_json=as_json
    )


def _of_repository() -> tuple[Path, list[Left]]:
    common_dir = common_dir_around(Path.cwd())
    return common_dir, cleaning.left_on_disk(common_dir)


def _of_run(reference: str) -> tuple[Path, list[Left]]:
    """The worktrees of one run, also of one of another repository, and of one that is gone here."""
    here = common.here()
    if here is not None:
        lefts = [left for left in cleaning.left_on_disk(Path(here)) if left.run_id == reference]
        if lefts:
            return Path(here), lefts
    run_id = common.resolve_to_act(reference)
    common_dir = Path(_run(run_id).common_dir)
    return common_dir, [left for left in cleaning.left_on_disk(common_dir) if left.run_id == run_id]


def _report(verdicts: list[Verdict], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        rows = [
            {**_row(verdict.left, detailed=False), "removed": verdict.kept is None and not dry_run,
             "would_remove": verdict.kept is None, "reason": verdict.kept, "refs": list(verdict.refs)}
            for verdict in verdicts
        ]  # fmt: skip
        click.echo(json.dumps(rows, indent=2))
        return
    for verdict in verdicts:
        left = verdict.left
        if verdict.kept:
            click.echo(f"kept {left.path}: {printable(verdict.kept)}")
        else:
            click.echo(f"{'would remove' if dry_run else 'removed'} {left.path} ({_state(left)})")
            for name in verdict.refs:
                click.echo(f"    work that was only there {'would be' if dry_run else 'is'} kept: {name}")
    if not verdicts:
        click.echo("no worktrees to remove")
    resumable = sorted({v.left.run_id for v in verdicts if v.kept is None and v.left.status in _RESUMABLE})
    for run_id in resumable:
        click.echo(
            f"prodigy resume {run_id} restores its work as it was at the end of its last finished step", err=True
        )


_RESUMABLE = ("interrupted", "cancelled", "paused")
