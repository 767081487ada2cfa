"""From an input to the list of its values: where a file is looked for, and what becomes of what is in it.

A workflow belongs to the user who runs it, as a shell script does. So its input may be any file that the user
may read: absolute, above the worktree, or behind a symbolic link. What must not escape are the *values*, and
they are never used as paths here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from prodigy.plan.bulk import bulk
from prodigy.plan.formats import Document, InputError, Reader, read_output, reader_of
from prodigy.plan.select import select
from prodigy.workflow.interpolate import fill_json
from prodigy.workflow.json_path import compile_json_path
from prodigy.workflow.model import Input
from prodigy.workflow.selection import Selection

__all__ = [
    "Found",
    "InputError",
    "items_of_file",
    "items_of_glob",
    "items_of_output",
    "items_of_values",
    "locate",
    "read_items",
]

_OUTPUT = "output of the input command"


@dataclass(frozen=True)
class Found:
    """The values of an input that become items, in order, and what the user should know about them."""

    values: tuple[object, ...]
    warnings: tuple[str, ...] = ()


def locate(name: str, run_worktree: Path, user_dir: Path) -> Path:
    """The input file `name`: in the run worktree, else where the user stands.

    Raises InputError naming the places looked at.
    """
    try:
        path = Path(name).expanduser()
        places = [path] if path.is_absolute() else list(dict.fromkeys((run_worktree / path, user_dir / path)))
        for place in places:
            if place.is_file():
                return place
        found = next((place for place in places if place.exists()), None)
    except (ValueError, RuntimeError, OSError) as error:
        raise InputError(f"the input {name} cannot be looked for: {error}") from error
    if found is not None:
        raise InputError(f"the input {name} is not a file", where=str(found))
    hint = f"looked at {' and '.join(map(str, places))}; an `input` of several words runs as a command"
    raise InputError(f"the input file {name} does not exist", hint=hint)


def items_of_file(path: Path, json_path: str | None = None, selection: Selection | None = None) -> Found:
    """The items in a file, in the format that its name tells: JSON, JSON Lines, YAML, CSV, TSV; otherwise JSON if it
    looks like it, else lines. Tables and lines are read one by one. Raises InputError; see `read_items`."""
    try:
        with path.open("rb") as stream:
            return _found(reader_of(path.name), stream, str(path), json_path, selection)
    except OSError as error:
        raise InputError(f"the input cannot be read: {error.strerror}", where=str(path)) from error


def items_of_output(data: bytes, json_path: str | None = None, selection: Selection | None = None) -> Found:
    """The items in what an input command printed: see `read_items`. Raises InputError."""
    return _found(read_output, BytesIO(data), _OUTPUT, json_path, selection)


def values_of(source: Input, fill: Callable[[str], str]) -> list[object]:
    """The values that an input lists, with `fill` applied to their texts."""
    return [fill_json(text, fill) if source.structured else fill(text) for text in source.values]


def items_of_values(values: Sequence[object], selection: Selection | None = None) -> Found:
    """Values as items, as they are."""
    return _selected(values, selection, [], "`input`")


def items_of_glob(pattern: str, run_worktree: Path, selection: Selection | None = None) -> Found:
    """The files below the run worktree that match, as paths relative to it, sorted. `**` goes down any number of
    directories; names that begin with a dot match only a pattern that begins with one. Raises InputError."""
    try:
        # Path.glob matches names that begin with a dot, and takes a directory's name as a pattern too.
        names = glob(pattern, root_dir=run_worktree, recursive=True)  # noqa: PTH207
    except (ValueError, OSError, re.error) as error:
        raise InputError(f"the pattern {pattern} cannot be used: {error}") from error
    files = sorted(
        name
        for name in names
        if ".git" not in name.split("/") and (run_worktree / name).is_file() and not _unprintable(name)
    )
    warnings = [] if files else [f"no file matches {pattern}"]
    if odd := sum(map(_unprintable, names)):
        warnings.append(f"{odd} files that match {pattern} are left out: their names are not UTF-8")
    return _selected(files, selection, warnings, f"glob:{pattern}") if files else Found((), tuple(warnings))


def _unprintable(name: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in name)


def read_items(
    kind: Literal["file", "command"],
    data: bytes,
    json_path: str | None,
    *,
    where: str,
    selection: Selection | None = None,
) -> Found:
    """The items in `data`: the content of the file `where`, or what the input command printed.

    With a `json_path`, the values are what it selects in the document (of rows and lines: in the list of all). A
    document that is a list, or a list that a path to one place leads to, stands for its elements; any other is one
    value. selection: which of the values become items.

    where: the file or the command, for messages. Raises InputError.
    """
    return _found(reader_of(where) if kind == "file" else read_output, BytesIO(data), where, json_path, selection)


@bulk()
def _found(reader: Reader, stream: BinaryIO, where: str, json_path: str | None, selection: Selection | None) -> Found:
    warnings: list[str] = []
    content = reader(stream, where, warnings)
    values: Iterable[object]
    if json_path:
        document = content.value if isinstance(content, Document) else list(content)
        values = _at_path(document, json_path, where)
        if not values:
            return Found((), (*warnings, f"{where}: {json_path} selects nothing"))
    else:
        values = _elements(content.value) if isinstance(content, Document) else content
    return _selected(values, selection, warnings, where)


def _selected(values: Iterable[object], selection: Selection | None, warnings: list[str], where: str) -> Found:
    counted = _Counted(values)
    selected = tuple(select(counted, selection, warnings))
    if not selected and selection is not None and (counted.count or selection.max_items == 0):
        warnings.append(f"{where}: none of its values is selected; see {_parts(selection)} under `map`")
    elif not selected:
        warnings.append(f"{where}: no items")
    return Found(selected, tuple(warnings))


class _Counted:
    """Values, and how many of them were taken."""

    def __init__(self, values: Iterable[object]) -> None:
        self._values = values
        self.count = 0

    def __iter__(self) -> Iterator[object]:
        for value in self._values:
            self.count += 1
            yield value


def _parts(selection: Selection) -> str:
    return ", ".join(f"`{name}`" for name in Selection.model_fields if getattr(selection, name) is not None)


def _elements(document: object) -> Iterable[object]:
    return document if isinstance(document, list) else [document]


def _at_path(document: object, json_path: str, where: str) -> list[object]:
    from jsonpath_rfc9535 import JSONPathError

    query = compile_json_path(json_path)
    try:
        values: list[object] = list(query.find(document).values())  # type: ignore[arg-type]
    except (JSONPathError, RecursionError) as error:
        raise InputError(f"{json_path} cannot be applied: {error}", where=where) from error
    # A path without wildcards leads to one place; with the list there, its elements are meant.
    return list(_elements(values[0])) if values and query.singular_query() else values
