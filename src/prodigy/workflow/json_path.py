"""JSONPath by RFC 9535, checked when a workflow is loaded."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonpath_rfc9535 import JSONPathQuery


class JsonPathError(Exception):
    """A query that cannot be read. column: where, from 1, in the text as it was written."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.column = column


def rooted(query: str) -> str:
    """`query` with the `$` that people leave out: `items[*]` and `.items[*]` mean `$.items[*]`."""
    query = query.strip()
    if query.startswith("$"):
        return query
    return f"${query}" if query.startswith(("[", ".")) else f"$.{query}"


@lru_cache(maxsize=64)
def compile_json_path(query: str) -> JSONPathQuery:
    """The compiled form of a query, rooted first. Raises JsonPathError."""
    import jsonpath_rfc9535  # a tenth of the time that `prodigy --help` takes

    text = rooted(query)
    # Columns speak of what the user wrote: without the root that was added, with the space that was removed.
    shift = len(query) - len(query.lstrip()) - (len(text) - len(query.strip()))
    try:
        return jsonpath_rfc9535.compile(text)
    except jsonpath_rfc9535.JSONPathError as error:
        column = error.token.index + shift + 1 if error.token else 1
        raise JsonPathError(str(error.args[0]), max(1, min(column, len(query)))) from error
    except RecursionError as error:
        raise JsonPathError("nested too deeply", 1) from error
    except ValueError as error:
        raise JsonPathError("a number in it is too long", 1) from error
