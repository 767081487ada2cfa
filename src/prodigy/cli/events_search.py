"""`events search` and `events stats`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import click

from prodigy.cli.common import json_option
from prodigy.cli.event_options import (
    ago,
    checked_types,
    fields_of,
    item_option,
    json_lines,
    of_a_run,
    show,
    since_option,
    types_option,
)
from prodigy.cli.references import find_item, the_run
from prodigy.cli.words import counted, printable
from prodigy.errors import UsageError
from prodigy.store.paths import run_directory
from prodigy.store.store import Store
from prodigy.workflow.regex import RegexError, compile_regex, utf8

GROUPS = ("event_type", "item", "hour", "day")


@click.command("search")
@click.argument("pattern")
@of_a_run
@click.option(
    "--fields",
    multiple=True,
    metavar="NAME",
    help="Only look at these fields, e.g. error; names with commas, or again.",
)
@types_option
@item_option
@since_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N that match.")
@json_lines
def search_command(
    pattern: str,
    run_reference: str | None,
    *,
    job_id: str | None,
    fields: tuple[str, ...],
    types: tuple[str, ...],
    item: str | None,
    since: float | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the events of RUN (by default the latest run) in which the regular expression PATTERN matches something.

    It is looked for in each field's value (of lists and objects, as JSON), event_type and timestamp among them. RE2's
    dialect; `(?i)` in front ignores case.
    """
    try:
        compiled = compile_regex(pattern)
    except RegexError as error:
        what = f"the pattern {printable(pattern)} can't be read: {error}"
        raise UsageError(what, hint="It is RE2's dialect.") from error
    wanted = {name.strip() for text in fields for name in text.split(",") if name.strip()}
    found = 0
    with closing(Store.open(run_directory(the_run(run_reference, job_id)))) as store:
        for record in _events(store, types, item, since):
            facts = fields_of(record)
            if any(compiled.search(utf8(_text(facts[name]))) for name in facts.keys() & (wanted or facts.keys())):
                show(record, as_json=as_json)
                found += 1
            if found == limit:
                break
    if not found:
        click.echo("no event matches", err=True)


@click.command("stats")
@of_a_run
@click.option("--group-by", type=click.Choice(GROUPS), default="event_type", show_default=True, help="What is counted.")
@types_option
@item_option
@since_option
@json_option
def stats_command(
    run_reference: str | None,
    *,
    job_id: str | None,
    group_by: str,
    types: tuple[str, ...],
    item: str | None,
    since: float | None,
    as_json: bool,
) -> None:
    """Count the events of RUN (by default the latest run) and say when the first and the last of each group was."""
    groups: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    run_id = the_run(run_reference, job_id)
    with closing(Store.open(run_directory(run_id))) as store:
        for record in _events(store, types, item, since):
            name, at = _group(record, group_by), str(record["timestamp"])
            counts[name] = counts.get(name, 0) + 1
            groups.setdefault(name, [at, at])[1] = at
    names = sorted(counts) if group_by in ("hour", "day") else sorted(counts, key=lambda name: (-counts[name], name))
    if as_json:
        rows = [{"group": n, "count": counts[n], "first": groups[n][0], "last": groups[n][1]} for n in names]
        facts = {"run_id": run_id, "group_by": group_by, "total": sum(counts.values()), "groups": rows}
        click.echo(json.dumps(facts, indent=2))
        return
    width = max(map(len, names), default=0)
    for name in names:
        click.echo(printable(f"{counts[name]:7}  {name:{width}}  {groups[name][0]}  {groups[name][1]}"))
    click.echo(f"{counted(sum(counts.values()), 'event')} of run {run_id}")


def _events(store: Store, types: tuple[str, ...], item: str | None, since: float | None) -> Iterator[dict[str, object]]:
    return store.events(
        types=checked_types(types),
        since=ago(since) if since is not None else None,
        item=find_item(store, item) if item is not None else None,
    )


def _group(record: dict[str, object], by: str) -> str:
    at = str(record["timestamp"])
    if by == "day":
        return at[:10]
    if by == "hour":
        return f"{at[:13]}:00Z"
    return str(fields_of(record).get("item_id" if by == "item" else by) or "(none)")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
