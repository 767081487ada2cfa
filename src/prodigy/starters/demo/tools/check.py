"""python3 -m tools.check MODULE: fails unless only the spelling of types has changed since the first commit.

Three things must hold: no old spelling is left in the annotations; in both versions, with all types written alike,
the syntax trees are equal; Python can import the module.
"""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

from .spelling import GENERICS, UNIONS, count_old, quoted, typing_names


def first_commit() -> str:
    """The commit everything began with."""
    return _git("rev-list", "--max-parents=0", "HEAD").split()[0]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


class _Alike(ast.NodeTransformer):
    """All types in one form: unions as flat sets, builtin generics, no quotes in annotations, no imports for them."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module in ("typing", "__future__") else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._names and node.id in GENERICS:
            return ast.Name(GENERICS[node.id], node.ctx)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if not (isinstance(node.value, ast.Name) and node.value.id in UNIONS & self._names):
            return self.generic_visit(node)
        optional = node.value.id == "Optional"
        members = node.slice.elts if isinstance(node.slice, ast.Tuple) and not optional else [node.slice]
        return self._union([*members, *([ast.Constant(None)] if optional else [])])

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if isinstance(node.op, ast.BitOr):
            return self._union([node.left, node.right])
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = _Unquoted().visit(node.annotation)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = node.annotation and _Unquoted().visit(node.annotation)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = node.returns and _Unquoted().visit(node.returns)
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = node.returns and _Unquoted().visit(node.returns)
        return self.generic_visit(node)

    def _union(self, members: list[ast.expr]) -> ast.Set:
        flat: list[ast.expr] = []
        for member in members:
            seen = self.visit(member)
            flat += seen.elts if isinstance(seen, ast.Set) else [seen]
        return ast.Set(flat)


class _Unquoted(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return node if "Literal" in ast.unparse(node.value) else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return quoted(node) or node


def same_meaning(old: str, new: str) -> bool:
    """Whether two modules differ in the spelling of types only."""
    names = typing_names(ast.parse(old))
    trees = [_Alike(names).visit(ast.parse(text)) for text in (old, new)]
    return ast.dump(trees[0]) == ast.dump(trees[1])


def problem(module: str) -> str | None:
    """What is wrong with a module of the package in this directory, None when nothing is."""
    new = Path(module).read_bytes()
    try:
        if left := count_old(new):
            return f"{left} old spellings are left in its annotations"
        old = _git("show", f"{first_commit()}:{module}")
        if not same_meaning(old, new.decode()):
            return "more than the spelling of types has changed"
        importlib.import_module(module.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    except Exception as error:  # noqa: BLE001 - whatever the module raises when it is imported is the finding
        return f"{type(error).__name__}: {error}"
    return "nothing has changed" if old == new.decode() else None


if __name__ == "__main__":
    sys.exit(problem(sys.argv[1]))
