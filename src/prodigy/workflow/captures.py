"""The keys that give a step's result a name, and the names that a whole file declares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from prodigy.workflow import keys
from prodigy.workflow.capture_values import Capture, CaptureFormat, CaptureStream
from prodigy.workflow.catalogue import ANYWAY, RESERVED
from prodigy.workflow.values import Findings, read_choice, read_keys, read_text, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_FORMATS: tuple[CaptureFormat, ...] = ("string", "json", "lines", "number", "boolean")
_STREAMS: tuple[CaptureStream, ...] = ("stdout", "stderr", "both", "none")
# Files of the earlier system name what such a step captures below its kind, too: `${shell.NAME}`.
_KINDS = ("shell", "claude")
_BOTH: dict[tuple[bool, bool], CaptureStream] = {
    (True, True): "both",
    (True, False): "stdout",
    (False, True): "stderr",
    (False, False): "none",
}
_STREAM = r"(?:stdout|stderr|exit_code|success|duration)"
LISTED_STREAMS = rf"^{_STREAM}(?:\s*,\s*{_STREAM})+$"
_LISTED = re.compile(LISTED_STREAMS)
_OUTPUT = keys.KeyTable(runs=frozenset({"file_pattern"}), later=frozenset(), synonyms={})


def declared_names(node: Node | None) -> frozenset[str]:
    """Every text that stands under an `id`, `capture` or `capture_output`, and every key of `capture_outputs`,
    `outputs` or a handler's `capture`, anywhere in the file."""
    return frozenset(_names(node)) if node is not None else frozenset()


def _names(root: Node) -> Iterator[str]:
    # Aliases make one node stand in many places; each is looked at once.
    seen: set[int] = set()
    nodes: list[Node] = [root]
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Sequence):
            nodes += node.items
        elif isinstance(node, Mapping):
            for name, entry in node.entries.items():
                nodes.append(entry.value)
                if name in ("id", "capture", "capture_output") and isinstance(entry.value, Scalar):
                    yield entry.value.value
                if name in ("capture", "capture_outputs", "outputs") and isinstance(entry.value, Mapping):
                    yield from entry.value.entries


def also_named(entries: dict[str, Entry], names: Iterable[str]) -> Iterator[str]:
    """The other names that what a step captures has: see `prodigy.engine.captures.captured`."""
    yield from (f"{kind}.{name}" for kind in _KINDS if kind in entries for name in names)


class CaptureReader:
    """Reads the ids and captures of one file; a name may be given once in every list of steps."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._ids: dict[str, Position] = {}

    def id(self, entries: dict[str, Entry]) -> str | None:
        if "id" not in entries:
            return None
        node = entries["id"].value
        name = self.name(node, "id")
        if name is not None and name in self._ids:
            self._findings.problem(node.at, f"the id `{name}` is taken by the step on line {self._ids[name].line}")
        if name is not None:
            self._ids.setdefault(name, node.at)
        return name

    def capture(self, entries: dict[str, Entry], step_id: str | None, file: str | None) -> Capture | None:
        """The step's capture; None when nothing of it is kept. file: its `output_file`."""
        names = {step_id} if step_id else set()
        for key in ("capture", "capture_output"):
            if key in entries and (name := self._variable(entries[key].value, key)):
                names.add(name)
        form = self._form(entries["capture_format"].value) if "capture_format" in entries else "string"
        stream = self._stream(entries)
        files = self._files(entries["outputs"].value) if "outputs" in entries else ()
        if not names and file is None:
            for key in ("capture_format", "capture_streams"):
                if key in entries:
                    hint = "give the step a `capture` or an `id`"
                    self._findings.problem(entries[key].key.at, f"`{key}` without a name for what is captured", hint)
            return Capture(files=files) if files else None
        return Capture(
            names=tuple(sorted(names)),
            format=form or "string",
            stream=stream,
            file=file,
            files=files,
        )

    def _files(self, node: Node) -> tuple[tuple[str, str], ...]:
        """`outputs: {NAME: {file_pattern: PATTERN}}`."""
        if not isinstance(node, Mapping):
            self._findings.problem(node.at, f"`outputs` must be a mapping from names to patterns, got {shown(node)}")
            return ()
        found = []
        for key, value in node.entries.values():
            name = self.name(key, "name under `outputs`")
            parts = read_keys(value, _OUTPUT, "under `outputs`", self._findings) if isinstance(value, Mapping) else {}
            if "file_pattern" not in parts:
                message, hint = "an output must be a mapping with `file_pattern`", 'e.g. {file_pattern: "*.md"}'
                self._findings.problem(value.at, f"{message}, got {shown(value)}", hint)
                continue
            pattern = read_text(parts["file_pattern"].value, "file_pattern", self._findings)
            if name and pattern:
                found.append((name, pattern))
        return tuple(found)

    def _form(self, node: Node) -> CaptureFormat | None:
        """`text` is an older name of `string`."""
        if isinstance(node, Scalar) and node.value == "text":
            return "string"
        return read_choice(node, "capture_format", _FORMATS, self._findings)

    def _variable(self, node: Node, key: str) -> str | None:
        """True and false, for `capture_output`, name nothing, nor does the name that the output has anyway."""
        if key == "capture_output" and isinstance(node, Scalar) and node.kind == "bool":
            return None
        if isinstance(node, Scalar) and node.value in ANYWAY:
            self._findings.warn(node.at, f"`{key}: {node.value}` does nothing: the output has that name", "remove it")
            return None
        return self.name(node, key)

    def name(self, node: Node, key: str) -> str | None:
        """A name that a value can be given, or None. key: where it stands, for messages."""
        text = read_text(node, key, self._findings)
        if text is None:
            return None
        if not NAME.fullmatch(text):
            self._findings.problem(
                node.at, f"{_quoted(key)} must be a name of letters, digits, `_` and `-`, got {shown(node)}"
            )
            return None
        if text in RESERVED:
            self._findings.problem(
                node.at,
                f"`{text}` cannot be {'an' if key == 'id' else 'a'} {key}: it is the name of built-in variables",
            )
            return None
        return text

    def _stream(self, entries: dict[str, Entry]) -> CaptureStream:
        """Which output is captured: a name, or the earlier system's mapping of switches."""
        if "capture_streams" not in entries:
            return "stdout"
        node = entries["capture_streams"].value
        if not isinstance(node, Mapping):
            if isinstance(node, Scalar) and _LISTED.fullmatch(node.value):
                return _BOTH["stdout" in node.value, "stderr" in node.value]
            return read_choice(node, "capture_streams", _STREAMS, self._findings) or "stdout"
        switches = {"stdout": True, "stderr": False}
        for name, entry in node.entries.items():
            if name not in ("stdout", "stderr", "exit_code", "success", "duration"):
                hint = "known are stdout, stderr, exit_code, success and duration"
                self._findings.problem(entry.key.at, f"unknown key `{name}` under `capture_streams`", hint)
            elif not (isinstance(entry.value, Scalar) and entry.value.kind == "bool"):
                self._findings.problem(entry.value.at, f"`{name}` must be true or false, got {shown(entry.value)}")
            else:
                switches[name] = entry.value.value.lower() == "true"
        return _BOTH[switches["stdout"], switches["stderr"]]


def _quoted(key: str) -> str:
    return f"a {key}" if " " in key else f"`{key}`"
