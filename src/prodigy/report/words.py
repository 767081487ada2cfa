"""Numbers for people, the same in the terminal and on a page."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for unit, next_unit, size, part in (("min", "s", 60, 1), ("h", "min", 3600, 60), ("d", "h", 86400, 3600)):
        if whole < {"min": 3600, "h": 86400}.get(unit, float("inf")):
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {next_unit}" if rest else "")
    return f"{whole} s"


def dollars(usd: float | None) -> str:
    """`$0.0125`, `$3.20`, `$1,250`, `unknown`."""
    if usd is None:
        return "unknown"
    if usd == 0:
        return "$0"
    return f"${usd:.4f}" if usd < 1 else f"${usd:,.2f}" if usd < 1000 else f"${usd:,.0f}"


def pace(an_hour: float) -> str:
    """Items an hour: `3.4`, `120`."""
    return f"{an_hour:,.1f}" if an_hour < 100 else f"{an_hour:,.0f}"


def percent(part: float | None) -> str:
    return "unknown" if part is None else f"{part * 100:.0f} %"


def printable(text: str) -> str:
    """Text for a terminal or a page: what could move the cursor, forge a line or turn the direction of reading is
    shown escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
