"""`env`, `inherit`, `clear_env` and `temporary` of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodigy.workflow import keys
from prodigy.workflow.model import Phase
from prodigy.workflow.policies import read_env, takes_no_data
from prodigy.workflow.texts import check_plain_text
from prodigy.workflow.values import read_bool, read_keys
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

_VALUE = keys.KeyTable(runs=frozenset({"value", "secret"}), later=frozenset(), synonyms={})


def read_step_env(reader: StepReader, entries: dict[str, Entry], phase: Phase) -> tuple[tuple[str, str], ...]:
    """Names and values; the values may hold placeholders."""
    if "temporary" in entries and read_bool(entries["temporary"].value, "temporary", reader.findings) is False:
        message = "`temporary: false` does nothing: the `env` of a step is for that step alone"
        reader.findings.warn(entries["temporary"].key.at, message, "write it under `env` at the top")
    if "env" not in entries:
        return ()
    variables = read_env(_without_secrets(reader, entries["env"].value), reader.findings)
    for name, value in variables:
        check_plain_text(value, reader.names(phase), reader.text, reader.findings)
        if "${" in value.value and takes_no_data(name):
            hint = "give the program the value as an argument"
            message = f"`{name}` makes programs run code, so no placeholder may be in it"
            reader.findings.problem(value.at, message, hint)
    return tuple((name, "" if value.kind == "null" else value.value) for name, value in variables)


def read_clear_env(reader: StepReader, entries: dict[str, Entry]) -> bool | None:
    """True when the step gets nothing of the user's environment but what it takes to run, else None."""
    if "clear_env" not in entries:
        return None
    return read_bool(entries["clear_env"].value, "clear_env", reader.findings) or None


def read_inherit(reader: StepReader, entries: dict[str, Entry]) -> bool | None:
    """Whether the step gets all of the user's environment; None: as the workflow says."""
    if "inherit" not in entries:
        return None
    inherit = read_bool(entries["inherit"].value, "inherit", reader.findings)
    if inherit and not entries.keys().isdisjoint(("claude", "agent")):
        message = "an agent never gets all of your environment by `inherit`"
        hint = "name what it needs: `agents: {claude: {pass_env: [NAME, PREFIX_*]}}`"
        reader.findings.problem(entries["inherit"].key.at, message, hint)
    return inherit


def _without_secrets(reader: StepReader, node: Node) -> Node:
    """`NAME: {value: ..., secret: true}` is `NAME: ...`; only the workflow's own variables can be secret."""
    if not isinstance(node, Mapping):
        return node
    entries = {}
    for name, (key, value) in node.entries.items():
        if isinstance(value, Mapping) and "value" in value.entries:
            parts = read_keys(value, _VALUE, f"under `{name}`", reader.findings)
            if "secret" in parts and read_bool(parts["secret"].value, "secret", reader.findings):
                message, hint = (
                    f"`{name}` is not masked in a step's `env`",
                    "write it under `env` or `secrets` at the top",
                )
                reader.findings.warn(parts["secret"].key.at, message, hint)
            entries[name] = Entry(key, parts["value"].value)
        else:
            entries[name] = Entry(key, value)
    return Mapping(entries, node.at)
