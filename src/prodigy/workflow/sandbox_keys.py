"""`sandbox:` of an agent, from YAML nodes."""

from __future__ import annotations

from typing import Literal

from prodigy.workflow import keys
from prodigy.workflow.agent_settings import Sandbox
from prodigy.workflow.values import Findings, read_bool, read_choice, read_keys, read_text, shown
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Sequence

_COMMAND = "{cmd}"
_KINDS: tuple[Literal["none", "bwrap", "auto"], ...] = ("none", "bwrap", "auto")
_USES: tuple[Literal["bwrap", "auto"], ...] = ("bwrap", "auto")


def read_sandbox(entry: Entry, findings: Findings) -> Sandbox | None:
    """`none`, `bwrap`, `auto`, `{use, write, ...}`, `{wrapper: [..., "{cmd}"]}`; None: there is none."""
    node = entry.value
    if not isinstance(node, Mapping):
        word = read_choice(node, entry.key.value, _KINDS, findings)
        return None if word is None or word == "none" else Sandbox(use=word)
    entries = read_keys(node, keys.SANDBOX, "under `sandbox`", findings)
    if "wrapper" in entries:
        return _wrapped(entries, findings)
    if not node.entries:
        findings.problem(node.at, "`sandbox` says nothing", "write `sandbox: bwrap`, or what it may touch")
    use = read_choice(entries["use"].value, "use", _USES, findings) if "use" in entries else None
    network = read_bool(entries["network"].value, "network", findings) if "network" in entries else None
    return Sandbox(
        use=use or "bwrap",
        **{name: _places(entries[name].value, name, findings) for name in ("write", "read", "hide") if name in entries},
        network=network is not False,
    )


def _wrapped(entries: dict[str, Entry], findings: Findings) -> Sandbox:
    node = entries["wrapper"].value
    for name in entries.keys() - {"wrapper"}:
        message = f"`{name}` is for `bwrap`: a wrapper has its own ways to say it"
        findings.problem(entries[name].key.at, message, "leave one of the two out")
    words = tuple(text for item in _items(node) if (text := read_text(item, "wrapper", findings)) is not None)
    if words.count(_COMMAND) != 1 or words[0] == _COMMAND:
        message = f'`wrapper` must be a program with arguments, "{_COMMAND}" one of them, got {shown(node)}'
        findings.problem(node.at, message, f'e.g. `wrapper: [firejail, --quiet, "{_COMMAND}"]`')
    return Sandbox(use="wrapper", wrapper=words)


def _places(node: Node, key: str, findings: Findings) -> tuple[str, ...]:
    found = []
    for item in _items(node):
        text = read_text(item, key, findings)
        if text is None:
            continue
        if not text.startswith(("/", "~/")) and text != "~":
            hint = "begin it with `/` or `~/`; in its own workspace an agent may write anyway"
            findings.problem(item.at, f"`{key}` must name whole paths, got {shown(item)}", hint)
        elif text.rstrip("/") in ("", "/proc", "/dev") or text.startswith(("/proc/", "/dev/")):
            findings.problem(item.at, f"`{key}` can't name {shown(item)}: a sandbox has its own", "name a place below")
        elif ".." in text.split("/"):
            findings.problem(item.at, f"`{key}` must name paths without `..`, got {shown(item)}")
        else:
            found.append(text)
    return tuple(found)


def _items(node: Node) -> tuple[Node, ...]:
    return tuple(node.items) if isinstance(node, Sequence) else (node,)
