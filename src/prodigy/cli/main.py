"""The entry point: the names of the commands, and what becomes of errors.

Imports wait until they are needed: a call from a shell's prompt or a script should not pay for what it does not use.
"""

from __future__ import annotations

import os
import sys

from prodigy import __version__
from prodigy.cli.overview import overview

# command -> (module, attribute, what it does); a module is imported when its command is used.
_COMMANDS = {
    "init": ("prodigy.cli.init", "init_command", "Write a first workflow, out of a starter."),
    "template": ("prodigy.cli.template", "template_group", "Workflows that are known by a name."),
    "run": ("prodigy.cli.runs", "run_command", "Run WORKFLOW on the repository you stand in."),
    "resume": ("prodigy.cli.runs", "resume_command", "Go on with RUN where it stands."),
    "pause": ("prodigy.cli.steer", "pause_command", "Start nothing new in RUN until `resume`; what runs may finish."),
    "steer": ("prodigy.cli.steer", "steer_command", "Change the budget or the width of RUN while it runs, or retry."),
    "cancel": ("prodigy.cli.runs", "cancel_command", "End what runs of RUN; it can be resumed later."),
    "detach": ("prodigy.cli.runs", "detach_command", "Let RUN go on in the background."),
    "attach": ("prodigy.cli.attach", "attach_command", "Watch RUN, which another process drives."),
    "exec": ("prodigy.cli.generated", "exec_command", "Run one step and merge what it commits."),
    "batch": ("prodigy.cli.generated", "batch_command", "Run one step for each file that matches PATTERN."),
    "report": ("prodigy.cli.report", "report_command", "Show what the agents of RUN have cost."),
    "dashboard": ("prodigy.cli.dashboard", "dashboard_command", "Watch and steer runs in a browser."),
    "status": ("prodigy.cli.show", "status_command", "Show RUN, or list the runs of this repository."),
    "sessions": ("prodigy.cli.sessions", "sessions_group", "Runs by their earlier name, and who drove them."),
    "events": ("prodigy.cli.events", "events_group", "What happened in a run."),
    "logs": ("prodigy.cli.logs", "logs_command", "What the steps of RUN printed."),
    "worktree": ("prodigy.cli.worktree", "worktree_group", "The worktrees that runs use."),
    "clean": ("prodigy.cli.clean", "clean_group", "Take away what runs left, and runs that are over."),
    "export": ("prodigy.cli.transfer", "export_command", "Write RUN, whole, to FILE, to go on elsewhere."),
    "import": ("prodigy.cli.transfer", "import_command", "Bring the run in FILE into the repository you stand in."),
    "validate": ("prodigy.cli.validate", "validate_command", "List every problem of WORKFLOW at its place."),
    "schema": ("prodigy.cli.schema", "schema_command", "Print the JSON Schema of workflow files, for editors."),
    "migrate-yaml": ("prodigy.cli.migrate_yaml", "migrate_command", "Rewrite what is deprecated in workflow files."),
    "dlq": ("prodigy.cli.dlq", "dlq_group", "The dead letter queue: items that failed."),
    "config": ("prodigy.cli.config", "config_group", "What is configured here, and where it comes from."),
    "completion": ("prodigy.cli.completion", "completion_command", "Let your shell complete what you type."),
    "doctor": ("prodigy.cli.doctor", "doctor_command", "Check whether this machine is fit for runs."),
    "mcp": ("prodigy.cli.mcp", "mcp_command", "Serve tools to an agent (MCP)."),
    "demo": ("prodigy.cli.demo", "demo_command", "See a whole run on a real package."),
}
# Names that the earlier system had for them.
_ALIASES = {"resume-job": "resume", "progress": "status", "analytics": "report"}
BUG_EXIT_CODE = 70
_NO_WINDOWS = (
    "Prodigy runs on Linux and macOS, not on Windows itself\n"
    "  Use it inside WSL: `wsl --install`, then install Prodigy and your agents in the Linux there."
)


def main() -> None:
    """Run the command line and exit with the status that `errors` and the commands define."""
    if os.name == "nt":
        # Before any command is imported: most of them need modules that Windows does not have, such as fcntl.
        from prodigy.errors import EnvironmentProblem

        sys.stderr.write(f"Error: {_NO_WINDOWS}\n")
        sys.exit(EnvironmentProblem.exit_code)
    # What people type to see whether it is there: answered without what takes longer than Python's own start.
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"prodigy, version {__version__}\n")
        return
    if instruction := os.environ.get("_PRODIGY_COMPLETE"):
        from prodigy.cli.completion import answer
        from prodigy.cli.masked import mask_standard_streams

        mask_standard_streams()
        if answer(instruction):
            return
    if sys.argv[1:] in ([], ["--help"], ["-h"]):
        sys.stdout.write(f"{overview(_COMMANDS)}\n")
        return
    import click

    from prodigy.cli.group import command_group
    from prodigy.cli.masked import mask_standard_streams
    from prodigy.errors import ProdigyError, WorkflowError

    mask_standard_streams()
    cli = command_group(_COMMANDS, _ALIASES)
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
    except WorkflowError as error:
        from prodigy.cli.problems import error_text

        click.echo(f"Error: {error_text(error)}", err=True)
        sys.exit(error.exit_code)
    except ProdigyError as error:
        click.echo(f"Error: {error.told()}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output (head, less) has seen enough; nothing may be flushed into the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - a bug of ours: keep the traceback in a file, not in the face
        sys.exit(_report_bug(error))


def _report_bug(error: Exception) -> int:
    import platform
    import tempfile
    import traceback

    from prodigy.secrets import mask

    details = (
        f"prodigy {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"{' '.join(sys.argv)}\n\n{''.join(traceback.format_exception(error))}"
    )
    descriptor, name = tempfile.mkstemp(prefix="prodigy-bug-", suffix=".log")
    with os.fdopen(descriptor, "w") as file:
        file.write(mask(details))
    sys.stderr.write(
        f"Error: this is a bug in Prodigy ({type(error).__name__}: {error})\n"
        f"  Please report it with the file {name}. The run, if one was going on, can be resumed.\n"
    )
    return BUG_EXIT_CODE


if __name__ == "__main__":
    main()
