"""What is kept of a step's output: frozen parts of the normalised workflow."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from prodigy.workflow.frozen import Value

CaptureFormat = Literal["string", "json", "lines", "number", "boolean"]
CaptureStream = Literal["stdout", "stderr", "both", "none"]


class Extract(Value):
    """A name for a part of a step's output: the first group of `pattern` (or all that it matches), the first value at
    `json_path`, or all of it; at most `max_size` bytes (None: 1 MiB); `default` where there is none.

    multiline: what becomes of several lines; None: they stay.
    """

    name: str
    source: Literal["stdout", "stderr", "both"] = "stdout"
    pattern: str | None = None
    json_path: str | None = None
    max_size: int | None = Field(default=None, ge=1)
    default: str | None = None
    multiline: Literal["join", "first_line", "last_line", "array"] | None = None


class Capture(Value):
    """What is kept of this step's output: the names under which later steps see it, and the form it has there.

    file: a path below the worktree that it is written to as well; it may hold placeholders. extracts: parts of it,
    under names of their own. files: (name, pattern) for lists of the files that match, of those that the step's
    commits add or change.
    """

    names: tuple[str, ...] = ()
    format: CaptureFormat = "string"
    stream: CaptureStream = "stdout"
    file: str | None = None
    extracts: tuple[Extract, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
