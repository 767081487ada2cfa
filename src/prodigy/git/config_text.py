"""Telling the settings of a configuration file apart without git.

Strict on purpose: whatever is not plainly one section or one setting to a line is refused, so that nothing
can hide in a corner of the format where git and we read different things.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_SECTION = re.compile(r'\[([A-Za-z0-9.-]+)(?:[ \t]+"((?:[^"\\\n]|\\["\\])*)")?\][ \t]*(?:[#;].*)?')
# Quotes come in pairs and escapes are known, or git refuses the whole file; behind # or ; anything goes.
_VALUE = re.compile(r'(?:[^"\\#;]|\\["\\ntb]|"(?:[^"\\]|\\["\\ntb])*")*(?:[#;].*)?')
_SETTING = re.compile(r"([A-Za-z][A-Za-z0-9-]*)[ \t]*(?:=[ \t]*(.*))?")


def parse(text: str) -> dict[str, list[str]] | None:
    """The settings, full key -> its values in order, or None when the text is not plain.

    Section and name are in lower case, a subsection as written; values are as written.
    """
    found: dict[str, list[str]] = {}
    section: str | None = None
    for raw in text.split("\n"):
        line = raw.strip(" \t\r")
        if not line or line[0] in "#;":
            continue
        header = _SECTION.fullmatch(line)
        if header:
            section = header[1].lower() + (f".{_unescaped(header[2])}" if header[2] is not None else "")
            continue
        setting = _SETTING.fullmatch(line)
        # A backslash at the end continues the value on the next line.
        if setting is None or section is None or line.endswith("\\") or not _VALUE.fullmatch(setting[2] or ""):
            return None
        found.setdefault(f"{section}.{setting[1].lower()}", []).append(setting[2] if setting[2] is not None else "")
    return found


def with_sections(text: str, other: str, sections: Collection[str]) -> str:
    """`text`, with the sections of these names as `other` has them. Both are plain, as `parse` wants it."""
    lines = [*_lines(text, sections, inside=False), *_lines(other, sections, inside=True)]
    return "".join(f"{line}\n" for line in lines)


def _lines(text: str, sections: Collection[str], *, inside: bool) -> list[str]:
    found, here = [], False
    for line in text.removesuffix("\n").split("\n"):
        if header := _SECTION.fullmatch(line.strip(" \t\r")):
            here = header[1].lower().split(".")[0] in sections
        if here == inside:
            found.append(line)
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
