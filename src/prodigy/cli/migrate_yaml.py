"""`migrate-yaml`: rewrites what is deprecated in workflow files, and nothing else in them."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from prodigy.cli.given import given_options, read_given
from prodigy.cli.problems import problem_lines
from prodigy.cli.words import counted, printable
from prodigy.errors import EnvironmentProblem, UsageError, WorkflowError
from prodigy.store.checked import CheckedScripts
from prodigy.workflow.load import MAX_BYTES
from prodigy.workflow.migrate import Migrated, is_workflow, migrate


@click.command("migrate-yaml")
@click.argument("path", type=click.Path(path_type=Path), default=Path("workflows"))
@click.option(
    "--backup/--no-backup", default=True, help="Keep each file as it was, beside it, with `.bak` behind its name."
)
@click.option("--dry-run", is_flag=True, help="Print what would change, as a diff; write nothing.")
@click.option("-f", "--force", is_flag=True, help="Overwrite backups that are there already.")
@given_options
def migrate_command(
    path: Path,
    *,
    backup: bool,
    dry_run: bool,
    force: bool,
    params: tuple[str, ...],
    param_file: Path | None,
    profile: str | None,
) -> None:
    """Rewrite what is deprecated in the workflow PATH, or in all workflows of the directory PATH (`workflows`).

    Comments, quotes, layout and the order of keys stay. A file that does not load is left alone, and so is every
    place that would mean something else afterwards. Exits with 2 when a file does not load; values of parameters that
    a workflow needs are given as with `run`.
    """
    given = read_given(params, param_file, profile)
    refused = False
    for file in _files(path):
        try:
            text = _read(file)
            done = migrate(text, str(file), CheckedScripts(), given)
        except UsageError as error:
            refused = True
            _show_error(file, error)
            continue
        _show(file, done)
        if done.text == text:
            continue
        if dry_run:
            click.echo(_diff(file, text, done.text), nl=False)
        else:
            _write(file, text, done.text, backup=backup, force=force)
    if refused:
        raise click.exceptions.Exit(WorkflowError.exit_code)


def _files(path: Path) -> Iterator[Path]:
    """The file, or the workflows below the directory. Raises UsageError when there is no such thing."""
    if not path.exists():
        raise UsageError("there is no such file or directory", where=str(path), hint="Name your workflow files.")
    if not path.is_dir():
        yield path
        return
    root, found = path.resolve(), list[Path]()
    for file in sorted(path.rglob("*")):
        if file.suffix not in (".yml", ".yaml") or not file.is_file():
            continue
        if file.resolve().is_relative_to(root):
            found.append(file)
        else:
            click.echo(f"{printable(str(file))}: left, because it leads out of {printable(str(path))}", err=True)
    workflows = [file for file in found if is_workflow(_text(file))]
    if not workflows:
        raise UsageError(
            "there is no workflow in this directory",
            where=str(path),
            hint="Name the file, or the directory that holds workflow files.",
        )
    yield from workflows


def _text(file: Path) -> str:
    """Empty for what is not text of a sensible size."""
    try:
        return file.read_bytes().decode() if file.stat().st_size <= MAX_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _read(file: Path) -> str:
    """With its line ends as they are. Raises UsageError."""
    try:
        return file.read_bytes().decode()
    except OSError as error:
        raise UsageError(
            f"the workflow file cannot be read: {error.strerror}",
            where=str(file),
            hint="Make it readable, or name another.",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError("this is not UTF-8 text", where=str(file), hint="Save the file as UTF-8.") from error


def _show_error(file: Path, error: UsageError) -> None:
    click.echo(f"Error: {printable(str(file))} does not load and is left as it is:", err=True)
    if isinstance(error, WorkflowError):
        for line in problem_lines(error.file, error.problems):
            click.echo(f"  {line}", err=True)
    else:
        click.echo(f"  {error}", err=True)


def _show(file: Path, done: Migrated) -> None:
    """On stderr: stdout is for the diff."""
    count = counted(len(done.changes), "change") if done.changes else "nothing to change"
    click.echo(f"{printable(str(file))}: {count}", err=True)
    for change in done.changes:
        click.echo(f"  {printable(change)}", err=True)
    for line in problem_lines(str(file), done.left):
        click.echo(f"  left: {line}" if line.startswith(str(file)) else f"  {line}", err=True)


def _diff(file: Path, old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), str(file), str(file))
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _write(file: Path, old: str, new: str, *, backup: bool, force: bool) -> None:
    """At once and whole, where the file really is. Raises UsageError for a backup that is there already."""
    target = file.resolve()
    kept = target.with_name(f"{target.name}.bak")
    if backup and kept.exists() and not force:
        raise UsageError(
            "there is a backup already, and nothing was written",
            where=str(kept),
            hint="Remove it, or use --force to overwrite it, or --no-backup.",
        )
    try:
        if backup:
            _replace(kept, old, target)
        _replace(target, new, target)
    except OSError as error:
        raise EnvironmentProblem(
            f"the file cannot be written: {error.strerror}",
            where=str(target),
            hint="Make it and its directory writable.",
        ) from error


def _replace(target: Path, text: str, like: Path) -> None:
    """Write a file by a rename, with the permissions of `like`."""
    mode = like.stat().st_mode & 0o7777
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(mode)
        Path(name).replace(target)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
