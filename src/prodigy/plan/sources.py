"""From an input to the list of its values: where a file is looked for, and how bytes become values.

A workflow belongs to the user who runs it, as a shell script does. So its input may be any file that the user
may read: absolute, above the worktree, or behind a symbolic link. What must not escape are the *values*, and
they are never used as paths here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Literal

from prodigy.errors import UsageError
from prodigy.plan.strict_json import NotJsonError, UnusableJsonError, parse_json
from prodigy.workflow.json_path import compile_json_path

# A line or an output that begins otherwise is text: `12e4567` is a commit, not a number, and `true` a name.
_JSON_BEGINNINGS = ("{", "[", '"')
_BLANKS = " \t\r\f\v"


class InputError(UsageError):
    """The input of a fan-out is missing or is not a list of items."""


@dataclass(frozen=True)
class Found:
    """The values of an input, in order, and what the user should know about them."""

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


def items_of_file(path: Path, json_path: str | None = None) -> Found:
    """The values in a JSON file: see `read_items`. Raises InputError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"the input cannot be read: {error.strerror}", where=str(path)) from error
    return read_items("file", data, json_path, where=str(path))


def items_of_output(data: bytes, json_path: str | None = None) -> Found:
    """The values in what an input command printed: see `read_items`. Raises InputError."""
    return read_items("command", data, json_path, where="output of the input command")


def items_of_glob(pattern: str, run_worktree: Path) -> Found:
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
    return Found(tuple(files), tuple(warnings))


def _unprintable(name: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in name)


def read_items(kind: Literal["file", "command"], data: bytes, json_path: str | None, *, where: str) -> Found:
    """The values in `data`: the content of the input file, or what the input command printed.

    A file is one JSON document. So is an output, if it is one as a whole; otherwise each of its lines is a
    value: JSON when it begins with `{`, `[` or `"` and is valid, else the line as text, trimmed; blank lines
    are skipped. With a `json_path`, the values are what it selects in the document (in the list of the lines'
    values). A document that is a list, or a list that a path to one place leads to, stands for its elements;
    any other is one item.

    where: the file or the command, for messages. Raises InputError.
    """
    text = _decode(data, where)
    warnings: list[str] = []
    document = _file_document(text, where) if kind == "file" else _output_document(text, where, warnings)
    values = tuple(_select(document, json_path, where) if json_path else _elements(document))
    if not values:
        warnings.append(f"{where}: {json_path} selects nothing" if json_path else f"{where}: no items")
    return Found(values, tuple(warnings))


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        what = f"this is not UTF-8 text (byte 0x{data[error.start]:02x})"
        raise InputError(what, where=f"{where}:{line}:{column}") from None


def _file_document(text: str, where: str) -> object:
    if not text.strip():
        raise InputError("this file is empty, which is not JSON", where=where, hint="for no items, write []")
    try:
        return parse_json(text)
    except NotJsonError as error:
        hint = "an input file holds JSON; to run a script, write `bash FILE`" if text.startswith("#!") else None
        place = f"{where}:{error.line}:{error.column}"
        raise InputError(f"not JSON: {error.message}", where=place, hint=hint) from None
    except UnusableJsonError as error:
        raise InputError(f"unusable JSON: {error}", where=where) from None


def _output_document(text: str, where: str, warnings: list[str]) -> object:
    if text.lstrip(_BLANKS + "\n").startswith(_JSON_BEGINNINGS):
        try:
            return parse_json(text)
        except UnusableJsonError as error:
            raise InputError(f"unusable JSON: {error}", where=where) from None
        except NotJsonError as error:
            _refuse_broken_document(text, error, where)
    lines = enumerate((line.strip(_BLANKS) for line in text.split("\n")), 1)
    return [_line_value(line, number, where, warnings) for number, line in lines if line]


def _refuse_broken_document(text: str, error: NotJsonError, where: str) -> None:
    """Stop when a whole JSON document was meant; its single lines are no items to spend money on."""
    text = text.strip(_BLANKS + "\n")
    first_line = text.split("\n", 1)[0]
    if not (text.startswith(("{", "[")) and text.endswith(("}", "]"))):
        return
    try:
        parse_json(first_line.strip(_BLANKS))
    except NotJsonError:
        raise InputError(
            f"this output looks like JSON but is not: {error.message}",
            where=f"{where}:{error.line}:{error.column}",
            hint="print one JSON array, or one value on each line (jq -c)",
        ) from None
    except UnusableJsonError:
        return


def _line_value(line: str, number: int, where: str, warnings: list[str]) -> object:
    if line.startswith(_JSON_BEGINNINGS):
        try:
            return parse_json(line)
        except UnusableJsonError as error:
            raise InputError(f"unusable JSON: {error}", where=f"{where}:{number}") from None
        except NotJsonError:
            if line.startswith("{"):
                warnings.append(f"{where}:{number}: this line is not valid JSON and is taken as text")
    if "\0" in line:
        hint = "print one item on each line, without -print0 or -0"
        raise InputError("this line has a NUL byte in it", where=f"{where}:{number}", hint=hint)
    return line


def _elements(document: object) -> Iterable[object]:
    return document if isinstance(document, list) else [document]


def _select(document: object, json_path: str, where: str) -> list[object]:
    from jsonpath_rfc9535 import JSONPathError

    query = compile_json_path(json_path)
    try:
        values: list[object] = list(query.find(document).values())  # type: ignore[arg-type]
    except (JSONPathError, RecursionError) as error:
        raise InputError(f"{json_path} cannot be applied: {error}", where=where) from error
    # A path without wildcards leads to one place; with the list there, its elements are meant.
    return list(_elements(values[0])) if values and query.singular_query() else values
