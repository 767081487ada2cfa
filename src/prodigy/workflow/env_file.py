"""The syntax of `.env` files: `NAME=value` lines, comments, `export`, quotes and escapes. Pure.

A value without quotes ends at the line's end or at ` #`. In single quotes everything is itself; in double quotes `\\n`,
`\\r`, `\\t`, `\\"`, `\\\\`, `\\$` and a backslash at a line's end mean what they mean in a shell, and other backslashes
stay. Both may go over several lines. Nothing is expanded: `$` is a character like any other.
"""

from __future__ import annotations

import re

from prodigy.errors import UsageError

_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_PLAIN = re.compile(r"[^\n]*")
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "\n": "", "`": "`"}


def parse_env_file(text: str, file: str) -> dict[str, str]:
    """The variables of a file; of a name that stands twice the last one counts. file: its name for messages.

    Raises UsageError, which names the line.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        if blank := _BLANK.match(text, position):
            position = blank.end()
            continue
        name = _NAME.match(text, position)
        if name is None:
            raise _malformed(text, position, file, "this is no `NAME=value`")
        value, position = _value(text, name.end(), file)
        if "\0" in value:
            raise _malformed(
                text, name.start(), file, f"{name[1]} has a NUL character in it, which no variable can hold"
            )
        found[name[1]] = value
    return found


def _value(text: str, start: int, file: str) -> tuple[str, int]:
    """The value that begins at `start`, and where the next line begins."""
    quote = text[start : start + 1]
    if quote not in ("'", '"') or not quote:
        plain = _PLAIN.match(text, start)
        assert plain
        return _COMMENT.sub("", plain[0], count=1).strip(" \t"), plain.end() + 1
    quoted = (_SINGLE if quote == "'" else _DOUBLE).match(text, start)
    if quoted is None:
        raise _malformed(text, start, file, f"there is no closing {quote}")
    rest = _BLANK.match(text, quoted.end())
    if rest is None:
        raise _malformed(text, quoted.end(), file, f"there is more behind the closing {quote}")
    value = quoted[1] if quote == "'" else _ESCAPE.sub(lambda pair: _ESCAPED.get(pair[1], pair[0]), quoted[1])
    return value, rest.end()


def _malformed(text: str, position: int, file: str, what: str) -> UsageError:
    """An error that does not show the line: there may be a secret in it."""
    line = text.count("\n", 0, position) + 1
    return UsageError(what, where=f"{file}:{line}", hint="A line is NAME=value, NAME='value', a comment or empty.")
