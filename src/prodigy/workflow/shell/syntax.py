"""The two parsers of shell text: `shfmt` for the tree, bash for a second opinion.

A tree is the JSON of `shfmt --to-json` as it comes. A node is a dict with `Pos` and `End`; `Type` is there where
several kinds may stand. Offsets are bytes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from prodigy.errors import EnvironmentProblem

Node = dict[str, Any]

_TIMEOUT_S = 30
_SHFMT_ERROR = re.compile(r"(\d+):(\d+): (.*)")
_BASH_ERROR = re.compile(r"line (\d+): (.*)")


class ShellSyntaxError(Exception):
    """Text that a parser cannot read. line: from 1; column: bytes, from 1, or 1 where it is not known."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.message = message


def parse(script: bytes) -> Node:
    """The tree of a bash script. Raises ShellSyntaxError, and EnvironmentProblem without a usable shfmt."""
    done = run_parser([find_shfmt(), "--to-json", "-ln", "bash"], script)
    if done.returncode != 0:
        match = _SHFMT_ERROR.search(done.stderr.decode(errors="replace"))
        if not match:
            raise EnvironmentProblem(
                f"shfmt failed: {done.stderr.decode(errors='replace').strip()}",
                hint="Install Prodigy again: shfmt comes with it (the package shfmt-py).",
            )
        raise ShellSyntaxError(int(match[1]), int(match[2]), match[3].strip())
    tree: Node = json.loads(done.stdout)
    return tree


def check_with_bash(script: bytes, *, allow_warnings: bool = False) -> None:
    """Let bash read the script without running it. Raises ShellSyntaxError, and EnvironmentProblem without bash.

    A warning counts as an error: bash warns where it finds the end of a here-document elsewhere than shfmt does.
    """
    arguments = [find_bash(), "--noprofile", "--norc", "-n"]
    done = run_parser(arguments, script)
    if done.returncode != 0 and b"extglob" in script:
        # Such patterns are only readable once the script has switched them on, which -n does not do.
        done = run_parser([*arguments, "-O", "extglob"], script)
    if done.returncode != 0 or (done.stderr and not allow_warnings):
        match = _BASH_ERROR.search(done.stderr.decode(errors="replace"))
        raise ShellSyntaxError(*((int(match[1]), 1, match[2]) if match else (1, 1, "bash cannot read it")))


def run_parser(arguments: list[str], script: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run a parser on the text. Raises subprocess.TimeoutExpired."""
    # A bare environment: BASH_ENV and exported functions must not have a say.
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    return subprocess.run(
        arguments, input=script, capture_output=True, env=environment, timeout=_TIMEOUT_S, check=False
    )


def find_bash() -> str:
    """The bash on PATH."""
    found = shutil.which("bash")
    if found is None:
        raise EnvironmentProblem("there is no bash on PATH", hint="install bash 4.4 or newer")
    return found


@cache
def find_shfmt() -> str:
    """The shfmt of our own environment, else the one on PATH."""
    beside = Path(sys.executable).parent / "shfmt"
    found = str(beside) if beside.is_file() else shutil.which("shfmt")
    if not found:
        raise EnvironmentProblem("there is no shfmt", hint="pip install 'shfmt-py>=4.1'")
    return found


def kind(node: Node) -> str:
    """The type of a node where several may stand, else the empty string."""
    return str(node.get("Type", ""))


def operator(node: Node) -> str:
    """The operator of a node as it is written. Raises EnvironmentProblem for the numbers of old versions."""
    op = node.get("Op", "")
    if not isinstance(op, str):
        raise EnvironmentProblem("this shfmt is too old", hint="pip install 'shfmt-py>=4.1'")
    return op


def start(node: Node) -> int:
    """First byte. Go leaves out what is zero, so a missing number means 0."""
    return int(node.get("Pos", {}).get("Offset", 0))


def end(node: Node) -> int:
    """The byte after the last."""
    return int(node.get("End", {}).get("Offset", 0))


def nodes(node: Node, field: str) -> list[Node]:
    """The children in a list field, which is absent when empty."""
    return node.get(field) or []


def children(node: Node) -> Iterator[tuple[str, Node]]:
    """All child nodes with the name of their field, in the order of the tree; positions are no nodes."""
    for field, value in node.items():
        if isinstance(value, dict):
            if not isinstance(value.get("Offset"), int):
                yield field, value
        elif isinstance(value, list):
            yield from ((field, child) for child in value if isinstance(child, dict))


def descendants(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [child for _, child in children(node)][::-1]


def parameter(node: Node) -> str:
    """The variable that a ParamExp reads, e.g. `x` of `${x%.js}`."""
    return str((node.get("Param") or {}).get("Value", ""))
