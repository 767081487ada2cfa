"""Old spellings of types: what they are, and where a module has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

UNIONS = {"Optional", "Union"}
GENERICS = {"List": "list", "Dict": "dict", "Tuple": "tuple", "Set": "set", "FrozenSet": "frozenset", "Type": "type"}
_TYPE = re.compile(r"""[A-Za-z_][\w.\[\], |'"]*""")


def typing_names(tree: ast.Module) -> set[str]:
    """The names with an old spelling that the module imports from `typing`."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "typing"]
    found = {alias.name for node in imports for alias in node.names if alias.asname is None}
    return found & (UNIONS | GENERICS.keys())


def annotations_of(tree: ast.AST) -> Iterator[ast.expr]:
    """Every annotation of a parameter, a result or a variable."""
    for node in ast.walk(tree):
        match node:
            case ast.arg(annotation=ast.expr() as found) | ast.AnnAssign(annotation=found):
                yield found
            case ast.FunctionDef(returns=ast.expr() as found) | ast.AsyncFunctionDef(returns=ast.expr() as found):
                yield found


def parts(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it, without what `Literal[...]` holds: its strings are values, not types."""
    yield node
    if isinstance(node, ast.Subscript) and "Literal" in ast.unparse(node.value):
        return
    for child in ast.iter_child_nodes(node):
        yield from parts(child)


def quoted(node: ast.AST) -> ast.expr | None:
    """The type that a string in an annotation stands for, None when the node is no such string."""
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and _TYPE.fullmatch(node.value)):
        return None
    try:
        return ast.parse(node.value, mode="eval").body
    except SyntaxError:
        return None


def old_spellings(node: ast.AST, names: set[str]) -> int:
    """How many there are in an annotation; strings are looked into."""
    count = 0
    for part in parts(node):
        if isinstance(part, ast.Name):
            count += int(part.id in names)
        elif inner := quoted(part):
            count += old_spellings(inner, names)
    return count


def count_old(source: bytes, *, everywhere: bool = False) -> int:
    """How many old spellings a module has, in its annotations or everywhere."""
    if b"from typing import" not in source:
        return 0
    tree = ast.parse(source)
    names = typing_names(tree)
    return sum(old_spellings(root, names) for root in ([tree] if everywhere else annotations_of(tree)))
