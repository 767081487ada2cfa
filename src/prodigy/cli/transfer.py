"""`export` and `import`: a run moves to another clone, home or machine."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from prodigy.cli import common
from prodigy.cli.words import counted, printable, quoted
from prodigy.engine.importing import import_run
from prodigy.engine.transfer import STDIO, export_run
from prodigy.errors import UsageError

SECRETS = "What steps printed is in it as it came: if that may hold secrets, keep the file like one."


@click.command("export")
@click.argument("run_reference", metavar="RUN")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@common.json_option
def export_command(run_reference: str, file: Path, *, overwrite: bool, as_json: bool) -> None:
    """Write RUN, whole, to FILE (`-`: to stdout), to go on with it elsewhere: see `prodigy import`.

    In FILE are its state, its events, what its steps printed, and its commits. Items in flight go on from the end
    of their last finished step, uncommitted and untracked files included; files that git ignores stay behind.

    RUN must be at rest: end it with `prodigy cancel` first. What steps printed is stored as it came and may hold
    secrets; FILE is readable by you only.
    """
    to_stdout = str(file) == STDIO
    if to_stdout and (as_json or sys.stdout.isatty()):
        raise UsageError("stdout is to get the run itself", hint="Name a file, or send stdout into one.")
    run_id = common.resolve_to_act(run_reference)
    done = export_run(run_id, sys.stdout.buffer if to_stdout else file, overwrite=overwrite)
    for warning in done.warnings:
        click.echo(f"Warning: {printable(warning)}", err=True)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
        return
    size = "" if done.size is None else f" ({done.size:,} bytes)"
    where = "was written to stdout" if to_stdout else f"is in {printable(done.file)}{size}"
    click.echo(f"run {run_id} {where}: {counted(done.refs, 'ref')}. {SECRETS}", err=True)
    again = "what came out there" if to_stdout else quoted(f"./{file}" if str(file).startswith("-") else str(file))
    from_it = "prodigy import FILE, where FILE has" if to_stdout else "prodigy import"
    click.echo(f"go on with it in another clone: {from_it} {again}", err=True)
    click.echo("Do not resume it here as well: its steps would run twice.", err=True)


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-p", "--path", "where", type=click.Path(path_type=Path), default=Path(), help="The repository.")
@common.json_option
def import_command(file: Path, where: Path, *, as_json: bool) -> None:
    """Bring the run that `prodigy export` wrote to FILE (`-`: from stdin) into the repository you stand in.

    The repository must have the commit the run began at. Import only what you trust as you would a script: resuming
    the run runs the commands of its workflow.
    """
    done = import_run(sys.stdin.buffer if str(file) == STDIO else file, where)
    for warning in done.warnings:
        click.echo(f"Warning: {printable(warning)}", err=True)
    if as_json:
        click.echo(json.dumps({**asdict(done), "next": f"prodigy resume {done.run_id}"}, indent=2))
        return
    click.echo(f"run {done.run_id} ({printable(done.workflow)}) came from {done.host} into {done.repo}", err=True)
    click.echo(f"go on with: prodigy resume {done.run_id}", err=True)
    click.echo(done.run_id)
