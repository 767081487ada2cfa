"""`merge`: steps before the final merge, and below `map`, how what items commit is merged."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from prodigy.workflow import keys
from prodigy.workflow.catalogue import available
from prodigy.workflow.handlers import commands
from prodigy.workflow.model import Agent, Merging, Shell, Step
from prodigy.workflow.values import read_choice, read_keys, read_whole_number, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

CONFLICT = available("conflict") - available("map")
CHECK = available("check") - available("steps")
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


# What an agent is asked to do with a conflict unless the workflow has steps for it.
RESOLVE = """\
Two changes to this repository conflict. The worktree you are in holds the result of merging them, with conflict
markers.

Files with conflicts: ${conflict.files}
What git says: ${conflict.message}

One side is what other work has brought onto the branch meanwhile:
${conflict.ours_log}

The other side is the work on one item, ${item_json}:
${conflict.theirs_log}

The conflicts:
${conflict.diff}

Resolve every conflict so that the intents of both sides hold. Look at the commits where that helps (`git show`). Leave
no conflict marker, change nothing else, and run the tests that concern the files if there are any. Do not commit.
"""


def usual_merging(reader: StepReader) -> Merging:
    """How items are merged where the workflow does not say it."""
    strategy = reader.configured.merge_strategy
    return Merging(strategy=strategy) if strategy else Merging()


def read_map_merge(reader: StepReader, entry: Entry) -> tuple[Merging, tuple[Step, ...]]:
    """`merge` below `map`: `{check, batch, on_reject, strategy}`, and the steps of its `on_conflict`."""
    node, findings = entry.value, reader.findings
    if not isinstance(node, Mapping):
        message = f"`merge` under `map` must be a mapping, got {shown(node)}"
        findings.problem(node.at, message, "e.g. {check: make test, batch: 8}")
        return usual_merging(reader), ()
    entries = read_keys(node, keys.MAP_MERGE, "under `merge`", findings)
    given: dict[str, Any] = {"strategy": usual_merging(reader).strategy}
    if "check" in entries:
        with reader.inner(CHECK), reader.inside_a_step():
            given["check"] = commands(reader, entries["check"].value, "check", "")
    if "batch" in entries:
        given["batch"] = read_whole_number(entries["batch"].value, "batch", findings)
    for key, words in (("on_reject", ("retry", "dlq")), ("strategy", ("merge", "rebase", "squash"))):
        if key in entries and (word := read_choice(entries[key].value, key, words, findings)):
            given[key] = word
    on_conflict = _on_conflict(reader, entries["on_conflict"]) if "on_conflict" in entries else ()
    for key in ("batch", "on_reject"):
        if key in entries and "check" not in entries:
            findings.warn(entries[key].key.at, f"`{key}` does nothing without `check`", "say what tests a merge")
    return Merging(**given), on_conflict


def _on_conflict(reader: StepReader, entry: Entry) -> tuple[Step, ...]:
    """The steps that resolve the conflicts of an item; `agent`: one that asks the default agent; `dlq`: none."""
    (key, value), findings = entry, reader.findings
    if not isinstance(value, Scalar):
        with reader.inner(CONFLICT):
            return reader.steps(value, "on_conflict", "map")
    if read_choice(value, "on_conflict", ("dlq", "agent"), findings) != "agent":
        return ()
    return (
        Step(action=Agent(prompt=RESOLVE), name="resolve", phase="map", line=key.at.line, file=key.at.file or None),
    )
