"""A second look at the finished script, independent of the walk that made it."""

from __future__ import annotations

import re

from prodigy.workflow.shell.flow import is_arithmetic
from prodigy.workflow.shell.source import VARIABLE_PREFIX
from prodigy.workflow.shell.syntax import Node, children, kind, parameter

_OURS = re.compile(VARIABLE_PREFIX + r"[0-9]+")
# Inside these, quotes begin anew.
_FRESH = frozenset({"CmdSubst", "ProcSubst"})
# Whatever makes an expansion more than the plain value.
_EXTRAS = ("Excl", "Length", "Width", "IsSet", "Short", "Index", "Slice", "Repl", "Names", "Exp", "NestedParam")


def count_quoted(tree: Node) -> int:
    """How many of our variables are expanded plainly, inside double quotes, here-documents or arithmetic.

    A script is good when that is the number of its placeholders.
    """
    return _count(tree, is_safe=False)


def _count(node: Node, *, is_safe: bool) -> int:
    if kind(node) == "ParamExp" and _OURS.fullmatch(parameter(node)):
        return int(is_safe and not any(node.get(extra) for extra in _EXTRAS))
    inside = (is_safe and kind(node) not in _FRESH) or kind(node) == "DblQuoted"
    return sum(
        _count(child, is_safe=inside or name == "Hdoc" or is_arithmetic(node, name)) for name, child in children(node)
    )
