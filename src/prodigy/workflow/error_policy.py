"""`error_policy` and its keys: what becomes of a fan-out whose items fail."""

from __future__ import annotations

import re
from typing import Any

from prodigy.workflow import keys
from prodigy.workflow.failures import Breaker, Collection, ErrorPolicy, OnItemFailure, Retry
from prodigy.workflow.policies import read_retry
from prodigy.workflow.values import (
    Findings,
    read_bool,
    read_choice,
    read_duration,
    read_keys,
    read_number,
    read_whole_number,
    shown,
)
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar

_ON_ITEM_FAILURE: tuple[OnItemFailure, ...] = ("dlq", "retry", "skip", "stop")
_COLLECTIONS: tuple[Collection, ...] = ("aggregate", "immediate", "batched")
_BATCHED = re.compile(r"batched\s*:\s*(\d{1,9})")
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*%")
DEFAULT_BATCH = 10


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
    policy = base.model_copy(update=fields)
    if "retry_on_failure" in entries:
        policy = policy.model_copy(update=_retry_on_failure(entries["retry_on_failure"], policy, findings))
    return policy


def _fields(entries: dict[str, Entry], findings: Findings) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "on_item_failure" in entries:
        fields["on_item_failure"] = _choice(entries["on_item_failure"], findings)
    if "continue_on_failure" in entries:
        fields["continue_on_failure"] = read_bool(entries["continue_on_failure"].value, "continue_on_failure", findings)
    if "retry_config" in entries:
        fields["retry"] = _retry(entries["retry_config"], findings)
    if "max_failures" in entries:
        fields["max_failures"] = read_whole_number(entries["max_failures"].value, "max_failures", findings)
    if "failure_threshold" in entries:
        fields["failure_threshold"] = _threshold(entries["failure_threshold"].value, findings)
    if "circuit_breaker" in entries:
        fields["breaker"] = _breaker(entries["circuit_breaker"].value, findings)
    fields = {name: value for name, value in fields.items() if value is not None}
    if "error_collection" in entries:
        fields |= _collection(entries["error_collection"].value, findings)
    return fields


def _choice(entry: Entry, findings: Findings) -> OnItemFailure | None:
    node = entry.value
    known = ", ".join(_ON_ITEM_FAILURE)
    if isinstance(node, Mapping) and "custom" in node.entries:
        hint = f"use one of {known}; what the handler does can stand in `on_failure` of a step"
        findings.problem(node.at, "`on_item_failure: {custom: ...}` names a handler, and there are none", hint)
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


def _retry_on_failure(entry: Entry, policy: ErrorPolicy, findings: Findings) -> dict[str, Any]:
    """`true`, or the number of all tries: another way to write `on_item_failure: retry`."""
    node = entry.value
    if isinstance(node, Scalar) and node.kind == "bool":
        if node.value.lower() != "true":
            return {}
        retry = policy.retry
    else:
        attempts = read_whole_number(node, "retry_on_failure", findings)
        if attempts is None:
            return {}
        retry = policy.retry.model_copy(update={"attempts": attempts})
    if policy.on_item_failure in ("skip", "stop"):
        message = f"`retry_on_failure` and `on_item_failure: {policy.on_item_failure}` contradict each other"
        findings.problem(entry.key.at, message, "write `on_item_failure: retry` with `retry_config`, or remove one")
    return {"on_item_failure": "retry", "retry": retry}


def _threshold(node: Node, findings: Findings) -> float | None:
    """A part of 1. More than 1 can only be meant as percent."""
    if isinstance(node, Scalar) and (percent := _PERCENT.fullmatch(node.value.strip())):
        part = float(percent[1]) / 100
        if part <= 1:
            return part
    number = read_number(node, "failure_threshold", findings, least=0, most=100)
    if number is None or number <= 1:
        return number
    hint = f"write {number / 100:g}, or {number:g}%"
    findings.warn(node.at, f"`failure_threshold` is a part of 1; {number:g} is read as {number:g} percent", hint)
    return number / 100


def _breaker(node: Node, findings: Findings) -> Breaker | None:
    if not isinstance(node, Mapping):
        hint = "e.g. `{failure_threshold: 5, timeout: 30s}`"
        findings.problem(node.at, f"`circuit_breaker` must be a mapping, got {shown(node)}", hint)
        return None
    entries = read_keys(node, keys.CIRCUIT_BREAKER, "under `circuit_breaker`", findings)
    fields: dict[str, Any] = {}
    for name, field in (
        ("failure_threshold", "failures"),
        ("half_open_requests", "probes"),
        ("success_threshold", "successes"),
    ):
        if name in entries:
            fields[field] = read_whole_number(entries[name].value, name, findings)
    if "timeout" in entries:
        fields["timeout_s"] = read_duration(entries["timeout"].value, "timeout", findings, zero=True)
    return Breaker(**{name: value for name, value in fields.items() if value is not None})


def _collection(node: Node, findings: Findings) -> dict[str, Any]:
    """`aggregate`, `immediate`, `batched`, `batched:N` or `{batched: {size: N}}`."""
    if isinstance(node, Mapping) and set(node.entries) == {"batched"}:
        inner = node.entries["batched"].value
        size = inner.entries.get("size") if isinstance(inner, Mapping) and len(inner.entries) == 1 else None
        if isinstance(inner, Mapping) and size is None:
            findings.problem(inner.at, "`batched` takes `size` alone", "e.g. `{batched: {size: 10}}`")
            return {}
        number = read_whole_number(size.value if size else inner, "size", findings)
        return {"collection": "batched", "batch_size": number} if number else {}
    text = node.value.strip() if isinstance(node, Scalar) else ""
    if (batched := _BATCHED.fullmatch(text)) and int(batched[1]) >= 1:
        return {"collection": "batched", "batch_size": int(batched[1])}
    if text.startswith("batched") and text != "batched":
        findings.problem(node.at, f"`error_collection` can't be {shown(node)}", "write `batched:N`, N at least 1")
        return {}
    choice = read_choice(node, "error_collection", _COLLECTIONS, findings)
    return {"collection": choice, "batch_size": DEFAULT_BATCH if choice == "batched" else None} if choice else {}
