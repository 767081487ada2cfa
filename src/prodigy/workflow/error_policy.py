"""`error_policy` and its keys: what becomes of a fan-out whose items fail."""

from __future__ import annotations

from typing import Any

from prodigy.workflow import keys
from prodigy.workflow.failures import ErrorPolicy, OnItemFailure, Retry
from prodigy.workflow.policies import read_retry
from prodigy.workflow.values import Findings, later, read_bool, read_choice, read_keys, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping

_ON_ITEM_FAILURE: tuple[OnItemFailure, ...] = ("dlq", "retry", "skip", "stop")


def read_error_policy(entries: dict[str, Entry], base: ErrorPolicy, findings: Findings) -> ErrorPolicy:
    """`base`, changed by what stands among `entries`: the keys of `error_policy`, each of which may also stand alone
    beside it, and then counts more."""
    fields: dict[str, Any] = {}
    if "error_policy" in entries:
        node = entries["error_policy"].value
        if isinstance(node, Mapping):
            fields |= _fields(read_keys(node, keys.ERROR_POLICY, "under `error_policy`", findings), findings)
        else:
            findings.problem(node.at, f"`error_policy` must be a mapping, got {shown(node)}")
    fields |= _fields(entries, findings)
    return base.model_copy(update=fields)


def _fields(entries: dict[str, Entry], findings: Findings) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "on_item_failure" in entries:
        choice = _choice(entries["on_item_failure"], findings)
        if choice is not None:
            fields["on_item_failure"] = choice
    if "continue_on_failure" in entries:
        goes_on = read_bool(entries["continue_on_failure"].value, "continue_on_failure", findings)
        if goes_on is not None:
            fields["continue_on_failure"] = goes_on
    if "retry_config" in entries:
        retry = _retry(entries["retry_config"], findings)
        if retry is not None:
            fields["retry"] = retry
    return fields


def _choice(entry: Entry, findings: Findings) -> OnItemFailure | None:
    node = entry.value
    if isinstance(node, Mapping) and "custom" in node.entries:
        findings.problem(node.at, later("on_item_failure: custom"), f"use one of {', '.join(_ON_ITEM_FAILURE)}")
        return None
    return read_choice(node, "on_item_failure", _ON_ITEM_FAILURE, findings)


def _retry(entry: Entry, findings: Findings) -> Retry | None:
    read = read_retry(entry.value, findings, "retry_config")
    if read is None:
        return None
    retry, then = read
    if then is not None:
        hint = "an item whose tries are used up goes to the dead letter queue"
        findings.problem(then.key.at, "`on_failure` does not stand in `retry_config`", hint)
    return retry
