"""What a placeholder in shell text may say besides what all texts know: `${item.x%.js}`, `${item.x:file}` and
`${raw:item.x}`.

`%`, `%%`, `#` and `##` mean what they mean to bash. They are applied here, before the value travels, because the
checks of a value must judge what arrives: `${item.x#a}` of `a-rf` begins with a dash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from prodigy.workflow.formats import parse_parts
from prodigy.workflow.interpolate import FORMS, RAW, Placeholder, unsupported

FILE = ":file"

_TRIM = re.compile(r"(%%?|##?)(.*)", re.DOTALL)
_WILD = re.compile(r"\\(.)|(\*)|(\?)|(\[[!^]?\]?(?:\\.|[^\]\\])*\])|(.)", re.DOTALL)
_MEMBER = re.compile(r"\\(.)|(-)|(.)", re.DOTALL)
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_REFUSED = (
    (re.compile(r"[$`]"), "its pattern holds an expansion"),
    (re.compile(r"""['"]"""), "its pattern holds a quote"),
    (re.compile(r"[?*+@!]\("), "its pattern holds an extended glob"),
    (re.compile(r"\[[:.=]"), "its pattern holds a class such as [:alpha:]"),
    (re.compile(r"\A~"), "its pattern begins with a tilde"),
    (re.compile(r"\\\Z"), "its pattern ends in a backslash"),
)
_PATTERN_CURE = r"write a literal pattern with *, ? and [...], and a backslash before anything else that is special"
SUPPORTED_IN_SHELL = f"supported are {FORMS}, the operators % %% # ##, :file and ${{raw:name.path}}"
_MIXED = re.compile(r"\|\s*(?:default|length)\b|:(?:json|lines|newline|csv|comma|file)\Z")
_ALONE = "the operators % %% # ## stand alone, without modifiers, filters or :file"


class Parts(NamedTuple):
    """An operator, taken apart. formats: its modifiers and filters, or None. trim: `%.js` or the like, or None."""

    is_raw: bool = False
    formats: str | None = None
    is_file: bool = False
    trim: str | None = None


@lru_cache(maxsize=1024)
def take_apart(operator: str | None) -> Parts:
    """The parts of an operator that shell text knows, or may know."""
    text = operator or ""
    if text.startswith(("%", "#")):
        return Parts(trim=text)
    rest = text.removeprefix(RAW)
    is_raw = rest != text
    is_file = not is_raw and rest.endswith(FILE) and "|" not in rest  # a filter takes all that is behind it
    return Parts(is_raw, (rest.removesuffix(FILE) if is_file else rest) or None, is_file)


def objection(placeholder: Placeholder) -> tuple[str, str] | None:
    """(message, cure) when shell text does not know the operator of this placeholder, else None."""
    operator = placeholder.operator
    parts = take_apart(operator)
    if operator is None:
        return None
    if parts.trim is None and placeholder.prefix in ("", RAW):
        if parts.formats is None or parse_parts(parts.formats) is not None:
            return None
        if re.search(r"[%#]", operator):
            return f"`${{{placeholder.path}{operator}}}` is not supported", _ALONE
    trim = _TRIM.fullmatch(operator) if not placeholder.prefix else None
    if not trim or not trim[2]:
        message, _ = unsupported(placeholder)
        return message, SUPPORTED_IN_SHELL
    if _MIXED.search(trim[2]):
        return f"`${{{placeholder.path}{operator}}}` is not supported", _ALONE
    reason = _pattern_problem(trim[2])
    return (f"`${{{placeholder.path}{operator}}}`: {reason}", _PATTERN_CURE) if reason else None


def _pattern_problem(pattern: str) -> str | None:
    plain = _ESCAPED.sub("x", pattern)
    for refused, reason in _REFUSED:
        if refused.search(plain):
            return reason
    try:
        _parts(pattern, is_suffix=False)
    except re.error:
        return "its pattern holds a [...] that is none"
    return None


def apply(operator: str | None, value: str) -> str:
    """The value after `%`, `%%`, `#` or `##`; unchanged for no and any other operator."""
    trim = _TRIM.fullmatch(operator or "")
    if not trim:
        return value
    is_suffix, is_longest = trim[1][0] == "%", len(trim[1]) == 2
    parts = _parts(trim[2], is_suffix)
    length = _matched(parts, value[::-1] if is_suffix else value, is_longest)
    return value[: len(value) - length] if is_suffix else value[length:]


@dataclass(frozen=True)
class _Part:
    """What stands between two stars: a fixed number of characters. backwards: the same read from its end."""

    forwards: re.Pattern[str]
    backwards: re.Pattern[str]


def _matched(parts: tuple[_Part, ...], value: str, is_longest: bool) -> int:
    """How many characters at the beginning of the value match; 0 when it does not."""
    first, *others = parts
    match = first.forwards.match(value)
    for part in others[:-1]:
        match = part.forwards.search(value, match.end()) if match else None
    if match is None or not others:
        return match.end() if match else 0
    last, position = others[-1], match.end()
    if not is_longest:
        match = last.forwards.search(value, position)
        return match.end() if match else 0
    # The last place of a part is the first one from behind.
    match = last.backwards.search(value[::-1], 0, len(value) - position)
    return len(value) - match.start() if match else 0


@lru_cache(maxsize=256)
def _parts(pattern: str, is_suffix: bool) -> tuple[_Part, ...]:
    """The pattern cut at its stars; that of a suffix in reverse. Raises re.error for a range such as `[z-a]`."""
    cut: list[list[str]] = [[]]
    for escaped, star, question, members, plain in _WILD.findall(pattern):
        if star:
            cut.append([])
        elif members:
            cut[-1].append(_set(members[1:-1]))
        else:
            cut[-1].append("." if question else re.escape(escaped or plain))
    parts = [(part, part[::-1]) for part in cut]
    if is_suffix:
        parts = [(backwards, forwards) for forwards, backwards in reversed(parts)]
    return tuple(_Part(_compiled(one), _compiled(other)) for one, other in parts)


def _compiled(characters: list[str]) -> re.Pattern[str]:
    return re.compile("".join(characters), re.DOTALL)


def _set(members: str) -> str:
    """The members of a bracket expression as one of Python's."""
    negated = members[:1] in ("!", "^")
    found = _MEMBER.findall(members[negated:])
    # A dash is itself at either end.
    inner = "".join(
        "-" if dash and 0 < index < len(found) - 1 else re.escape(escaped or dash or plain)
        for index, (escaped, dash, plain) in enumerate(found)
    )
    if "--" in inner:
        raise re.error("a dash is not the end of a range")
    return f"[{'^' if negated else ''}{inner}]"
