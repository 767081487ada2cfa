"""The questions that `init` asks on a terminal. Each has a default, and a flag that answers it beforehand."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from difflib import get_close_matches

import click

from prodigy.cli.from_template import typed_value
from prodigy.cli.words import printable
from prodigy.errors import UsageError
from prodigy.workflow.parameters import Parameter

Choice = tuple[str, str]  # a name, and what it is


def ask_which(question: str, choices: Sequence[Choice], default: str) -> str:
    """One of the choices, by its number or its name."""
    names = [name for name, _ in choices]
    width = max(map(len, names))
    click.echo(f"\n{question}", err=True)
    for number, (name, what) in enumerate(choices, 1):
        head = f"  {number:2}  {name:{width}}  "
        click.echo(_hanging(head, printable(what)), err=True)
    while True:
        answer = click.prompt("Number or name", default=default, err=True).strip()
        if answer.isdecimal() and 1 <= int(answer) <= len(names):
            return names[int(answer) - 1]
        if answer in names:
            return answer
        nearest = get_close_matches(answer[:100], names, 1)
        click.echo(f"There is no {printable(answer)}." + (f" Did you mean {nearest[0]}?" if nearest else ""), err=True)


def _hanging(head: str, text: str) -> str:
    """The text behind its head, in as many lines as the terminal needs."""
    width = max(shutil.get_terminal_size().columns - 1, len(head) + 20)
    return textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head)) if text else head.rstrip()


def ask_cost(question: str, default: float) -> float:
    """An amount of dollars above nothing."""
    kind = click.FloatRange(min=0, min_open=True)
    return float(click.prompt(f"\n{question}", type=kind, default=f"{default:g}", err=True))


def ask_value(parameter: Parameter) -> object:
    """A value for a parameter that has none; asked again until it is one."""
    click.echo(f"\n{printable(parameter.description or parameter.name)}", err=True)
    while True:
        try:
            return typed_value(parameter, click.prompt(parameter.name, err=True))
        except UsageError as error:
            click.echo(printable(error.what), err=True)
