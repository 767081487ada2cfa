"""The wheel without what only readers of the sources need: comments, and docstrings of the inside.

A third of the sources are words about them. Lines stay where they are, so that tracebacks fit the sources; docstrings
that are shown to people (of commands, of the Python API, of tools) stay as well.
"""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import io
import tokenize
import zipfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Whose docstrings are texts of the program.
SHOWN = ("prodigy/__init__.py", "prodigy/api/", "prodigy/mcp_server/", "prodigy/web/answers.py")
COMMANDS = "prodigy/cli/"  # of these, what is decorated: commands


class SmallWheel(BuildHookInterface[Any]):
    """Rewrites the wheel when it has been built."""

    PLUGIN_NAME = "custom"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        if self.target_name == "wheel" and version != "editable":
            rewrite(Path(artifact_path))


def rewrite(wheel: Path) -> None:
    """Make the files of the wheel small, and its list of them true again."""
    with zipfile.ZipFile(wheel) as old:
        infos = old.infolist()
        contents = {info.filename: small(info.filename, old.read(info)) for info in infos}
    record = next(name for name in contents if name.endswith(".dist-info/RECORD"))
    contents[record] = _record(record, contents)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new:
        for info in infos:
            new.writestr(info, contents[info.filename], zipfile.ZIP_DEFLATED, 9)


def small(name: str, content: bytes) -> bytes:
    """A source without comments, and unless they are shown, without docstrings."""
    if not name.endswith(".py"):
        return content
    lines = content.decode().split("\n")
    if not name.startswith(SHOWN):
        for first, last in _docstrings(content.decode(), but_decorated=name.startswith(COMMANDS)):
            lines[first - 1 : last] = [""] * (last - first + 1)
    for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    return "\n".join(lines).encode()


def _docstrings(source: str, *, but_decorated: bool) -> list[tuple[int, int]]:
    """(first line, last line) of each docstring that something stands beside: an empty body is none. but_decorated:
    not of what has a decorator."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if not node.body or (len(node.body) < 2 and not isinstance(node, ast.Module)):
            continue
        if but_decorated and not isinstance(node, ast.Module) and node.decorator_list:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            found.append((first.lineno, first.end_lineno or first.lineno))
    return found


def _record(record: str, contents: dict[str, bytes]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for name, content in contents.items():
        if name != record:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            writer.writerow((name, f"sha256={digest}", len(content)))
    writer.writerow((record, "", ""))
    return text.getvalue().encode()
