"""What the parts of one run's engine share."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from prodigy.engine.control import Control
from prodigy.engine.environment import RunEnvironment
from prodigy.engine.merge_queue import MergeQueue
from prodigy.engine.slots import Going
from prodigy.engine.steps import StepRunner
from prodigy.executors.base import Executor
from prodigy.git.identity import AGENT_UNSET
from prodigy.git.private import PrivateGit
from prodigy.git.repo import Repo
from prodigy.state.step_path import iteration_path
from prodigy.store.store import Store
from prodigy.workflow.interpolate import render
from prodigy.workflow.model import MapReduce, Workflow
from prodigy.workflow.policies import takes_no_data

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Variables by which a shell would run code of others, or find other programs than the user does.
_SCRUBBED = frozenset({"BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "PS4", *AGENT_UNSET})


# An item that runs again begins at its first step, unless its last attempt ended through no fault of the item's.
BY_OUTCOME = "outcome"


@dataclass(frozen=True)
class Options:
    """What the user chose for a run; stored with it, so that a resume keeps the choice.

    merge: `ask` on a terminal, `yes`, or `no`. max_parallel overrides the workflow's. started_in: where the user stood,
    for input files. items_from: where an item that runs again begins: `start`, `failed_step`, or BY_OUTCOME. The
    workflow runs `max_iterations` times for each of args and files, if there are any. budget_usd: dollars that the run
    may cost in all, in place of the workflow's budget; day_usd: that all runs of this home may cost in a day. agent:
    runs the steps that name none. executor: what provides the places where steps run; None: this host.
    branch_prefix: what the run's branches begin with; None: the built-in one. fail_fast: nothing more starts once an
    item has been parked.
    """

    merge: str = "ask"
    max_parallel: int | None = None
    started_in: str = "."
    max_iterations: int = 1
    args: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    items_from: str = BY_OUTCOME
    items_since: str = ""
    budget_usd: float | None = None
    day_usd: float | None = None
    agent: str | None = None
    executor: str | None = None
    branch_prefix: str | None = None
    fail_fast: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        fields = json.loads(text)
        lists = {name: tuple(fields[name]) for name in ("args", "files") if name in fields}
        return cls(**{**fields, **lists})

    def iterations(self) -> list[dict[str, str]]:
        """The inputs of each iteration, as names that its steps may use; no names when the user gave no inputs."""
        inputs = [{"ARG": arg, "ARGUMENT": arg} for arg in self.args]
        inputs += [{"FILE": file, "FILE_PATH": file} for file in self.files]
        return (inputs or [{}]) * self.max_iterations


@dataclass
class Run:
    """One run while it is being driven.

    workflow: the newest of its versions. max_tries: this call's limit on the tries of an item, beside the workflow's;
    past_limit: items that are past a limit run all the same.
    env: the environment that every step gets. environment: what the workflow says of it. kept_failed: by
    fan-out, the worktrees of failed items that stay, the oldest first. going: the fan-outs that run now, by path.
    """

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
    environment: RunEnvironment
    max_tries: int | None = None
    past_limit: bool = False
    kept_failed: dict[str, list[Path]] = field(default_factory=dict)
    going: dict[str, Going] = field(default_factory=dict)
    _earlier: dict[int, Workflow] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.store.directory

    @property
    def first_fanout(self) -> str:
        """The path of the first fan-out of the first iteration, "" without one."""
        numbers = (n for n, step in enumerate(self.workflow.steps, 1) if isinstance(step.action, MapReduce))
        first = next(numbers, None)
        return "" if first is None else f"{iteration_path(1)}/{first}"

    def workflow_at(self, version: int) -> Workflow:
        """The workflow as it was in an earlier version."""
        if version not in self._earlier:
            self._earlier[version] = Workflow.model_validate_json(self.store.workflow(version)[1])
        return self._earlier[version]

    def names(self, iteration: int, inputs: Mapping[str, str]) -> dict[str, object]:
        """The names that every step of an iteration may use."""
        workflow = {"name": self.workflow.name, "id": self.id, "iteration": iteration}
        parameters = {name: json.loads(text) for name, text in self.workflow.parameters}
        return {"workflow": workflow, "run": {"id": self.id}, **self.environment.names, **parameters, **inputs}

    def inputs(self, given: Mapping[str, str]) -> dict[str, str]:
        """What the environment of every step has besides: the iteration's inputs and the workflow's parameters."""
        return {**parameter_variables(self.workflow), **given}


def parameter_variables(workflow: Workflow) -> dict[str, str]:
    """The parameters that are variables of steps, as text."""
    parameters = {name: render(json.loads(text)) for name, text in workflow.parameters}
    return {n: text for n, text in parameters.items() if _VARIABLE.fullmatch(n) and not takes_no_data(n)}


def inherited_environment() -> dict[str, str]:
    """The user's environment without what would steer git or run code in every shell."""
    return {
        name: value for name, value in os.environ.items() if name not in _SCRUBBED and not name.startswith("BASH_FUNC_")
    }
