"""The keys below `map` that limit the time of an item."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, TypeVar

from prodigy.workflow import keys
from prodigy.workflow.item_limits import ItemLimits, TimeoutAction, TimeoutPolicy
from prodigy.workflow.model import Agent, Shell, Step
from prodigy.workflow.values import Findings, read_bool, read_duration, read_keys, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar

_Word = TypeVar("_Word", bound=str)

_POLICIES: tuple[TimeoutPolicy, ...] = ("per_agent", "per_command", "hybrid")
_ACTIONS: tuple[TimeoutAction, ...] = ("dlq", "skip", "fail", "graceful_terminate")
_KINDS = ("claude", "shell")
_PLACE = re.compile(r"(cmd|claude|shell)_(\d{1,4})")
_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])")


def read_item_limits(entries: dict[str, Entry], findings: Findings) -> ItemLimits | None:
    """What `agent_timeout_secs` and `timeout_config` say among the entries of `map`; None when they say nothing."""
    fields: dict[str, Any] = {}
    if "timeout_config" in entries:
        fields |= _config(entries["timeout_config"].value, findings)
    if "agent_timeout_secs" in entries:
        key, node = entries["agent_timeout_secs"]
        seconds = read_duration(node, key.value, findings)
        if fields.get("item_s") not in (None, seconds):
            message = f"`{key.value}` stands under `map` and in `timeout_config`, with another value"
            findings.problem(key.at, message, "remove one of them")
        fields["item_s"] = seconds
    fields = {name: value for name, value in fields.items() if value is not None}
    return ItemLimits(**fields) if fields else None


def check_places(limits: ItemLimits | None, template: tuple[Step, ...], entry: Entry, findings: Findings) -> None:
    """Warn of limits that name a step which the template has not. entry: where they stand."""
    known = {name for number in range(1, len(template) + 1) for name in places_of(template, number)}
    for name, _ in limits.commands if limits else ():
        if _PLACE.fullmatch(name) and name not in known:
            there = "there is one step" if len(template) == 1 else f"there are {len(template)} steps"
            findings.warn(entry.key.at, f"`command_timeouts` names {name}, and {there}", "they are counted from 0")


def places_of(steps: tuple[Step, ...], number: int) -> tuple[str, ...]:
    """The names that `command_timeouts` has for the step with this number, from 1: the most exact one first."""
    kind = kind_of(steps[number - 1])
    by_kind = (f"{kind}_{sum(kind_of(step) == kind for step in steps[: number - 1])}", kind) if kind else ()
    return (f"cmd_{number - 1}", *by_kind)


def kind_of(step: Step) -> str | None:
    """`claude` for every agent, `shell`, or None."""
    match step.action:
        case Agent():
            return "claude"
        case Shell():
            return "shell"
    return None


def _config(node: Node, findings: Findings) -> dict[str, Any]:
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`timeout_config` must be a mapping, got {shown(node)}")
        return {}
    entries = read_keys(node, keys.TIMEOUT_CONFIG, "under `timeout_config`", findings)
    fields: dict[str, Any] = {}
    if "agent_timeout_secs" in entries:
        fields["item_s"] = read_duration(entries["agent_timeout_secs"].value, "agent_timeout_secs", findings)
    if "cleanup_grace_period_secs" in entries:
        grace = entries["cleanup_grace_period_secs"].value
        fields["grace_s"] = read_duration(grace, "cleanup_grace_period_secs", findings, zero=True)
    if "command_timeouts" in entries:
        fields["commands"] = _commands(entries["command_timeouts"].value, findings)
    if "timeout_action" in entries:
        fields["action"] = _word(entries["timeout_action"].value, "timeout_action", _ACTIONS, findings)
    if "enable_monitoring" in entries:
        monitors = read_bool(entries["enable_monitoring"].value, "enable_monitoring", findings)
        if monitors is False:
            at = entries["enable_monitoring"].key.at
            findings.warn(at, "`enable_monitoring: false` changes nothing", "the duration of every step is recorded")
    policy = None
    if "timeout_policy" in entries:
        policy = _word(entries["timeout_policy"].value, "timeout_policy", _POLICIES, findings)
        if policy == "per_agent" and fields.get("commands"):
            at = entries["command_timeouts"].key.at
            findings.warn(at, "`command_timeouts` does nothing under `timeout_policy: per_agent`", "write `hybrid`")
    elif fields.get("commands"):
        policy = "hybrid"
    return fields | ({"policy": policy} if policy else {})


def _commands(node: Node, findings: Findings) -> tuple[tuple[str, float], ...]:
    if not isinstance(node, Mapping):
        message = f"`command_timeouts` must be a mapping of commands and times, got {shown(node)}"
        findings.problem(node.at, message, "e.g. `{claude: 10m, shell: 60, cmd_0: 30s}`")
        return ()
    found = []
    for name, (key, value) in node.entries.items():
        if name not in _KINDS and not _PLACE.fullmatch(name):
            nearest = get_close_matches(name[:100], _KINDS, 1)
            hint = f"did you mean `{nearest[0]}`?" if nearest else "there are claude, shell, cmd_N, claude_N, shell_N"
            findings.problem(key.at, f"`{name[:100]}` is no command", hint)
        elif (seconds := read_duration(value, name, findings)) is not None:
            found.append((name, seconds))
    return tuple(found)


def _word(node: Node, key: str, choices: tuple[_Word, ...], findings: Findings) -> _Word | None:
    """One of a few words, in any case, also written `LikeThis`."""
    written = node.value if isinstance(node, Scalar) else ""
    wanted = _WORD_START.sub("_", written).lower().replace("-", "_")
    for choice in choices:
        if choice == wanted or choice.replace("_", "") == wanted:
            return choice
    nearest = get_close_matches(wanted[:100], choices, 1)
    hint = f"did you mean `{nearest[0]}`?" if nearest else None
    findings.problem(node.at, f"`{key}` must be one of {', '.join(choices)}, got {shown(node)}", hint)
    return None
