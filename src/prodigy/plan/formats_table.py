"""Tables: CSV and TSV. The first row names the columns; each row below is an object whose values are texts."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

from prodigy.plan.formats import InputError

MAX_FIELD_CHARACTERS = 16 * 1024 * 1024


def read_table(lines: Iterable[tuple[int, str]], delimiter: str, where: str) -> Iterator[dict[str, str]]:
    """The rows of a table by RFC 4180 (quotes, doubled quotes, line breaks in quotes), one after another.

    Blank lines are skipped, texts stay as they are, names of columns are trimmed. Raises InputError, with the line at
    which the row begins, for a row that has not as many fields as the first, and for quotes that do not end.
    """
    rows = _rows(lines, delimiter, where)
    for place, row in rows:
        columns = _columns(row, place)
        break
    for place, row in rows:
        if len(row) != len(columns):
            raise _ragged(row, columns, place)
        yield dict(zip(columns, row, strict=True))


def _rows(lines: Iterable[tuple[int, str]], delimiter: str, where: str) -> Iterator[tuple[str, list[str]]]:
    """(where it begins, its fields) of every row that is not blank."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)  # the module's own is 128 KiB
    reader = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    while True:
        place = f"{where}:{reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            what, hint = _malformed(str(error))
            raise InputError(what, where=place, hint=hint) from None
        if row is None:
            return
        if row:
            yield place, row


def _columns(row: list[str], where: str) -> list[str]:
    columns = [name.strip() for name in row]
    for number, name in enumerate(columns, 1):
        if not name:
            raise InputError(f"column {number} has no name", where=where, hint="the first row names the columns")
        if name in columns[: number - 1]:
            raise InputError(f"two columns are called {name[:80]!r}", where=where, hint="give each a name of its own")
    return columns


def _ragged(row: list[str], columns: list[str], where: str) -> InputError:
    fields = f"{len(row)} field{'s' if len(row) != 1 else ''}"
    more = len(row) > len(columns)
    hint = "a field with a delimiter or a quote in it stands in quotes" if more else "is a field or a quote missing?"
    return InputError(f"this row has {fields}, and there are {len(columns)} columns", where=where, hint=hint)


def _malformed(reason: str) -> tuple[str, str | None]:
    """(what, hint) for what the csv module says."""
    if "unexpected end" in reason:
        return "the row that begins here has a quote that does not end", 'a quote in a quoted field is doubled: ""'
    if "expected after" in reason:
        return "something stands behind a closing quote", 'a quote in a quoted field is doubled: ""'
    if "new-line character" in reason:
        return "lines end with a carriage return alone", "let them end with a line feed"
    if "field larger" in reason:
        return f"a field has more than {MAX_FIELD_CHARACTERS >> 20} Mi characters", None
    return f"this is no table: {reason}", None
