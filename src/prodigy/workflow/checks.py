"""`commit_required`, `validate` with `on_incomplete`, and `step_validate`, as checks of a step."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from prodigy.workflow import keys
from prodigy.workflow.handlers import commands
from prodigy.workflow.legacy import scalar
from prodigy.workflow.model import Agent, Check, Phase, Step
from prodigy.workflow.result_schema import bad_pattern
from prodigy.workflow.step_validation import read_step_validate
from prodigy.workflow.values import (
    Findings,
    read_bool,
    read_duration,
    read_keys,
    read_number,
    read_whole_number,
    shown,
)
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence, visible

if TYPE_CHECKING:
    from prodigy.workflow.steps import StepReader

VALIDATION = frozenset({"validation"})  # the variables that the steps of `on_incomplete` have
DEFAULT_REPAIRS = 2
_COMMIT = Check(expect="commit")


def read_checks(reader: StepReader, entries: dict[str, Entry], phase: Phase) -> tuple[Check, ...]:
    """The checks of a step, in the order in which they are looked at."""
    commit = (_COMMIT,) if _flag(entries, "commit_required", reader.findings) else ()
    checks = []
    if "validate" in entries and (check := _validate(reader, entries, phase)):
        checks.append(check)
    if "step_validate" in entries and (check := read_step_validate(reader, entries["step_validate"].value, phase)):
        checks.append(check)
    for name in ("on_incomplete", "max_iterations"):
        if name in entries and "validate" not in entries:
            _does_nothing(reader, entries[name], "without `validate`")
    return (*commit, *_switched(reader, entries, checks))


def _switched(reader: StepReader, entries: dict[str, Entry], checks: list[Check]) -> list[Check]:
    """`skip_validation`, `validation_timeout` and `ignore_validation_failure`, which count for both kinds of checks."""
    findings = reader.findings
    timeout = None
    if "validation_timeout" in entries:
        timeout = read_duration(entries["validation_timeout"].value, "validation_timeout", findings)
    lenient, skip = (_flag(entries, name, findings) for name in ("ignore_validation_failure", "skip_validation"))
    for name in ("validation_timeout", "ignore_validation_failure", "skip_validation"):
        if name in entries and not entries.keys() & {"validate", "step_validate"}:
            _does_nothing(reader, entries[name], "without `validate` or `step_validate`")
    if skip and checks:
        message, hint = "`skip_validation` switches the checks of this step off", "remove it to have them again"
        findings.warn(entries["skip_validation"].key.at, message, hint)
        return []
    changes = [
        {"timeout_s": check.timeout_s or timeout, "lenient": True if lenient else check.lenient} for check in checks
    ]
    return [check.model_copy(update=change) for check, change in zip(checks, changes, strict=True)]


def _does_nothing(reader: StepReader, entry: Entry, why: str) -> None:
    reader.findings.warn(entry.key.at, f"`{entry.key.value}` does nothing {why}", "remove it, or add the check")


def _flag(entries: dict[str, Entry], key: str, findings: Findings) -> bool:
    return key in entries and bool(read_bool(entries[key].value, key, findings))


# validate ------------------------------------------------------------------------------------------------


def _validate(reader: StepReader, entries: dict[str, Entry], phase: Phase) -> Check | None:
    """A text or a list has to succeed; a mapping, or any form with `on_incomplete`, tells how complete the work is."""
    node = entries["validate"].value
    parts: dict[str, Entry] = {}
    if isinstance(node, Mapping):
        parts = read_keys(_without_command(node, reader.findings), keys.VALIDATE, "under `validate`", reader.findings)
    incomplete = parts.get("on_incomplete")
    if beside := entries.get("on_incomplete"):
        if incomplete:
            message = "`on_incomplete` stands both in this step and under its `validate`"
            reader.findings.problem(beside.key.at, message, "write one of them")
        incomplete = beside
    with reader.inner(part=True):
        run = _run(reader, node, parts, phase)
    fields = _repair(reader, incomplete, phase) if incomplete else {}
    if "max_iterations" in entries and not incomplete:
        _does_nothing(reader, entries["max_iterations"], "without `on_incomplete`")
    elif "max_iterations" in entries:
        rounds = read_whole_number(entries["max_iterations"].value, "max_iterations", reader.findings)
        fields = {**fields, "rounds": rounds}
    if not run:
        return None
    if not isinstance(node, Mapping) and not incomplete:
        return Check(expect="success", run=run, **fields)
    return Check(expect="result", run=run, **_wanted(reader, parts, phase), **fields)


def _run(reader: StepReader, node: Node, parts: dict[str, Entry], phase: Phase) -> tuple[Step, ...]:
    if not isinstance(node, Mapping):
        return commands(reader, node, "validate", phase)
    return _commands_or_step(reader, node, parts, keys.VALIDATE, "validate", phase)


def _commands_or_step(
    reader: StepReader, node: Mapping, parts: dict[str, Entry], table: keys.KeyTable, key: str, phase: Phase
) -> tuple[Step, ...]:
    """The steps below `commands`, or the one step whose keys stand in the mapping itself."""
    body = {name: entry for name, entry in parts.items() if name in keys.STEP.runs and name not in _owned(key)}
    if "commands" in parts:
        for entry in body.values():
            message = f"`{entry.key.value}` belongs to a step, and here the steps stand under `commands`"
            reader.findings.problem(entry.key.at, message, "write it in the step that it is meant for")
        return commands(reader, parts["commands"].value, "commands", phase)
    if body:
        step = reader.step(Mapping(body, node.at), phase)
        return (step,) if step else ()
    if key == "validate" and "result_file" in parts:  # which the step itself has written
        told = Entry(scalar("shell", node), scalar("true", node))
        step = reader.step(Mapping({"shell": told}, node.at), phase)
        return (step,) if step else ()
    if key == "validate" and node.entries.keys() <= table.known:
        hint = "give it a `shell`, a `claude` or `commands`, or a `result_file` that the step writes"
        reader.findings.problem(node.at, "`validate` has no command", hint)
    return ()


def _owned(key: str) -> frozenset[str]:
    """Keys of steps that mean something else in the mapping `key`."""
    return frozenset({"timeout", "on_incomplete"}) if key == "validate" else frozenset()


def _without_command(node: Mapping, findings: Findings) -> Mapping:
    """`command` is an old name of `shell`, and of `claude` for a command of Claude Code, in which is one `/` only."""
    entry = node.entries.get("command")
    if entry is None:
        return node
    text = entry.value.value if isinstance(entry.value, Scalar) else ""
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    name = "claude" if word.startswith("/") and word.count("/") == 1 else "shell"
    if name in node.entries:
        findings.problem(entry.key.at, f"`command` and `{name}` are two names of one thing", "remove one of them")
    findings.warn(entry.key.at, "`command` under `validate` is deprecated", f"write `{name}`")
    rest = {other: value for other, value in node.entries.items() if other != "command"}
    return Mapping({**rest, name: entry}, node.at)


def _wanted(reader: StepReader, parts: dict[str, Entry], phase: Phase) -> dict[str, Any]:
    """Where the result is and what it has to be."""
    found: dict[str, Any] = {}
    if "threshold" in parts:
        node = parts["threshold"].value
        found["threshold"] = threshold = read_number(node, "threshold", reader.findings, least=0, most=100)
        if threshold is not None and 0 < threshold <= 1:
            reader.findings.warn(node.at, f"`threshold` is in percent, so this is {threshold:g} %", "e.g. 90")
    if "timeout" in parts:
        found["timeout_s"] = read_duration(parts["timeout"].value, "timeout", reader.findings)
    found["result_file"] = reader.inner_path(parts, "result_file", phase)
    if "expected_schema" in parts:
        found["json_schema"] = _schema(parts["expected_schema"].value, reader.findings)
    return found


def _schema(node: Node, findings: Findings) -> str | None:
    """A JSON Schema as its JSON text; it may be written as YAML or as JSON in a text."""
    value = _plain(node)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            findings.problem(node.at, f"`expected_schema` is no JSON: {error}", "write the schema itself")
            return None
    if not isinstance(value, dict | bool):
        findings.problem(node.at, f"`expected_schema` must be a mapping, got {shown(node)}", "see json-schema.org")
        return None
    from jsonschema import Draft202012Validator  # few workflows have a schema, and it takes long to import
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(value)
    except SchemaError as error:
        findings.problem(node.at, f"`expected_schema` is no JSON Schema: {error.json_path}: {visible(error.message)}")
        return None
    if problem := bad_pattern(value):
        findings.problem(node.at, f"`expected_schema` has a pattern that can't be used: {problem}")
        return None
    return json.dumps(value, ensure_ascii=False)


def _plain(node: Node) -> object:
    if isinstance(node, Mapping):
        return {name: _plain(entry.value) for name, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [_plain(item) for item in node.items]
    if node.kind in ("int", "float"):
        return _number(node.value)
    return {"null": None, "bool": node.value.lower() == "true"}.get(node.kind, node.value)


def _number(text: str) -> int | float | str:
    """The number, or its text when JSON has no such number."""
    try:
        return int(text, 0 if text.startswith(("0x", "0o")) else 10)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


# on_incomplete -------------------------------------------------------------------------------------------


def _repair(reader: StepReader, entry: Entry, phase: Phase) -> dict[str, Any]:
    """What `on_incomplete` says, as fields of the check."""
    node, findings = entry.value, reader.findings
    with reader.inner(VALIDATION, part=True):
        if not isinstance(node, Mapping):
            return {"repair": commands(reader, node, "on_incomplete", phase), "rounds": DEFAULT_REPAIRS}
        parts = read_keys(node, keys.ON_INCOMPLETE, "under `on_incomplete`", findings)
        if not parts and not node.entries:
            findings.problem(node.at, "`on_incomplete` is empty", "give it a `claude`, a `shell` or `commands`")
        own = {name: parts.pop(name) for name in ("max_attempts", "max_iterations", "fail_workflow") if name in parts}
        steps = _repair_steps(reader, node, parts, phase)
    rounds = DEFAULT_REPAIRS if steps else None
    for name in ("max_iterations", "max_attempts"):
        if name in own:
            rounds = read_whole_number(own[name].value, own[name].key.value, findings)
    fails = "fail_workflow" not in own or read_bool(own["fail_workflow"].value, "fail_workflow", findings) is not False
    return {"repair": steps, "rounds": rounds, "lenient": None if fails else True}


def _repair_steps(reader: StepReader, node: Mapping, parts: dict[str, Entry], phase: Phase) -> tuple[Step, ...]:
    must_commit = False
    if "commands" in parts and (entry := parts.pop("commit_required", None)):
        must_commit = bool(read_bool(entry.value, "commit_required", reader.findings))
    if prompt := parts.pop("prompt", None):
        if any(name in parts for name in ("commands", *keys.ACTIONS_RUN)):
            hint = "nobody is asked while a workflow runs; write it into the `claude`"
            reader.findings.warn(prompt.key.at, "`prompt` does nothing beside what repairs", hint)
        else:
            parts["claude"] = Entry(scalar("claude", prompt.key), prompt.value)
    if not parts:
        return ()
    steps = _commands_or_step(reader, node, parts, keys.ON_INCOMPLETE, "on_incomplete", phase)
    return _with_commit(steps) if must_commit else steps


def _with_commit(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The last agent has to commit, or the last step when there is no agent."""
    agents = [number for number, step in enumerate(steps) if isinstance(step.action, Agent)]
    chosen = agents[-1] if agents else len(steps) - 1
    return tuple(
        step.model_copy(update={"checks": (_COMMIT, *step.checks)}) if number == chosen else step
        for number, step in enumerate(steps)
    )
