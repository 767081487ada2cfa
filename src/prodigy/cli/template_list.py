"""`template list`, `show`, `search`: what there is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from prodigy.cli.common import json_option
from prodigy.cli.from_template import Source, read_source
from prodigy.cli.words import printable
from prodigy.errors import UsageError
from prodigy.secrets import mask
from prodigy.workflow.parameters import Parameter
from prodigy.workflow.templates import template, templates


@click.command("list")
@click.option("-t", "--tag", metavar="TAG", help="Only those with this tag.")
@click.option("-l", "--long", "in_full", is_flag=True, help="With tags, parameters, author, version and place.")
@json_option
def list_command(*, tag: str | None, in_full: bool, as_json: bool) -> None:
    """List the templates that can be named here: the repository's, those of Prodigy's home, and the starters."""
    found = [each for each in _readable() if tag is None or _has_tag(each, tag)]
    _show_all(found, in_full=in_full, as_json=as_json)


@click.command("search")
@click.argument("text")
@click.option("-t", "--by-tag", is_flag=True, help="TEXT is a tag.")
@json_option
def search_command(text: str, *, by_tag: bool, as_json: bool) -> None:
    """List the templates that have TEXT in their name, description or tags."""
    found = [each for each in _readable() if (_has_tag(each, text) if by_tag else _mentions(each, text))]
    _show_all(found, in_full=False, as_json=as_json)


@click.command("show")
@click.argument("name")
@json_option
def show_command(name: str, *, as_json: bool) -> None:
    """What the template NAME is for, its parameters, and its text."""
    source = read_source(template(name, Path()))
    if as_json:
        click.echo(json.dumps({**_facts(source), "text": mask(source.text)}, indent=2))
        return
    for line in (*_in_full(source), ""):
        click.echo(mask(line))
    click.echo(mask("\n".join(map(printable, source.text.splitlines()))))


def _readable() -> Iterator[Source]:
    """Those that can't be read are named, and stop nobody."""
    for each in templates(Path()):
        try:
            yield read_source(each)
        except UsageError as error:
            click.echo(f"Warning: {printable(str(error))}", err=True)


def _has_tag(source: Source, tag: str) -> bool:
    return tag.casefold() in (each.casefold() for each in source.about.tags)


def _mentions(source: Source, text: str) -> bool:
    words = (source.template.name, source.about.description, *source.about.tags)
    return any(text.casefold() in each.casefold() for each in words)


def _show_all(found: list[Source], *, in_full: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_facts(each) for each in found], indent=2))
        return
    if not found:
        click.echo("no such template")
        return
    if in_full:
        click.echo("\n\n".join(mask("\n".join(_in_full(each))) for each in found))
        return
    width = max(len(each.template.name) for each in found)
    for each in found:
        line = f"{printable(each.template.name):{width}}  {each.template.place:10}  {each.about.description}"
        click.echo(mask(printable(line).rstrip()))


def _in_full(source: Source) -> Iterable[str]:
    said = source.about
    yield printable(f"{source.template.name}: {said.description}".removesuffix(": "))
    facts = {
        "tags": ", ".join(said.tags), "version": said.version, "author": said.author, "registered": said.registered,
        "place": source.template.place if source.template.place == "starter" else str(source.template.path),
    }  # fmt: skip
    for name, value in facts.items():
        if value:
            yield printable(f"  {name}: {value}")
    for each in source.parameters:
        yield printable(f"  --param {each.name}: {each.description} ({_value(each)})")


def _value(parameter: Parameter) -> str:
    if parameter.default is None:
        return "must be given" if parameter.required else "may be given"
    return f"{parameter.default.value}"


def _facts(source: Source) -> dict[str, object]:
    said = source.about
    parameters = [
        {
            "name": each.name,
            "type": each.type,
            "description": mask(each.description),
            "required": each.required and each.default is None,
            "default": mask(str(each.default.value)) if each.default is not None else None,
        }
        for each in source.parameters
    ]
    return {
        "name": source.template.name,
        "place": source.template.place,
        "path": str(source.template.path.absolute()),
        "description": mask(said.description),
        "tags": list(said.tags),
        "version": said.version,
        "author": said.author,
        "registered": said.registered or None,
        "parameters": parameters,
    }
