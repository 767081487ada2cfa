"""What later steps see of a finished step: its output in the form it was captured in, its exit status, its time.

Nothing of it is kept in memory or in the database: it is read from the step's own files when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from prodigy.agents import agent
from prodigy.agents.base import read_transcript
from prodigy.errors import ProdigyError
from prodigy.plan.strict_json import NotJsonError, UnusableJsonError, parse_json
from prodigy.store.rows import StepRow
from prodigy.workflow.expression import MISSING, scope_finder
from prodigy.workflow.model import Agent, Capture, Step

MAX_CAPTURE_BYTES = 64 * 1024 * 1024
_PARTS = ("output", "stderr", "exit_code", "success", "duration")


class CaptureError(ProdigyError):
    """An output has not the form that `capture_format` promises."""


class Deferred:
    """A value that is worked out when it is first asked for."""

    def __init__(self, work_out: Callable[[], object]) -> None:
        self._work_out = work_out
        self._value: tuple[object] | None = None

    def __call__(self) -> object:
        if self._value is None:
            self._value = (self._work_out(),)
        return self._value[0]


class Scope(dict[str, object]):
    """The names that placeholders and conditions may use; deferred values are worked out on access."""

    def __getitem__(self, name: str) -> object:
        value = super().__getitem__(name)
        return value() if isinstance(value, Deferred) else value

    def find(self, path: str) -> object:
        """What a condition sees at `path`: what can't be had (an output that is too large) is missing."""
        try:
            return scope_finder(self)(path)
        except (ProdigyError, OSError):
            return MISSING

    def with_names(self, names: Mapping[str, object]) -> Scope:
        """This scope and `names`, which win."""
        return Scope({**self, **names})


def captured(step: Step, row: StepRow | None, directory: Path | None) -> dict[str, object]:
    """The names that the newest execution of a step gives to later ones; all null when it was skipped.

    directory: where the execution's files are.
    """
    if step.capture is None:
        return {}
    if row is None or row.skipped or directory is None:
        return {name: None for given in step.capture.names for name in (given, *(f"{given}.{p}" for p in _PARTS))}
    output = Deferred(lambda: output_of(step, directory, row.exit_code))
    succeeded = row.kind is None
    form = step.capture
    facts: dict[str, object] = {
        "output": output,
        "stderr": Deferred(lambda: _text(directory / "stderr")),
        "exit_code": row.exit_code,
        "success": succeeded,
        "duration": row.duration_s,
    }
    found: dict[str, object] = {}
    for name in form.names:
        found[name] = Deferred(lambda: _lenient(form, str(output()), succeeded=succeeded))
        found |= {f"{name}.{part}": value for part, value in facts.items()}
    return found


def output_of(step: Step, directory: Path, exit_code: int | None) -> str:
    """What the step printed, without the line ends at its end; of an agent, its last answer."""
    if isinstance(step.action, Agent):
        return read_transcript(agent(step.action.use), directory / "stdout", exit_code).text
    stream = step.capture.stream if step.capture else "stdout"
    names = {"stdout": ("stdout",), "stderr": ("stderr",), "both": ("stdout", "stderr"), "none": ()}[stream]
    return "".join(_text(directory / name, strip=False) for name in names).rstrip("\r\n")


def formed(capture: Capture, text: str, *, succeeded: bool) -> object:
    """The value of an output in its form. Raises CaptureError."""
    match capture.format:
        case "json":
            return _json(text)
        case "number":
            return _number(text)
        case "boolean":
            return {"true": True, "false": False}.get(text.strip().lower(), succeeded)
        case "lines":
            return text.splitlines()
    return text


def _lenient(capture: Capture, text: str, *, succeeded: bool) -> object:
    """A step that failed may have printed anything."""
    try:
        return formed(capture, text, succeeded=succeeded)
    except CaptureError:
        return None


def _json(text: str) -> object:
    try:
        return parse_json(text)
    except (NotJsonError, UnusableJsonError) as error:
        raise CaptureError(f"capture_format is json, but the output is not JSON: {error}") from error


def _number(text: str) -> object:
    number = text.strip()
    try:
        return int(number)
    except ValueError:
        pass
    try:
        return float(number)
    except ValueError as error:
        raise CaptureError(f"capture_format is number, but the output is {number[:60]!r}") from error


def _text(path: Path, *, strip: bool = True) -> str:
    if not path.is_file():
        return ""  # a step that could not be started has printed nothing
    if path.stat().st_size > MAX_CAPTURE_BYTES:
        raise CaptureError(f"{path} is larger than {MAX_CAPTURE_BYTES >> 20} MiB, which is too much for a variable")
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return text.rstrip("\r\n") if strip else text
