"""From the bytes of an input to its values, one reader for each format.

A reader gives a `document` (one value, whose elements are the items when it is a list) or `rows` (the items one after
another, read as they are asked for). Errors name the file, the line and, where it helps, the column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from prodigy.errors import UsageError
from prodigy.plan.strict_json import NotJsonError, UnusableJsonError, parse_json

# A line or an output that begins otherwise is text: `12e4567` is a commit, not a number, and `true` a name.
_JSON_BEGINNINGS = ("{", "[", '"')
_BLANKS = " \t\r\f\v"
_SCRIPT_HINT = "an input file holds items; to run a script, write `bash FILE`"


class InputError(UsageError):
    """The input of a fan-out is missing or is not a list of items."""

    next_step = "Mend the input, or name another one under `input`; `prodigy run --dry-run` shows the items of a file."


@dataclass(frozen=True)
class Document:
    """One value that is read as a whole."""

    value: object


Rows = Iterator[object]
# The stream, what it is called in messages, and where warnings go.
Reader = Callable[[BinaryIO, str, list[str]], "Document | Rows"]


def reader_of(name: str) -> Reader:
    """The reader for a file of this name; one that is not known is JSON if it looks like it, else lines."""
    return _READERS.get(PurePosixPath(name).suffix.lower(), read_unknown)


def numbered_lines(stream: BinaryIO, where: str) -> Iterator[tuple[int, str]]:
    """(number from 1, line with its end), without a byte order mark. Raises InputError for what is not UTF-8 text."""
    for number, line in enumerate(stream, 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        text = decode(line, where, first=number)
        if "\0" in text:
            hint = "print one item on each line, without -print0 or -0"
            raise InputError("this line has a NUL byte in it", where=f"{where}:{number}", hint=hint)
        yield number, text


def decode(data: bytes, where: str, first: int = 1) -> str:
    """UTF-8 text without a byte order mark. first: the number of its first line. Raises InputError."""
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + first
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        what = f"this is not UTF-8 text (byte 0x{data[error.start]:02x})"
        raise InputError(what, where=f"{where}:{line}:{column}", hint="save it as UTF-8") from None


# JSON ------------------------------------------------------------------------------------------------------


def read_json(stream: BinaryIO, where: str, _warnings: list[str]) -> Document:
    """A file that is one JSON document."""
    text = decode(stream.read(), where)
    if not text.strip():
        raise InputError("this file is empty, which is not JSON", where=where, hint="for no items, write []")
    try:
        return Document(parse_json(text))
    except NotJsonError as error:
        hint = _SCRIPT_HINT if text.startswith("#!") else None
        place = f"{where}:{error.line}:{error.column}"
        raise InputError(f"not JSON: {error.message}", where=place, hint=hint) from None
    except UnusableJsonError as error:
        raise InputError(f"unusable JSON: {error}", where=where) from None


def read_json_lines(stream: BinaryIO, where: str, _warnings: list[str]) -> Rows:
    """A JSON value on each line; blank lines are skipped."""
    for number, line in numbered_lines(stream, where):
        if not line.strip():
            continue
        try:
            yield parse_json(line)
        except NotJsonError as error:
            hint = "each line is one JSON value; one document over many lines belongs into a `.json` file"
            place = f"{where}:{number}:{error.column}"
            raise InputError(f"not JSON: {error.message}", where=place, hint=hint) from None
        except UnusableJsonError as error:
            raise InputError(f"unusable JSON: {error}", where=f"{where}:{number}") from None


# Text ------------------------------------------------------------------------------------------------------


def read_output(stream: BinaryIO, where: str, warnings: list[str]) -> Document | Rows:
    """What a command printed: a JSON document if it is one as a whole, otherwise a value on each line: JSON when it
    begins with `{`, `[` or `"` and is valid, else the line as text, trimmed; blank lines are skipped."""
    text = decode(stream.read(), where)
    if text.lstrip(_BLANKS + "\n").startswith(_JSON_BEGINNINGS):
        try:
            return Document(parse_json(text))
        except UnusableJsonError as error:
            raise InputError(f"unusable JSON: {error}", where=where) from None
        except NotJsonError as error:
            _refuse_broken_document(text, error, where)
    return _line_values(text, where, warnings)


def read_unknown(stream: BinaryIO, where: str, warnings: list[str]) -> Document | Rows:
    """A file whose name does not tell what it is: as the output of a command, but no script."""
    beginning = stream.read(2)
    if beginning == b"#!":
        raise InputError("this is a script, not a list of items", where=where, hint=_SCRIPT_HINT)
    stream.seek(0)
    return read_output(stream, where, warnings)


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


def _line_values(text: str, where: str, warnings: list[str]) -> Rows:
    start, number = 0, 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        number += 1
        line = text[start:end].strip(_BLANKS)
        start = end + 1
        if line:
            yield _line_value(line, number, where, warnings)


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


# The others, which few inputs need -------------------------------------------------------------------------


def _read_yaml(stream: BinaryIO, where: str, _warnings: list[str]) -> Document:
    from prodigy.plan.formats_yaml import read_yaml

    return Document(read_yaml(decode(stream.read(), where), where))


def _read_csv(stream: BinaryIO, where: str, _warnings: list[str]) -> Rows:
    from prodigy.plan.formats_table import read_table

    return read_table(numbered_lines(stream, where), ",", where)


def _read_tsv(stream: BinaryIO, where: str, _warnings: list[str]) -> Rows:
    from prodigy.plan.formats_table import read_table

    return read_table(numbered_lines(stream, where), "\t", where)


_READERS: dict[str, Reader] = {
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
}
