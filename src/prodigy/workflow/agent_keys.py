"""`agents:` from YAML nodes."""

from __future__ import annotations

from prodigy.workflow import keys
from prodigy.workflow.model import AgentSettings
from prodigy.workflow.values import Findings, later, read_keys, read_text, shown
from prodigy.workflow.yaml_nodes import Mapping, Node, Sequence

_KNOWN = ("claude",)


def read_agents(node: Node, findings: Findings) -> tuple[AgentSettings, ...]:
    """`agents: {claude: {command, args, model}}`."""
    if not isinstance(node, Mapping):
        findings.problem(node.at, f"`agents` must be a mapping of names, got {shown(node)}")
        return ()
    found = []
    for name, (key, body) in node.entries.items():
        if name not in _KNOWN:
            findings.problem(key.at, later(f"agents: {name}"), f"this version runs {', '.join(_KNOWN)}")
        elif not isinstance(body, Mapping):
            findings.problem(
                body.at, f"`{name}` must be a mapping with `command`, `args` or `model`, got {shown(body)}"
            )
        else:
            found.append(_agent(name, body, findings))
    return tuple(found)


def _agent(name: str, body: Mapping, findings: Findings) -> AgentSettings:
    entries = read_keys(body, keys.AGENT, f"under `{name}`", findings)
    words = {key: _words(entries[key].value, key, findings) if key in entries else () for key in ("command", "args")}
    model = read_text(entries["model"].value, "model", findings) if "model" in entries else None
    return AgentSettings(name=name, command=words["command"] or None, args=words["args"], model=model)


def _words(node: Node, key: str, findings: Findings) -> tuple[str, ...]:
    """A program or an argument, or a list of them; nothing is split at spaces."""
    items = node.items if isinstance(node, Sequence) else (node,)
    texts = [read_text(item, key, findings) for item in items]
    return tuple(text for text in texts if text is not None)
