"""The normalised workflow: a tree of frozen values that every file shape is turned into.

Only this form is stored and executed. `model_dump_json` and `model_validate_json` are each other's inverse.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from prodigy.workflow.canonical import canonical_json, short_hash

Phase = Literal["setup", "map", "reduce", ""]
Uncommitted = Literal["commit", "discard", "fail"]
OnItemFailure = Literal["dlq", "retry", "skip", "stop"]
CaptureFormat = Literal["string", "json", "lines", "number", "boolean"]
CaptureStream = Literal["stdout", "stderr", "both", "none"]
Backoff = Literal["fixed", "linear", "exponential", "fibonacci", "custom"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # Fields that may change without changing what a finished step has done; see `fingerprint`.
    not_what_it_does: ClassVar[frozenset[str]] = frozenset()


class Shell(_Value):
    """Run `text` as a bash script; placeholders in it are data (see `shell_words`).

    options: bash's own, in place of the built-in `-e -o pipefail`; None: those.
    """

    kind: Literal["shell"] = "shell"
    text: str
    options: tuple[str, ...] | None = None


class Agent(_Value):
    """Give `prompt`, with its placeholders replaced, to the agent program `use`."""

    kind: Literal["agent"] = "agent"
    use: str = "claude"
    prompt: str


class Input(_Value):
    """Where work items come from: a file, the output of a shell command, or the files that match a pattern.

    options: of the command's bash, as in `Shell`.
    """

    kind: Literal["file", "command", "glob"]
    text: str
    options: tuple[str, ...] | None = None


class Workspace(_Value):
    """What a worktree needs beside the files of its commit.

    include: paths below the user's checkout that are copied into each worktree. setup: steps that run once in each
    worktree before its first use. keep_ignored: ignored paths that stay when a worktree is made fresh.
    """

    include: tuple[str, ...] = ()
    setup: tuple[Step, ...] = ()
    keep_ignored: tuple[str, ...] = ()


class Retry(_Value):
    """How often and when what failed runs again; times in seconds.

    attempts: all of them, the first included. increment_s belongs to linear (None: as initial_delay_s), base to
    exponential, delays_s to custom. jitter: the width of the random part, as a fraction of the delay.
    retry_on: error kinds and, behind `re:`, patterns; empty means every failure. budget_s: of all pauses together.
    """

    attempts: int = Field(default=3, ge=1)
    backoff: Backoff = "exponential"
    initial_delay_s: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    max_delay_s: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    increment_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    base: float = Field(default=2.0, ge=1, allow_inf_nan=False)
    delays_s: tuple[float, ...] = ()
    jitter: float = Field(default=0.0, ge=0, le=2)
    retry_on: tuple[str, ...] = ()
    budget_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class ErrorPolicy(_Value):
    """What becomes of items that fail.

    on_item_failure: `retry` runs the item again as `retry` says and then, like `dlq`, parks it; `skip` leaves it out;
    `stop` parks it and starts nothing more. continue_on_failure: whether more items start once one has been parked.
    """

    on_item_failure: OnItemFailure = "dlq"
    continue_on_failure: bool = True
    retry: Retry = Retry()

    @property
    def stops(self) -> bool:
        """Whether nothing more starts once an item has been parked."""
        return self.on_item_failure == "stop" or not self.continue_on_failure


class MapReduce(_Value):
    """Run `template` once per work item, at most `max_parallel` items at a time, then `reduce` once.

    json_path: an RFC 9535 query on the input, beginning with `$`. on_uncommitted: what becomes of changes that an
    item's steps did not commit; None: they are committed.
    """

    not_what_it_does = frozenset({"max_parallel", "errors"})

    kind: Literal["mapreduce"] = "mapreduce"
    input: Input
    json_path: str | None = None
    max_parallel: int = Field(default=10, ge=1)
    on_uncommitted: Uncommitted | None = None
    errors: ErrorPolicy = ErrorPolicy()
    template: tuple[Step, ...] = Field(min_length=1)
    reduce: tuple[Step, ...] = ()


Action = Annotated[Shell | Agent | MapReduce, Field(discriminator="kind")]


class Policy(_Value):
    """How the action runs.

    timeout_s, idle_timeout_s: limits on the whole time and on the time without output, in seconds; None: the built-in
    limit. env: names and values, which may hold placeholders. working_dir: below the worktree.
    """

    not_what_it_does = frozenset({"timeout_s", "idle_timeout_s", "retry"})

    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    idle_timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    retry: Retry | None = None
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str | None = None


class Check(_Value):
    """What must hold after the action. `commit`: it has added at least one commit. `success`: the steps of `run` do."""

    expect: Literal["commit", "success"]
    run: tuple[Step, ...] = ()


class Handler(_Value):
    """Steps to run when the action ended in a certain way.

    on: `failure`, `success`, or one exit status. again: how often, after `do`, a failed action runs once more.
    fatal: the failure stands, whatever `do` did.
    """

    on: Literal["failure", "success"] | int
    do: tuple[Step, ...] = ()
    again: int = Field(default=0, ge=0)
    fatal: bool = False


class Capture(_Value):
    """What is kept of this step's output: the names under which later steps see it, and the form it has there.

    file: a path below the worktree that it is written to as well; it may hold placeholders.
    """

    names: tuple[str, ...] = ()
    format: CaptureFormat = "string"
    stream: CaptureStream = "stdout"
    file: str | None = None


class Step(_Value):
    """One step, in six parts: action, when, policy, checks, handlers, capture.

    id, name and phase are labels for people. line: where the step begins in the workflow file, from 1.
    """

    not_what_it_does = frozenset({"id", "name", "phase", "line"})

    action: Action
    when: str | None = None
    policy: Policy = Policy()
    checks: tuple[Check, ...] = ()
    handlers: tuple[Handler, ...] = ()
    capture: Capture | None = None
    id: str | None = None
    name: str | None = None
    phase: Phase = ""
    line: int = Field(ge=1)

    @property
    def label(self) -> str:
        """The step in a few words."""
        if self.name or self.id:
            return self.name or self.id or ""
        match self.action:
            case Shell(text=text) | Agent(prompt=text):
                first = next((line.strip() for line in text.splitlines() if line.strip()), "")
                return first if len(first) <= 60 else f"{first[:59]}…"
        return "map"


class AgentSettings(_Value):
    """How the workflow wants an agent program started: another program, a model, more arguments."""

    name: str
    command: tuple[str, ...] | None = None
    model: str | None = None
    args: tuple[str, ...] = ()


class Workflow(_Value):
    """A whole workflow. A step's number, the key of everything it does, is its place in its list, from 1.

    source: the file's name as the user gave it, for messages.
    """

    name: str
    steps: tuple[Step, ...] = Field(min_length=1)
    agents: tuple[AgentSettings, ...] = ()
    workspace: Workspace = Workspace()
    source: str


def agent_settings(workflow: Workflow, name: str) -> AgentSettings:
    """What the workflow says of the agent `name`."""
    return next((settings for settings in workflow.agents if settings.name == name), AgentSettings(name=name))


def fingerprint(step: Step) -> str:
    """16 hexadecimal digits that are equal for two steps that do the same.

    Labels, line numbers, time limits and the number of parallel items do not count: a step that finished has
    done the same work under other ones. Parts that are empty do not count either, so that a later version of
    the model, with more parts, gives the same fingerprint to the same step.
    """
    return short_hash(canonical_json(_what_it_does(step)), 16)


def _what_it_does(value: object) -> object:
    if isinstance(value, _Value):
        counted = [name for name in type(value).model_fields if name not in value.not_what_it_does]
        parts = {name: _what_it_does(getattr(value, name)) for name in counted}
        return {name: part for name, part in parts.items() if part not in (None, [], {})}
    if isinstance(value, tuple):
        return [_what_it_does(part) for part in value]
    return value


def every_step(workflow: Workflow) -> Iterator[Step]:
    """Every step of a workflow, those inside of others too."""
    waiting = [*workflow.steps, *workflow.workspace.setup]
    while waiting:
        step = waiting.pop(0)
        yield step
        if isinstance(step.action, MapReduce):
            waiting += [*step.action.template, *step.action.reduce]
        for check in step.checks:
            waiting += check.run
        for handler in step.handlers:
            waiting += handler.do
