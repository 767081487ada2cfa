"""Small workflow files for tests, and what is wrong with them."""

from __future__ import annotations

import pytest

from prodigy.errors import Problem, WorkflowError
from prodigy.workflow.load import parse

LATER = "is part of the language, but this version does not run it yet"
TEMPLATE = "agent_template: [{shell: a}]"


def problems_of(text: str) -> list[Problem]:
    """All problems of a workflow that has some."""
    with pytest.raises(WorkflowError) as caught:
        parse(text, "w.yml")
    return caught.value.problems


def mapping(lines: str) -> str:
    """A small workflow with `lines` under `map`; line 1 of them is line 2 of the file, columns from 3."""
    return "map:\n" + "".join(f"  {line}\n" for line in lines.splitlines())
