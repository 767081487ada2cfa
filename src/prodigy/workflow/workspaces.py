"""`workspace: {...}` from YAML nodes: how worktrees are had, what they need, how many there may be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from prodigy.workflow import keys
from prodigy.workflow.handlers import commands
from prodigy.workflow.model import Step, Workspace
from prodigy.workflow.policies import read_paths
from prodigy.workflow.values import (
    Findings,
    read_bool,
    read_choice,
    read_duration,
    read_keys,
    read_number,
    read_text,
    read_whole_number,
    shown,
)
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

ALL_FAILED = 100_000  # what `keep_failed: true` keeps

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_LIKE_A_RUN = re.compile(r"\d{8}-\d{6}-.*")
_ISOLATION = ("worktree", "clone")
_REUSE = ("pooled", "fresh")
_STRATEGIES = ("pooled", "on_demand", "reuse", "dedicated")
_LIMITS = ("per_run", "total", "max_disk_mb", "min_free_disk_mb", "max_memory_mb", "memory_per_item_mb")

Given = dict[str, Any]


def read_workspace(reader: StepReader, entry: Entry, base: Workspace) -> Workspace:
    """`workspace: {...}`; what it does not say is as in `base`."""
    node, findings = entry.value, reader.findings
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`workspace` must be a mapping, got {shown(node)}")
        return base
    entries = read_keys(node, keys.WORKSPACE, "under `workspace`", findings)
    given: Given = {}
    if "isolation" in entries:
        at = entries["isolation"].value.at
        given["isolation"] = read_choice(entries["isolation"].value, "isolation", _ISOLATION, findings)
        reader.shared_at += [at] if given["isolation"] == "worktree" else []
    for key in ("include", "keep_ignored"):
        if key in entries:
            given[key] = read_paths(entries[key].value, key, findings)
    for key in ("setup", "teardown"):
        if key in entries:
            given[key] = _steps(reader, entries[key].value, key)
    given |= _earlier(entries, findings)
    given |= _policies(entries, findings)
    if "limits" in entries:
        given |= _limits(entries["limits"], findings)
    given |= _allocation(entries, findings, base, given)
    found = base.model_copy(update=given)
    if found.name is not None and found.keep_failed:
        at = entries["keep_failed" if "keep_failed" in entries else "name"].key.at if entries else node.at
        message = "a worktree with a `name` goes to the next item, so `keep_failed` can't keep it"
        findings.problem(at, message, "leave one of the two out; the branch of a dead letter has the work anyway")
    return found


def _steps(reader: StepReader, node: Node, key: str) -> tuple[Step, ...]:
    with reader.inner(alone=True), reader.inside_a_step():
        return commands(reader, node, key, "setup")


# How worktrees are had ---------------------------------------------------------------------------------------


def _allocation(entries: dict[str, Entry], findings: Findings, base: Workspace, given: Given) -> Given:
    """`reuse`, `name`, and the earlier system's word for both."""
    if "strategy" in entries and "reuse" in entries:
        at = entries["strategy"].key.at
        findings.problem(at, "`strategy` and `reuse` are two names of one thing", "remove `strategy`")
    found: Given = {}
    if "strategy" in entries:
        found = _strategy(entries["strategy"], findings, has_name="name" in entries or base.name is not None)
    if "reuse" in entries:
        word = read_choice(entries["reuse"].value, "reuse", _REUSE, findings)
        found["reuse"] = "fresh" if word == "fresh" else None
    if "name" in entries:
        found["name"] = _name(entries["name"].value, "name", findings)
        if found.get("reuse") == "fresh":
            message = "`name` is a worktree that stays, `reuse: fresh` one that goes"
            findings.problem(entries["name"].key.at, message, "leave one of the two out")
        found["reuse"] = None
    elif "reuse" in found and "name" not in found:
        found["name"] = None  # the map's own way in place of the workflow's
    if "per_run" in found and given.get("per_run") is not None:
        del found["per_run"]  # the limit says it more plainly than the pool's size
    return found


def _strategy(entry: Entry, findings: Findings, *, has_name: bool) -> Given:
    """`on_demand`, `pooled`, `reuse`, `dedicated`, or `{pooled: {size: N}}`, `{dedicated: NAME}`."""
    node: Node = entry.value
    detail: Entry | None = None
    if isinstance(node, Mapping) and len(node.entries) == 1:
        (detail,) = node.entries.values()
        node = detail.key
    word = node.value.lower().replace("ondemand", "on_demand") if isinstance(node, Scalar) else None
    if word not in _STRATEGIES:
        words = ", ".join(_STRATEGIES)
        findings.problem(entry.value.at, f"`strategy` must be one of {words}, got {shown(node)}", "better: use `reuse`")
        return {}
    if word == "on_demand":
        return {"reuse": "fresh"}
    if word == "pooled":
        return {"reuse": None} | (_pool_size(detail, findings) if detail else {})
    if detail is not None and not has_name:
        return {"reuse": None, "name": _dedicated_name(detail, findings)}
    if not has_name:
        message = f"`strategy: {word}` needs the name of the worktree that is used again"
        findings.problem(entry.value.at, message, "add `name: ...` and leave `strategy` out")
        return {}
    return {}


def _pool_size(detail: Entry, findings: Findings) -> Given:
    node = detail.value
    if not isinstance(node, Mapping) or set(node.entries) != {"size"}:
        findings.problem(node.at, f"`pooled` must be a mapping with `size`, got {shown(node)}")
        return {}
    size = read_whole_number(node.entries["size"].value, "size", findings)
    return {} if size is None else {"per_run": size}


def _dedicated_name(detail: Entry, findings: Findings) -> str | None:
    node = detail.value
    if isinstance(node, Mapping) and set(node.entries) == {"name"}:
        node = node.entries["name"].value
    return _name(node, detail.key.value, findings)


def _name(node: Node, key: str, findings: Findings) -> str | None:
    text = read_text(node, key, findings)
    if text is None:
        return None
    if not _NAME.fullmatch(text) or ".." in text or text.endswith((".", ".lock")):
        hint = "use letters, digits, `_`, `-` and `.`, at most 63"
        findings.problem(node.at, f"`{key}` must be a plain word, got {shown(node)}", hint)
        return None
    if _LIKE_A_RUN.fullmatch(text):
        findings.problem(node.at, f"`{key}` looks like the worktree of a run: {shown(node)}", "use another word")
        return None
    return text


# What stays, and how much there may be -----------------------------------------------------------------------


def _policies(entries: dict[str, Entry], findings: Findings) -> Given:
    found: Given = {}
    if "keep_failed" in entries:
        found["keep_failed"] = _keep_failed(entries["keep_failed"].value, findings)
    if "keep" in entries:
        found["keep"] = read_bool(entries["keep"].value, "keep", findings) or None
    if "max_age" in entries:
        key, value = entries["max_age"]
        found["max_age_s"] = read_duration(value, key.value, findings)
    return found


def _keep_failed(node: Node, findings: Findings) -> int | None:
    """A number, or the earlier system's true for all of them."""
    if isinstance(node, Scalar) and node.kind == "bool":
        return ALL_FAILED if read_bool(node, "keep_failed", findings) else None
    number = read_number(node, "keep_failed", findings, least=0, most=ALL_FAILED)
    if number is not None and not number.is_integer():
        findings.problem(node.at, f"`keep_failed` must be a whole number, got {shown(node)}")
        return None
    return int(number) if number else None


def _limits(entry: Entry, findings: Findings) -> Given:
    key, node = entry
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`{key.value}` must be a mapping such as `{{per_run: 4}}`, got {shown(node)}")
        return {}
    entries = read_keys(node, keys.WORKSPACE_LIMITS, f"under `{key.value}`", findings)
    if "max_cpu_percent" in entries:
        hint = "say how many items run at a time with `max_parallel`"
        findings.warn(entries["max_cpu_percent"].key.at, "`max_cpu_percent` does nothing here", hint)
    return {
        name: read_whole_number(entries[name].value, entries[name].key.value, findings)
        for name in _LIMITS
        if name in entries
    }


def _earlier(entries: dict[str, Entry], findings: Findings) -> Given:
    """The earlier system's configuration of its pool, as far as it is not only another word."""
    found: Given = {}
    if "parallel_worktrees" in entries:
        key, value = entries["parallel_worktrees"]
        found["per_run"] = read_whole_number(value, key.value, findings)
    if "enable_cache" in entries:
        hint = "name what is to stay under `keep_ignored`"
        findings.warn(entries["enable_cache"].key.at, "`enable_cache` does nothing here", hint)
    if "auto_cleanup" in entries:
        found |= _kept_unless(entries["auto_cleanup"], findings)
    if "cleanup_policy" in entries:
        found |= _cleanup_policy(entries["cleanup_policy"], findings)
    return found


def _cleanup_policy(entry: Entry, findings: Findings) -> Given:
    key, node = entry
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`{key.value}` must be a mapping, got {shown(node)}")
        return {}
    entries = read_keys(node, keys.CLEANUP_POLICY, f"under `{key.value}`", findings)
    found = _policies({name: entries[name] for name in entries if name in ("keep_failed", "max_age")}, findings)
    for name in ("cleanup_on_complete", "auto_cleanup"):
        if name in entries:
            found |= _kept_unless(entries[name], findings)
    if "idle_timeout_secs" in entries:
        hint = "worktrees are reused until the run ends; `max_age` removes those that stay behind"
        findings.warn(entries["idle_timeout_secs"].key.at, "`idle_timeout_secs` does nothing here", hint)
    return found


def _kept_unless(entry: Entry, findings: Findings) -> Given:
    """A key that says whether worktrees go when the run has completed."""
    goes = read_bool(entry.value, entry.key.value, findings)
    return {} if goes is None else {"keep": None if goes else True}
