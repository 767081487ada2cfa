"""`status`: how runs stand."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Unpack, cast

import click

from prodigy.cli import common
from prodigy.cli.run_table import TERMINAL_LIMIT, Summary, Which, chosen, show_table, which_options
from prodigy.cli.words import printable
from prodigy.engine.summary import summarise
from prodigy.errors import UsageError
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

FORMATS = ("json", "csv", "html")
_RUNNING_SHOWN = 8


def _refuse_web(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None and not context.resilient_parsing:
        raise UsageError(
            "a run is shown in a browser by a command of its own",
            hint="`prodigy dashboard` serves all runs; `prodigy attach RUN` shows one in this terminal.",
        )


@click.command("status")
@click.argument("run_reference", metavar="[RUN]", required=False)
@which_options
@click.option("--export", "export_file", metavar="FILE", help="Write what is shown to FILE; - is standard output.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Of --export; by default by the file's ending, else json.",
)
@click.option("--web", metavar="PORT", hidden=True, expose_value=False, callback=_refuse_web, help="See `dashboard`.")
@common.json_option
def status_command(
    run_reference: str | None, *, export_file: str | None, form: str | None, as_json: bool, **which: Unpack[Which]
) -> None:
    """Show how RUN stands, or list the runs of this repository (of all repositories, outside of one), newest first.

    In the list ITEMS is how many succeeded of how many, and behind it how many failed.
    """
    if form is not None and export_file is None:
        raise UsageError("--format goes with --export", hint="`--json` prints JSON.")
    if run_reference is not None:
        _show_one(common.resolve(run_reference), which, export_file, form, as_json=as_json)
        return
    shortened = which["limit"] is None and not as_json and export_file is None and sys.stdout.isatty()
    summaries = list(chosen({**which, "limit": TERMINAL_LIMIT} if shortened else which))
    if export_file is not None:
        _export(summaries, export_file, form)
    elif as_json:
        click.echo(json.dumps(summaries, indent=2))
    elif not summaries:
        click.echo(_nothing(which))
    show_table([] if as_json or export_file else summaries, all_repos=which["all_repos"] or common.here() is None)
    if shortened and len(summaries) == TERMINAL_LIMIT:
        click.echo(f"These are the newest {TERMINAL_LIMIT}; --limit shows more.", err=True)


def _nothing(which: Which) -> str:
    if which["states"] or which["since"] is not None or which["older_than"] is not None:
        return "no such runs"
    return "no runs yet; start one with: prodigy run WORKFLOW"


def _show_one(run_id: str, which: Which, export_file: str | None, form: str | None, *, as_json: bool) -> None:
    if given := [name for name, value in which.items() if value]:
        name = {"states": "--state"}.get(given[0], f"--{given[0].replace('_', '-')}")
        raise UsageError(f"{name} chooses among runs, and RUN names one", hint="Leave one of the two out.")
    with closing(Store.open(run_directory(run_id))) as store:
        summary = summarise(store)
        shown = not as_json and export_file is None and _goes_on(summary)
        going = list(_going_on(store, is_held=summary["held"] is not None)) if shown else []
    if export_file is not None:
        _export(summary, export_file, form)
    elif as_json:
        click.echo(json.dumps(summary, indent=2))
    else:
        common.show_summary(summary, going)
        if summary["error"] and summary["stop_reason"] is None:
            common.show_error(summary)


def _goes_on(summary: Summary) -> bool:
    """Whether a process drives it: one that is held may still have steps that run."""
    return summary["status"] == "running" or summary["held"] is not None


def _going_on(store: Store, *, is_held: bool) -> Iterator[str]:
    """Where a run is that goes on, how long it may take, and what runs."""
    from prodigy.cli.canvas import duration
    from prodigy.report.history import history

    view, _ = history(store)
    now = time.monotonic()
    batch = view.batch
    parts = [f"phase: {view.phase}" if view.phase else "phase: not begun"]
    if batch is not None and batch.total:
        parts.append(f"{batch.done} of {batch.total} items ended ({100 * batch.done // batch.total} %)")
    if not is_held and (eta := view.eta_s(now)) is not None:
        parts.append(f"about {duration(max(1.0, eta))} left")
    yield ", ".join(parts)
    lines = list(view.lines.values())
    for line in lines[:_RUNNING_SHOWN]:
        step = f": {line.step.label}" if line.step else ""
        yield printable(f"  running {duration(now - line.since)}  {line.label}{step}")
    if len(lines) > _RUNNING_SHOWN:
        yield f"  and {len(lines) - _RUNNING_SHOWN} more"


# Export ----------------------------------------------------------------------------------------------------


def _export(found: Summary | list[Summary], file: str, form: str | None) -> None:
    from prodigy.cli.dlq_export import write_whole

    form = form or {".csv": "csv", ".html": "html"}.get(Path(file).suffix.lower(), "json")
    if form == "html":
        _export_html(found, file)
        return
    text = f"{json.dumps(found, indent=2)}\n" if form == "json" else _csv(found if isinstance(found, list) else [found])
    if file == "-":
        click.echo(text, nl=False)
        return
    write_whole(Path(file), text)
    click.echo(f"wrote {printable(file)}", err=True)


def _export_html(found: Summary | list[Summary], file: str) -> None:
    """The page that `report --html` makes."""
    if isinstance(found, list):
        raise UsageError("a page is about one run", hint="Name it: prodigy status RUN --export FILE --format html")
    from prodigy.cli.report import report_command

    if not any("--html" in parameter.opts for parameter in report_command.params):
        raise UsageError("this version makes no HTML page", hint="--format json or csv.")
    report_command.main([str(found["run_id"]), "--html", file], standalone_mode=False)


def _csv(found: list[Summary]) -> str:
    import csv
    import io

    from prodigy.report.letter_table import safe_cell

    rows = [_flat(summary) for summary in found]
    out = io.StringIO()
    writer = csv.writer(out)
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer.writerow(names)
    for row in rows:
        writer.writerow([safe_cell(row.get(name)) for name in names])
    return out.getvalue()


def _flat(value: Summary, prefix: str = "") -> dict[str, Any]:
    """`{"items": {"total": 1}}` as `{"items.total": 1}`; lists as JSON."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict):
            flat |= _flat(cast("Summary", inner), f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = json.dumps(inner) if isinstance(inner, list) else inner
    return flat
