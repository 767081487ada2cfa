"""Writes what of the reference follows from the code: the commands, the keys of workflows, and tables in other pages.

`python -m prodigy.cli.reference DIRECTORY` rewrites them; a test compares them with the code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from prodigy.cli import main
from prodigy.cli.agents_table import agent_variables_table, agents_table
from prodigy.cli.completion import TABLE, table_text
from prodigy.cli.group import command_group
from prodigy.cli.python_reference import python_page
from prodigy.cli.starters_table import starters_list
from prodigy.report.item_table import NAMES
from prodigy.workflow.catalogue_page import variables_page
from prodigy.workflow.reference import given_up_keys, other_names, refused_keys, workflow_page

COMMANDS, ALIASES = main._COMMANDS, main._ALIASES  # noqa: SLF001 - which commands there are is known there alone

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


PARTS: dict[str, Callable[[], str]] = {
    "other names": other_names,
    "refused keys": refused_keys,
    "given up keys": given_up_keys,
    "agents": agents_table,
    "agent variables": agent_variables_table,
    "starters": starters_list,
    "item names": lambda: ", ".join(f"`{name}`" for name in NAMES),
}
_PART = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_generated_parts(text: str) -> str:
    """A page with its generated parts, between `<!-- generated: NAME -->` and `<!-- end -->`, made anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", text)


def write(directory: Path) -> None:
    """Bring the generated texts in the documentation's `directory` up to date."""
    (directory / "reference" / "commands.md").write_text(commands_page())
    (directory / "reference" / "workflow.md").write_text(workflow_page())
    (directory / "reference" / "python.md").write_text(python_page())
    (directory / "reference" / "variables.md").write_text(variables_page())
    TABLE.write_text(table_text(command_group(COMMANDS, ALIASES)), "utf-8")
    for page in sorted(directory.rglob("*.md")):
        text = page.read_text()
        if (fresh := with_generated_parts(text)) != text:
            page.write_text(fresh)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
