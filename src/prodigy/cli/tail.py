"""The last thing a step printed, read from the end of its files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from prodigy.cli.words import printable
from prodigy.executors.warden import STDERR, STDOUT
from prodigy.secrets import mask

# What one line of an agent's stream says, for people; None when it says nothing worth showing.
Describe = Callable[[bytes], str | None]

TAIL_BYTES = 64 * 1024
LONGEST_LINE = 1000  # characters; no terminal shows more

# Each part stops at the next escape, so that hostile output costs no more than its length.
_ESCAPES = re.compile(
    r"""
    \x1b \[ [0-?]* [ -/]* [@-~]?            # CSI: colours, cursor
    | \x1b [\]PX^_] [^\x07\x1b]* \x07?       # OSC and other strings; their end (ESC \) is an escape of its own
    | \x1b [ -/]* [0-~]?                     # all others
    """,
    re.VERBOSE,
)


def last_line(directory: Path, agent: str | None, describe: Describe | None = None) -> str:
    """The last line with something to see that the step in `directory` printed; "" when there is none (yet).

    Of stdout and stderr, the one written later speaks. Of an agent's stdout, `describe` tells what a line says.
    The line is free of control characters and at most 1,000 characters long.
    """
    for name in _newest_first(directory):
        says = describe if agent is not None and name == STDOUT else None
        for raw in _lines_backwards(_tail(directory / name)):
            text = shown(raw if says is None else says(raw))
            if text:
                return text
    return ""


def signature(directory: Path) -> tuple[tuple[int, int], ...]:
    """Something that changes whenever the step prints."""
    return tuple(_stat(directory / name) for name in (STDOUT, STDERR))


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)  # not there yet, or not any more: it says nothing
    return (found.st_mtime_ns, found.st_size)


def _newest_first(directory: Path) -> list[str]:
    """Names of the files that have content, the one written later first."""
    stats = {name: _stat(directory / name) for name in (STDOUT, STDERR)}
    return sorted((name for name in stats if stats[name][1]), key=lambda name: stats[name][0], reverse=True)


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read(TAIL_BYTES)
    except OSError:
        return b""  # a view shows what it can get


def _lines_backwards(text: bytes) -> Iterator[bytes]:
    """Lines that are not blank, from the last to the first. A carriage return ends one too: progress bars use it."""
    yield from (line for line in reversed(text.replace(b"\r", b"\n").split(b"\n")) if line.strip())


def shown(line: bytes | str | None) -> str:
    """A line without what could move the cursor, and without secrets; "" when nothing is to be seen."""
    if not line:
        return ""
    text = line.decode(errors="replace") if isinstance(line, bytes) else line
    text = mask(_ESCAPES.sub("", mask(text))).replace("\t", " ").strip()
    return printable(text[:LONGEST_LINE])[:LONGEST_LINE]


def last_lines(directory: Path, agent: str | None, describe: Describe | None, count: int) -> list[str]:
    """The last `count` lines that the step in `directory` printed, as `last_line` tells them; stderr behind stdout."""
    lines: list[str] = []
    for name in (STDERR, STDOUT):
        says = describe if agent is not None and name == STDOUT else None
        for raw in _lines_backwards(_tail(directory / name)):
            if len(lines) >= count:
                break
            if text := shown(raw if says is None else says(raw)):
                lines.append(text)
    return lines[::-1]


def written_at(directory: Path) -> float | None:
    """When the step printed last (UNIX time, seconds); None when it has not."""
    newest = max(at for at, _ in signature(directory))
    return newest / 1e9 if newest else None
