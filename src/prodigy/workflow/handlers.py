"""`on_failure` in all its forms, `on_success` and `on_exit_code`, as handlers of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prodigy.workflow import keys
from prodigy.workflow.catalogue import available
from prodigy.workflow.extracts import with_extracts
from prodigy.workflow.model import Handler, Phase, Step
from prodigy.workflow.values import read_bool, read_choice, read_duration, read_keys, read_whole_number, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

_NO_COMMANDS = {
    "retry": "to run the step again, write `retry: 3`",
    "continue": "to go on all the same, write `on_failure: true`",
    "ignore": "to go on all the same, write `on_failure: true`",
    "skip": "to go on all the same, write `on_failure: true`",
    "stop": "a failure stops by itself: remove `on_failure`",
    "fail": "a failure stands by itself: remove `on_failure`",
}
_STRATEGIES = ("recovery", "fallback", "cleanup", "custom")
ERROR = available("handler") - available("steps")  # the variables that only a handler of failures has
IGNORED = Handler(on="failure")


def read_handlers(reader: StepReader, entries: dict[str, Entry], phase: Phase) -> tuple[Handler, ...]:
    """The handlers of a step, in the order in which they are looked at."""
    handlers = []
    if "on_exit_code" in entries:
        handlers += _on_exit_code(reader, entries["on_exit_code"].value, phase)
    if "on_failure" in entries and (handler := _on_failure(reader, entries["on_failure"].value, phase)):
        handlers.append(handler)
    if "allow_failure" in entries and read_bool(entries["allow_failure"].value, "allow_failure", reader.findings):
        if "on_failure" in entries:
            reader.findings.problem(entries["allow_failure"].key.at, "a step has `allow_failure` or `on_failure`")
        handlers.append(IGNORED)
    # It may stand beside `on_failure`, and then speaks of the failures that are left.
    if "foreach" not in entries and _flag(reader, entries, "continue_on_error"):
        handlers.append(IGNORED)
    if "on_success" in entries and any(handler.on == 0 for handler in handlers):
        reader.findings.problem(entries["on_success"].key.at, "`on_success` and `on_exit_code: {0: ...}` are one thing")
    if "on_success" in entries:
        with reader.inner(part=True):
            do = commands(reader, _in_order(entries["on_success"].value), "on_success", phase)
        handlers.append(Handler(on="success", do=do))
    return tuple(handlers)


def _on_exit_code(reader: StepReader, node: Node, phase: Phase) -> list[Handler]:
    if not isinstance(node, Mapping):
        reader.findings.problem(node.at, f"`on_exit_code` must be a mapping of exit codes, got {shown(node)}")
        return []
    handlers = []
    for name, (key, value) in node.entries.items():
        if not (name.isdecimal() and int(name) < 256):
            reader.findings.problem(key.at, f"`{name}` is no exit code", "exit codes go from 0 to 255")
            continue
        with reader.inner(ERROR, part=True):
            handlers.append(Handler(on=int(name), do=commands(reader, value, f"on_exit_code {name}", phase)))
    return handlers


def _on_failure(reader: StepReader, node: Node, phase: Phase) -> Handler | None:
    if isinstance(node, Scalar) and node.kind == "bool":
        return IGNORED if node.value.lower() == "true" else None
    if isinstance(node, Scalar) and node.value.strip().lower() in _NO_COMMANDS:
        meant = _NO_COMMANDS[node.value.strip().lower()]
        reader.findings.problem(node.at, f"`on_failure: {node.value}` would run the command `{node.value}`", meant)
        return None
    with reader.inner(ERROR, part=True):
        if isinstance(node, Mapping):
            return _mapping(reader, node, phase)
        return Handler(on="failure", do=commands(reader, node, "on_failure", phase))


def commands(reader: StepReader, node: Node, key: str, phase: Phase) -> tuple[Step, ...]:
    """Steps, of which a text is a Claude Code command when it begins with `/`, else a shell command."""
    if isinstance(node, Scalar) and node.kind == "bool":
        reader.findings.problem(node.at, f"`{key}` must be a command or a list of steps, got {shown(node)}")
        return ()
    if isinstance(node, Scalar) and node.kind != "null":
        step = reader.bare_command(node, phase)
        return (step,) if step else ()
    if isinstance(node, Sequence):
        found = [_command(reader, item, phase) for item in node.items]
        if not node.items:
            reader.findings.problem(node.at, f"`{key}` has no step")
        return tuple(step for step in found if step is not None)
    return reader.steps(node, key, phase)


def _command(reader: StepReader, node: Node, phase: Phase) -> Step | None:
    return reader.bare_command(node, phase) if isinstance(node, Scalar) else reader.step(node, phase)


def _in_order(node: Node) -> Node:
    """`{shell, claude}` in a handler are two steps, in the order in which they are written."""
    if not isinstance(node, Mapping) or not {"shell", "claude"} <= node.entries.keys():
        return node
    first, second = (name for name in node.entries if name in ("shell", "claude"))
    return Sequence((_without(node, second), _without(node, first)), node.at)


def _without(node: Mapping, *names: str) -> Mapping:
    return Mapping({name: entry for name, entry in node.entries.items() if name not in names}, node.at)


def _only(node: Mapping, *names: str) -> Mapping:
    return Mapping({name: entry for name, entry in node.entries.items() if name in names}, node.at)


_OWN = ("fail_workflow", "retry_original", "max_retries", "max_attempts", "strategy", "handler_failure_fatal")


def _mapping(reader: StepReader, node: Mapping, phase: Phase) -> Handler | None:
    """The forms with `commands`, with one command and retries of the failed step, and with `fail_workflow` alone."""
    findings = reader.findings
    # What is wrong with the keys of a step is said where the step is read.
    own = node if "commands" in node.entries else _only(node, *_OWN)
    entries = read_keys(own, keys.ON_FAILURE, "under `on_failure`", findings)
    fatal = _flag(reader, entries, "fail_workflow")
    _flag(reader, entries, "handler_failure_fatal")  # a handler that fails always fails its step
    if "strategy" in entries:
        read_choice(entries["strategy"].value, "strategy", _STRATEGIES, findings)
    body = _without(node, *_OWN)
    if "commands" in entries:
        do = commands(reader, entries["commands"].value, "commands", phase)
        if "capture" in entries:
            do = with_extracts(reader, entries["capture"].value, "capture", do, last=True)
        return Handler(on="failure", do=_limited(reader, do, entries), again=_again(reader, entries, 0), fatal=fatal)
    if not node.entries:
        findings.problem(node.at, "`on_failure` is empty", "to go on all the same, write `on_failure: true`")
    if not body.entries:
        return Handler(on="failure", again=_again(reader, entries, 0), fatal=fatal)
    do = commands(reader, _in_order(body), "on_failure", phase)
    again = _again(reader, entries, 1)
    return Handler(on="failure", do=do, again=again, fatal=fatal) if do else None


def _flag(reader: StepReader, entries: dict[str, Entry], key: str) -> bool:
    return key in entries and bool(read_bool(entries[key].value, key, reader.findings))


def _again(reader: StepReader, entries: dict[str, Entry], default: int) -> int:
    """How often the failed step runs again after its handler."""
    if "max_retries" in entries:
        key, value = entries["max_retries"]
        if isinstance(value, Scalar) and value.value == "0":
            return 0
        return read_whole_number(value, key.value, reader.findings) or 0
    if "retry_original" in entries:
        return int(_flag(reader, entries, "retry_original"))
    return default


def _limited(reader: StepReader, steps: tuple[Step, ...], entries: dict[str, Entry]) -> tuple[Step, ...]:
    """`timeout` beside `commands` is the limit of each command that has none of its own."""
    limit = read_duration(entries["timeout"].value, "timeout", reader.findings) if "timeout" in entries else None
    if limit is None:
        return steps
    return tuple(
        step
        if step.policy.timeout_s
        else step.model_copy(update={"policy": step.policy.model_copy(update={"timeout_s": limit})})
        for step in steps
    )
