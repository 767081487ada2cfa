"""Workflows of several files for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from prodigy.errors import Problem, WorkflowError
from prodigy.workflow.load import Loaded, LoadOptions, load
from prodigy.workflow.model import Agent, Shell, Step, Workflow


class AllKnown:
    """No shell text is looked at, which takes the most time of loading."""

    def __contains__(self, key: str) -> bool:
        return True

    def add(self, keys: Iterable[str]) -> None:
        """Nothing to remember."""


def write(**files: str) -> None:
    """Files by name, in which `__` stands for a slash."""
    for name, text in files.items():
        path = Path(f"{name.replace('__', '/')}.yml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def loaded(main: str, given: LoadOptions | None = None, **files: str) -> Loaded:
    write(main=main, **files)
    return load(Path("main.yml"), AllKnown(), given or LoadOptions())


def workflow(main: str, given: LoadOptions | None = None, **files: str) -> Workflow:
    return loaded(main, given, **files).workflow


def refused(main: str, **files: str) -> list[Problem]:
    write(main=main, **files)
    with pytest.raises(WorkflowError) as caught:
        load(Path("main.yml"), AllKnown())
    return caught.value.problems


def texts(steps: tuple[Step, ...]) -> list[str]:
    found = []
    for step in steps:
        assert isinstance(step.action, Shell | Agent)
        found.append(step.action.text if isinstance(step.action, Shell) else step.action.prompt)
    return found


def values(made: Workflow) -> dict[str, str]:
    return dict(made.parameters)
