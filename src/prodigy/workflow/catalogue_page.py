"""The page of the reference that lists all variables, written from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable

from prodigy.workflow.catalogue import ENTRIES, FREE, PLACE_NAMES, PLACES, Entry

_HEAD = """\
<!-- Written by `make docs` from the catalogue of variables in the code; change its texts instead. -->

# Variables

What placeholders may name where; [Values and the shell](../values.md) says how they are written and what they do.
`<...>` stands for a name that the workflow gives. A name that has no value where it stands is refused when the workflow
is loaded.

In shell text a name that only has parts, such as `step` or `result`, is the script's own without a dot: `${step}` and
`${result[0]}` are the shell's. Steps can't be called as what stands before the dots here, but for these, which are the
step's then: {free}.

A plain line is a string item: `${item}`, `${item.item}`, `${item.value}` and `${item.path}` give it, `${item.name}` its
base name. Lists of names from git have spaces between them, and every other list is JSON, unless a modifier says
otherwise.
"""
# What the environment of processes has beside the user's variables and the workflow's own.
ENVIRONMENT = (
    ("PRODIGY_AUTOMATION", "`true`", "everywhere"),
    ("PRODIGY_RUN_ID", "the run's id", "everywhere"),
    ("PRODIGY_WORKTREE", "the worktree in which the step runs", "everywhere"),
    (
        "PRODIGY_SLOT",
        "the number of that worktree among those that items use, from 1; 0 for the run's own",
        "everywhere",
    ),
    ("PRODIGY_PORT_BASE", "the first of 20 ports that no other worktree of this home has", "everywhere"),
    ("PRODIGY_ITEM_ID", "the item's id", "in a map"),
    ("PRODIGY_ITEM_FILE", "a file with the item as JSON", "in a map"),
    ("PRODIGY_RESULTS_FILE", "a file with the results as JSON", "behind a map"),
    ("TRACEPARENT", "the step's span, for programs that trace themselves", "with telemetry (`PRODIGY_OTEL`)"),
)
_HEADINGS = {
    "setup": "In setup",
    "steps": "In a list of steps",
    "map": "In the agent template",
    "reduce": "In reduce",
    "merge": "In the steps of merge",
    "handler": "In handlers of failures",
    "repair": "In on_incomplete",
    "foreach": "In the do of a foreach",
    "conflict": "In steps that resolve a conflict",
    "check": "In steps that check merges",
}
_EVERYWHERE = frozenset(PLACES)
_BEHIND = {"fan-out": ", behind a map", "worktree": ", behind a `worktree` step"}


def variables_page() -> str:
    """The page, as Markdown: a table of what there is everywhere, and one for each place that has more."""
    free = ", ".join(f"`{name}`" for name in sorted(FREE))
    sections = [
        _HEAD.replace("{free}", free),
        "## Everywhere\n",
        _table(entry for entry in ENTRIES if entry.where == _EVERYWHERE),
    ]
    for place in PLACES:
        own = [entry for entry in ENTRIES if place in entry.where and entry.where != _EVERYWHERE]
        if own:
            sections += [f"## {_HEADINGS[place]}\n", _line(PLACE_NAMES[place]), _table(own)]
    return "\n".join([*sections, _environment()])


def _environment() -> str:
    lines = [
        "## In the environment",
        "",
        "Every process of a step has these, an agent's and those of `workspace.setup` and `teardown` too.",
        "",
        "| variable | what | where |",
        "| --- | --- | --- |",
        *(f"| `{name}` | {text} | {where} |" for name, text, where in ENVIRONMENT),
        "",
    ]
    return "\n".join(lines)


def _line(place: str) -> str:
    return f"Beside those that are everywhere, {place} has these.\n"


def _table(entries: Iterable[Entry]) -> str:
    rows = [f"| {_name(entry)} | {_text(entry)} | `{entry.example}` |" for entry in entries]
    return "\n".join(["| name | what | example |", "| --- | --- | --- |", *rows, ""])


def _name(entry: Entry) -> str:
    return f"`${{{entry.name}}}`" if entry.in_scripts else f"`${{{entry.name}}}`, `${entry.name}`"


def _text(entry: Entry) -> str:
    text = f"{entry.text}{_BEHIND[entry.behind] if entry.behind else ''}"
    return text if entry.in_scripts else f"{text}; in shell text it is the shell's own variable"
