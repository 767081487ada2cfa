"""What the parts of one run's engine share."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from prodigy.engine.control import Control
from prodigy.engine.merge_queue import MergeQueue
from prodigy.engine.steps import StepRunner
from prodigy.executors.base import Executor
from prodigy.git.identity import AGENT_UNSET
from prodigy.git.private import PrivateGit
from prodigy.git.repo import Repo
from prodigy.store.store import Store
from prodigy.workflow.model import Workflow

# Variables by which a shell would run code of others, or find other programs than the user does.
_SCRUBBED = frozenset({"BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "PS4", *AGENT_UNSET})


@dataclass(frozen=True)
class Options:
    """What the user chose for a run; stored with it, so that a resume keeps the choice.

    merge: `ask` on a terminal, `yes`, or `no`. max_parallel overrides the workflow's. started_in: where the
    user stood, for input files.
    """

    merge: str = "ask"
    max_parallel: int | None = None
    started_in: str = "."

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        return cls(**json.loads(text))


@dataclass
class Run:
    """One run while it is being driven. `env` is the environment that every step gets."""

    id: str
    store: Store
    workflow: Workflow
    workflow_version: int
    options: Options
    repo: Repo
    private: PrivateGit
    executor: Executor
    merges: MergeQueue
    steps: StepRunner
    control: Control
    env: Mapping[str, str]

    @property
    def directory(self) -> Path:
        return self.store.directory

    def scope(self) -> dict[str, object]:
        """The names that every step may use."""
        return {"workflow": {"name": self.workflow.name}, "run": {"id": self.id}}


def inherited_environment() -> dict[str, str]:
    """The user's environment without what would steer git or run code in every shell."""
    return {
        name: value for name, value in os.environ.items() if name not in _SCRUBBED and not name.startswith("BASH_FUNC_")
    }
