"""`template`: workflows that are known by a name."""

from __future__ import annotations

import click

from prodigy.cli.group import LazyGroup

_COMMANDS = {
    "list": ("prodigy.cli.template_list", "list_command", "List the templates that can be named here."),
    "show": ("prodigy.cli.template_list", "show_command", "What NAME is for, its parameters, and its text."),
    "search": ("prodigy.cli.template_list", "search_command", "Templates in whose name or description TEXT is."),
    "new": ("prodigy.cli.template_new", "new_command", "Make a workflow out of NAME."),
    "validate": ("prodigy.cli.template_new", "validate_command", "Check the template in PATH, without values."),
    "register": ("prodigy.cli.template_store", "register_command", "Keep the workflow in PATH under a name."),
    "delete": ("prodigy.cli.template_store", "delete_command", "Remove a template that was registered."),
    "init": ("prodigy.cli.template_store", "init_command", "Make a directory for templates, with an example."),
}


@click.group("template", cls=LazyGroup, places=_COMMANDS)
def template_group() -> None:
    """Workflows that are known by a name: starters, and those that you register.

    A name is looked for in `templates/` and `.prodigy/templates/` (beside the workflow that names it, where you stand,
    at the root of the repository), then in `templates/` of Prodigy's home, then among the starters. It may stand where
    `template:` or `extends:` of a workflow names one, and in `prodigy run NAME`.
    """


assert isinstance(template_group, LazyGroup)
template_group.aliases = {"ls": "list"}
