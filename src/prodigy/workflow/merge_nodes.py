"""Merges mappings of several files: the later one wins, mappings are merged deeply, lists are replaced."""

from __future__ import annotations

import re

from prodigy.workflow.keys import MAP, WORKFLOW
from prodigy.workflow.substitute import words
from prodigy.workflow.values import Findings
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence

# One of these is replaced as a whole: a step, a list of steps, or a value of one of several forms.
_WHOLE = words("setup reduce merge steps commands tasks agent_template operation on_conflict check backoff teardown")
_PATH_STEP = re.compile(r"([^.\[\]]+)|\[([0-9]+)\]")


def merged(base: Mapping, own: Mapping, path: tuple[str, ...] = ()) -> Mapping:
    """`own` over `base`. path: the keys that both stand below."""
    entries = dict(base.entries)
    for name, entry in own.entries.items():
        for other in _same_thing(name, path) - own.entries.keys():
            entries.pop(other, None)
        before = base.entries.get(name)
        if (
            before is not None
            and isinstance(before.value, Mapping)
            and isinstance(entry.value, Mapping)
            and not _is_whole(name, path)
        ):
            entry = Entry(entry.key, merged(before.value, entry.value, (*path, name)))
        entries[name] = entry
    return Mapping(entries, own.at)


def _is_whole(name: str, path: tuple[str, ...]) -> bool:
    """Whether a value is replaced, not merged: a variable, a secret, steps."""
    variable = path[-1:] in (("env",), ("secrets",)) or (len(path) == 2 and path[0] == "profiles" and name != "env")
    return name in _WHOLE or variable


def _same_thing(name: str, path: tuple[str, ...]) -> set[str]:
    """Other keys that say the same, or that go with another shape of the workflow."""
    synonyms = WORKFLOW.synonyms if path == () else MAP.synonyms if path == ("map",) else {}
    meant = synonyms.get(name, name)
    found = {other for other, means in synonyms.items() if means == meant} | {meant}
    if path == () and meant == "steps":
        found |= {"setup", "map", "reduce"}
    elif path == () and meant == "map":
        found |= {"steps", "commands", "tasks"}
    return found - {name}


def overridden(base: Mapping, override: Mapping, findings: Findings) -> Mapping:
    """`base` with the values of `override`, whose keys may be paths: `map.max_parallel`, `steps[0].timeout`."""
    for name, entry in override.entries.items():
        route: list[str | int] = [int(index) if index else part for part, index in _PATH_STEP.findall(name)]
        if len(route) < 2:
            base = merged(base, Mapping({name: entry}, override.at))
            continue
        found = _put(base, route, entry)
        if isinstance(found, Mapping):
            base = found
        else:
            findings.problem(entry.key.at, f"`override`: there is no {name} in the template", "name what it has")
    return base


def _put(node: Node | None, route: list[str | int], entry: Entry) -> Node | None:
    """The node with the value at `route`; None when the route leads nowhere."""
    if not route:
        return entry.value
    first, rest = route[0], route[1:]
    if isinstance(node, Sequence) and isinstance(first, str) and first.isdecimal() and len(first) < 6:
        first = int(first)  # `steps.0.timeout`
    if isinstance(first, int):
        if not isinstance(node, Sequence) or first >= len(node.items):
            return None
        inner = _put(node.items[first], rest, entry)
        return None if inner is None else Sequence((*node.items[:first], inner, *node.items[first + 1 :]), node.at)
    if node is None:
        node = Mapping({}, entry.key.at)
    if not isinstance(node, Mapping):
        return None
    before = node.entries.get(first)
    inner = _put(before.value if before else None, rest, entry)
    if inner is None:
        return None
    key = before.key if before else Scalar(first, "str", entry.key.at, 0, 0)
    return Mapping({**node.entries, first: Entry(key, inner)}, node.at)
