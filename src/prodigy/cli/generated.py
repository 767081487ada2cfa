"""`exec` and `batch`: workflows that are written by the command line itself."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import click

from prodigy.cli import common
from prodigy.cli.background import drive_in_background
from prodigy.cli.driving import drive
from prodigy.cli.given import configuration, read_given
from prodigy.cli.retention import prune
from prodigy.cli.telling import note, quiet_option, verbose_option
from prodigy.engine.run import Options
from prodigy.engine.session import run
from prodigy.engine.start import create_run, files_matching
from prodigy.errors import UsageError
from prodigy.workflow.load import parse

_ACTIONS = ("shell", "claude")


def _generating_options(command: Any) -> Any:
    """The options of both commands."""
    for option in reversed(
        (
            click.option("--retry", type=click.IntRange(min=1), default=1, help="How often it is tried at most."),
            click.option("--timeout", metavar="DURATION", help="Seconds, or a time such as 5m, for each try."),
            click.option("-p", "--path", "where", type=click.Path(path_type=Path), default=Path(), help="Repository."),
            click.option("--no-merge", is_flag=True, help="Leave the result on the run's branch."),
            click.option("--dry-run", is_flag=True, help="Show the workflow, and run nothing."),
            click.option("--detach", is_flag=True, help="Go on in the background, without this terminal."),
            quiet_option,
            verbose_option,
            common.json_option,
        )
    ):
        command = option(command)
    return command


@click.command("exec")
@click.argument("command")
@_generating_options
def exec_command(command: str, *, retry: int, timeout: str | None, **how: Any) -> None:
    """Run one step, e.g. `exec "claude: /fix the tests"` or `exec "shell: make fmt"`, and merge what it commits."""
    _run("exec", {"name": "exec", "steps": [_step(command, retry, timeout)]}, **how)


@click.command("batch")
@click.argument("pattern")
@click.option("--command", "command", required=True, help="E.g. 'claude: /review ${item}'; a step also has $FILE.")
@click.option("--parallel", type=click.IntRange(min=1), default=5, show_default=True, help="How many at a time.")
@_generating_options
def batch_command(
    pattern: str, *, command: str, parallel: int, retry: int, timeout: str | None, where: Path, **how: Any
) -> None:
    """Run one step for each file that matches PATTERN, each in a worktree of its own."""
    files_matching(pattern, where)
    step = {**_step(command, retry, timeout), "env": {"FILE": "${item}"}}
    if "claude" in step:
        step["claude"] = re.sub(r"\$(FILE\b|\{FILE\})", "${item}", step["claude"])
    template: dict[str, Any] = {"input": f"glob:{pattern}", "max_parallel": parallel, "agent_template": [step]}
    _run("batch", {"name": "batch", "map": template}, where=where, **how)


def _step(command: str, retry: int, timeout: str | None) -> dict[str, Any]:
    kind, colon, text = command.partition(":")
    kind, text = kind.strip(), text.strip()
    if command.startswith("/"):
        kind, text = "claude", command
    elif not colon or kind not in _ACTIONS or not text:
        raise UsageError(
            f"{command!r} does not say what is to run it",
            hint='Write "shell: COMMAND" or "claude: PROMPT"; a prompt that begins with / needs no "claude:".',
        )
    step: dict[str, Any] = {kind: text}
    if retry > 1:
        step["retry"] = retry
    if timeout:
        step["timeout"] = timeout
    return step


def _run(
    name: str, workflow: dict[str, Any], *, where: Path, no_merge: bool, dry_run: bool, detach: bool, as_json: bool
) -> None:
    from ruamel.yaml import YAML

    text = io.StringIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.dump(workflow, text)
    configured = configuration(where)
    loaded = parse(text.getvalue(), name, None, read_given((), None, None, configured))
    if dry_run:
        click.echo(text.getvalue(), nl=False)
        return
    options = Options(
        merge="no" if no_merge else "yes",
        started_in=str(where.absolute()),
        day_usd=configured.per_day_usd,
        branch_prefix=configured.branch_prefix,
    )
    prune(configured, where)
    created = create_run(loaded, None, where, options)
    for warning in created.warnings:
        note(f"Warning: {warning}")
    if detach:
        drive_in_background(created.run_id, as_json=as_json)
    else:
        drive(created.run_id, name, lambda caller: run(created.run_id, caller), as_json=as_json)
