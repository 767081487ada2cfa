"""Words for people, for commands that should start quickly: next to no imports."""

from __future__ import annotations

import shlex

from prodigy.report.words import printable

__all__ = ["BREAKER_CLOSED", "breaker_opened", "counted", "printable", "quoted", "size", "were_done"]


def counted(number: int, noun: str) -> str:
    """`1 item`, `2 items`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def were_done(total: int, done: int, failed: int) -> str:
    """How far a run's items had come: `10 of 16 items were done, 6 failed`. done: those that have ended, failed ones
    included."""
    return f"{done - failed} of {total} items were done" + (f", {failed} failed" if failed else "")


def breaker_opened(failures: int, pause_s: float) -> str:
    """What is said when the circuit breaker of a map opens."""
    return f"{failures} attempts failed one after another: nothing starts for {pause_s:g} s"


BREAKER_CLOSED = "what was tried after the pause succeeded: going on as before"


def quoted(text: str) -> str:
    """An argument as one writes it in a shell; safe for a terminal."""
    if "'" in text and not any(character in text for character in '"$`\\!\n'):
        return printable(f'"{text}"')  # easier to read than quotes within quotes
    return printable(shlex.quote(text))


def size(size_bytes: float) -> str:
    """A number of bytes, for people."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while size_bytes >= 1024 and len(units) > 1:
        size_bytes /= 1024
        units.pop(0)
    return f"{size_bytes:.1f} {units[0]}" if units[0] != "B" else f"{size_bytes:.0f} B"
