"""Every command there is: it has help that fits a terminal, and programs can read what it lists or shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from prodigy.cli.completion import TABLE, completions, table_of, table_text
from prodigy.cli.group import command_group
from prodigy.cli.reference import ALIASES, COMMANDS

ROOT = command_group(COMMANDS, ALIASES)
# Commands that neither list nor show anything: they act, or print a document of their own.
ACTING = {
    "cancel", "detach", "attach", "export", "import", "migrate-yaml", "demo", "init", "pause", "unpause", "steer",
    "schema", "completion", "dashboard", "mcp",
    "worktree merge", "dlq export", "events export",
    "template register", "template delete", "template init", "template new",
}  # fmt: skip


def walked(group: click.Group, context: click.Context, words: str = "") -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if command.hidden:
            continue
        path = f"{words} {name}".strip()
        yield path, command
        if isinstance(command, click.Group):
            yield from walked(command, click.Context(command, info_name=name, parent=context), path)


CONTEXT = click.Context(ROOT, info_name="prodigy", help_option_names=["-h", "--help"], terminal_width=80)
TREE = dict(walked(ROOT, CONTEXT))
LEAVES = {path: command for path, command in TREE.items() if not isinstance(command, click.Group)}


@pytest.mark.parametrize("path", TREE)
def test_help_is_there_for_the_command_and_each_option_and_fits_eighty_columns(path: str) -> None:
    command = TREE[path]
    context = click.Context(command, info_name=f"prodigy {path}", parent=CONTEXT, terminal_width=80)
    assert command.help, "no help"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts[0]} has no help"
    # A word longer than the line, such as a path in an example, can't be broken.
    wide = [line for line in command.get_help(context).splitlines() if len(line) > 80 and "completion" not in path]
    assert wide == []


@pytest.mark.parametrize("path", sorted(LEAVES.keys() - ACTING))
def test_what_lists_or_shows_has_json(path: str) -> None:
    assert any("--json" in parameter.opts for parameter in LEAVES[path].params), "no --json"


@pytest.mark.parametrize("path", ["", *(path for path, command in TREE.items() if isinstance(command, click.Group))])
def test_a_misspelt_command_is_answered_with_the_nearest(path: str) -> None:
    group = TREE[path] if path else ROOT
    assert isinstance(group, click.Group)
    context = click.Context(group, info_name=path)
    name = max(group.list_commands(context), key=len)
    misspelt = name[:-1] + "x"
    with pytest.raises(click.UsageError, match="Did you mean"):
        group.resolve_command(context, [misspelt])


@pytest.mark.parametrize("path", LEAVES)
def test_a_misspelt_option_is_answered_with_the_nearest(path: str) -> None:
    command = LEAVES[path]
    context = click.Context(command, info_name=path, help_option_names=["--help"])
    longest = max(
        (spelling for option in command.get_params(context) for spelling in option.opts if spelling.startswith("--")),
        key=len,
    )
    with pytest.raises(click.NoSuchOption) as caught, contextlib.suppress(click.MissingParameter):
        command.make_context(path, [f"{longest}x"], help_option_names=["--help"])
    assert longest in (caught.value.possibilities or ())


# Completion ------------------------------------------------------------------------------------------------


def test_the_table_that_shells_are_answered_from_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert TABLE.read_text() == table_text(ROOT)


def test_options_values_and_positions_are_told_apart() -> None:
    table = table_of(ROOT)

    def offered(*words: str) -> list[str]:
        return [item.value for item in completions(table, words[:-1], words[-1])]

    assert "worktree" in offered("work")
    assert offered("events", "list", "--js") == ["--json"], "by its earlier name"
    assert offered("events", "export", "--format", "m") == ["markdown"]
    assert offered("events", "export", "--format=c") == ["--format=csv"]
    assert offered("status", "--json", "--", "--j") == [], "behind -- nothing is an option"
    assert offered("schema", "x") == []
    assert [item.type for item in completions(table, ["import"], "arch")] == ["file"]


def test_the_table_is_installed_with_the_package() -> None:
    assert TABLE.parent == Path(completions.__code__.co_filename).parent
