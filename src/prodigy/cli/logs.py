"""`logs`: what the steps of a run printed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict

import click

from prodigy.cli import common
from prodigy.cli.log_output import STREAMS, Follower, Printer
from prodigy.cli.references import find_item, the_run
from prodigy.cli.words import printable
from prodigy.errors import UsageError
from prodigy.report.executions import Execution, Log
from prodigy.store.paths import run_directory
from prodigy.store.store import Store

_TAIL_ALONE = 0  # what `--tail` without a number gives


def _lines(text: str) -> int:
    if text == "follow":
        return _TAIL_ALONE
    if not text.isdecimal() or int(text) < 1:
        raise click.BadParameter(f"{text!r} is no number of lines; to follow, write --tail last, or --follow")
    return int(text)


@click.command("logs")
@click.argument("run_reference", metavar="[RUN]", required=False)
@click.argument("of_item", metavar="[ITEM]", required=False)
@click.option("--job-id", metavar="RUN", hidden=True, help="The same as RUN.")
@click.option("--latest", is_flag=True, help="The latest run; so it is without RUN.")
@click.option(
    "--tail", is_flag=False, flag_value="follow", type=_lines, metavar="[N]",
    help="Only the last N lines; without N, the same as --follow.",
)  # fmt: skip
@click.option("--summary", is_flag=True, help="Only how many steps ended how.")
@click.option("--item", "--agent-id", metavar="ID", help="The output of this item's newest attempt, step by step.")
@click.option("--step", metavar="PATH", help="The output of one step; of its newest try unless PATH names one.")
@click.option("--stdout", "only_stdout", is_flag=True, help="Only standard output.")
@click.option("--stderr", "only_stderr", is_flag=True, help="Only standard error.")
@click.option("--raw", is_flag=True, help="An agent's stream as it came, also on a terminal.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is printed until the step, item or run ends.")
@common.json_option
def logs_command(
    run_reference: str | None,
    of_item: str | None,
    *,
    job_id: str | None,
    latest: bool,
    tail: int | None,
    summary: bool,
    item: str | None,
    step: str | None,
    only_stdout: bool,
    only_stderr: bool,
    raw: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """List the steps that RUN has executed (by default the latest run), or show what they printed.

    ITEM, --item and --step show output; --follow without them shows that of every step as it runs. What agents do is
    told in words on a terminal, and with ITEM everywhere. On a terminal control characters are shown escaped; elsewhere
    every byte comes as the step printed it.
    """
    item, readable = of_item or item, of_item is not None
    if tail == _TAIL_ALONE:
        tail, follow = None, True
    _refuse_together(
        {"--item": item, "--step": step, "--summary": summary},
        {"RUN": run_reference or job_id, "--latest": latest},
        {"--follow": follow, "--json": as_json},
        {"--follow": follow, "--summary": summary},
        {"--stdout": only_stdout, "--stderr": only_stderr},
    )
    streams = ("stdout",) if only_stdout else ("stderr",) if only_stderr else STREAMS
    with closing(Store.open(run_directory(the_run(run_reference, job_id)))) as store:
        log = Log(store)
        if summary:
            _show_summary(log.executions(None, None), as_json=as_json)
            return
        item_id = find_item(store, item) if item is not None else None
        path = log.execution_named(step) if step is not None else None
        if as_json or (item_id is None and path is None and not follow):
            executions = log.executions(_chosen(log, item_id, path), tail)
            _print_json(executions) if as_json else _list(executions)
            return
        printer = Printer(streams, headers=path is None or len(streams) > 1, raw=raw, readable=readable)
        if follow:
            _follow(Follower(log, printer, item_id, path, tail))
        elif paths := _chosen(log, item_id, path):
            printer.show(log, paths, tail)
        else:
            click.echo(f"item {item} has not started yet")


def _chosen(log: Log, item_id: str | None, path: str | None) -> list[str] | None:
    """The executions that the options choose; None for all."""
    if path is not None:
        return [path]
    return None if item_id is None else log.paths_of_item(item_id)


def _refuse_together(*groups: dict[str, object]) -> None:
    for group in groups:
        given = [name for name, value in group.items() if value]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} exclude each other", hint="Give one of them.")


# Lists -----------------------------------------------------------------------------------------------------


def _list(executions: Iterable[Execution]) -> None:
    empty = True
    for execution in executions:
        empty = False
        took = f"{execution.duration_s:.1f} s" if execution.duration_s is not None else "-"
        code = f"exit {execution.exit_code}" if execution.exit_code is not None else "-"
        what = " ".join(part for part in (execution.item_id, execution.label) if part)
        click.echo(printable(f"{execution.path:28} {execution.state:11} {took:>9}  {code:8} {what}".rstrip()))
        click.echo(f"    {printable(execution.directory)}")
    if empty:
        click.echo("no step has begun yet")


def _print_json(executions: Iterable[Execution]) -> None:
    """One JSON array, written as it is read: a long run has many."""
    before = "["
    for execution in executions:
        click.echo(f"{before}\n  {json.dumps(asdict(execution))}", nl=False)
        before = ","
    click.echo("[]" if before == "[" else "\n]")


def _show_summary(executions: Iterable[Execution], *, as_json: bool) -> None:
    states: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    duration_s = 0.0
    for execution in executions:
        states[execution.state] += 1
        duration_s += execution.duration_s or 0.0
        if execution.kind:
            kinds[execution.kind] += 1
    total = sum(states.values())
    if as_json:
        facts = {"executions": total, "states": states, "failures": kinds, "duration_s": round(duration_s, 3)}
        click.echo(json.dumps(facts, indent=2))
        return
    parts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    click.echo(f"{total} executions of steps" + (f": {parts}" if parts else ""))
    for kind, count in kinds.most_common():
        click.echo(f"    {kind}: {count}")
    click.echo(f"{duration_s:.1f} s in all")


def _follow(follower: Follower) -> None:
    try:
        follower.run()
    except KeyboardInterrupt:
        return  # the way to end it
