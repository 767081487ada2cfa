"""Forms of a step that only files of the earlier system have, rewritten to those that the loader reads."""

from __future__ import annotations

import re
from difflib import get_close_matches

from prodigy.workflow import keys
from prodigy.workflow.values import Findings, read_keys, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence

_COMMAND = re.compile(r"/?[A-Za-z][\w:-]*")
_VARIABLE = re.compile(r"\$([A-Za-z_]\w*)")
# A step of nothing but these was one of the earlier system's, and is skipped.
_OF_NO_USE = frozenset({"analyze", "analysis", "context"})
_SKIPPED = "does nothing any more and is skipped"
_TEST_FAILED = {"max_attempts": ("3", "int"), "commit_required": ("true", "bool")}


def modern(node: Mapping, findings: Findings) -> Mapping:
    """`node` with `test`, `command`, a `name` alone and `metadata` put as other keys, and without what does nothing.
    Each is warned of."""
    written = node.entries.keys()
    node = _without(node, ("analyze",), _SKIPPED, findings)
    node = _without(_without_metadata(node, findings), ("analysis", "context"), _SKIPPED, findings)
    actions = [name for name in node.entries if name in keys.ACTIONS_RUN]
    if actions == ["command"] or (not actions and _is_command_name(node)):
        return _without_command(node, actions[0] if actions else "name", findings)
    _words(node, findings)  # mistakes are told all the same
    node = _without(node, ("args", "options"), "belongs to a `command` step and is skipped here", findings)
    if not node.entries and not written & _OF_NO_USE:
        findings.problem(node.at, "this step is empty", "give it a `shell` or a `claude`")
    return _without_test(node, findings) if actions == ["test"] else node


def meant_as_action(name: str) -> bool:
    """Whether the message on the key itself says enough of a step without an action."""
    known = name in keys.STEP.known
    return not known and (name in keys.GIVEN_UP or bool(get_close_matches(name[:100], keys.ACTIONS_RUN, 1)))


def scalar(value: str, like: Node, kind: str = "str") -> Scalar:
    """A value that stands for what is written at `like`."""
    start, end = (like.start, like.end) if isinstance(like, Scalar) else (0, 0)
    return Scalar(value, kind, like.at, start, end)  # type: ignore[arg-type]


def _without(node: Mapping, names: tuple[str, ...], why: str, findings: Findings) -> Mapping:
    found = [node.entries[name] for name in names if name in node.entries]
    for entry in found:
        findings.warn(entry.key.at, f"`{entry.key.value}` {why}", "remove it")
    return _put(node, names, {}) if found else node


def _without_metadata(node: Mapping, findings: Findings) -> Mapping:
    """What stands below `metadata` counts where the step does not say it itself."""
    entry = node.entries.get("metadata")
    if entry is None:
        return node
    rest = _put(node, ("metadata",), {})
    if not isinstance(entry.value, Mapping):
        findings.problem(entry.value.at, f"`metadata` must be a mapping, got {shown(entry.value)}")
        return rest
    findings.warn(entry.key.at, "`metadata` is deprecated", "write its keys in the step, `retries: 2` as `retry: 3`")
    parts = read_keys(entry.value, keys.METADATA, "under `metadata`", findings)
    if retries := parts.pop("retries", None):
        number = retries.value.value if isinstance(retries.value, Scalar) else ""
        if not (number.isdecimal() and len(number) < 6):
            findings.problem(retries.value.at, f"`retries` must be a whole number, got {shown(retries.value)}")
        elif int(number):
            parts["retry"] = Entry(retries.key, scalar(str(int(number) + 1), retries.value, "int"))
    return Mapping({**parts, **rest.entries}, node.at)


def _without_test(node: Mapping, findings: Findings) -> Mapping:
    """`test: {command, on_failure}` is `shell` with `on_failure`, whose agent runs three times and has to commit."""
    key, body = node.entries["test"]
    table = keys.KeyTable(runs=frozenset({"command", "on_failure"}), later=frozenset(), synonyms={})
    parts = read_keys(body, table, "under `test`", findings) if isinstance(body, Mapping) else {}
    if "command" not in parts:
        findings.problem(body.at, f"`test` must be a mapping with `command`, got {shown(body)}")
        return node
    findings.warn(key.at, "`test` is deprecated", "write `shell: ...` with `on_failure`")
    new = {"shell": parts["command"]}
    if "on_failure" in parts:
        failed = parts["on_failure"]
        if isinstance(failed.value, Mapping) and "claude" in failed.value.entries:
            there = failed.value.entries
            given = there.keys() | ({"max_attempts"} if "max_retries" in there else set())
            extra = {
                name: Entry(scalar(name, failed.key), scalar(value, failed.key, kind))
                for name, (value, kind) in _TEST_FAILED.items()
                if name not in given
            }
            failed = Entry(failed.key, Mapping({**there, **extra}, failed.value.at))
        new["on_failure"] = failed
    return _put(node, ("test",), new)


def _is_command_name(node: Mapping) -> bool:
    """Whether a step without an action is the name of a command of Claude Code."""
    name = node.entries["name"].value if "name" in node.entries else None
    known = keys.STEP.known - {"do"}
    return isinstance(name, Scalar) and _COMMAND.fullmatch(name.value) is not None and node.entries.keys() <= known


def _without_command(node: Mapping, key: str, findings: Findings) -> Mapping:
    """`command: NAME` or `name: NAME` with `args` and `options`: a command of Claude Code."""
    written, value = node.entries[key]
    if not isinstance(value, Scalar) or value.kind == "null" or not value.value.strip():
        findings.problem(value.at, f"`{key}` must be the name of a command, got {shown(value)}")
        return node
    name = value.value if value.value.startswith("/") else f"/{value.value}"
    prompt = " ".join([name, *_words(node, findings)])
    first = prompt.splitlines()[0]
    meant = f"it is the prompt `{first}` of Claude Code"
    findings.warn(written.at, f"`{key}` as a command is deprecated; {meant}", "write `claude: ...` or `shell: ...`")
    return _put(node, (key, "args", "options"), {"claude": Entry(written, scalar(prompt, value))})


def _words(node: Mapping, findings: Findings) -> list[str]:
    """What `args` and `options` add to the name of a command."""
    words = _arguments(node.entries["args"].value, findings) if "args" in node.entries else []
    return words + (_options(node.entries["options"].value, findings) if "options" in node.entries else [])


def _arguments(node: Node, findings: Findings) -> list[str]:
    """`$NAME` alone is a variable, everything else text."""
    words = []
    for item in node.items if isinstance(node, Sequence) else (node,):
        if isinstance(item, Scalar) and item.kind != "null":
            words.append(_VARIABLE.sub(r"${\1}", item.value) if _VARIABLE.fullmatch(item.value) else item.value)
        else:
            findings.problem(item.at, f"`args` must be a list of texts, got {shown(item)}")
    return words


def _options(node: Node, findings: Findings) -> list[str]:
    """`{focus: tests, quick: true}` is `--focus tests --quick`."""
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`options` must be a mapping, got {shown(node)}")
        return []
    words = []
    for name, (_, value) in node.entries.items():
        if not isinstance(value, Scalar):
            findings.problem(value.at, f"`{name}` must be text, got {shown(value)}")
        elif value.kind == "bool":
            words += [f"--{name}"] if value.value.lower() == "true" else []
        elif value.kind != "null":
            words += [f"--{name}", *_arguments(value, findings)]
    return words


def _put(node: Mapping, without: tuple[str, ...], new: dict[str, Entry]) -> Mapping:
    """`node` with `new` in place of the keys `without`."""
    rest = {name: entry for name, entry in node.entries.items() if name not in without}
    return Mapping({**rest, **new}, node.at)
