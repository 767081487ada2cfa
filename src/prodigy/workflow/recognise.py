"""Whether a YAML file is a workflow at all, or some other program's.

Others have `steps:` and lists of mappings too, so it is what a step does that tells: `shell`, `claude` and the like. A
misspelled one counts as well, so that a broken workflow is not taken for something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from prodigy.errors import WorkflowError
from prodigy.workflow.files import parse_document
from prodigy.workflow.yaml_nodes import Mapping, Node, Scalar, Sequence

_ACTIONS = ("shell", "claude", "agent", "mapreduce", "foreach", "write_file", "worktree", "use", "workflow")
_LISTS = ("steps", "commands", "tasks", "setup", "reduce", "agent_template")
_OF_A_MAP = frozenset({"agent_template", "operation"})
# Keys at the top of other programs' files that look like ours otherwise.
_FOREIGN = frozenset({"jobs", "on", "runs", "services", "repos", "apiVersion", "kind", "trigger", "pool", "stages"})
# A first comment by which editors know the schema.
_SAYS_SO = re.compile(r"^#.*\$schema=.*prodigy", re.MULTILINE)
# In a text that is no YAML: a key that no other program has.
_TELLING = re.compile(r"^\s*(?:-\s+)?(?:claude|agent_template|mapreduce)\s*:", re.MULTILINE)


def is_workflow(text: str) -> bool:
    """Whether the text of a YAML file looks like a workflow, a broken one included."""
    if _SAYS_SO.search(text):
        return True
    try:
        root = parse_document(text, "").root
    except WorkflowError:
        return _TELLING.search(text) is not None
    if isinstance(root, Sequence):
        return _has_step(root.items)
    if not isinstance(root, Mapping) or _FOREIGN & root.entries.keys():
        return False
    if "mode" in root.entries and _is(root.entries["mode"].value, "mapreduce"):
        return True
    if "map" in root.entries and isinstance(mapping := root.entries["map"].value, Mapping):
        return bool(_OF_A_MAP & mapping.entries.keys())
    lists = (root.entries[name].value for name in _LISTS if name in root.entries)
    return any(_has_step(found.items) for found in lists if isinstance(found, Sequence))


def _is(node: Node, word: str) -> bool:
    return isinstance(node, Scalar) and node.value == word


def _has_step(entries: Iterable[Node]) -> bool:
    return any(
        get_close_matches(name, _ACTIONS, 1, 0.8)
        for entry in entries
        if isinstance(entry, Mapping)
        for name in entry.entries
    )
