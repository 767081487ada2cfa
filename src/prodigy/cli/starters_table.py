"""The documentation's list of starters, from what each says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from prodigy.cli.from_template import Source, read_source
from prodigy.workflow.parameters import Parameter
from prodigy.workflow.templates import STARTERS, Template


def starters_list() -> str:
    """A table of all, and a section with the parameters of each, as Markdown."""
    sources = [read_source(Template(path.stem, "starter", path)) for path in sorted(STARTERS.glob("*.yml"))]
    lines = ["| starter | what it does | agent |", "| --- | --- | --- |"]
    for each in sources:
        name = each.template.name
        agent = "yes" if each.runs_agents else "no"
        lines.append(f"| [`{name}`](#{name}) | {each.about.description} | {agent} |")
    return "\n".join([*lines, *(line for each in sources for line in _section(each))])


def _section(source: Source) -> Iterator[str]:
    yield from ("", f"### {source.template.name}", "")
    yield "\n".join(_first_comment(source.text)).strip().removesuffix("<br>")
    yield from ("", "| parameter | what it is | default |", "| --- | --- | --- |")
    for each in source.parameters:
        yield f"| `{each.name}` | {_cell(each.description)} | {_default(each)} |"


def _first_comment(text: str) -> Iterator[str]:
    """What the file begins with, as paragraphs; each command on a line of its own."""
    for line in text.splitlines():
        if not line.startswith("#") or line.startswith("# tags:"):
            return
        words = line.removeprefix("#").removeprefix(" ")
        if words.startswith("  prodigy "):
            yield f"`{words.strip()}`<br>"
        else:
            yield words


def _default(parameter: Parameter) -> str:
    return f"`{_cell(str(parameter.default.value))}`" if parameter.default else "must be given"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
