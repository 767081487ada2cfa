"""`merge`: steps before the final merge, and below `map`, what becomes of conflicts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prodigy.workflow.catalogue import available
from prodigy.workflow.model import Agent, Shell, Step
from prodigy.workflow.values import Findings, later, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

MERGE = available("merge") - available("steps")  # the variables that these steps have
# To merge the target into the run's branch is in order; the other way round is not.
_MOVES_TARGET = re.compile(
    r"\bgit(?:\s+-\S+(?:\s+[^\s-]\S*)?)*\s+"
    r"(?:(?:checkout|switch)\b[^\n;&|]*target_branch|merge\b[^\n;&|]*source_branch)"
)


def read_merge(reader: StepReader, root: Node) -> tuple[Step, ...]:
    """The steps of a workflow's `merge`: a list, or `{commands, timeout}`."""
    if not isinstance(root, Mapping) or "merge" not in root.entries:
        return ()
    node = root.entries["merge"].value
    before = len(reader.findings.problems)
    with reader.inner(MERGE):
        steps = reader.steps(node, "merge", "merge")
    if not steps and len(reader.findings.problems) == before:
        reader.findings.warn(node.at, "`merge` has no step, so it does nothing", "remove it")
    for step in steps:
        if _merges(step):
            message = "this step seems to merge by itself, and here only the engine moves the target branch"
            hint = "remove it: the final merge comes after these steps, whose commits it takes along"
            reader.findings.warn(Position(step.line, 1, step.file or ""), message, hint)
    return steps


def _merges(step: Step) -> bool:
    match step.action:
        case Shell(text=text):
            return _MOVES_TARGET.search(text) is not None
        case Agent(prompt=prompt):
            return prompt.startswith("/prodigy-merge-worktree")
    return False


def check_map_merge(entry: Entry, findings: Findings) -> None:
    """Below `map` only `{on_conflict: dlq}` runs, which is what happens anyway."""
    node = entry.value
    if not isinstance(node, Mapping):
        message = f"`merge` under `map` must be a mapping, got {shown(node)}"
        findings.problem(node.at, message, "e.g. {on_conflict: dlq}")
        return
    for what, at in _unknown(node):
        findings.problem(at, later(what), "this version parks an item with a conflict: `on_conflict: dlq`")


def _unknown(node: Mapping) -> Iterator[tuple[str, Position]]:
    for name, (key, value) in node.entries.items():
        if name != "on_conflict":
            yield f"merge: {name}", key.at
        elif not (isinstance(value, Scalar) and value.value == "dlq"):
            word = value.value if isinstance(value, Scalar) else "[steps]"
            yield f"on_conflict: {word}", value.at
