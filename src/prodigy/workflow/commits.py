"""`auto_commit` and `commit_config`: how what a step changed is committed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prodigy.workflow import keys
from prodigy.workflow.model import Commit, Phase
from prodigy.workflow.regex import RegexError, compile_regex
from prodigy.workflow.texts import check_plain_text
from prodigy.workflow.values import Findings, read_bool, read_keys, read_text, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

AUTHOR = re.compile(r"(?P<name>[^<>\n]*[^<>\s][^<>\n]*) <(?P<mail>[^<>\s]+)>")
# What there is to say of a commit that the engine makes, and of the files that go into it.
_OF_A_COMMIT = ("message_template", "author")
_OF_ITS_FILES = ("include_files", "exclude_files")


def read_commit(reader: StepReader, entries: dict[str, Entry], phase: Phase) -> Commit | None:
    """None when the step says nothing of its commits."""
    auto = "auto_commit" in entries and bool(read_bool(entries["auto_commit"].value, "auto_commit", reader.findings))
    if "commit_config" not in entries:
        return Commit(auto=True) if auto else None
    node = entries["commit_config"].value
    if not isinstance(node, Mapping):
        reader.findings.problem(node.at, f"`commit_config` must be a mapping, got {shown(node)}")
        return None
    parts = read_keys(node, keys.COMMIT_CONFIG, "under `commit_config`", reader.findings)
    commit = _commit(reader, parts, phase).model_copy(update={"auto": auto})
    for name in (() if auto or commit.squash else _OF_A_COMMIT) + (() if auto else _OF_ITS_FILES):
        if name in parts:
            message = f"`{name}` does nothing without `auto_commit: true`"
            reader.findings.warn(parts[name].key.at, message, "add it; commits that the step makes stay as they are")
    return None if commit == Commit() else commit


def _commit(reader: StepReader, parts: dict[str, Entry], phase: Phase) -> Commit:
    findings = reader.findings
    if "sign" in parts and read_bool(parts["sign"].value, "sign", findings):
        hint = "the engine commits without anyone to unlock a key; sign what you merge or push"
        findings.problem(parts["sign"].key.at, "`sign: true` is not possible", hint)
    files = {
        name: _patterns(parts[name].value, name, findings) if name in parts else ()
        for name in ("include_files", "exclude_files")
    }
    squash = "squash" in parts and read_bool(parts["squash"].value, "squash", findings)
    return Commit(
        message=_message(reader, parts["message_template"].value, phase) if "message_template" in parts else None,
        pattern=read_regex(parts["message_pattern"].value, "message_pattern", findings)
        if "message_pattern" in parts
        else None,
        author=_author(reader, parts["author"].value, phase) if "author" in parts else None,
        include=files["include_files"],
        exclude=files["exclude_files"],
        squash=squash or None,
    )


def _message(reader: StepReader, node: Node, phase: Phase) -> str | None:
    text = read_text(node, "message_template", reader.findings)
    if text is None or not isinstance(node, Scalar):
        return None
    check_plain_text(node, reader.names(phase), reader.text, reader.findings)
    return text


def _author(reader: StepReader, node: Node, phase: Phase) -> str | None:
    text = read_text(node, "author", reader.findings)
    if text is None or not isinstance(node, Scalar):
        return None
    check_plain_text(node, reader.names(phase), reader.text, reader.findings)
    if "${" not in text and not AUTHOR.fullmatch(text):
        message = f"`author` must be a name and an address, got {shown(node)}"
        reader.findings.problem(node.at, message, "e.g. `Ann <a@b.org>`")
    return text


def _patterns(node: Node, key: str, findings: Findings) -> tuple[str, ...]:
    """Patterns as in .gitignore."""
    items = node.items if isinstance(node, Sequence) else (node,)
    return tuple(text for item in items if (text := read_text(item, key, findings)) is not None)


def read_regex(node: Node, key: str, findings: Findings) -> str | None:
    """A regular expression that can be read, or None."""
    text = read_text(node, key, findings)
    if text is None:
        return None
    try:
        compile_regex(text)
    except RegexError as error:
        findings.problem(node.at, f"`{key}` is no regular expression: {error}")
        return None
    return text
