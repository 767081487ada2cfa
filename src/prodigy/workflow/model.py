"""The normalised workflow: a tree of frozen values that every file shape is turned into.

Only this form is stored and executed. `model_dump_json` and `model_validate_json` are each other's inverse.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from prodigy.workflow.canonical import canonical_json, short_hash

Phase = Literal["setup", "map", "reduce", ""]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # Fields that may change without changing what a finished step has done; see `fingerprint`.
    not_what_it_does: ClassVar[frozenset[str]] = frozenset()


class Shell(_Value):
    """Run `text` as a bash script; placeholders in it are data (see `shell_words`)."""

    kind: Literal["shell"] = "shell"
    text: str


class Input(_Value):
    """Where work items come from: a JSON file, or the output of a shell command."""

    kind: Literal["file", "command"]
    text: str


class MapReduce(_Value):
    """Run `template` once per work item, at most `max_parallel` items at a time, then `reduce` once.

    json_path: an RFC 9535 query on the input, beginning with `$`.
    """

    not_what_it_does = frozenset({"max_parallel"})

    kind: Literal["mapreduce"] = "mapreduce"
    input: Input
    json_path: str | None = None
    max_parallel: int = Field(default=10, ge=1)
    template: tuple[Step, ...] = Field(min_length=1)
    reduce: tuple[Step, ...] = ()


Action = Annotated[Shell | MapReduce, Field(discriminator="kind")]


class Policy(_Value):
    """Limits on a step's whole time and on its time without output, in seconds; None: the built-in limit."""

    not_what_it_does = frozenset({"timeout_s", "idle_timeout_s"})

    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    idle_timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class Check(_Value):
    """What must hold after the action. `commit`: the step has added at least one commit."""

    expect: Literal["commit"]


class Handler(_Value):
    """Steps to run when the action ended in a certain way."""

    on: Literal["failure", "success"]
    do: tuple[Step, ...]


class Capture(_Value):
    """The name under which later steps see this step's output."""

    name: str


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


class Workflow(_Value):
    """A whole workflow. A step's number, the key of everything it does, is its place in its list, from 1.

    source: the file's name as the user gave it, for messages.
    """

    name: str
    steps: tuple[Step, ...] = Field(min_length=1)
    source: str


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
