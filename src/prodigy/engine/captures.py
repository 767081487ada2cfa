"""What later steps see of a finished step: its output in the form it was captured in, its exit status, its time.

Nothing of it is kept in memory or in the database: it is read from the step's own files when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from prodigy.agents import agent
from prodigy.agents.transcript import read_transcript
from prodigy.engine.specials import Specials
from prodigy.errors import ProdigyError
from prodigy.plan.strict_json import NotJsonError, UnusableJsonError, parse_json
from prodigy.store.rows import StepRow
from prodigy.workflow.capture_values import Capture, Extract
from prodigy.workflow.expression import MISSING, scope_finder
from prodigy.workflow.json_path import compile_json_path
from prodigy.workflow.model import Step
from prodigy.workflow.regex import first_match

MAX_CAPTURE_BYTES = 64 * 1024 * 1024
MAX_EXTRACT_BYTES = 1024 * 1024
_PARTS = ("output", "stderr", "exit_code", "success", "duration")
_STREAMS = {"stdout": ("stdout",), "stderr": ("stderr",), "both": ("stdout", "stderr"), "none": ()}
_UNNAMED = Capture()
# The names of what ran last of its kind. The earlier system's `test` and `handler` steps are shell and agent steps.
_KINDS = {
    "shell": ("shell", "test", "handler"),
    "agent": ("claude", "agent", "handler"),
    "write_file": ("write_file",),
    "foreach": ("foreach",),
}


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
    """The names that placeholders and conditions may use; deferred values are worked out on access.

    specials: gives the values of `${date:...}` and the like, None where they have none.
    """

    specials: Specials | None = None

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
        scope = Scope({**self, **names})
        scope.specials = self.specials
        return scope

    def special(self, kind: str, argument: str) -> str:
        """The value of `${kind:argument}`. Raises ProdigyError when it has none."""
        if self.specials is None:
            raise ProdigyError(f"`${{{kind}...}}` has no value here: it belongs to the texts of a step that runs")
        return self.specials(kind, argument)

    def with_specials(self, specials: Specials) -> Scope:
        scope = self.with_names({})
        scope.specials = specials
        return scope


def captured(step: Step, row: StepRow | None, directory: Path | None, taken: Collection[str] = ()) -> dict[str, object]:
    """The names that the newest execution of a step gives to later ones; all null when it was skipped.

    directory: where the execution's files are. A step that ran gives `last.output`, `shell.output` and the like too,
    but for the names that the workflow has `taken` for steps of its own.
    """
    form = step.capture or _UNNAMED
    kinds = [kind for kind in _KINDS.get(step.action.kind, ()) if kind not in taken]
    below = {name: [f"{kind}.{name}" for kind in kinds] for name in form.names}
    if row is None or row.skipped or directory is None:
        given = (*form.names, *(part.name for part in form.extracts), *(name for name, _ in form.files))
        given = (*given, *(other for others in below.values() for other in others))
        return _of_phase(step, {name: None for one in given for name in (one, *(f"{one}.{p}" for p in _PARTS))})
    output = Deferred(lambda: output_of(step, directory, row))
    succeeded = row.kind is None
    facts: dict[str, object] = {
        "output": output,
        "stderr": Deferred(lambda: _text(directory / "stderr")),
        "exit_code": row.exit_code,
        "success": succeeded,
        "duration": row.duration_s,
    }
    found: dict[str, object] = {}
    for name in form.names:
        value = Deferred(lambda: _lenient(form, str(output()), succeeded=succeeded))
        found |= dict.fromkeys((name, *below[name]), value)
        found |= {f"{name}.{part}": value for part, value in facts.items()}
    for extract in form.extracts:
        found[extract.name] = Deferred(lambda extract=extract: _extracted(extract, directory))  # type: ignore[misc]
    found = _of_phase(step, found)
    for name in {"last", *kinds} - set(taken):
        found |= {f"{name}.{part}": value for part, value in facts.items()}
    return found | {"CAPTURED_OUTPUT": output}


def _of_phase(step: Step, names: dict[str, object]) -> dict[str, object]:
    """What setup captures can be named as `setup.x` as well."""
    return names | {f"setup.{name}": value for name, value in names.items()} if step.phase == "setup" else names


def _extracted(extract: Extract, directory: Path) -> object:
    try:
        return extracted(extract, directory)
    except CaptureError:
        return None  # of a step that failed


def output_of(step: Step, directory: Path, row: StepRow) -> str:
    """What the execution `row` of the step printed, without the line ends at its end; of an agent, its last answer."""
    if row.kind_of_agent is not None:
        return read_transcript(agent(row.kind_of_agent), directory / "stdout", row.exit_code).text
    stream = step.capture.stream if step.capture else "stdout"
    return "".join(_text(directory / name, strip=False) for name in _STREAMS[stream]).rstrip("\r\n")


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


def extracted(extract: Extract, directory: Path) -> object:
    """The value of a part of a step's output. Raises CaptureError when there is none and no default."""
    text = "".join(_text(directory / name, strip=False) for name in _STREAMS[extract.source]).rstrip("\r\n")
    limit = extract.max_size or MAX_EXTRACT_BYTES
    if len(text.encode("utf-8", "surrogateescape")) > limit:
        raise CaptureError(f"`{extract.name}`: the output is larger than {limit} bytes (`max_size`)")
    value: object = text
    if extract.pattern is not None:
        value = first_match(extract.pattern, text)
    if extract.json_path is not None and value is not None:
        document = _json(str(value))
        values = list(compile_json_path(extract.json_path).find(document).values())  # type: ignore[arg-type]
        value = values[0] if values else None
    if value is None:
        if extract.default is None:
            raise CaptureError(f"`{extract.name}`: nothing in the output of its command matches, and it has no default")
        return extract.default
    return _lines_of(extract, value) if isinstance(value, str) else value


def _lines_of(extract: Extract, text: str) -> object:
    lines = text.splitlines()
    match extract.multiline:
        case "join":
            return " ".join(line.strip() for line in lines)
        case "first_line":
            return lines[0] if lines else ""
        case "last_line":
            return lines[-1] if lines else ""
        case "array":
            return lines
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
