"""`capture_outputs`: names for parts of what the commands of a list print."""

from __future__ import annotations

from collections.abc import Sequence as AbstractSequence
from typing import TYPE_CHECKING, Any, Literal

from prodigy.workflow import keys
from prodigy.workflow.capture_values import Capture, Extract
from prodigy.workflow.commits import read_regex
from prodigy.workflow.json_path import JsonPathError, compile_json_path, rooted
from prodigy.workflow.model import MapReduce, Step
from prodigy.workflow.values import read_choice, read_keys, read_text, read_whole_number, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

_Multiline = Literal["preserve", "join", "first_line", "last_line", "array"]
_Source = Literal["stdout", "stderr", "both", "combined"]
_MULTILINE: tuple[_Multiline, ...] = ("preserve", "join", "first_line", "last_line", "array")
_SOURCES: tuple[_Source, ...] = ("stdout", "stderr", "both", "combined")


def with_extracts(
    reader: StepReader, node: Node, key: str, steps: AbstractSequence[Step], *, last: bool = False
) -> tuple[Step, ...]:
    """`steps` with what `node` says is taken out of their outputs.

    node: a mapping from names to the number of a command, from 0, or to a mapping with `command_index`. last: the last
    command is meant where no number stands, and a text is its output (`stdout`, ...) or a pattern. key: for messages.
    """
    if not isinstance(node, Mapping):
        reader.findings.problem(node.at, f"`{key}` must be a mapping from names to commands, got {shown(node)}")
        return tuple(steps)
    found: dict[int, list[Extract]] = {}
    for written, value in node.entries.values():
        name = reader.captures.name(written, "name under `" + key + "`")
        index, extract = _extract(reader, value, key, len(steps) - 1 if last else None)
        if name is None or index is None or extract is None or not _there(reader, value, index, steps):
            continue
        found.setdefault(index, []).append(extract.model_copy(update={"name": name}))
        reader.define(name)
    return tuple(_with(step, found.get(number, [])) for number, step in enumerate(steps))


def _with(step: Step, extracts: list[Extract]) -> Step:
    if not extracts:
        return step
    capture = step.capture or Capture()
    return step.model_copy(update={"capture": capture.model_copy(update={"extracts": tuple(extracts)})})


def _there(reader: StepReader, node: Node, index: int, steps: AbstractSequence[Step]) -> bool:
    if index >= len(steps):
        count = f"there are {len(steps)} commands" if len(steps) != 1 else "there is 1 command"
        reader.findings.problem(node.at, f"there is no command {index}: {count}, and the first is 0")
        return False
    if isinstance(steps[index].action, MapReduce):
        reader.findings.problem(node.at, f"the command {index} is a fan-out, which prints nothing")
        return False
    return True


def _extract(reader: StepReader, node: Node, key: str, index: int | None) -> tuple[int | None, Extract | None]:
    """(number of the command, the extract without its name). index: the number where none is written."""
    if isinstance(node, Mapping):
        entries = read_keys(node, keys.CAPTURE_OUTPUT, f"under `{key}`", reader.findings)
        if "command_index" in entries:
            index = _index(reader, entries["command_index"].value)
        elif index is None:
            reader.findings.problem(node.at, f"`{key}` needs a `command_index`", "the first command is 0")
        return index, _fields(reader, entries)
    if index is None or (isinstance(node, Scalar) and node.kind == "int"):
        return _index(reader, node), Extract(name="_")
    text = read_text(node, key, reader.findings)
    if text is None:
        return None, None
    if text in ("output", *_SOURCES):
        return index, _fields(reader, {} if text == "output" else {"source": Entry(_text(node), node)})
    return index, _fields(reader, {"pattern": Entry(_text(node), node)})


def _text(node: Node) -> Scalar:
    assert isinstance(node, Scalar)
    return node


def _index(reader: StepReader, node: Node) -> int | None:
    if isinstance(node, Scalar) and node.kind == "int" and node.value.isdecimal() and len(node.value) < 6:
        return int(node.value)
    reader.findings.problem(node.at, f"this must be the number of a command, from 0, got {shown(node)}")
    return None


def _fields(reader: StepReader, entries: dict[str, Entry]) -> Extract:
    findings = reader.findings
    fields: dict[str, Any] = {"name": "_"}
    if "source" in entries:
        source = read_choice(entries["source"].value, "source", _SOURCES, findings)
        fields["source"] = {"combined": "both", None: "stdout"}.get(source, source)
    if "pattern" in entries:
        fields["pattern"] = read_regex(entries["pattern"].value, "pattern", findings)
    if "json_path" in entries:
        fields["json_path"] = _json_path(reader, entries["json_path"].value)
    if "max_size" in entries:
        fields["max_size"] = read_whole_number(entries["max_size"].value, "max_size", findings)
    if "default" in entries:
        default = entries["default"].value
        if isinstance(default, Scalar):
            fields["default"] = "" if default.kind == "null" else default.value
        else:
            findings.problem(default.at, f"`default` must be text, got {shown(default)}")
    if "multiline" in entries:
        multiline = read_choice(entries["multiline"].value, "multiline", _MULTILINE, findings)
        fields["multiline"] = None if multiline == "preserve" else multiline
    return Extract(**fields)


def _json_path(reader: StepReader, node: Node) -> str | None:
    text = read_text(node, "json_path", reader.findings)
    if text is None or not isinstance(node, Scalar):
        return None
    try:
        compile_json_path(text)
    except JsonPathError as error:
        at = reader.text.inside(node, 1, error.column)
        reader.findings.problem(at, f"`json_path` is not a JSONPath: {error.message}", "see RFC 9535, e.g. `$.version`")
        return None
    return rooted(text)
