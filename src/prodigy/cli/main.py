"""The entry point: the group of commands, and what becomes of errors."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path

import click

from prodigy import __version__
from prodigy.errors import ProdigyError

# command -> (module, attribute); a module is imported when its command is used.
_COMMANDS = {
    "run": ("prodigy.cli.runs", "run_command"),
    "resume": ("prodigy.cli.runs", "resume_command"),
    "cancel": ("prodigy.cli.runs", "cancel_command"),
    "status": ("prodigy.cli.show", "status_command"),
    "events": ("prodigy.cli.show", "events_group"),
    "worktree": ("prodigy.cli.show", "worktree_group"),
    "validate": ("prodigy.cli.validate", "validate_command"),
    "dlq": ("prodigy.cli.dlq", "dlq_group"),
    "demo": ("prodigy.cli.demo", "demo_command"),
}
BUG_EXIT_CODE = 70


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            if nearest := get_close_matches(args[0], _COMMANDS, n=1):
                raise click.UsageError(f"{error.message} Did you mean '{nearest[0]}'?", ctx) from error
            raise


@click.group(cls=_LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="prodigy")
@click.pass_context
def cli(context: click.Context) -> None:
    """Run one coding agent per work item, many at a time, without losing work or paying twice."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command line and exit with the status that `errors` and the commands define."""
    if os.name == "nt":
        sys.exit("Prodigy runs on Linux and macOS; on Windows, use it inside WSL.")
    try:
        # Not `cli()`: click would end with 1 when whoever reads our output has seen enough.
        with cli.make_context("prodigy", sys.argv[1:]) as context:
            cli.invoke(context)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except ProdigyError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output (head, less) has seen enough; nothing may be flushed into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - a bug of ours: keep the traceback in a file, not in the face
        sys.exit(_report_bug(error))


def _report_bug(error: Exception) -> int:
    details = (
        f"prodigy {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"{' '.join(sys.argv)}\n\n{''.join(traceback.format_exception(error))}"
    )
    descriptor, name = tempfile.mkstemp(prefix="prodigy-bug-", suffix=".log")
    with os.fdopen(descriptor, "w") as file:
        file.write(details)
    click.echo(
        f"Error: this is a bug in Prodigy ({type(error).__name__}: {error})\n"
        f"  Please report it with the file {Path(name)}. The run, if one was going on, can be resumed.",
        err=True,
    )
    return BUG_EXIT_CODE


if __name__ == "__main__":
    main()
