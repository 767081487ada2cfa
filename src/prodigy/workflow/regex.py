"""Regular expressions of a workflow, by RE2: in the time of one pass over the text, whatever the pattern."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


class RegexError(ValueError):
    """The pattern can't be read."""


@lru_cache(maxsize=128)
def compile_regex(pattern: str) -> Any:
    """The compiled form, over bytes: texts may hold lone surrogates, which RE2 can't encode. Raises RegexError."""
    import re2  # a tenth of the time that `prodigy --help` takes

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(utf8(pattern), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "it can't be read"
        raise RegexError(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)) from None


def found(pattern: str, text: str) -> bool:
    """Whether the pattern matches somewhere in the text. Raises RegexError."""
    return compile_regex(pattern).search(utf8(text)) is not None


def first_match(pattern: str, text: str) -> str | None:
    """The first group of the first match, or all of it when the pattern has no group; None without a match.

    Raises RegexError.
    """
    match = compile_regex(pattern).search(utf8(text))
    if match is None:
        return None
    value: bytes | None = match.group(1 if compile_regex(pattern).groups else 0)
    return None if value is None else value.decode("utf-8", "surrogatepass")


def utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
