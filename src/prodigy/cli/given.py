"""`--param`, `--param-file`, `--profile`: what the user gives to a workflow that is loaded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from prodigy.cli.words import printable
from prodigy.errors import UsageError
from prodigy.workflow.load_options import NOTHING_GIVEN, LoadOptions, Written

if TYPE_CHECKING:
    from prodigy.engine.versions import Edited
    from prodigy.workflow.configuration import Configuration
    from prodigy.workflow.yaml_nodes import Position

Command = TypeVar("Command", bound=Callable[..., Any])


def given_options(command: Command) -> Command:
    """The options of every command that loads a workflow."""
    for option in reversed(
        (
            click.option(
                "--param",
                "params",
                multiple=True,
                metavar="NAME=VALUE",
                help="A parameter's value; may be given again.",
            ),
            click.option(
                "--param-file", type=click.Path(path_type=Path), metavar="FILE", help="Parameters in YAML or JSON."
            ),
            click.option("--profile", metavar="NAME", help="The profile of variables that counts."),
        )
    ):
        command = option(command)
    return command


def configuration(where: Path) -> Configuration:
    """What is configured for the repository around `where`, if there is one. Raises as `read_configuration` does."""
    from prodigy.store.checked import CheckedScripts
    from prodigy.workflow.configuration import read_configuration

    return read_configuration(checkout_around(where), known=CheckedScripts())


def checkout_around(where: Path) -> Path | None:
    """The root of the checkout around `where`, None outside of one. No git is asked."""
    around = (where.absolute(), *where.absolute().parents)
    return next((folder for folder in around if (folder / ".git").exists()), None)


def read_given(
    params: tuple[str, ...], param_file: Path | None, profile: str | None, configured: Configuration | None = None
) -> LoadOptions:
    """What the options say; `--param` wins over the file. Raises UsageError, and WorkflowError for the file."""
    given = _given(params, param_file, profile)
    return replace(given, agents=configured.agents, configured=configured.configured) if configured else given


def _given(params: tuple[str, ...], param_file: Path | None, profile: str | None) -> LoadOptions:
    if not params and param_file is None:
        return LoadOptions(profile=profile) if profile else NOTHING_GIVEN
    values, places = _of_file(param_file) if param_file else ({}, {})
    for param in params:
        name, equals, value = param.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--param {printable(param)} has no value", hint="Write `--param NAME=VALUE`.")
        values[name.strip()] = Written(value)
        places.pop(name.strip(), None)
    return LoadOptions(values, profile, places=places)


def _of_file(path: Path) -> tuple[dict[str, object], dict[str, Position]]:
    from prodigy.errors import WorkflowError
    from prodigy.workflow.files import printable as printable_name
    from prodigy.workflow.files import read_document
    from prodigy.workflow.parameters import read_values
    from prodigy.workflow.values import Findings
    from prodigy.workflow.yaml_nodes import Mapping

    shown = printable_name(str(path))
    try:
        document = read_document(path, shown)
    except UsageError as error:
        if isinstance(error, WorkflowError):
            raise
        raise UsageError(f"--param-file: {error.what}", where=error.where, hint=error.hint) from error
    findings = Findings()
    if not isinstance(document.root, Mapping):
        raise UsageError(
            "--param-file: this is no mapping of names and values",
            where=shown,
            hint="Write one parameter on each line, `name: value`.",
        )
    found = read_values(document.root, "--param-file", findings)
    if problems := document.problems + findings.problems:
        raise WorkflowError(shown, problems)
    return {name: given.value for name, given in found.items()}, {n: given.at for n, given in found.items() if given.at}


def words(given: LoadOptions, param_file: Path | None, params: tuple[str, ...]) -> tuple[str, ...]:
    """The options as they are written on a command line."""
    file = ("--param-file", str(param_file.absolute())) if param_file else ()
    profile = ("--profile", given.profile) if given.profile else ()
    return (*file, *(word for param in params for word in ("--param", param)), *profile)


def edited(
    run_id: str, file: Path | None, params: tuple[str, ...], param_file: Path | None, profile: str | None
) -> Edited | None:
    """The workflow that `--workflow` names, or the run's own with another profile; None: its own as it is.

    Its parameters are those of the run's newest version unless they are given anew. Warnings are shown. Raises
    UsageError when something is not in order.
    """
    if file is None and (params or param_file):
        hint = "Add `--workflow FILE`: its steps that have not begun are loaded with them."
        raise UsageError("the parameters of a run are fixed when it starts", hint=hint)
    if file is None and profile is None:
        return None
    from prodigy.engine.versions import Edited
    from prodigy.store.checked import CheckedScripts
    from prodigy.store.paths import run_directory
    from prodigy.store.store import Store
    from prodigy.workflow.environment import with_profile
    from prodigy.workflow.load import as_before, load, problem_text
    from prodigy.workflow.model import Workflow

    given = read_given(params, param_file, profile)
    with closing(Store.open(run_directory(run_id))) as store:
        newest = Workflow.model_validate_json(store.workflow()[1])
        source = store.run().file
    if file is None:
        assert profile is not None
        environment = with_profile(newest.environment, profile)
        changed = newest.model_copy(update={"environment": environment})
        return Edited(changed, Path(source or newest.source), words(given, None, ()))
    loaded = load(file, CheckedScripts(), as_before(newest, given))
    for problem in loaded.warnings:
        click.echo(f"Warning: {problem_text(loaded.workflow.source, problem)}", err=True)
    return Edited(loaded.workflow, file, ("--workflow", str(file.absolute()), *words(given, param_file, params)))
