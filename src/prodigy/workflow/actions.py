"""What a step does: its one action, from the key that says it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from prodigy.workflow import keys, loops
from prodigy.workflow.agent_settings import CLAUDE
from prodigy.workflow.model import Agent, Foreach, Phase, Shell, WriteFile
from prodigy.workflow.policies import read_shell_options
from prodigy.workflow.texts import check_plain_text, read_structure
from prodigy.workflow.values import read_bool, read_choice, read_keys, read_label, read_text, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

_FORMATS: tuple[Literal["text", "json", "yaml"], ...] = ("text", "json", "yaml")
_MODE = re.compile(r"(?:0o|0)?[0-7]{3}")


def read_action(
    reader: StepReader, entries: dict[str, Entry], phase: Phase
) -> Shell | Agent | WriteFile | Foreach | None:
    """The action; None when it has mistakes. entries: those of a step, of which one is an action."""
    if "foreach" in entries:
        return loops.read_foreach(reader, entries, phase)
    if "shell" in entries:
        node = entries["shell"].value
        text = read_text(node, "shell", reader.findings)
        if text is None or not isinstance(node, Scalar):
            return None
        reader.check_script(node, phase)
        return shell(reader, text, entries.get("shell_options"))
    if "shell_options" in entries:
        reader.findings.problem(entries["shell_options"].key.at, "`shell_options` belongs to a `shell` step")
    fresh = read_bool(entries["fresh"].value, "fresh", reader.findings) if "fresh" in entries else None
    if "claude" in entries:
        return _prompt(reader, entries["claude"].value, "claude", phase, fresh=fresh or None)
    if "agent" in entries:
        return _agent(reader, entries["agent"].value, phase, fresh=fresh or None)
    if "write_file" in entries:
        return _write_file(reader, entries["write_file"].value, phase)
    return None


def shell(reader: StepReader, text: str, options: Entry | None = None) -> Shell:
    """A script with the options that are said for it, or else for the workflow."""
    chosen = read_shell_options(options.value, reader.findings) if options else reader.defaults.shell_options
    return Shell(text=text, options=chosen)


def _prompt(
    reader: StepReader, node: Node, key: str, phase: Phase, use: str | None = None, *, fresh: bool | None
) -> Agent | None:
    text = read_text(node, key, reader.findings)
    if text is None or not isinstance(node, Scalar):
        return None
    check_plain_text(node, reader.names(phase), reader.text, reader.findings)
    return Agent(prompt=text, use=use or CLAUDE, named=True if use == CLAUDE else None, fresh=fresh)


def _agent(reader: StepReader, node: Node, phase: Phase, *, fresh: bool | None) -> Agent | None:
    """`agent: {use: NAME, prompt: ..., fresh: true}`."""
    entries = read_keys(node, keys.AGENT_STEP, "under `agent`", reader.findings) if isinstance(node, Mapping) else {}
    if "prompt" not in entries:
        reader.findings.problem(node.at, f"`agent` must be a mapping with `use` and `prompt`, got {shown(node)}")
        return None
    use = read_label(entries["use"].value, "use", reader.findings) if "use" in entries else None
    if use is not None:
        reader.agents_named.append((use, entries["use"].value.at))
    if "fresh" in entries:
        fresh = read_bool(entries["fresh"].value, "fresh", reader.findings) or None
    return _prompt(reader, entries["prompt"].value, "prompt", phase, use, fresh=fresh)


def _write_file(reader: StepReader, node: Node, phase: Phase) -> WriteFile | None:
    """`write_file: {path, content, format, mode, create_dirs}`."""
    findings = reader.findings
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`write_file` must be a mapping with `path` and `content`, got {shown(node)}")
        return None
    parts = read_keys(node, keys.WRITE_FILE, "under `write_file`", findings)
    for required in ("path", "content"):
        if required not in parts:
            findings.problem(node.at, f"`write_file` has no `{required}`")
    path = reader.inner_path(parts, "path", phase)
    if path is not None and (path.endswith("/") or path in (".", "..")):
        findings.problem(parts["path"].value.at, f"`path`: {path} is a directory", "name the file")
    form = read_choice(parts["format"].value, "format", _FORMATS, findings) if "format" in parts else None
    content, structured = None, False
    if "content" in parts:
        structured = form in ("json", "yaml") and isinstance(parts["content"].value, Mapping | Sequence)
        content = _content(reader, parts["content"].value, phase, structured=structured)
    mode = _mode(reader, parts["mode"].value) if "mode" in parts else None
    dirs = read_bool(parts["create_dirs"].value, "create_dirs", findings) if "create_dirs" in parts else None
    if path is None or content is None:
        return None
    return WriteFile(
        path=path, content=content, format=None if form == "text" else form, mode=mode, create_dirs=dirs or None,
        structured=structured or None,
    )  # fmt: skip


def _content(reader: StepReader, node: Node, phase: Phase, *, structured: bool) -> str | None:
    """Any text, also an empty one; or the JSON text of a mapping or a list."""
    if structured:
        return read_structure(node, "content", reader.names(phase), reader.text, reader.findings)
    if not isinstance(node, Scalar) or node.kind == "null":
        hint = "write it as a text: `content: |`, or give the file `format: json` or `yaml`"
        reader.findings.problem(node.at, f"`content` must be text, got {shown(node)}", hint)
        return None
    check_plain_text(node, reader.names(phase), reader.text, reader.findings)
    return node.value


def _mode(reader: StepReader, node: Node) -> int | None:
    """Octal digits, whatever YAML makes of them."""
    if isinstance(node, Scalar) and _MODE.fullmatch(node.value):
        return int(node.value.removeprefix("0o"), 8)
    reader.findings.problem(node.at, f"`mode` must be an octal number up to 0777, got {shown(node)}", 'e.g. "0644"')
    return None
