"""What the commands of the dead letter queue share: whose letters, which of them, and how one is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from prodigy.cli.references import the_run
from prodigy.cli.words import counted, printable, quoted
from prodigy.errors import ProdigyError, UsageError
from prodigy.git.context import common_dir_around
from prodigy.report.letter_analysis import kind_of
from prodigy.report.letter_filter import letter_filter
from prodigy.report.letter_table import json_text
from prodigy.store import index
from prodigy.store.letters import Record
from prodigy.store.lock import is_held
from prodigy.store.paths import run_directory
from prodigy.store.rows import FINISHED
from prodigy.store.store import Store

Command = TypeVar("Command", bound=Callable[..., Any])

_SUGGESTIONS_AMONG = 2000


def run_options(command: Command) -> Command:
    """RUN, its older spellings, and --all-runs."""
    for option in reversed(
        (
            click.argument("run_reference", metavar="[RUN]", required=False),
            click.option("--job-id", "--workflow-id", metavar="RUN", hidden=True, help="The same as RUN."),
            click.option("--all-runs", is_flag=True, help="Of every run of this repository."),
        )
    ):
        command = option(command)
    return command


def choice_options(command: Command) -> Command:
    """Which letters of a run."""
    for option in reversed(
        (
            click.option("--eligible", is_flag=True, help="Only those that a retry can help."),
            click.option(
                "--kind", "kinds", multiple=True, metavar="KIND",
                help="Only those whose last failure is of this kind, such as timeout; may be given again.",
            ),
            click.option(
                "--filter", "filter_text", metavar="EXPR",
                help="Only those for which this holds, e.g. \"priority > 3 && error_type == 'timeout'\".",
            ),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@dataclass(frozen=True)
class Choice:
    """Which letters of those there are."""

    eligible: bool = False
    kinds: tuple[str, ...] = ()
    filter_text: str | None = None

    def expression(self, letters: list[Record]) -> str | None:
        """What says the same to `dlq retry --filter`; None when that needs nothing. letters: all there are."""
        has_own = any(isinstance(item := letter["item_data"], dict) and "error_type" in item for letter in letters)
        name = "letter.error_type" if has_own else "error_type"
        known = {kind_of(letter) for letter in letters}
        kinds = " || ".join(f"{name} == '{kind}'" for kind in dict.fromkeys(self.kinds) if kind in known)
        if self.filter_text is None or not kinds:
            return self.filter_text or kinds or None
        return f"({self.filter_text}) && ({kinds})"

    def of(self, letters: list[Record]) -> list[Record]:
        """The chosen letters, in their order; says on stderr when something in the choice names nothing at all."""
        chosen = [letter for letter in letters if letter["reprocess_eligible"] or not self.eligible]
        if self.kinds:
            chosen = [letter for letter in chosen if kind_of(letter) in self.kinds]
            known = sorted({kind_of(letter) for letter in letters})
            for kind in self.kinds:
                if letters and kind not in known:
                    click.echo(f"Note: no dead letter is of kind {kind}; there are: {', '.join(known)}", err=True)
        if self.filter_text is not None:
            chosen = filtered(self.filter_text, chosen)
        return chosen


Stage = Literal["ended", "stopped", "going on"]


def stage_of(run_id: str) -> Stage:
    """How a run stands: a retry is for one that has ended, a resume for one that was stopped."""
    directory = run_directory(run_id)
    if is_held(directory):
        return "going on"
    with closing(Store.open(directory)) as store:
        return "ended" if store.run().status in FINISHED else "stopped"


def retry_command(run_id: str, stage: Stage, options: str = "", expression: str | None = None) -> str | None:
    """What to type so that dead letters of the run run again; None while a process works on it.

    options: of `dlq retry`, with a blank in front. expression: which letters. A resume knows neither.
    """
    if stage == "going on":
        return None
    if stage == "stopped":
        return f"prodigy resume {run_id} --include-dlq"
    return f"prodigy dlq retry {run_id}{options}" + (f" --filter {quoted(expression)}" if expression else "")


@dataclass(frozen=True)
class Queue:
    """The letters of one run, or of several. run_id: None when they are of all runs."""

    run_id: str | None
    letters: list[Record]

    @property
    def where(self) -> str:
        return f"in run {self.run_id}" if self.run_id else "in the runs of this repository"

    @cached_property
    def stage(self) -> Stage:
        return "ended" if self.run_id is None else stage_of(self.run_id)


def queue(run_reference: str | None, job_id: str | None, *, all_runs: bool) -> Queue:
    """The letters of the run that is meant, by default the latest; of all runs of this repository if asked.

    A run that can't be read is named on stderr and does not hide the others.
    """
    if not all_runs:
        run_id = the_run(run_reference, job_id)
        return Queue(run_id, _letters(run_id))
    letters: list[Record] = []
    for run_id in all_run_ids(job_id if run_reference is None else run_reference):
        try:
            letters += _letters(run_id)
        except ProdigyError as error:
            click.echo(f"Warning: {error}", err=True)
    return Queue(None, sorted(letters, key=lambda letter: letter["last_attempt"] or "", reverse=True))


def all_run_ids(also_named: str | None) -> list[str]:
    """Every run of this repository, newest first."""
    if also_named is not None:
        raise UsageError("RUN and --all-runs exclude each other", hint="Give one of them.")
    return [row.id for row in index.runs(str(common_dir_around(Path.cwd())))]


def _letters(run_id: str) -> list[Record]:
    with closing(Store.open(run_directory(run_id))) as store:
        return store.dead_letters()


def filtered(text: str, letters: list[Record]) -> list[Record]:
    """The letters that a filter means; says on stderr when a name in it is nothing that any of them has."""
    meant = letter_filter(text)
    for name in meant.unknown(letters) if letters else ():
        click.echo(
            f"Note: no item and no dead letter has a field {printable(name)}; a text stands in quotes:"
            f" '{printable(name)}'",
            err=True,
        )
    return [letter for letter in letters if meant(letter)]


def find_letter(letters: Sequence[Record], name: str, run_id: str) -> Record:
    """The letter that `name` means: an item's id, its label when only one has it, or its path, `it1/3/i0042`.

    Raises UsageError, with the nearest names or what became of the item.
    """
    for of in (_path, lambda letter: letter["item_id"], lambda letter: letter["label"]):
        found = [letter for letter in letters if of(letter) == name]
        if len(found) == 1:
            return found[0]
        if found:
            paths = ", ".join(_path(letter) for letter in found[:8])
            raise UsageError(
                f"{len(found)} dead letters of run {run_id} are called {printable(name)}",
                hint=f"Name one of them by its path: {paths}",
            )
    if not letters:
        raise UsageError(_absent(name, run_id), hint=f"There are none in run {run_id}.")
    names = list(dict.fromkeys(str(name) for one in letters for name in (one["item_id"], one["label"])))
    if near := get_close_matches(name, names[:_SUGGESTIONS_AMONG], n=3, cutoff=0.5):
        raise UsageError(_absent(name, run_id), hint=printable(f"Did you mean {', '.join(near)}?"))
    more = f" and {len(letters) - 8} more" if len(letters) > 8 else ""
    listed = ", ".join(str(letter["label"]) for letter in letters[:8])
    raise UsageError(_absent(name, run_id), hint=printable(f"There are: {listed}{more}"))


def _path(letter: Record) -> str:
    return f"{letter['fanout']}/i{letter['ordinal']:04d}"


def _absent(name: str, run_id: str) -> str:
    with closing(Store.open(run_directory(run_id))) as store:
        for row in store.fanouts():
            for item in store.items(row["path"]):
                if name in (item.item_id, item.label):
                    state = "its dead letter was purged" if item.state == "dead" else f"it is {item.state}"
                    return f"item {printable(name)} of run {run_id} has no dead letter: {state}"
    return f"run {run_id} has no dead letter for {printable(name)}"


def name_of(letter: Record) -> str:
    """The item's name for people, with its id when that says more; safe for a terminal."""
    item_id, label = str(letter["item_id"]), str(letter["label"])
    return printable(item_id if label == item_id else f"{label} ({item_id})")


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json_text(value))


def dead_letters(number: int) -> str:
    return counted(number, "dead letter")
