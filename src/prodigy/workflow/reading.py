"""From the nodes of a file to a workflow: what it is made of, its parameters, its values, its steps."""

from __future__ import annotations

from pathlib import Path

from prodigy.workflow import keys
from prodigy.workflow.load_options import LoadOptions
from prodigy.workflow.model import Workflow
from prodigy.workflow.normalise import ALONE, Outside, normalise
from prodigy.workflow.scripts import KnownScripts
from prodigy.workflow.substitute import filled
from prodigy.workflow.values import Findings
from prodigy.workflow.yaml_compose import Document
from prodigy.workflow.yaml_nodes import Mapping, Node, Sequence

# Keys at the top level by which a workflow is made of more than its own steps.
COMPOSED = frozenset({"imports", "extends", "template", "templates", "parameters", "defaults"})


def read_workflow(
    document: Document, file: str, findings: Findings, known: KnownScripts, given: LoadOptions, outside: Outside = ALONE
) -> Workflow | None:
    """The workflow in `document`; None when there is none. Mistakes go to `findings`.

    file: its name for messages, which other files are found from. outside: of a workflow that is a part of another
    one. Raises UsageError for parameters and a profile that the workflow does not have.
    """
    root, values = _canonical(document.root), dict[str, object]()
    if root is not None and (given.parameters or _is_composed(root)):
        from prodigy.workflow.compose import compose_workflow  # most workflows stand alone

        root, values = compose_workflow(root, file, findings, given, outside.chain)
    if root is not None and (values or "$" in document.text.text):
        root = filled(root, values, findings)
    whole = Document(root, document.text, document.problems)
    return normalise(whole, file, _default_name(file), findings, known, outside, values, given)


def _canonical(root: Node | None) -> Node | None:
    """With `workflows` for its earlier name, by which other files look for it."""
    if not isinstance(root, Mapping) or "sub_workflows" not in root.entries or "workflows" in root.entries:
        return root
    entries = {"workflows" if name == "sub_workflows" else name: entry for name, entry in root.entries.items()}
    return Mapping(entries, root.at)


def _default_name(file: str) -> str:
    return "".join(char if char.isprintable() else "_" for char in Path(file).stem) or "workflow"


def _is_composed(root: Node) -> bool:
    if isinstance(root, Mapping) and not COMPOSED.isdisjoint(root.entries):
        return True
    nodes: list[Node] = [root]
    while nodes:
        node = nodes.pop()
        if isinstance(node, Sequence):
            nodes += node.items
        elif isinstance(node, Mapping):
            if keys.uses_template(node.entries):
                return True
            nodes += [entry.value for entry in node.entries.values()]
    return False
