"""`dlq export`: the dead letters as a file for other programs."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click

from prodigy.cli.dlq_letters import Choice, choice_options, dead_letters, queue, run_options
from prodigy.cli.words import printable
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.report.letter_table import to_csv, to_json
from prodigy.secrets import mask


@click.command("export")
@click.argument("output")
@run_options
@choice_options
@click.option(
    "--format", "form", type=click.Choice(["json", "csv"]), help="By default what the file's ending says, else json."
)
def export_command(
    output: str,
    run_reference: str | None,
    *,
    job_id: str | None,
    all_runs: bool,
    eligible: bool,
    kinds: tuple[str, ...],
    filter_text: str | None,
    form: str | None,
) -> None:
    """Write the dead letters of RUN (by default the latest run) to the file OUTPUT; - is standard output.

    JSON is what `dlq list --json` prints. CSV has a row for each letter; a text that a spreadsheet would take for a
    formula gets a ' in front.
    """
    found = queue(run_reference, job_id, all_runs=all_runs)
    chosen = Choice(eligible, kinds, filter_text).of(found.letters)
    form = form or ("csv" if output.lower().endswith(".csv") else "json")
    text = to_csv(chosen) if form == "csv" else to_json(chosen)
    if output == "-":
        if form == "csv" and sys.stdout.isatty():  # JSON has none: see `json_text`
            text = "".join(f"{printable(row)}\n" for row in text.removesuffix("\r\n").split("\r\n"))
        click.echo(mask(text).encode(errors="backslashreplace"), nl=False)
        return
    write_whole(Path(output), text)
    click.echo(f"wrote {dead_letters(len(chosen))} to {printable(output)}")


def write_whole(path: Path, text: str) -> None:
    """Write a file that only its owner can read (0600): all of it, or nothing and what was there before stays. Secrets
    in it are masked.

    Raises UsageError when something that is no file is there, EnvironmentProblem when it can't be written.
    """
    target = Path(os.path.realpath(path))  # a link stays, what it points at is written
    try:
        if os.path.lexists(target) and not target.is_file():
            raise UsageError("this is no file that could be replaced", where=str(path), hint="`-` is standard output.")
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:50]}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(mask(text).encode(errors="backslashreplace"))
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise EnvironmentProblem(
            f"can't be written: {error.strerror or error}",
            where=str(path),
            hint="Choose another place, or make it writable.",
        ) from error
