"""`validate`: everything that is wrong with a workflow file, without running anything."""

from __future__ import annotations

import json
from pathlib import Path

import click

from prodigy.cli.words import counted
from prodigy.errors import WorkflowError
from prodigy.store.checked import CheckedScripts
from prodigy.workflow.load import load, problem_text


@click.command("validate")
@click.argument("workflow", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Say more, and fail on every warning.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def validate_command(workflow: Path, *, strict: bool, as_json: bool) -> None:
    """Check WORKFLOW and list every problem at its place. Exits with 2 when there is one."""
    try:
        loaded = load(workflow, CheckedScripts())
    except WorkflowError as error:
        if as_json:
            problems = [vars(problem) for problem in error.problems]
            click.echo(json.dumps({"valid": False, "file": error.file, "problems": problems}, indent=2))
            raise click.exceptions.Exit(error.exit_code) from error
        raise
    warnings = (*loaded.warnings, *(loaded.remarks if strict else ()))
    refused = strict and bool(warnings)
    if as_json:
        shown = [vars(warning) for warning in warnings]
        found = {"valid": not refused, "file": loaded.workflow.source, "warnings": shown}
        click.echo(json.dumps(found, indent=2))
    else:
        for warning in warnings:
            click.echo(f"Warning: {problem_text(loaded.workflow.source, warning)}", err=True)
        if not refused:
            steps = counted(len(loaded.workflow.steps), "step")
            click.echo(f"{loaded.workflow.source} is valid: {loaded.workflow.name}, {steps}")
    if refused:
        raise click.exceptions.Exit(WorkflowError.exit_code)
