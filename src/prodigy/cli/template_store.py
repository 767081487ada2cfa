"""`template register`, `delete`, `init`: the templates of a repository and of Prodigy's home."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

import click

from prodigy.cli.from_template import read_source
from prodigy.cli.new_files import write_new
from prodigy.cli.words import printable
from prodigy.errors import EnvironmentProblem, UsageError
from prodigy.home import home
from prodigy.workflow.templates import NAME, Template, merged_about, repository_around, template, with_about

_EXAMPLE = """\
# An example of a template: a workflow with parameters. Change it, or remove it.
#
# description: Say hello to somebody
# tags: example
name: example

parameters:
  who:
    type: string
    description: Whom to greet
    default: everybody

steps:
  - shell: echo Hello, ${who}
"""


@click.command("register")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-n", "--name", help="Its name; by default that of the file.")
@click.option("-d", "--description", help="What it is for, in one line.")
@click.option("--version", "version", help="Its version, 1.0.0 unless it has one.")
@click.option("-t", "--tags", help="Words to find it by, with commas between them.")
@click.option("-a", "--author", help="Who has written it.")
@click.option("--home", "at_home", is_flag=True, help="For all repositories: keep it in Prodigy's home.")
@click.option("-f", "--force", is_flag=True, help="Replace the one that has this name.")
def register_command(
    path: Path,
    *,
    name: str | None,
    description: str | None,
    version: str | None,
    tags: str | None,
    author: str | None,
    at_home: bool,
    force: bool,
) -> None:
    """Keep a copy of the workflow in PATH under a name: in `templates/` of this repository, or in Prodigy's home.

    What is said of it stands in the comment that the copy begins with.
    """
    name = path.stem if name is None else name
    if not NAME.fullmatch(name):
        hint = "It has letters, digits, `-`, `_` and `.`, and begins with a letter or a digit."
        raise UsageError(f"{printable(name)} can't be the name of a template", hint=hint)
    source = read_source(Template(name, "repository", path))
    said = merged_about(
        source.about,
        description=description,
        version=version or source.about.version or "1.0.0",
        tags=tuple(tag for each in (tags or "").split(",") if (tag := each.strip())),
        author=author,
        registered=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
    )
    target = _shelf(at_home=at_home) / f"{name}.yml"
    write_new({target: with_about(source.text, said)}, force=force)
    click.echo(f"registered {name} in {printable(str(target))}")
    if not said.description:
        click.echo("It has no description yet: `-d` gives it one.", err=True)


def _shelf(*, at_home: bool) -> Path:
    root = repository_around(Path())
    return home() / "templates" if at_home or root is None else root / "templates"


@click.command("delete")
@click.argument("name")
@click.option("-f", "--force", is_flag=True, help="Don't ask.")
def delete_command(name: str, *, force: bool) -> None:
    """Remove the template NAME that was registered. Workflows that name it do not load any more."""
    found = template(name, Path())
    if found.place == "starter":
        raise UsageError(f"{name} is a starter", hint="It comes with Prodigy; only registered templates are removed.")
    if not force:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"{printable(str(found.path))} would be removed", hint="Use --force if it is to be.")
        click.confirm(f"Remove {printable(str(found.path))}?", abort=True, err=True)
    try:
        found.path.unlink()
    except OSError as error:
        what = f"the template can't be removed: {error.strerror}"
        raise EnvironmentProblem(what, where=printable(str(found.path)), hint="Look at its permissions.") from error
    click.echo(f"removed {printable(str(found.path))}")


@click.command("init")
@click.argument("directory", type=click.Path(path_type=Path), default=Path("templates"))
def init_command(directory: Path) -> None:
    """Make DIRECTORY, by default `templates`, with an example of a template in it."""
    written = write_new({directory.absolute() / "example.yml": _EXAMPLE}, force=False)
    click.echo(f"{'wrote' if written else 'it is there already:'} {printable(str(directory / 'example.yml'))}")
    if directory.name != "templates":
        click.echo("Names are looked for in `templates` only: name these files by their paths.", err=True)
