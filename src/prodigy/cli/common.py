"""What several commands share: options, run references, the summary for people."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from prodigy.cli.words import printable
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.git.context import common_dir_around
from prodigy.store import index
from prodigy.store.rows import FINISHED

if TYPE_CHECKING:  # they import the engine, which most commands do not need
    from prodigy.engine.choices import Choices
    from prodigy.engine.versions import Edited

Command = TypeVar("Command", bound=Callable[..., Any])


def driving_options(command: Command) -> Command:
    """The options of every command that drives a run."""
    for option in reversed(
        (
            click.option("-y", "--yes", is_flag=True, help="Merge the result into your branch at the end."),
            click.option("--no-merge", is_flag=True, help="Leave the result on the run's branch."),
            click.option("--max-parallel", type=click.IntRange(min=1), help="How many items at a time."),
            click.option("--detach", is_flag=True, help="Go on in the background, without this terminal."),
            json_option,
        )
    ):
        command = option(command)
    return command


def again_options(command: Command) -> Command:
    """The options of every command that goes on with a run that has begun."""
    for option in reversed(
        (
            click.option(
                "--max-retries", type=click.IntRange(min=1), metavar="N", help="Leave out items with N tries or more."
            ),
            click.option(
                "--workflow", "file", type=click.Path(path_type=Path), help="An edited workflow for what has not begun."
            ),
            click.option("--from-start", is_flag=True, help="Items that run again begin at their first step."),
            click.option("--from-failed-step", is_flag=True, help="They begin at the step that failed."),
            click.option("--force", is_flag=True, help="Take the run from a process on another host that is gone."),
        )
    ):
        command = option(command)
    return command


def items_from(*, from_start: bool, from_failed_step: bool) -> str | None:
    if from_start and from_failed_step:
        raise UsageError("--from-start and --from-failed-step exclude each other")
    return "start" if from_start else "failed_step" if from_failed_step else None


def edited(file: Path | None) -> Edited | None:
    """The workflow that `--workflow` names; its warnings are shown. Raises UsageError when it is not in order."""
    if file is None:
        return None
    from prodigy.engine.versions import Edited
    from prodigy.store.checked import CheckedScripts
    from prodigy.workflow.load import load, problem_text

    loaded = load(file, CheckedScripts())
    for problem in loaded.warnings:
        click.echo(f"Warning: {problem_text(loaded.workflow.source, problem)}", err=True)
    return Edited(loaded.workflow, file)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")


def merge_choice(*, yes: bool, no_merge: bool) -> str | None:
    if yes and no_merge:
        raise UsageError("--yes and --no-merge exclude each other")
    return "yes" if yes else "no" if no_merge else None


def flags(choices: Choices) -> list[str]:
    """The choices as they are written on a command line."""
    words = {"yes": ["--yes"], "no": ["--no-merge"]}.get(choices.merge or "", [])
    words += {"start": ["--from-start"], "failed_step": ["--from-failed-step"]}.get(choices.items_from or "", [])
    for name, value in (("--max-parallel", choices.max_parallel), ("--max-retries", choices.max_tries)):
        words += [name, str(value)] if value is not None else []
    words += ["--workflow", str(choices.edited.file.absolute())] if choices.edited else []
    words += ["--reduce"] if choices.reduce else []
    return [*words, *(["--force"] if choices.force else [])]


def resolve(reference: str) -> str:
    """The run id that a reference on the command line means."""
    return index.resolve(reference, here())


def here() -> str | None:
    """The repository the user stands in, None outside of any."""
    try:
        return str(common_dir_around(Path.cwd()))
    except EnvironmentProblem:
        return None


class Interrupted(Exception):
    """Ctrl-C at a question."""


def confirm_merge(target: str, diffstat: str) -> bool:
    """Ask on a terminal whether to merge; elsewhere the branch is left. Raises Interrupted."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(f"\n{diffstat.rstrip()}", err=True)
    # The handler of the running engine would not be heard during a read.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return click.confirm(f"Merge this into {target}?", default=True, err=True)
    except click.Abort:
        raise Interrupted from None
    finally:
        signal.signal(signal.SIGINT, handler)


def show_summary(summary: dict[str, object]) -> None:
    """The summary for people, on stdout."""
    items = cast("dict[str, int]", summary["items"])
    run_id = summary["run_id"]
    click.echo(f"\n{summary['workflow']}: {str(summary['status']).replace('_', ' ')} (run {run_id})")
    if items["total"]:
        parts = [f"{count} {name}" for name, count in items.items() if count and name != "total"]
        click.echo(f"  items: {items['total']} ({', '.join(parts)})")
    if summary["steps_run"] is not None:
        click.echo(
            f"  steps: {summary['steps_run']} run, {summary['steps_reused']} taken from before,"
            f" in {summary['duration_s']} s"
        )
    if summary["stop_reason"] not in (None, "user"):
        click.echo(f"  stopped: {printable(str(summary['error']))} ({summary['stop_reason']})")
    if summary["tokens"] or summary["cost_usd"]:
        cost = "cost unknown" if summary["cost_usd"] is None else f"${summary['cost_usd']:.2f}"
        click.echo(f"  agents: {cost}, {summary['tokens']:,} tokens in all")
    click.echo(f"  branch: {summary['branch']}{_merged(summary)}")
    for line in _next_steps(summary):
        click.echo(f"  {line}")


def _merged(summary: dict[str, object]) -> str:
    if summary["merged"]:
        return f", merged into {summary['target']}"
    if summary["merge_problem"]:
        return f", not merged: {summary['merge_problem']}"
    return ""


def _next_steps(summary: dict[str, object]) -> list[str]:
    run_id, status = summary["run_id"], str(summary["status"])
    lines = []
    if dead := summary["dead_letters"]:
        lines.append(f"dead letters: {dead}")
        lines.append(f"  look at them: prodigy dlq list {run_id}")
        again = f"dlq retry {run_id}" if status in FINISHED else f"resume {run_id} --include-dlq"
        lines.append(f"  retry them:   prodigy {again}")
    if status in ("interrupted", "cancelled", "paused", "failed"):
        lines.append(f"go on with: prodigy resume {run_id}")
    elif status.startswith("completed") and not summary["merged"] and summary["target"] and summary["changed"]:
        lines.append(f"merge it with: prodigy resume {run_id} --yes")
    return lines
