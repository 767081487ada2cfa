"""Commands of the earlier system that are not carried over: each names what takes its place."""

from __future__ import annotations

import click

from prodigy.errors import UsageError

_INSTEAD = {
    "changelog": {"": "keep it with a tool of your own; a `shell` step of a workflow can call it"},
    "checkpoints": {
        "": "`prodigy status RUN` shows how far a run is, `prodigy events ls RUN` what happened, and"
        " `prodigy resume RUN` goes on with it",
        "list": "`prodigy status` lists the runs",
        "ls": "`prodigy status` lists the runs",
        "show": "`prodigy status RUN` shows how far a run is, `prodigy logs RUN` its steps",
        "mapreduce": "`prodigy status RUN` shows how far a run is, `prodigy logs RUN` its steps",
        "validate": "`prodigy status RUN` says whether a run's database is in order",
        "clean": "`prodigy clean state` removes runs that are over",
        "delete": "`prodigy clean state` removes runs that are over",
    },
}
_WHY = {
    "changelog": "`prodigy changelog` is not part of Prodigy any more",
    "checkpoints": "there are no checkpoint files any more: every finished step is on record",
}


def given_up(name: str) -> click.Command:
    """The command of this name, which takes everything and says what to use."""

    settings = {"ignore_unknown_options": True, "help_option_names": []}

    @click.command(name, hidden=True, add_help_option=False, context_settings=settings)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        instead = _INSTEAD[name]
        inner = next((word for word in arguments if not word.startswith("-")), "")
        hint = instead.get(inner, instead[""])
        raise UsageError(_WHY[name], hint=f"{hint[0].upper()}{hint[1:]}.")

    return command
