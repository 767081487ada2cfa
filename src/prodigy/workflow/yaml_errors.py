"""The YAML parser's complaints in words that say what to change."""

from __future__ import annotations

import re
from typing import NamedTuple

from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.reader import ReaderError

from prodigy.workflow.yaml_nodes import Position, Text, YamlSyntaxError


class _Rewording(NamedTuple):
    """complaint: found in the parser's `context | problem`. at_context: show where that context began."""

    complaint: str
    message: str
    hint: str | None = None
    at_context: bool = False


_QUOTES = "put the value in quotes, or write it as a block: `key: |` with the text on the next lines"
_INDENT = "lines that belong together begin in the same column; an entry of a list begins with `- `"

# The first complaint that fits wins.
_REWORDINGS = (
    _Rewording(
        "quoted scalar | found unexpected",
        "this quote is never closed",
        "add the closing quote",
        at_context=True,
    ),
    _Rewording(
        "found unknown escape character",
        r"an unknown `\` escape in a double-quoted value",
        "in single quotes `\\` is plain text",
    ),
    _Rewording(
        "expected escape sequence",
        r"an incomplete `\` escape in a double-quoted value",
        "in single quotes `\\` is plain text",
    ),
    _Rewording("mapping values are not allowed here", "a `: ` or an indented key cannot stand here", _QUOTES),
    _Rewording("could not find expected ':'", "this line has no `: ` after its key", _QUOTES, at_context=True),
    _Rewording("scanning an alias", "`*` at the beginning of a value means an alias", "put the value in quotes"),
    _Rewording("scanning an anchor", "`&` at the beginning of a value means an anchor", "put the value in quotes"),
    _Rewording("a tag |", "`!` at the beginning of a value means a tag", "put the value in quotes"),
    _Rewording("found undefined tag handle", "`!` at the beginning of a value means a tag", "put the value in quotes"),
    _Rewording(
        "flow mapping | expected ',' or '}', but got '{'",
        "a `{` cannot stand here, inside `{ }`",
        "put a value with `${...}` in it in quotes",
    ),
    _Rewording(
        "flow sequence | expected ',' or ']', but got '{'",
        "a `{` cannot stand here, inside `[ ]`",
        "put a value with `${...}` in it in quotes",
    ),
    _Rewording(
        "flow mapping | expected ',' or '}'",
        "the `{` that begins here is not closed",
        "add `,` between its entries and `}` at the end",
        at_context=True,
    ),
    _Rewording(
        "flow sequence | expected ',' or ']'",
        "the `[` that begins here is not closed",
        "add `,` between its entries and `]` at the end",
        at_context=True,
    ),
    _Rewording(
        "block collection | expected <block end>",
        "this line does not fit the list that it stands in",
        _INDENT,
    ),
    _Rewording(
        "block mapping | expected <block end>",
        "this line does not fit the mapping that it stands in",
        _INDENT,
    ),
    _Rewording("sequence entries are not allowed here", "a `- ` cannot stand here", _INDENT),
    _Rewording(
        "more indented follow up line",
        "the first line of this block is indented more than a later one",
        _INDENT,
    ),
    _Rewording("block scalar | expected", "after `|` or `>` the text begins on the next line", _QUOTES),
    _Rewording("expected '<document start>'", "what stands before this is already a whole document", _INDENT),
    _Rewording("incompatible YAML document", "only YAML 1.2 is understood", "remove the `%YAML` line"),
)


def explain(error: YAMLError | ValueError | OverflowError, text: Text) -> YamlSyntaxError:
    """What `error`, raised while `text` was read, means for the person who wrote the file."""
    if isinstance(error, ReaderError):
        return _bad_character(error, text)
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return YamlSyntaxError(Position(1, 1), f"this is not YAML: {error}")
    at = _position(error.problem_mark, text)
    line = text.line(at.line)
    tab = _tab_in_indent(line)
    if tab is not None:
        return YamlSyntaxError(
            Position(at.line, tab),
            "there is a tab here; YAML indents with spaces",
            "replace each tab by spaces",
        )
    return _reworded(error, at, text)


def _reworded(error: MarkedYAMLError, at: Position, text: Text) -> YamlSyntaxError:
    complaint = f"{error.context or ''} | {error.problem or ''}"
    for rewording in _REWORDINGS:
        if rewording.complaint in complaint:
            began = error.context_mark if rewording.at_context else None
            return YamlSyntaxError(_position(began, text) if began else at, rewording.message, rewording.hint)
    match = re.search(r"found character (.*) that cannot start any token", complaint)
    if match and match[1] == r"'\t'":
        return YamlSyntaxError(at, "a tab cannot stand here", f"replace it by a space, or {_QUOTES}")
    if match:
        return YamlSyntaxError(at, f"a value cannot begin with {match[1]}", "put the value in quotes")
    return YamlSyntaxError(at, f"this is not YAML: {(error.problem or str(error)).strip()}")


def _bad_character(error: ReaderError, text: Text) -> YamlSyntaxError:
    code = error.character if isinstance(error.character, int) else ord(error.character)
    if code == 0:
        return YamlSyntaxError(text.at(error.position), "there is a NUL byte here: this is not a text file")
    return YamlSyntaxError(
        text.at(error.position),
        f"the control character U+{code:04X} cannot stand in YAML",
        "remove it, or write it as an escape in double quotes",
    )


def _position(mark: StreamMark, text: Text) -> Position:
    return text.at(mark.index)


def _tab_in_indent(line: str) -> int | None:
    """The column of the first tab before a line's content (list dashes do not count as content)."""
    match = re.match(r"[ -]*\t", line)
    return match.end() if match else None
