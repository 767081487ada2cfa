"""`validate`: everything that is wrong with workflow files, without running anything."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from prodigy.cli.common import json_option
from prodigy.cli.given import configuration, given_options, read_given
from prodigy.cli.named import workflow_file
from prodigy.cli.problems import problem_lines
from prodigy.cli.words import counted
from prodigy.errors import Problem, UsageError, WorkflowError
from prodigy.store.checked import CheckedScripts
from prodigy.workflow.load import LoadOptions, load
from prodigy.workflow.model import Workflow


@dataclass(frozen=True)
class Verdict:
    """What was found in one file. remarks: what only a strict reader minds. unreadable: why there is nothing to say."""

    file: str
    workflow: Workflow | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    remarks: tuple[Problem, ...] = ()
    unreadable: UsageError | None = None

    def valid(self, *, strict: bool) -> bool:
        """strict: warnings and remarks count as well."""
        minded = (*self.warnings, *self.remarks) if strict else ()
        return not (self.problems or self.unreadable or minded)


@click.command("validate")
@click.argument("workflows", metavar="WORKFLOW...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="Say more, and fail on every warning.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "simplified", "json"]),
    default="text",
    help="For people (simplified is the earlier name of text) or programs.",
)
@click.option("--suggest/--no-suggest", default=True, help="Say what to do about each problem.")
@click.option("--only-workflows", is_flag=True, help="Leave out files that are none, as a commit hook needs it.")
@given_options
@json_option
def validate_command(
    workflows: tuple[Path, ...],
    *,
    strict: bool,
    form: str,
    suggest: bool,
    only_workflows: bool,
    params: tuple[str, ...],
    param_file: Path | None,
    profile: str | None,
    as_json: bool,
) -> None:
    """Check WORKFLOW and list every problem at its place. Exits with 2 when there is one.

    With --json: one object for one file, an array for several. --only-workflows looks at what the steps in a file do,
    misspelled ones included, so that other programs' YAML may be named too.
    """
    given = read_given(params, param_file, profile, configuration(Path()))
    if only_workflows:
        workflows = tuple(path for path in workflows if _may_be_workflow(path))
    verdicts = [_verdict(workflow_file(path), CheckedScripts(), given) for path in workflows]
    if as_json or form == "json":
        found = [_as_json(verdict, strict=strict, suggest=suggest) for verdict in verdicts]
        click.echo(json.dumps(found[0] if len(found) == 1 else found, indent=2))
    else:
        for verdict in verdicts:
            _show(verdict, strict=strict, suggest=suggest)
    if not all(verdict.valid(strict=strict) for verdict in verdicts):
        raise click.exceptions.Exit(WorkflowError.exit_code)


def _may_be_workflow(path: Path) -> bool:
    from prodigy.workflow.recognise import is_workflow

    try:
        return is_workflow(path.read_text(errors="replace"))
    except OSError:
        return True  # that it can't be read is for the caller to hear


def _verdict(path: Path, known: CheckedScripts, given: LoadOptions) -> Verdict:
    try:
        loaded = load(path, known, given)
    except WorkflowError as error:
        return Verdict(error.file, problems=tuple(error.problems))
    except UsageError as error:
        return Verdict(str(path), unreadable=error)
    return Verdict(loaded.workflow.source, loaded.workflow, (), loaded.warnings, loaded.remarks)


def _show(verdict: Verdict, *, strict: bool, suggest: bool) -> None:
    """Problems and warnings on stderr, what is in order on stdout."""
    if verdict.unreadable:
        click.echo(f"Error: {verdict.unreadable}", err=True)
    for word, found in (
        ("Error: ", verdict.problems),
        ("Error: " if strict else "Warning: ", verdict.warnings),
        ("Error: ", verdict.remarks if strict else ()),
    ):
        for problem in found:
            lines = "\n".join(problem_lines(verdict.file, [problem], hints=suggest))
            click.echo(f"{word}{lines}", err=True)
    if verdict.workflow and verdict.valid(strict=strict):
        steps = counted(len(verdict.workflow.steps), "step")
        click.echo(f"{verdict.file} is valid: {verdict.workflow.name}, {steps}")


def _as_json(verdict: Verdict, *, strict: bool, suggest: bool) -> dict[str, object]:
    problems = _listed(verdict.file, verdict.problems, suggest=suggest)
    if (error := verdict.unreadable) is not None:
        hint = error.hint if suggest else None
        problems = [{"file": verdict.file, "line": None, "column": None, "message": error.what, "hint": hint}]
    return {
        "file": verdict.file,
        "valid": verdict.valid(strict=strict),
        "problems": problems,
        "warnings": _listed(verdict.file, verdict.warnings, suggest=suggest),
        "remarks": _listed(verdict.file, verdict.remarks, suggest=suggest),
    }


def _listed(file: str, problems: Iterable[Problem], *, suggest: bool) -> list[dict[str, object]]:
    return [
        {
            "file": problem.file or file,
            "line": problem.line,
            "column": problem.column,
            "message": problem.message,
            "hint": problem.hint if suggest else None,
        }
        for problem in problems
    ]
