"""Reading JSON events that may lack anything or hold anything: a reader never raises, it gives an empty value."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_SPACES = re.compile(r"\s+")


def event(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line, None when there is none. Bytes that are no UTF-8 are replaced."""
    text = line.decode("utf-8", errors="replace").strip()
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def entries(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def string(value: object) -> str:
    """A text that can be encoded: JSON may spell half of a surrogate pair."""
    return value.encode("utf-8", errors="replace").decode() if isinstance(value, str) else ""


def count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def number(value: object) -> float | None:
    """A finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) and result >= 0 else None


def printable(text: str, limit: int = 160) -> str:
    """One line without control characters, so that it can't play tricks on a terminal; at most `limit` characters."""
    spaced = _SPACES.sub(" ", text.lstrip()[: 4 * limit]).rstrip()
    line = "".join(character for character in spaced if character.isprintable())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def last_line(text: str, limit: int = 160) -> str:
    """The last line with something to read in it, made printable."""
    return next((shown for line in reversed(text.splitlines()) if (shown := printable(line, limit))), "")
