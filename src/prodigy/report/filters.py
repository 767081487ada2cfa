"""Filters of records by an expression of the user: compiled with the place of a mistake, and what they name."""

from __future__ import annotations

from collections.abc import Iterable

from prodigy.errors import UsageError
from prodigy.workflow.expression import MISSING, Expression, ExpressionError, Find, compile_expression


def compiled(text: str, what: str = "--filter") -> Expression:
    """The expression, or UsageError with the place of the mistake. what: the text is called so."""
    try:
        return compile_expression(text)
    except ExpressionError as error:
        raise UsageError(_shown(text, what, error), hint=error.hint) from error


def unknown(expression: Expression, finders: Iterable[Find]) -> list[str]:
    """The names in an expression that none of the records has: mistyped, or texts without quotes."""
    left = dict.fromkeys(expression.paths)
    for find in finders:
        for path in [path for path in left if find(path) is not MISSING]:
            del left[path]
        if not left:
            break
    return list(left)


def _shown(text: str, what: str, error: ExpressionError) -> str:
    """The message, with a caret under the place: of the one line it is in, when there are several."""
    before = text[: error.column - 1]
    start = before.rfind("\n") + 1
    line = text[start:].partition("\n")[0]
    spaces = "".join("\t" if character == "\t" else " " for character in before[start:])
    return f"{what}, column {error.column}: {error.message}\n    {line}\n    {spaces}^"
