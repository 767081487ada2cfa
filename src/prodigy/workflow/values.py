"""Typed values out of YAML nodes, and the list of what is wrong with them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence as AbstractSequence
from difflib import get_close_matches
from typing import TypeVar

from prodigy.errors import Problem
from prodigy.workflow import keys
from prodigy.workflow.yaml_nodes import Entry, Mapping, Node, Position, Scalar, Sequence, visible

LONGEST_DURATION_S = 366 * 24 * 3600.0

_Choice = TypeVar("_Choice", bound=str)

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


class Findings:
    """Collects everything wrong with a file, so that all of it is reported at once.

    incomplete: a file that it is made of could not be read, so that what is missing may stand there.
    """

    def __init__(self) -> None:
        self.incomplete = False
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.remarks: list[Problem] = []

    def problem(self, at: Position, message: str, hint: str | None = None) -> None:
        """Note a mistake; reading goes on."""
        self.problems.append(Problem(at.line, at.column, message, hint, at.file))

    def warn(self, at: Position, message: str, hint: str | None = None) -> None:
        """Note something that works but should be changed."""
        self.warnings.append(Problem(at.line, at.column, message, hint, at.file))

    def strict(self, at: Position, message: str, hint: str | None = None) -> None:
        """Note something that is allowed and that a strict reader wants to hear of."""
        self.remarks.append(Problem(at.line, at.column, message, hint, at.file))


def shown(node: Node) -> str:
    """A node in a few words, for "..., got X"."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if node.kind == "null":
        return "nothing"
    text = visible(node.value)
    return text if node.kind != "str" else f'"{text}"'


def read_text(node: Node, key: str, findings: Findings) -> str | None:
    """The characters of a scalar as they are written (`shell: true` is the text `true`), or None."""
    if not isinstance(node, Scalar) or node.kind == "null":
        findings.problem(node.at, f"`{key}` must be text, got {shown(node)}")
        return None
    if not node.value.strip():
        findings.problem(node.at, f"`{key}` is empty")
        return None
    if "\0" in node.value:
        findings.problem(node.at, f"`{key}` has a NUL character in it, which no program accepts")
        return None
    return node.value


def read_label(node: Node, key: str, findings: Findings) -> str | None:
    """One line of text that is only shown to people, or None."""
    text = read_text(node, key, findings)
    if text is None:
        return None
    if not text.isprintable():
        findings.problem(node.at, f"`{key}` must be one line of printable text")
        return None
    if "${" in text:
        findings.problem(
            node.at, f"a placeholder in `{key}` is part of the language, but this version does not fill it in"
        )
    return text


def read_whole_number(node: Node, key: str, findings: Findings) -> int | None:
    """A whole number of at least 1, or None."""
    if isinstance(node, Scalar) and node.kind == "int" and len(node.value) <= 12:
        base = 0 if node.value.startswith(("0x", "0o")) else 10
        number = int(node.value, base)
        if number >= 1:
            return number
    quoted = isinstance(node, Scalar) and node.kind == "str" and node.value.isdecimal()
    hint = "write the number without quotes" if quoted else None
    findings.problem(node.at, f"`{key}` must be a whole number of at least 1, got {shown(node)}", hint)
    return None


def read_choice(node: Node, key: str, choices: AbstractSequence[_Choice], findings: Findings) -> _Choice | None:
    """One of a few words, or None."""
    text = node.value if isinstance(node, Scalar) else None
    for choice in choices:
        if choice == text:
            return choice
    nearest = get_close_matches((text or "")[:100], choices, 1)
    hint = f"did you mean `{nearest[0]}`?" if nearest else None
    findings.problem(node.at, f"`{key}` must be one of {', '.join(choices)}, got {shown(node)}", hint)
    return None


def read_number(node: Node, key: str, findings: Findings, *, least: float, most: float = math.inf) -> float | None:
    """A number between two bounds, or None."""
    number = math.nan
    if isinstance(node, Scalar) and node.kind in ("int", "float") and len(node.value) <= 30:
        number = float(int(node.value, 0)) if node.value.startswith(("0x", "0o")) else _decimal(node.value)
    if math.isfinite(number) and least <= number <= most:
        return number
    bounds = f"of at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
    findings.problem(node.at, f"`{key}` must be a number {bounds}, got {shown(node)}")
    return None


def _decimal(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def read_bool(node: Node, key: str, findings: Findings) -> bool | None:
    """True or false, or None."""
    if isinstance(node, Scalar) and node.kind == "bool":
        return node.value.lower() == "true"
    word = node.value.lower() if isinstance(node, Scalar) else ""
    hint = {"yes": "write true", "on": "write true", "no": "write false", "off": "write false"}.get(word)
    findings.problem(node.at, f"`{key}` must be true or false, got {shown(node)}", hint)
    return None


def read_duration(node: Node, key: str, findings: Findings, *, zero: bool = False) -> float | None:
    """Seconds, from a number of seconds or a text such as `30s`, `5m`, `1h30m`; or None. zero: whether 0 will do."""
    seconds = _seconds(node) if isinstance(node, Scalar) else _parts_of_seconds(node)
    if seconds is None or not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not zero):
        hint = "write seconds, or a time such as `30s`, `5m` or `1h30m`"
        more = "" if zero else " of more than 0"
        findings.problem(node.at, f"`{key}` must be a time{more}, got {shown(node)}", hint)
        return None
    if seconds > LONGEST_DURATION_S:
        findings.problem(node.at, f"`{key}` must be at most 366 days, got {shown(node)}")
        return None
    return seconds


def _parts_of_seconds(node: Node) -> float | None:
    """The earlier system's `{secs: 1, nanos: 500000000}`."""
    if not isinstance(node, Mapping) or not node.entries or not node.entries.keys() <= {"secs", "nanos"}:
        return None
    parts = [(name, entry.value) for name, entry in node.entries.items()]
    if not all(isinstance(value, Scalar) and value.kind == "int" and value.value.isdecimal() for _, value in parts):
        return None
    return sum(
        int(value.value) * (1.0 if name == "secs" else 1e-9) for name, value in parts if isinstance(value, Scalar)
    )


def _seconds(scalar: Scalar) -> float | None:
    if scalar.kind == "int" and scalar.value.startswith(("0x", "0o")):
        return float(int(scalar.value, 0)) if len(scalar.value) <= 12 else None
    if scalar.kind in ("int", "float") or _NUMBER.fullmatch(scalar.value):
        return _decimal(scalar.value)
    total, end = 0.0, 0
    for match in _DURATION.finditer(scalar.value):
        if match.start() != end:
            return None
        total += float(match[1]) * _UNITS_S[match[2]]
        end = match.end()
    return total if end and not scalar.value[end:].strip() else None


def read_keys(mapping: Mapping, table: keys.KeyTable, place: str, findings: Findings) -> dict[str, Entry]:
    """The entries of `mapping` that this version understands, under their own names (synonyms resolved).

    place: where the mapping stands, e.g. "under `map`". All other keys become problems.
    """
    entries: dict[str, Entry] = {}
    for written, entry in mapping.entries.items():
        name = table.synonyms.get(written, written)
        if name not in table.runs:
            _refuse_key(entry.key, table, place, findings)
        elif name in entries:
            other = entries[name].key
            findings.problem(
                entry.key.at,
                f"`{written}` and `{other.value}` are two names of one thing",
                f"remove one of them; the other is on line {other.at.line}",
            )
        else:
            entries[name] = entry
    return entries


def _refuse_key(key: Scalar, table: keys.KeyTable, place: str, findings: Findings) -> None:
    name = key.value
    if key.kind == "null":
        findings.problem(key.at, f"there is no key before this `:` {place}")
    elif name in table.later:
        findings.problem(key.at, later(name))
    elif name in keys.GIVEN_UP:
        findings.problem(key.at, f"`{name}` is not part of the language any more", keys.GIVEN_UP[name])
    else:
        findings.problem(key.at, *_unknown(name, table, place))


def later(name: str) -> str:
    """What is said about a part of the language that does not run yet."""
    return f"`{name}` is part of the language, but this version does not run it yet"


def _unknown(name: str, table: keys.KeyTable, place: str) -> tuple[str, str | None]:
    short = visible(name)
    nearest = get_close_matches(name[:100], sorted(table.known), 1, cutoff=0.75)
    if nearest:
        return f"unknown key `{short}` {place}; did you mean `{nearest[0]}`?", None
    for other_place, other in keys.PLACES:
        if name in other.known:
            return f"`{name}` does not belong {place}", f"it belongs {other_place}"
    nearest = get_close_matches(name[:100], sorted(table.known), 1)
    if nearest:
        return f"unknown key `{short}` {place}; did you mean `{nearest[0]}`?", None
    return f"unknown key `{short}` {place}", f"known keys: {', '.join(sorted(table.runs))}"
