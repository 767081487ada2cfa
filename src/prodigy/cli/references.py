"""What commands are given: runs, items, ages."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches

import click

from prodigy.cli import common
from prodigy.cli.words import printable
from prodigy.errors import UsageError
from prodigy.store.index import LATEST
from prodigy.store.store import Store

_SUGGESTIONS_AMONG = 2000
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")


def duration(bare: str) -> Callable[[str], float]:
    """A type for options: seconds, from a text such as `90s`, `1h30m`, `7d`. A bare number counts in `bare` units."""

    def seconds(text: str) -> float:
        text = text.strip().lower()
        if re.fullmatch(r"\d+(?:\.\d+)?", text):
            text += bare
        if not _DURATION.fullmatch(text):
            raise click.BadParameter(f"{text!r} is no duration; write for example 90s, 30m, 12h or 7d")
        return sum(float(n) * _UNITS_S[unit] for n, unit in re.findall(r"([\d.]+)([smhdw])", text))

    return seconds


def the_run(reference: str | None, job_id: str | None, *, to_act: bool = False) -> str:
    """The run that RUN, or its synonym of the earlier system, means; the latest when neither is given.

    to_act: for a command that takes something away, see `common.resolve_to_act`.
    """
    if reference is not None and job_id is not None and reference != job_id:
        raise UsageError("RUN and --job-id name two runs", hint="They mean the same: give one of them.")
    named = job_id if reference is None else reference
    resolve = common.resolve_to_act if to_act else common.resolve
    return resolve(LATEST if named is None else named)


def find_item(store: Store, name: str) -> str:
    """The id of the item that `name` means: its id, its label, or `agent-` and its id. Raises UsageError."""
    items = [item for row in store.fanouts() for item in store.items(row["path"])]
    for wanted in (name, name.removeprefix("agent-")):
        for item in items:
            if wanted in (item.item_id, item.label):
                return item.item_id
    if not items:
        raise UsageError(f"run {store.directory.name} has no items yet", hint="`prodigy logs` lists its steps.")
    names = [item.label for item in items]
    if near := get_close_matches(name, names[:_SUGGESTIONS_AMONG], n=3, cutoff=0.5):
        hint = f"Did you mean {', '.join(near)}?"
    else:
        hint = f"There are: {', '.join(names[:8])}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    raise UsageError(f"run {store.directory.name} has no item {name}", hint=printable(hint))
