"""How much a command says while it drives or watches a run: `--quiet`, `-v`, `-vv`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

STEPS, OUTPUT = 1, 2  # how often -v is given for steps to be told, and for what they print
_QUIET, _VERBOSE = "prodigy.quiet", "prodigy.verbose"  # in click's meta, which all contexts of a call share


@dataclass(frozen=True)
class Telling:
    """quiet: only the result and errors. verbose: STEPS, OUTPUT."""

    quiet: bool = False
    verbose: int = 0


def verbose_option(command: Command) -> Command:
    """`-v`, for the whole program and for single commands: they add up."""
    return click.option(
        "-v", "--verbose", count=True, expose_value=False, callback=_verbose,
        help="Tell every step too; -vv: also what the steps print.",
    )(command)  # fmt: skip


def quiet_option(command: Command) -> Command:
    return click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_quiet, help="Only the result and errors."
    )(command)


def _verbose(context: click.Context, _: click.Parameter, count: int) -> None:
    context.meta[_VERBOSE] = context.meta.get(_VERBOSE, 0) + count
    _refuse_both(context)


def _quiet(context: click.Context, _: click.Parameter, quiet: bool) -> None:
    context.meta[_QUIET] = quiet
    _refuse_both(context)


def _refuse_both(context: click.Context) -> None:
    if context.meta.get(_QUIET) and context.meta.get(_VERBOSE):
        raise click.UsageError("--quiet and --verbose exclude each other: give one of them.", context)


def telling() -> Telling:
    """What the user chose for the command that runs."""
    context = click.get_current_context(silent=True)
    if context is None:
        return Telling()
    return Telling(bool(context.meta.get(_QUIET)), int(context.meta.get(_VERBOSE, 0)))


def note(text: str) -> None:
    """Say something that is neither the result nor an error."""
    if not telling().quiet:
        click.echo(text, err=True)
