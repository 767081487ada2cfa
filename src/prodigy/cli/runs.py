"""`run`, `resume`, `cancel`, `detach`: the commands that drive a run or steer one that is driven."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import click

from prodigy.cli import common
from prodigy.cli.background import POLL_S, drive_in_background
from prodigy.cli.driving import drive
from prodigy.cli.given import configuration, given_options, read_given
from prodigy.cli.named import workflow_file
from prodigy.cli.retention import prune
from prodigy.cli.steer import TERMINAL, ask
from prodigy.cli.telling import note
from prodigy.engine import steering
from prodigy.engine.choices import Choices
from prodigy.engine.opening import known_agent, permissions_note
from prodigy.engine.run import Options
from prodigy.engine.session import cancel, resume, run
from prodigy.engine.start import changed_since, create_run, files_matching
from prodigy.engine.summary import summarise
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.state.items import ItemState
from prodigy.store.checked import CheckedScripts
from prodigy.store.lock import holder, is_held
from prodigy.store.paths import run_directory
from prodigy.store.rows import FINISHED
from prodigy.store.store import Store
from prodigy.workflow.load import load

START_PATIENCE_S = 20.0  # for another terminal to let go of a run, and a process in the background to take it
END_PATIENCE_S = 30.0


@click.command("run")
@click.argument("workflow", type=click.Path(path_type=Path), required=False)
@click.option("-p", "--path", "where", type=click.Path(path_type=Path), default=Path(), help="The repository.")
@click.option("-n", "--max-iterations", type=click.IntRange(min=1), help="Run the workflow N times.")
@click.option("--args", "arguments", multiple=True, metavar="VALUE", help="Run it once with VALUE as $ARG.")
@click.option("--map", "patterns", multiple=True, metavar="PATTERN", help="Run it once for each file, as $FILE.")
@click.option("--fail-fast", is_flag=True, help="Start nothing more once an item has failed for good.")
@click.option("--resume", "resumed", metavar="RUN", help="Go on with RUN instead; the same as `prodigy resume RUN`.")
@click.option("--dry-run", is_flag=True, help="Show what would be run, and run nothing.")
@click.option("--run-input", is_flag=True, help="With --dry-run: run the command that prints the items, to show them.")
@given_options
@common.driving_options
@click.pass_context
def run_command(
    context: click.Context,
    workflow: Path | None,
    where: Path,
    *,
    max_iterations: int | None,
    fail_fast: bool,
    resumed: str | None,
    arguments: tuple[str, ...],
    patterns: tuple[str, ...],
    dry_run: bool,
    run_input: bool,
    params: tuple[str, ...],
    param_file: Path | None,
    profile: str | None,
    yes: bool,
    no_merge: bool,
    max_parallel: int | None,
    budget: float | None,
    agent: str | None,
    executor: str | None,
    detach: bool,
    as_json: bool,
) -> None:
    """Run WORKFLOW on the repository you stand in. --args and --map may be given several times."""
    if resumed is not None:
        _resume_instead(context, resumed)
        return
    if workflow is None:
        raise click.MissingParameter(ctx=context, param=context.command.params[0], param_hint="'WORKFLOW'")
    if run_input and not dry_run:
        raise UsageError("--run-input goes with --dry-run", hint="Without --dry-run, the input runs anyway.")
    merge = common.merge_choice(yes=yes, no_merge=no_merge)
    configured = configuration(where)
    workflow = workflow_file(workflow)
    loaded = load(workflow, CheckedScripts(), read_given(params, param_file, profile, configured))
    options = Options(
        merge=merge or "ask",
        max_parallel=max_parallel,
        started_in=str(where.absolute()),
        max_iterations=max_iterations or loaded.workflow.max_iterations or 1,
        args=arguments,
        files=tuple(file for pattern in patterns for file in files_matching(pattern, where)),
        budget_usd=budget,
        day_usd=configured.per_day_usd,
        agent=known_agent(agent, loaded.workflow.agents),
        executor=executor,
        branch_prefix=configured.branch_prefix,
        fail_fast=fail_fast,
    )
    if dry_run:
        from prodigy.cli.dry_run import show_plan

        show_plan(loaded, where, options, as_json=as_json, run_input=run_input)
        return
    prune(configured, where)
    created = create_run(loaded, workflow, where, options)
    for warning in created.warnings:
        note(f"Warning: {warning}")
    if rights := permissions_note(loaded.workflow, agent):
        note(rights)
    if detach:
        drive_in_background(created.run_id, as_json=as_json)
    else:
        drive(created.run_id, "run", lambda caller: run(created.run_id, caller), as_json=as_json)


_FOR_A_NEW_RUN = (
    "max_iterations", "fail_fast", "arguments", "patterns", "dry_run", "run_input", "params", "param_file",
)  # fmt: skip


def _resume_instead(context: click.Context, run_reference: str) -> None:
    """`run WORKFLOW --resume RUN`: the run goes on with the workflow that is stored with it."""
    if given := [name for name in _FOR_A_NEW_RUN if context.params[name]]:
        names = {"arguments": "args", "patterns": "map", "params": "param"}
        option = names.get(given[0], given[0]).replace("_", "-")
        hint = "`prodigy resume RUN --workflow FILE` goes on with an edited workflow."
        raise UsageError(f"--{option} is for a new run, and --resume goes on with one", hint=hint)
    same = {name: context.params[name] for name in (parameter.name for parameter in resume_command.params)
            if name in context.params and name != "file"}  # fmt: skip
    context.invoke(resume_command, run_reference=run_reference, **same)


@click.command("resume")
@click.argument("run_reference", metavar="[RUN]", default="latest")
@click.option("--include-dlq", is_flag=True, help="Run dead letters again too, after everything else.")
@click.option("--include-failed", is_flag=True, help="The same, and items that are past their limit of tries.")
@click.option("--from-checkpoint", hidden=True, metavar="ID", help="Not any more.")
@click.option("-p", "--path", "where", hidden=True, type=click.Path(path_type=Path), help="A run knows its repository.")
@click.option("--still-held", is_flag=True, hidden=True, help="A run that is paused stays so.")
@common.again_options
@common.driving_options
def resume_command(
    run_reference: str,
    *,
    include_dlq: bool,
    include_failed: bool,
    from_checkpoint: str | None,
    where: Path | None,  # noqa: ARG001 - accepted for scripts
    still_held: bool,
    detach: bool,
    as_json: bool,
    **options: Unpack[common.AgainOptions],
) -> None:
    """Go on with RUN where it stands; nothing that is finished runs again.

    RUN is a run id, the beginning of one, a workflow's file or name, or `latest` (the default).
    """
    if from_checkpoint is not None:
        raise UsageError(
            "there are no checkpoint files any more: a run goes on where it stands",
            hint="Leave --from-checkpoint out. --from-start and --from-failed-step say where items begin.",
        )
    run_id = common.resolve_to_act(run_reference)
    if _is_paused(run_id):
        ask(run_id, steering.release)
        click.echo(f"run {run_id} goes on; watch it: prodigy attach {run_id}", err=True)
        if as_json:
            with closing(Store.open(run_directory(run_id))) as store:
                click.echo(json.dumps(summarise(store), indent=2))
        return
    choices = replace(common.again_choices(options, run_id), past_limit=include_failed)
    include_dead = include_dlq or include_failed
    with closing(Store.open(run_directory(run_id))) as store:
        goes_on = store.run().status not in FINISHED or store.run().status == "failed"
        warning = changed_since(store) if goes_on and choices.edited is None else None
        notes = list(_left_out(store, choices, include_dead=include_dead))
    if warning:
        note(f"Warning: {warning}")
    for left_out in notes:
        note(left_out)
    if detach:
        which = ["--include-failed"] if include_failed else ["--include-dlq"] if include_dlq else []
        drive_in_background(run_id, ("resume", run_id, *which, *common.flags(choices)), as_json=as_json)
        return
    drive(
        run_id,
        "resume",
        lambda caller: resume(run_id, replace(caller, still_held=still_held), choices, include_dead=include_dead),
        as_json=as_json,
    )


def _is_paused(run_id: str) -> bool:
    """Whether the process that drives the run lets nothing new start, because a user wants that."""
    directory = run_directory(run_id)
    with closing(Store.open(directory)) as store:
        return store.run().held_by is not None and is_held(directory)


def _left_out(store: Store, choices: Choices, *, include_dead: bool) -> Iterator[str]:
    """What the call asks for and will not do."""
    run_id = store.directory.name
    if include_dead and not store.dead_letter_count():
        yield f"no dead letters in run {run_id}"
    if choices.max_tries is None or choices.past_limit:
        return
    states = (ItemState.FAILED, ItemState.DEAD) if include_dead else (ItemState.FAILED,)
    rows = [row for fanout in store.fanouts() for row in store.items(fanout["path"]) if row.state in states]
    if tired := sum(row.tries >= choices.max_tries for row in rows):
        yield f"left out by --max-retries {choices.max_tries}, with as many tries or more: {tired}"


@click.command("cancel")
@click.argument("run_reference", metavar="RUN")
def cancel_command(run_reference: str) -> None:
    """End what runs of RUN, through the process that drives it if there is one. The run can be resumed later."""
    run_id = common.resolve_to_act(run_reference)
    with closing(Store.open(run_directory(run_id))) as store:
        if is_held(store.directory):
            steering.cancel(store, steering.who(TERMINAL))
            click.echo(f"asked run {run_id} to end", err=True)
            _await_end(store)
            return
        if not store.started_steps():
            raise UsageError(f"nothing of run {run_id} is running", hint="There is nothing to cancel.")
    drive(run_id, "cancel", lambda caller: cancel(run_id, caller), as_json=False, wanted="cancelled")


def _await_end(store: Store) -> None:
    """So that what comes next finds the run at rest. Steps may take their time to end."""
    give_up = time.monotonic() + END_PATIENCE_S
    while is_held(store.directory):
        if time.monotonic() > give_up:
            click.echo("it has not ended yet; it is still being asked to", err=True)
            return
        time.sleep(POLL_S)


@click.command("detach")
@click.argument("run_reference", metavar="[RUN]", default="latest")
def detach_command(run_reference: str) -> None:
    """Let RUN, which another terminal drives, go on in the background. Running steps do not notice."""
    run_id = common.resolve_to_act(run_reference)
    directory = run_directory(run_id)
    before = holder(directory)
    if before is None:
        raise UsageError(f"no process drives run {run_id}", hint=f"`prodigy resume {run_id} --detach` starts one.")
    with closing(Store.open(directory)) as store:
        steering.detach(store, steering.who(TERMINAL))
    give_up = time.monotonic() + START_PATIENCE_S
    while (now := holder(directory)) is None or now == before:
        if _has_ended(run_id):
            click.echo(f"run {run_id} has ended meanwhile: prodigy status {run_id}", err=True)
            return
        if time.monotonic() > give_up:
            raise EnvironmentProblem(
                f"the process that drives run {run_id} does not let go",
                hint="Wait a little, then look at its terminal.",
            )
        time.sleep(POLL_S)
    click.echo(f"run {run_id} goes on in the background; watch it: prodigy attach {run_id}", err=True)


def _has_ended(run_id: str) -> bool:
    with closing(Store.open(run_directory(run_id))) as store:
        return store.run().status in FINISHED
