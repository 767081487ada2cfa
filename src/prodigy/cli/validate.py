"""`validate`: everything that is wrong with a workflow file, without running anything."""

from __future__ import annotations

import json
from pathlib import Path

import click

from prodigy.cli import common
from prodigy.engine.start import problem_text
from prodigy.errors import WorkflowError
from prodigy.workflow.load import load


@click.command("validate")
@click.argument("workflow", type=click.Path(path_type=Path))
@common.json_option
def validate_command(workflow: Path, *, as_json: bool) -> None:
    """Check WORKFLOW and list every problem at its place. Exits with 2 when there is one."""
    try:
        loaded = load(workflow)
    except WorkflowError as error:
        if as_json:
            problems = [vars(problem) for problem in error.problems]
            click.echo(json.dumps({"valid": False, "file": error.file, "problems": problems}, indent=2))
            raise click.exceptions.Exit(error.exit_code) from error
        raise
    if as_json:
        warnings = [vars(warning) for warning in loaded.warnings]
        click.echo(json.dumps({"valid": True, "file": loaded.workflow.source, "warnings": warnings}, indent=2))
        return
    for warning in loaded.warnings:
        click.echo(f"Warning: {problem_text(loaded.workflow.source, warning)}", err=True)
    click.echo(f"{loaded.workflow.source} is valid: {loaded.workflow.name}, {len(loaded.workflow.steps)} steps")
