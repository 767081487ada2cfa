"""Checks texts with placeholders that no shell reads (prompts, environment values, paths) and conditions."""

from __future__ import annotations

import json

from prodigy.workflow.catalogue import heads, notable
from prodigy.workflow.interpolate import check_text
from prodigy.workflow.parameter_values import NoValue, plain_value
from prodigy.workflow.scripts import Names, remarks
from prodigy.workflow.values import Findings
from prodigy.workflow.yaml_nodes import Node, Scalar, Sequence, Text


def check_plain_text(node: Scalar, names: Names, text: Text, findings: Findings) -> None:
    """Note every placeholder of `node` that has no value where it stands or that asks for what does not run."""
    found: dict[tuple[int, int], tuple[str, str | None]] = {
        (problem.line, problem.column): (problem.message, problem.cure)
        for problem in check_text(node.value, names.available)
    }
    for offset, message, hint, lenient in remarks(node.value, names):
        line, column = node.value.count("\n", 0, offset) + 1, offset - node.value.rfind("\n", 0, offset)
        if lenient:
            findings.warn(text.inside(node, line, column), message, hint)
        else:
            found[line, column] = message, hint
    for (line, column), (message, hint) in found.items():
        findings.problem(text.inside(node, line, column), message, hint)


def read_structure(node: Node, key: str, names: Names, text: Text, findings: Findings) -> str | None:
    """The JSON text of a value in whose strings placeholders may stand, each of which is checked; None when it is none.

    key: where it stands, for messages.
    """
    leaves: list[Node] = [node]
    while leaves:
        leaf = leaves.pop()
        if isinstance(leaf, Scalar):
            check_plain_text(leaf, names, text, findings)
        else:
            leaves += leaf.items if isinstance(leaf, Sequence) else [entry.value for entry in leaf.entries.values()]
    try:
        return json.dumps(plain_value(node))
    except NoValue as error:
        findings.problem(node.at, f"`{key}`: {error}")
        return None


def check_condition(node: Scalar, names: Names, text: Text, findings: Findings) -> str | None:
    """The condition in `node`, or None when it can't be read. A name that nothing defines is warned of."""
    from prodigy.workflow.expression import ExpressionError, compile_expression  # few workflows have conditions

    try:
        condition = compile_expression(node.value)
    except ExpressionError as error:
        findings.problem(text.inside(node, 1, error.column), f"`when` can't be read: {error.message}", error.hint)
        return None
    for place in condition.places:
        head = _head(place.path)
        if head in heads(names.available) or place.use == "presence":
            continue
        if head in names.declared:
            what, hint = f"{place.path} has no value here yet", None
        elif place.use == "word":
            what, hint = f"no step defines {place.path}", f"a text stands in quotes: '{place.path}'"
        else:
            what, hint = f"no step defines {place.path}", f"here there are {', '.join(notable(names.available))}"
        findings.warn(text.inside(node, 1, place.column), f"`when`: {what}, so it counts as null", hint)
    return node.value


def _head(path: str) -> str:
    end = min((position for position in map(path.find, ".[") if position >= 0), default=len(path))
    return path[:end]
