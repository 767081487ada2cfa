"""Many runs as a table: which of them, and a line for each."""

from __future__ import annotations

import datetime as dt
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypedDict, TypeVar, cast

import click

from prodigy.cli import common
from prodigy.cli.references import duration
from prodigy.cli.words import printable
from prodigy.engine.summary import summarise
from prodigy.errors import ProdigyError
from prodigy.store import index
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

STATES = ("running", "paused", "interrupted", "cancelled", "failed", "completed", "completed_with_failures", "new")
TERMINAL_LIMIT = 50  # runs on a terminal, unless the user says how many
_SHORT = {"completed_with_failures": "with failures"}
_PLAIN_WIDTH = 80
_WORKFLOW_AT_LEAST = 8

Command = TypeVar("Command", bound=Callable[..., Any])
Summary = dict[str, object]


class Which(TypedDict):
    """What click gives of `which_options`."""

    all_repos: bool
    states: tuple[str, ...]
    since: float | None
    older_than: float | None
    limit: int | None


def which_options(command: Command) -> Command:
    """The options that choose among many runs."""
    for option in reversed(
        (
            click.option("--all-repos", is_flag=True, help="The runs of all repositories."),
            click.option(
                "--state", "states", multiple=True, type=click.Choice(STATES), metavar="STATE",
                help="Only runs in this state, e.g. running, paused, failed; may be given again.",
            ),
            click.option("--since", type=duration("h"), metavar="AGO", help="Only runs begun since: 2h, 7d."),
            click.option("--older-than", type=duration("d"), metavar="AGE", help="Only runs begun before: 12h, 7d."),
            click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def chosen(which: Which) -> Iterator[Summary]:
    """The summaries of the runs, newest first; one that can't be read does not hide the others."""
    rows = index.runs(None if which["all_repos"] else common.here())
    found = 0
    for row in rows:
        age_s = (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(row.created_at)).total_seconds()
        since, older = which["since"], which["older_than"]
        if (since is not None and age_s > since) or (older is not None and age_s < older):
            continue
        try:
            with closing(Store.open(run_directory(row.id))) as store:
                summary = summarise(store)
        except ProdigyError as error:
            click.echo(f"Warning: {error}", err=True)
            continue
        if which["states"] and summary["status"] not in which["states"]:
            continue
        yield {**summary, "repository": _repository(row.common_dir)}
        found += 1
        if found == which["limit"]:
            return


def _repository(common_dir: str) -> str:
    return common_dir.removesuffix("/.git")


def show_table(summaries: Sequence[Summary], *, all_repos: bool) -> None:
    """A line for each run, in 80 columns or what the terminal has."""
    if not summaries:
        return
    rows = [_cells(summary, all_repos=all_repos) for summary in summaries]
    head = ("RUN", "STATUS", "ITEMS", "COST", "AGE", "WORKFLOW")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head) - 1)]
    room = shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns if sys.stdout.isatty() else None
    for row in (head, *rows):
        cells = [f"{cell:>{width}}" if column in (2, 3, 4) else f"{cell:{width}}"
                 for column, (cell, width) in enumerate(zip(row[:-1], widths, strict=True))]  # fmt: skip
        line = "  ".join(cells)
        left = None if room is None else max(_WORKFLOW_AT_LEAST, room - len(line) - 2)
        click.echo(f"{line}  {_cut(row[-1], left)}")


def _cells(summary: Summary, *, all_repos: bool) -> tuple[str, ...]:
    items = cast("dict[str, int]", summary["items"])
    failed = f" -{items['failed']}" if items["failed"] else ""
    status = _SHORT.get(str(summary["status"]), str(summary["status"]))
    if summary["status"] == "paused" and summary["stop_reason"]:
        status += f" ({summary['stop_reason']})"
    if summary["status"] == "running" and summary["gates"]:
        status += " (waits)"
    cost = summary["cost_usd"]
    name = printable(str(summary["workflow"]))
    return (
        str(summary["run_id"]),
        status,
        f"{items['successful']}/{items['total']}{failed}" if items["total"] else "-",
        "?" if cost is None else f"${cost:,.2f}" if cost else "-",
        age(str(summary["created_at"])),
        f"{_short(str(summary['repository']))}: {name}" if all_repos else name,
    )


def _short(repository: str) -> str:
    """Enough of a path to know it by; `--json` has all of it."""
    return printable("/".join(repository.rstrip("/").split("/")[-2:]))


def age(created_at: str) -> str:
    """`3m`, `2h`, `12d`: the largest unit alone."""
    seconds = (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(created_at)).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit}"
    return f"{max(0, seconds):.0f}s"


def _cut(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else f"{text[: width - 1]}…"
