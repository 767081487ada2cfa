"""Many scripts through one process of each parser.

Each text stands in a subshell of its own. The parse of all together counts for each one only if the subshells, and
nothing else, are where they were put; else nothing is known, and the texts must be parsed one by one.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from typing import Any

from prodigy.workflow.shell.syntax import Node, ShellSyntaxError, end, find_bash, kind, nodes, parse, run_parser, start

_BEFORE, _AFTER = b"(:\n", b"\n)\n"
_ENDS_IN_BACKSLASH = re.compile(rb"\\\Z")
# Each text in a process of its own, forked, not started. The first one proves that this shell does not execute what
# stands behind `set -n`: else it would print 1, and nothing of the texts is tried. Warnings count as errors.
_CHECK = """
check() { said=$(eval "set -n
$1" 2>&1) && test -z "$said" && echo 0 || echo 1; }
test "$(check 'exit 1')" = 0 || exit 1
while IFS= read -r -d '' text; do check "$text"; done
"""


def can_share(script: bytes) -> bool:
    """Whether the text means the same with a line feed and a parenthesis behind it, and to bash's `eval`.

    A backslash at its end is dropped where bash reads a script, and stands for itself in `eval`.
    """
    return not _ENDS_IN_BACKSLASH.search(script) and b"\0" not in script


def parse_together(scripts: Sequence[bytes]) -> list[Node] | None:
    """The tree of each script as `parse` gives it, or None when the scripts must be parsed one by one."""
    if not scripts:
        return []
    try:
        tree = parse(b"".join(_BEFORE + script + _AFTER for script in scripts))
    except ShellSyntaxError:
        return None
    statements = nodes(tree, "Stmts")
    if len(statements) != len(scripts) or tree.get("Last"):
        return None
    trees: list[Node] = []
    offset = 0
    for statement, script in zip(statements, scripts, strict=True):
        size = len(_BEFORE) + len(script) + len(_AFTER)
        inner = _inner(statement, offset, offset + size - 1)
        if inner is None:
            return None
        _shift(inner, offset + len(_BEFORE))
        trees.append(inner)
        offset += size
    return trees


def _inner(statement: Node, begin: int, stop: int) -> Node | None:
    """What stands between the parentheses after the first command, if they are at these bytes."""
    command = statement.get("Cmd") or {}
    fits = kind(command) == "Subshell" and start(command) == start(statement) == begin
    if not fits or end(command) != stop or end(statement) != stop or statement.get("Comments"):
        return None
    first, *others = nodes(command, "Stmts")
    if first.get("Comments") or end(first) != begin + len(_BEFORE) - 1:
        return None
    return {"Stmts": others, "Last": nodes(command, "Last")}


def _shift(value: Any, offset: int) -> None:
    """Make the positions below count from this byte."""
    if isinstance(value, dict):
        if isinstance(value.get("Offset"), int):
            value["Offset"] -= offset
            return
        for child in value.values():
            _shift(child, offset)
    elif isinstance(value, list):
        for child in value:
            _shift(child, offset)


def read_by_bash(scripts: Sequence[bytes]) -> list[bool]:
    """Which scripts bash can certainly read; the others must be looked at one by one."""
    if not scripts:
        return []
    texts = b"".join(script + b"\0" for script in scripts)
    try:
        done = run_parser([find_bash(), "--noprofile", "--norc", "-c", _CHECK], texts)
    except subprocess.TimeoutExpired:
        return [False] * len(scripts)
    answers = done.stdout.split()
    return [answer == b"0" for answer in answers] if len(answers) == len(scripts) else [False] * len(scripts)
