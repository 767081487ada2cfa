"""The group of commands. A command's module is imported when the command is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from prodigy import __version__
from prodigy.cli.overview import overview
from prodigy.cli.telling import verbose_option


class Group(click.Group):
    """A group that names the nearest command for a misspelt one. aliases: earlier name -> command."""

    def __init__(self, *args: Any, aliases: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.aliases = aliases or {}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            nearest = get_close_matches(args[0], [*self.list_commands(ctx), *self.aliases], n=1)
            if not nearest or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{nearest[0]}'?", ctx) from error


class LazyGroup(Group):
    """places: command -> module, attribute, and what it does in a few words."""

    def __init__(self, *args: Any, places: Mapping[str, tuple[str, str, str]] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.places = places or {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Without asking the commands themselves, which would import all of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in self.places.items()])

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        cmd_name = self.aliases.get(cmd_name, cmd_name)
        if cmd_name not in self.places:
            return None
        module, attribute, _ = self.places[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command


class _Root(LazyGroup):
    """The command `prodigy`."""

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        return overview(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in ("changelog", "checkpoints"):
            from prodigy.cli.given_up import given_up

            return given_up(cmd_name)
        return super().get_command(ctx, cmd_name)


def command_group(places: Mapping[str, tuple[str, str, str]], aliases: Mapping[str, str]) -> click.Group:
    """The command `prodigy`."""
    _cli.places, _cli.aliases = places, aliases
    return _cli


@click.group(cls=_Root, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@verbose_option
@click.version_option(__version__, prog_name="prodigy")
@click.pass_context
def _cli(context: click.Context) -> None:
    """Run one coding agent per work item, many at a time, without losing work or paying twice."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
