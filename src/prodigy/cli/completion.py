"""`completion`: the script by which a shell completes what one types, and the answers to its questions.

The scripts and what is said between them and us are click's. The answers come from a table of all commands (written by
`prodigy.cli.reference`) and from small look-ups: no command is imported, for most of them need the whole engine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from prodigy.cli.completion_values import VALUES

TABLE = Path(__file__).with_name("completion.json")
SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
VARIABLE = "_PRODIGY_COMPLETE"
Table = dict[str, dict[str, Any]]


@click.command("completion")
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion_command(shell: str) -> None:
    """Print the script by which bash, zsh or fish completes commands, options, runs, items, agents and more.

    \b
    bash: prodigy completion bash > ~/.local/share/bash-completion/completions/prodigy
    zsh:  prodigy completion zsh > "${fpath[1]}/_prodigy"
    fish: prodigy completion fish > ~/.config/fish/completions/prodigy.fish
    """
    found = SHELLS[shell](click.Group("prodigy"), {}, "prodigy", VARIABLE)
    # Not `source()`, which starts bash to ask its version.
    click.echo(found.source_template % found.source_vars())


def answer(instruction: str) -> bool:
    """Answer a shell, whose question is in the environment. instruction: `bash_complete` and the like. False: it is
    none of ours."""
    shell, _, action = instruction.partition("_")
    if shell not in SHELLS or action != "complete":
        return False
    found = SHELLS[shell](click.Group("prodigy"), {}, "prodigy", VARIABLE)
    words, incomplete = found.get_completion_args()
    items = completions(json.loads(TABLE.read_text("utf-8")), words, incomplete)
    click.echo("\n".join(found.format_completion(item) for item in items))
    return True


# What the words mean ---------------------------------------------------------------------------------------


@dataclass
class Place:
    """Where in a command line one is. command: words of the command. values: what was given, by kind of value. waiting:
    the option whose value comes next. arguments: how many there are."""

    table: Table
    command: str = ""
    values: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, Any] | None = None
    arguments: int = 0
    is_over: bool = False  # behind `--`, where nothing is an option

    @property
    def here(self) -> dict[str, Any]:
        return self.table[self.command]

    def take(self, word: str) -> None:
        """Go on behind a whole word."""
        if self.waiting is not None:
            self.values[self.waiting["kind"]] = word
            self.waiting = None
        elif word == "--":
            self.is_over = True
        elif word.startswith("-") and not self.is_over:
            option = self.here["options"].get(word)
            self.waiting = option if option and option["kind"] != "flag" else None
        elif (name := self._below(word)) is not None:
            self.command = name
        else:
            if (argument := self.argument()) is not None:
                self.values[argument["kind"]] = word
            self.arguments += 1

    def _below(self, word: str) -> str | None:
        word = self.here.get("aliases", {}).get(word, word)
        name = f"{self.command} {word}".strip()
        return name if word in self.here.get("commands", {}) else None

    def argument(self) -> dict[str, Any] | None:
        """The argument that comes next; the last one may stand for many."""
        arguments: list[dict[str, Any]] = self.here["arguments"]
        if self.arguments < len(arguments):
            return arguments[self.arguments]
        return arguments[-1] if arguments and arguments[-1]["many"] else None


def completions(table: Table, words: Sequence[str], incomplete: str) -> list[CompletionItem]:
    """What the word that is being typed can become. words: those before it, without `prodigy`."""
    place = Place(table)
    for word in words:
        place.take(word)
    name, equals, value = incomplete.partition("=")
    if place.waiting is None and equals and (option := place.here["options"].get(name)):
        return [CompletionItem(f"{name}={one.value}", one.type, one.help) for one in _values(option, place, value)]
    if place.waiting is not None:
        return list(_values(place.waiting, place, incomplete))
    if incomplete.startswith("-") and not place.is_over:
        options = place.here["options"]
        return [CompletionItem(name, help=options[name]["help"]) for name in options if name.startswith(incomplete)]
    commands: dict[str, str] = place.here.get("commands", {})
    if commands:
        return [CompletionItem(name, help=text) for name, text in commands.items() if name.startswith(incomplete)]
    argument = place.argument()
    return list(_values(argument, place, incomplete)) if argument else []


def _values(wanted: dict[str, Any], place: Place, incomplete: str) -> Iterator[CompletionItem]:
    kind = wanted["kind"]
    if kind in ("file", "dir"):
        yield CompletionItem(incomplete, type=kind)
        return
    pairs = [(text, "") for text in wanted["choices"]] if kind == "choice" else VALUES.get(kind, _nothing)(place.values)
    fitting = [CompletionItem(text, help=said or None) for text, said in pairs if text.startswith(incomplete)]
    # To the shells it is one or the other: names of ours, or whatever file there is.
    yield from fitting if fitting or kind != "workflow" else [CompletionItem(incomplete, type="file")]


def _nothing(_: dict[str, str]) -> list[tuple[str, str]]:
    return []


# The table -------------------------------------------------------------------------------------------------


def table_of(group: click.Group) -> Table:
    """Command -> its options, arguments and subcommands."""
    found: Table = {}
    _fill(found, "", group, click.Context(group, info_name="prodigy"))
    return found


def table_text(group: click.Group) -> str:
    """The table as a file, a line for each command."""
    lines = [f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in table_of(group).items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _fill(found: Table, name: str, command: click.Command, context: click.Context) -> None:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    found[name] = {
        "options": {
            spelling: {"kind": _kind(option), "help": _first(option.help or ""), **_choices(option)}
            for option in options if not option.hidden for spelling in (*option.opts, *option.secondary_opts)
        } | {spelling: {"kind": "flag", "help": "Show help."} for spelling in ("-h", "--help")},
        "arguments": [{"kind": _kind(one), "many": one.nargs == -1, **_choices(one)} for one in arguments],
    }  # fmt: skip
    if not isinstance(command, click.Group):
        return
    found[name]["commands"] = {}
    found[name]["aliases"] = dict(getattr(command, "aliases", {}))
    for below in command.list_commands(context):
        inner = command.get_command(context, below)
        if inner is None or inner.hidden:
            continue
        found[name]["commands"][below] = _first(inner.get_short_help_str(100))
        inside = click.Context(inner, info_name=below, parent=context)
        _fill(found, f"{name} {below}".strip(), inner, inside)


def _choices(parameter: click.Parameter) -> dict[str, list[str]]:
    if isinstance(parameter.type, click.Choice):
        return {"choices": list(map(str, parameter.type.choices))}
    if parameter.name == "types":
        from prodigy.state.events import TYPES

        return {"choices": sorted(TYPES)}
    if parameter.name == "key":
        from prodigy.cli.config import known_keys

        return {"choices": sorted(known_keys())}
    return {}


def _kind(parameter: click.Parameter) -> str:
    """What a value of the parameter is: the key of `VALUES`, or `flag`, `choice`, `file`, `dir`, `text`."""
    if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count):
        return "flag"
    if isinstance(parameter.type, click.Choice):
        return "choice"
    names = {"run_reference": "run", "resumed": "run", "job_id": "run", "item_id": "item", "item": "item"}
    names |= {"items": "item", "of_item": "item", "agent": "agent", "profile": "profile", "types": "choice"}
    names |= {"workflow": "workflow", "workflows": "workflow", "key": "choice", "export_file": "file"}
    name = parameter.name or ""
    if name == "file" and "--workflow" in parameter.opts:
        return "workflow"
    if name in names:
        return names[name]
    if isinstance(parameter.type, click.Path) or name in ("output", "source", "file"):
        return "dir" if name in ("where", "archive_path") else "file"
    return "text"


def _first(text: str) -> str:
    return " ".join(text.split())[:100]
