"""What an attempt changed, as files and lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prodigy.errors import ProdigyError
from prodigy.git.context import private_of_run
from prodigy.git.private import PrivateGit
from prodigy.git.refs import full_oid
from prodigy.report.words import printable
from prodigy.secrets import mask
from prodigy.state.step_path import attempt_path
from prodigy.store.store import Store

MOST_FILES = 200
MOST_LINES = 4000  # of all files together
MOST_BYTES = 2 << 20
_LONGEST_LINE = 2000  # characters

_OPTIONS = ("-r", "-M", "--no-ext-diff", "--no-textconv", "--no-color")


@dataclass(frozen=True)
class DiffLine:
    """sign: `+`, `-`, a blank, or `@` for the head of a hunk. old, new: numbers of the line, None where it is not."""

    sign: Literal["+", "-", " ", "@", "\\"]
    text: str
    old: int | None = None
    new: int | None = None


@dataclass(frozen=True)
class FileDiff:
    """One file. before: its name until then, when it was renamed. added, removed: lines; None for a binary one. left:
    how many lines of the diff are not shown."""

    path: str
    before: str | None
    added: int | None
    removed: int | None
    lines: tuple[DiffLine, ...]
    left: int


@dataclass(frozen=True)
class Diff:
    """base, head: the commits between which it lies; head includes what was not committed. files_left: how many files
    are not shown. problem: why it can't be told, then there are no files."""

    base: str
    head: str
    files: tuple[FileDiff, ...] = ()
    files_left: int = 0
    problem: str | None = None

    @property
    def added(self) -> int:
        return sum(file.added or 0 for file in self.files)

    @property
    def removed(self) -> int:
        return sum(file.removed or 0 for file in self.files)


def attempt_diff(store: Store, fanout: str, ordinal: int, number: int) -> Diff | None:
    """What an attempt has changed so far, by its last finished step; None before any has."""
    attempt = next((one for one in store.attempts(fanout, ordinal) if one.number == number), None)
    if attempt is None:
        return None
    found = store.last_boundary(attempt_path(fanout, ordinal, number))
    head = (found[1] or found[0]) if found else attempt.head
    if head is None:
        return None
    if head == attempt.base:
        return Diff(attempt.base, head)
    try:
        return between(private_of_run(store.directory, Path(store.run().common_dir)), attempt.base, head)
    except (ProdigyError, OSError) as error:
        return Diff(attempt.base, head, problem=error.what if isinstance(error, ProdigyError) else str(error))


def between(private: PrivateGit, base: str, head: str) -> Diff:
    """The differences of two commits. Raises GitError."""
    ends = (full_oid(base), full_oid(head))
    files = list(_numbers(private.run("diff-tree", *_OPTIONS, "--numstat", "-z", *ends).stdout))
    patch = private.run("diff-tree", *_OPTIONS, "-p", *ends).stdout
    is_cut = len(patch) > MOST_BYTES
    texts = _by_file(mask(patch[:MOST_BYTES].decode("utf-8", "replace")))
    room, shown = MOST_LINES, []
    for place, (path, before, added, removed) in enumerate(files[:MOST_FILES]):
        lines = texts[place] if place < len(texts) else []
        taken = list(_lines(lines[: max(0, room)]))
        left = len(lines) - len(taken) if place < len(texts) else (added or 0) + (removed or 0)
        if is_cut and place == len(texts) - 1:
            left = max(left, (added or 0) + (removed or 0) - sum(line.sign in "+-" for line in taken))
        room -= len(taken)
        shown.append(FileDiff(path, before, added, removed, tuple(taken), max(0, left)))
    return Diff(base, head, tuple(shown), max(0, len(files) - MOST_FILES))


def _numbers(output: bytes) -> Iterator[tuple[str, str | None, int | None, int | None]]:
    """(path, old path, added, removed) of each file, out of `--numstat -z`."""
    fields = iter(output.split(b"\0"))
    for field in fields:
        parts = field.split(b"\t", 2)
        if len(parts) < 3:
            continue
        added, removed = (None if part == b"-" else int(part) for part in parts[:2])
        if parts[2]:
            yield _name(parts[2]), None, added, removed
        else:  # renamed: two more fields
            before, after = next(fields, b""), next(fields, b"")
            yield _name(after), _name(before), added, removed


def _name(raw: bytes) -> str:
    return printable(raw.decode("utf-8", "backslashreplace"))


def _by_file(patch: str) -> list[list[str]]:
    """The lines of each file's hunks. Lines of content never begin as heads do."""
    files: list[list[str]] = []
    in_hunks = False
    for line in patch.split("\n"):
        if line.startswith("diff --git "):
            files.append([])
            in_hunks = False
        elif files and (in_hunks or line.startswith("@@ ")):
            in_hunks = True
            files[-1].append(line)
    for lines in files:
        if lines and not lines[-1]:
            lines.pop()
    return files


def _lines(lines: list[str]) -> Iterator[DiffLine]:
    old = new = 0
    for line in lines:
        sign, text = line[:1], "".join(c if c == "\t" else printable(c) for c in line[1:].removesuffix("\r"))
        if len(text) > _LONGEST_LINE:
            text = f"{text[:_LONGEST_LINE]}…"
        if sign == "@":
            ranges = line.split(" ")
            old, new = (abs(int(part.split(",")[0])) for part in ranges[1:3])
            yield DiffLine("@", f"@{text}")
        elif sign == "+":
            yield DiffLine("+", text, None, new)
            new += 1
        elif sign == "-":
            yield DiffLine("-", text, old, None)
            old += 1
        elif sign == "\\":
            yield DiffLine("\\", text)
        else:
            yield DiffLine(" ", text, old, new)
            old, new = old + 1, new + 1
