"""A workflow as a value: read, checked, ready to run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prodigy.errors import Problem, UsageError
from prodigy.store.checked import CheckedScripts
from prodigy.workflow.configuration import Configuration, read_configuration
from prodigy.workflow.load import Loaded, LoadOptions, load, parse


@dataclass(frozen=True)
class Workflow:
    """A workflow that is in order, made by `load`, `parse` or `from_dict`.

    name: as the workflow says, else as its file. file: where it was read; None for a text. warnings: what works but
    should be changed, each with its place. parameters: their values, defaults included.
    """

    name: str
    file: Path | None
    warnings: tuple[Problem, ...]
    parameters: Mapping[str, Any] = field(hash=False)
    loaded: Loaded = field(repr=False, hash=False)
    profile: str | None = None

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        params: Mapping[str, Any] | None = None,
        profile: str | None = None,
        repo: str | Path = ".",
    ) -> Workflow:
        """The workflow in a file.

        params: values for its parameters. profile: which of its profiles counts. repo: the repository whose
        configuration says what it does not.

        Raises UsageError when the file can't be read or takes no such values, and WorkflowError when something in it is
        wrong; its `problems` lists everything that is, with file, line and column.
        """
        given = _given(params, profile, repo)
        return cls._of(load(Path(path), CheckedScripts(), given), Path(path), profile)

    @classmethod
    def parse(
        cls,
        text: str,
        name: str = "workflow.yml",
        *,
        params: Mapping[str, Any] | None = None,
        profile: str | None = None,
        repo: str | Path = ".",
    ) -> Workflow:
        """The workflow in a text, which messages call `name`. The rest is as for `load`."""
        return cls._of(parse(text, name, CheckedScripts(), _given(params, profile, repo)), None, profile)

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        name: str = "workflow.yml",
        *,
        params: Mapping[str, Any] | None = None,
        profile: str | None = None,
        repo: str | Path = ".",
    ) -> Workflow:
        """The workflow that a mapping spells, with the keys that a file has. Lines in messages count in the JSON text
        of the mapping, one value on each line. The rest is as for `load`."""
        try:
            text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            hint = "Use mappings, lists, texts, numbers, booleans and None."
            raise UsageError(f"the workflow {name} can't be written as JSON: {error}", hint=hint) from error
        return cls.parse(text, name, params=params, profile=profile, repo=repo)

    @classmethod
    def _of(cls, loaded: Loaded, file: Path | None, profile: str | None) -> Workflow:
        values = {name: json.loads(text) for name, text in loaded.workflow.parameters}
        return cls(loaded.workflow.name, file, loaded.warnings, values, loaded, profile)


def as_workflow(given: Workflow | str | Path | Mapping[str, Any], repo: str | Path) -> Workflow:
    """What `run` was given, as a workflow. Raises as its makers do."""
    if isinstance(given, Workflow):
        return given
    if isinstance(given, Mapping):
        return Workflow.from_dict(given, repo=repo)
    return Workflow.load(given, repo=repo)


def configured(repo: str | Path) -> Configuration:
    """What is configured for the repository around a directory. Raises WorkflowError, UsageError."""
    where = Path(repo).absolute()
    around = next((folder for folder in (where, *where.parents) if (folder / ".git").exists()), None)
    return read_configuration(around, known=CheckedScripts())


def _given(params: Mapping[str, Any] | None, profile: str | None, repo: str | Path) -> LoadOptions:
    found = configured(repo)
    return LoadOptions(dict(params or {}), profile, agents=found.agents, configured=found.configured)
