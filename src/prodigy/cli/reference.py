"""Writes what of the reference follows from the code: the commands, and the keys that are other names or refused.

`python -m prodigy.cli.reference DIRECTORY` rewrites `commands.md` and the generated parts of `workflow.md`; a test
compares both with the code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from prodigy.cli import main
from prodigy.cli.group import command_group
from prodigy.workflow import keys

COMMANDS, ALIASES = main._COMMANDS, main._ALIASES  # noqa: SLF001 - which commands there are is known there alone
# The tables of `workflow/keys.py` and where their keys stand in a workflow.
TABLES = {
    "at the top level": keys.WORKFLOW,
    "under `settings`": keys.SETTINGS,
    "under `workspace`": keys.WORKSPACE,
    "under `mapreduce`": keys.MAPREDUCE,
    "under `map`": keys.MAP,
    "in a step": keys.STEP,
    "under `retry`": keys.RETRY,
    "under `on_failure`": keys.ON_FAILURE,
    "under an agent": keys.AGENT,
    "around nested steps": keys.NESTED_STEPS,
}

_COMMANDS_HEAD = """\
<!-- Written by `make docs` from the commands themselves; change their help texts instead. -->

# Commands

`RUN` is a run id, the beginning of one, a workflow's file or name (its latest run), or `latest`. Results go to
standard output, progress and messages to standard error. Exit codes: [Running and watching](../running.md#exit-codes).
"""


def commands_page() -> str:
    """The page of all commands with their options, as Markdown."""
    group = command_group(COMMANDS, ALIASES)
    context = click.Context(group, info_name="prodigy")
    sections = [_COMMANDS_HEAD]
    sections += [_section(path, command) for path, command in _walk(group, context)]
    return "\n".join(sections)


def _walk(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """(words after `prodigy`, command) of every command, but no other names of one and no hidden ones."""
    seen: set[int] = set()
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden or id(command) in seen:
            continue
        seen.add(id(command))
        yield name, command
        if isinstance(command, click.Group):
            for below, inner in _walk(command, click.Context(command, info_name=name, parent=context)):
                yield f"{name} {below}", inner


def _section(path: str, command: click.Command) -> str:
    level = "###" if " " in path else "##"
    lines = [f"{level} prodigy {path}", "", _paragraphs(command.help or ""), ""]
    if isinstance(command, click.Group):
        return "\n".join(lines)
    context = click.Context(command, info_name=f"prodigy {path}")
    lines += ["```text", " ".join([f"prodigy {path}", *command.collect_usage_pieces(context)]), "```", ""]
    records = [option.get_help_record(context) for option in command.params if isinstance(option, click.Option)]
    rows = [f"| `{_option(record[0])}` | {_cell(record[1])} |" for record in records if record]
    if rows:
        lines += ["| option | meaning |", "| --- | --- |", *rows, ""]
    return "\n".join(lines)


def _option(names: str) -> str:
    """The names of an option and of its value, in click's words but for numbers."""
    return _cell(names.replace("INTEGER RANGE", "N"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _paragraphs(text: str) -> str:
    """The help of a command, its paragraphs on one line each."""
    parts = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(part.replace("\b", "").split()) for part in parts)


# Keys ------------------------------------------------------------------------------------------------------


def other_names() -> str:
    """A table of the other names that keys may be written with."""
    rows = [
        f"| `{written}` | `{name}` | {place} |"
        for place, table in TABLES.items()
        for written, name in sorted(table.synonyms.items())
    ]
    return "\n".join(["| written | read as | where |", "| --- | --- | --- |", *rows])


def refused_keys() -> str:
    """A table of the keys that are known but do not run in this version."""
    rows = [
        f"| {place} | {', '.join(f'`{name}`' for name in sorted(table.later))} |"
        for place, table in TABLES.items()
        if table.later
    ]
    return "\n".join(["| where | keys |", "| --- | --- |", *rows])


def given_up_keys() -> str:
    """A table of the keys of the earlier system that are not carried over."""
    rows = [f"| `{name}` | {instead} |" for name, instead in keys.GIVEN_UP.items()]
    return "\n".join(["| key | instead |", "| --- | --- |", *rows])


PARTS = {"other names": other_names, "refused keys": refused_keys, "given up keys": given_up_keys}
_PART = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_generated_parts(text: str) -> str:
    """A page with its generated parts, between `<!-- generated: NAME -->` and `<!-- end -->`, made anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", text)


def write(directory: Path) -> None:
    """Bring the generated texts in the documentation's `directory` up to date."""
    (directory / "reference" / "commands.md").write_text(commands_page())
    for page in sorted(directory.rglob("*.md")):
        text = page.read_text()
        if (fresh := with_generated_parts(text)) != text:
            page.write_text(fresh)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
