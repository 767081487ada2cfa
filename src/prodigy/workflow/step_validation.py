"""`step_validate`: commands that have to answer in a certain way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodigy.workflow import keys
from prodigy.workflow.commits import read_regex
from prodigy.workflow.legacy import scalar
from prodigy.workflow.model import Check, Phase, Step, Want
from prodigy.workflow.values import read_choice, read_duration, read_keys, read_text, read_whole_number, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

DEFAULT_DELAY_S = 5.0
_TYPES = ("shell", "claude")
_ENTRY = ("command", "expect_output", "expect_exit_code", "command_type")


def read_step_validate(reader: StepReader, node: Node, phase: Phase) -> Check | None:
    """A command, a list of them, or a mapping with `commands`."""
    parts: dict[str, Entry] = {}
    listed = node
    if isinstance(node, Mapping) and "command" not in node.entries:
        parts = read_keys(node, keys.STEP_VALIDATE, "under `step_validate`", reader.findings)
        if "commands" not in parts:
            reader.findings.problem(node.at, "`step_validate` has no `commands`")
            return None
        listed = parts["commands"].value
    items = listed.items if isinstance(listed, Sequence) else (listed,)
    if not items:
        reader.findings.problem(listed.at, "`step_validate` has no command")
    with reader.inner(part=True):
        answers = [answer for item in items if (answer := _answer(reader, item, phase))]
    needed = _needed(reader, parts["success_criteria"].value, len(items)) if "success_criteria" in parts else None
    attempts = (
        read_whole_number(parts["max_attempts"].value, "max_attempts", reader.findings)
        if ("max_attempts" in parts)
        else 1
    )
    delay = DEFAULT_DELAY_S
    if "retry_delay" in parts:
        delay = read_duration(parts["retry_delay"].value, "retry_delay", reader.findings, zero=True) or 0.0
    if not answers:
        return None
    rounds = (attempts or 1) - 1
    return Check(
        expect="answers",
        run=tuple(step for step, _ in answers),
        wants=tuple(want for _, want in answers),
        needed=needed,
        rounds=rounds or None,
        delay_s=delay if rounds else None,
    )


def _needed(reader: StepReader, node: Node, count: int) -> int | None:
    """`all`, `any` or `{atleast: N}`."""
    if isinstance(node, Mapping) and list(node.entries) in (["atleast"], ["at_least"]):
        entry = next(iter(node.entries.values()))
        needed = read_whole_number(entry.value, entry.key.value, reader.findings)
        if needed is not None and needed > count:
            reader.findings.problem(entry.value.at, f"{needed} commands have to hold, but there are only {count}")
        return needed
    if isinstance(node, Mapping):
        reader.findings.problem(node.at, "`success_criteria` must be all, any or {atleast: N}, got a mapping")
        return None
    return 1 if read_choice(node, "success_criteria", ("all", "any"), reader.findings) == "any" else None


def _answer(reader: StepReader, node: Node, phase: Phase) -> tuple[Step, Want] | None:
    if not isinstance(node, Mapping):
        step = _command(reader, node, None, phase)
        return (step, Want(exit_code=0)) if step else None
    wanted = {name: entry for name, entry in node.entries.items() if name in _ENTRY}
    if "command" not in wanted:
        # Any step may be asked, with what is expected beside its own keys.
        body = {name: entry for name, entry in node.entries.items() if name not in wanted}
        step = reader.step(Mapping(body, node.at), phase)
    else:
        table = keys.KeyTable(runs=frozenset(_ENTRY), later=frozenset(), synonyms={})
        wanted = read_keys(node, table, "under `step_validate`", reader.findings)
        step = _command(reader, wanted["command"].value, wanted.get("command_type"), phase)
    code, output = 0, None
    if "expect_exit_code" in wanted:
        code = _exit_code(reader, wanted["expect_exit_code"].value)
    if "expect_output" in wanted:
        output = read_regex(wanted["expect_output"].value, "expect_output", reader.findings)
    return (step, Want(exit_code=code, output=output)) if step else None


def _exit_code(reader: StepReader, node: Node) -> int:
    if isinstance(node, Scalar) and node.kind == "int" and node.value.isdecimal() and int(node.value[:9]) < 256:
        return int(node.value)
    reader.findings.problem(node.at, f"`expect_exit_code` must be from 0 to 255, got {shown(node)}")
    return 0


def _command(reader: StepReader, node: Node, kind: Entry | None, phase: Phase) -> Step | None:
    """A text: of the shell, or for Claude Code when `claude:` or `/` stands before it or `kind` says so."""
    text = read_text(node, "command", reader.findings)
    if text is None or not isinstance(node, Scalar):
        return None
    chosen = read_choice(kind.value, "command_type", _TYPES, reader.findings) if kind else None
    for word in _TYPES:
        if text.startswith(f"{word}:"):
            node, chosen = _behind(node, len(word) + 1), chosen or word
    chosen = chosen or ("claude" if node.value.startswith("/") else "shell")
    return reader.step(Mapping({chosen: Entry(scalar(chosen, node), node)}, node.at), phase)


def _behind(node: Scalar, length: int) -> Scalar:
    """`node` without its first characters and the space behind them."""
    length += len(node.value[length:]) - len(node.value[length:].lstrip())
    if not node.is_plain:
        return scalar(node.value[length:], node)
    at = Position(node.at.line, node.at.column + length)
    return Scalar(node.value[length:], "str", at, node.start + length, node.end, is_plain=True)
