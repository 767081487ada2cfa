"""Steps `{worktree: NAME, do: [...]}`: neighbours run at the same time, each in a worktree of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from prodigy.workflow import keys
from prodigy.workflow.merging import usual_merging
from prodigy.workflow.model import Input, MapReduce, Named, Phase, Step
from prodigy.workflow.values import read_bool, read_keys, read_text, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

WORKTREES = "worktrees"  # the variables that the steps behind have
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


def is_named(node: Node) -> bool:
    return isinstance(node, Mapping) and "worktree" in node.entries


def add_named(reader: StepReader, node: Mapping, found: list[Step], phase: Phase) -> None:
    """Read one such step into `found`, the list so far; with one that stands last there it is one fan-out."""
    findings = reader.findings
    at = node.entries["worktree"].key.at
    if not reader.may_fan_out(phase):
        message = "a `worktree` step cannot stand inside another step, an item or `merge`"
        findings.problem(at, message, "put it into the list of `steps`")
        return
    entries = read_keys(node, keys.NAMED, "in a `worktree` step", findings)
    name, named = _named(reader, entries, node)
    step_id, label = reader.captures.id(entries), reader.label(entries)
    if named is None or name is None:
        return
    before = found.pop() if found and _names_worktrees(found[-1]) else None
    if before and before.id and step_id:
        hint = "give one `id` to them, and read each as `${worktrees.NAME.path}`"
        findings.problem(entries["id"].key.at, "neighbouring worktrees are one fan-out, which has one `id`", hint)
    reader.after_fan_out(step_id)
    reader.define(WORKTREES)
    step = _step(reader, named, step_id, label, phase, node.at)
    found.append(_together(reader, before, step) if before else step)


def _names_worktrees(step: Step) -> bool:
    return isinstance(step.action, MapReduce) and bool(step.action.named)


def _named(reader: StepReader, entries: dict[str, Entry], node: Mapping) -> tuple[str | None, Named | None]:
    name = _name(reader, entries["worktree"].value)
    merge = read_bool(entries["merge"].value, "merge", reader.findings) if "merge" in entries else None
    if "do" not in entries:
        reader.findings.problem(node.at, "this `worktree` step has no `do`", "give it the steps that run there")
        return None, None
    before = len(reader.findings.problems)
    with reader.inner():
        do = reader.steps(entries["do"].value, "do", "map")
    if not do:
        if len(reader.findings.problems) == before:
            reader.findings.problem(entries["do"].value.at, "`do` has no step")
        return None, None
    return name, Named(name=name or "_", do=do, merge=merge or None)


def _name(reader: StepReader, node: Node) -> str | None:
    """A word that can be a part of a branch's name and of a path."""
    text = read_text(node, "worktree", reader.findings)
    if text is None:
        return None
    if not _NAME.fullmatch(text) or ".." in text or text.endswith((".", ".lock")):
        hint = "use lower-case letters, digits, `_`, `-` and `.`, at most 63"
        reader.findings.problem(node.at, f"`worktree` must be a plain word, got {shown(node)}", hint)
        return None
    if other := reader.worktrees.get(text):
        message = f"the worktree `{text}` is taken by the step on line {other.line}"
        reader.findings.problem(node.at, message, "give it another name, or put the steps into one `do`")
        return None
    reader.worktrees[text] = node.at
    return text


def _step(reader: StepReader, named: Named, step_id: str | None, label: str | None, phase: Phase, at: Position) -> Step:
    uncommitted = reader.defaults.on_uncommitted
    action = MapReduce(
        input=Input(kind="values", values=(named.name,)),
        merge=usual_merging(reader),
        max_parallel=1,
        on_uncommitted=None if uncommitted == "commit" else uncommitted,
        named=(named,),
    )
    phase, file = phase or "map", at.file or None
    return Step(action=action, id=step_id, name=label, phase=phase, line=at.line, file=file)


def _together(reader: StepReader, before: Step, step: Step) -> Step:
    """The two fan-outs as one."""
    assert isinstance(before.action, MapReduce)
    assert isinstance(step.action, MapReduce)
    named = (*before.action.named, *step.action.named)
    names = tuple(part.name for part in named)
    most = reader.defaults.max_parallel or 10
    action = before.action.model_copy(
        update={
            "input": Input(kind="values", values=names),
            "named": named,
            "max_parallel": min(len(named), most),
        }
    )
    label = ", ".join(name for name in (before.name, step.name) if name) or None
    return before.model_copy(update={"action": action, "id": before.id or step.id, "name": label})
