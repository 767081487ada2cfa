"""Problems of workflow files for people: where, what, and the line itself with a mark below the place."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from prodigy.cli.words import printable
from prodigy.errors import Problem, WorkflowError

LONGEST_LINE = 110  # characters; of a longer line only the part around the place is shown
_BEFORE = 60
_MOST_BYTES = 4 * 1024 * 1024


def error_text(error: WorkflowError) -> str:
    """All problems of a workflow file."""
    return "\n".join(problem_lines(error.file, error.problems))


def problem_lines(file: str, problems: Iterable[Problem], *, hints: bool = True) -> Iterator[str]:
    """Each problem in a few lines: `file:line:column: message`, the line of the file, a mark, and what to do."""
    for problem in problems:
        name = problem.file or file
        yield f"{problem.place(file)}: {problem.message}"
        yield from _source(name, problem)
        if problem.hint and hints:
            yield f"  {problem.hint}"


def _source(name: str, problem: Problem) -> Iterator[str]:
    """The line and the mark; nothing when the file cannot be read any more, or has no such line."""
    lines = _lines(name)
    if not 1 <= problem.line <= len(lines) or not lines[problem.line - 1].strip():
        return
    line, column = lines[problem.line - 1].replace("\t", " "), problem.column - 1
    start = max(0, column - _BEFORE) if len(line) > LONGEST_LINE else 0
    part = line[start : start + LONGEST_LINE]
    before = ("… " if start else "") + printable(part[: column - start])
    after = printable(part[column - start :]) + (" …" if len(line) > start + LONGEST_LINE else "")
    margin = f"  {problem.line} | "
    yield f"{margin}{before}{after}".rstrip()
    yield f"{' ' * (len(margin) - 2)}| {' ' * _width(before)}^"


def _width(text: str) -> int:
    """Columns of a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


@cache
def _lines(name: str) -> tuple[str, ...]:
    try:
        with Path(name).open("rb") as file:
            data = file.read(_MOST_BYTES)
    except (OSError, ValueError):
        return ()  # the message stands without it
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    return tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
