"""`template new` and `template validate`: from a template to a workflow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from prodigy.cli import common
from prodigy.cli.from_template import check_text, filled, given_values, read_source, require_values, titled
from prodigy.cli.given import configuration, read_given
from prodigy.cli.new_files import write_new
from prodigy.cli.problems import problem_lines
from prodigy.cli.words import printable, quoted
from prodigy.errors import WorkflowError
from prodigy.secrets import mask
from prodigy.workflow.parameters import Parameter
from prodigy.workflow.templates import Template, template

_SAMPLES: dict[str, Any] = {"number": 1, "integer": 1, "boolean": True, "array": [], "object": {}}


@click.command("new")
@click.argument("name")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter's value; may be given again.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it there.")
@click.option("-f", "--force", is_flag=True, help="Replace FILE if it is there already.")
def new_command(name: str, *, params: tuple[str, ...], output: Path | None, force: bool) -> None:
    """Make a workflow out of the template NAME, with the values given as defaults of its parameters.

    Without --output it is printed.
    """
    source = read_source(template(name, Path()))
    values = given_values(params, source)
    require_values(source, values, f"prodigy template new {name}")
    target = output or Path(f"{name}.yml")
    text = titled(filled(source, values), target, quoted(str(target)), None)
    check_text(text, target, read_given((), None, None, configuration(Path())))
    if output is None:
        click.echo(text, nl=False)
        return
    written = write_new({output.absolute(): text}, force=force)
    click.echo(f"{'wrote' if written else 'it is there already:'} {printable(str(output))}")


@click.command("validate")
@click.argument("path", metavar="PATH|NAME")
@common.json_option
def validate_command(path: str, *, as_json: bool) -> None:
    """Check the template in the file PATH, or the one called NAME, as `prodigy validate` does.

    Parameters without a default need no value for it. Exits with 2 when there is a problem.
    """
    file = Path(path)
    source = read_source(Template(file.stem, "repository", file) if file.exists() else template(path, Path()))
    samples: dict[str, object] = {each.name: _sample(each) for each in source.missing}
    options = replace(read_given((), None, None, configuration(Path())), parameters=samples)
    shown = printable(str(file if file.exists() else source.template.path))
    try:
        check_text(source.text, Path(shown), options)
    except WorkflowError as error:
        if as_json:
            problems = mask(str(error)).splitlines()
            click.echo(json.dumps({"template": shown, "valid": False, "problems": problems}, indent=2))
            raise click.exceptions.Exit(WorkflowError.exit_code) from error
        for line in problem_lines(error.file, error.problems):
            click.echo(f"Error: {line}" if line.startswith(error.file) else line, err=True)
        raise click.exceptions.Exit(WorkflowError.exit_code) from error
    undescribed = [each.name for each in source.parameters if not each.description]
    if not source.about.description:
        click.echo(f"Warning: {shown} has no `description`, by which it is found", err=True)
    if undescribed:
        click.echo(f"Warning: parameters without a description: {', '.join(undescribed)}", err=True)
    if as_json:
        click.echo(json.dumps({"template": shown, "valid": True, "problems": []}, indent=2))
        return
    click.echo(f"{shown} is a valid template with {len(source.parameters)} parameters")


def _sample(parameter: Parameter) -> object:
    return _SAMPLES.get(parameter.type, "x")
