"""Makes the text of a new workflow out of a template: the user's values in it, and what editors and agents need."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from prodigy.cli.words import printable
from prodigy.errors import UsageError
from prodigy.workflow.files import read_text_of
from prodigy.workflow.load_options import LoadOptions, Written
from prodigy.workflow.parameter_values import NoValue, typed
from prodigy.workflow.parameters import Parameter
from prodigy.workflow.template_edits import with_default, with_value
from prodigy.workflow.templates import About, Template, about, with_about


@dataclass(frozen=True)
class Source:
    """A template that was read."""

    template: Template
    text: str
    about: About
    parameters: tuple[Parameter, ...]

    @property
    def runs_agents(self) -> bool:
        """Whether it says which agent it is for, as all starters with one do."""
        return with_value(self.text, ("agents", "default"), "x") is not None

    @property
    def missing(self) -> list[Parameter]:
        """The parameters that have no value unless somebody gives one."""
        return [each for each in self.parameters if each.required and each.default is None]


def read_source(template: Template) -> Source:
    """Raises UsageError when it can't be read."""
    said, parameters = about(template.path)
    return Source(template, read_text_of(template.path), said, parameters)


def given_values(params: Iterable[str], source: Source) -> dict[str, object]:
    """What `--param NAME=VALUE` says, in the types of the template's parameters. Raises UsageError."""
    known = {each.name: each for each in source.parameters}
    found: dict[str, object] = {}
    for param in params:
        name, equals, value = param.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"--param {printable(param)} has no value", hint="Write `--param NAME=VALUE`.")
        if name not in known:
            nearest = get_close_matches(name[:100], known, 1)
            hint = f"Did you mean {nearest[0]}?" if nearest else f"It has {', '.join(known) or 'none'}."
            raise UsageError(f"{source.template.name} has no parameter {printable(name)}", hint=hint)
        found[name] = typed_value(known[name], value)
    return found


def typed_value(parameter: Parameter, text: str) -> object:
    """What the characters mean for this parameter. Raises UsageError."""
    try:
        return typed(Written(text), parameter.type)
    except NoValue as error:
        raise UsageError(str(error), where=f"--param {parameter.name}", hint=parameter.description or None) from error


def require_values(source: Source, values: Mapping[str, object], command: str) -> None:
    """Raises UsageError when a parameter has no value yet, with the call that gives one."""
    missing = [each for each in source.missing if each.name not in values]
    if not missing:
        return
    lines = [f"  {each.name}: {each.description}" for each in missing]
    call = " ".join(f"--param {each.name}=..." for each in missing)
    raise UsageError(
        f"{source.template.name} needs to know more:\n" + "\n".join(lines), hint=f"Give it with `{command} {call}`."
    )


def filled(source: Source, values: Mapping[str, object]) -> str:
    """The template's text with these values as the defaults of its parameters."""
    text = source.text
    for name, value in values.items():
        text = with_default(text, name, value)
    return text


def with_agent(text: str, agent: str, *, configured: bool) -> str:
    """The workflow for that agent; what it says of the one before it is said of this one, unless that is configured
    elsewhere."""
    changed = with_value(text, ("agents", "default"), agent)
    if changed is None:
        return text
    if configured:
        return re.sub(r"^  claude: \{.*\n", "", changed, flags=re.MULTILINE)
    return re.sub(r"^  claude: \{", f"  {agent}: {{", changed, flags=re.MULTILINE)


def without_budget(text: str) -> str:
    """The starter without what it says of dollars."""
    return re.sub(r"^budget:.*\n(?:[ ]+.*\n)*\n?", "", text, flags=re.MULTILINE)


def titled(text: str, output: Path, shown: str, schema: Path | None) -> str:
    """The workflow with what its comment says of its own name put right, and a first line for editors.

    output: where it is to stand. shown: that place, as it is typed on a command line."""
    text = with_about(text, About()).lstrip("\n").replace("prodigy run FILE", f"prodigy run {shown}")
    if schema is None:
        return text
    where = os.path.relpath(schema, output.parent)
    return f"# yaml-language-server: $schema={where}\n{text}"


def check_text(text: str, output: Path, options: LoadOptions) -> None:
    """Raises WorkflowError when the workflow that is about to be written is none."""
    from prodigy.store.checked import CheckedScripts
    from prodigy.workflow.load import parse

    parse(text, str(output), CheckedScripts(), options)
