"""What the server may look at and act on: one repository, its workflows and its runs."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

from prodigy.api.runs import Run, find
from prodigy.errors import ProdigyError, UsageError
from prodigy.git.context import common_dir_around, discover
from prodigy.secrets import mask
from prodigy.store.store import Store

Answer = TypeVar("Answer", bound=BaseModel)

# What a terminal would obey, and no reader wants: escape sequences, and control characters but for white space.
_UNREADABLE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


@dataclass(frozen=True)
class Access:
    """root: the checkout that the server was started in. common_dir: of its repository, by which runs know it."""

    root: Path
    common_dir: str

    @classmethod
    def around(cls, where: Path) -> Access:
        """Of the repository around a directory. Raises EnvironmentProblem when there is none."""
        root = discover(where).repo.root
        return cls(root.resolve(), str(common_dir_around(where)))

    def run(self, reference: str) -> Run:
        """A run of this repository, by its id, the beginning of one, its workflow's name or file, or `latest`.

        Raises UsageError when there is none, also for a run of another repository.
        """
        run = find(reference, self.root)
        with closing(Store.open(run.directory)) as store:
            if store.run().common_dir != self.common_dir:
                raise UsageError(
                    f"run {run.id} belongs to another repository",
                    hint="This server was started in another one: list_runs shows the runs of its own.",
                )
        return run

    def workflow(self, name: str) -> Path:
        """A workflow file below the root, whatever links lead to. Raises UsageError for one that is elsewhere."""
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root):
            raise UsageError(
                f"{name} is not in the repository",
                where=str(self.root),
                hint="Workflows are run from inside of the repository that this server was started in.",
            )
        return path


def clean(value: Any) -> Any:
    """A JSON value without secrets and without what a terminal would obey."""
    match value:
        case str():
            return mask(_UNREADABLE.sub("", mask(value)))
        case dict():
            return {clean(key): clean(inner) for key, inner in value.items()}
        case list():
            return [clean(inner) for inner in value]
    return value


def told(error: ProdigyError) -> ToolError:
    """An error as an agent reads it: what, where, and what to do."""
    return ToolError(clean(error.told()))


def answering(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """A tool whose errors are told, and whose answer is cleaned."""

    @functools.wraps(function)
    def tool(*args: Any, **named: Any) -> Answer:
        try:
            found = function(*args, **named)
        except ProdigyError as error:
            raise told(error) from error
        return cleaned(found)

    return tool


def cleaned(found: Answer) -> Answer:
    """The same answer, cleaned."""
    return type(found).model_validate(clean(found.model_dump()))
