"""The space a frame of the live view has, and how numbers are told in it."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from prodigy.cli.words import printable

NARROW = 60  # columns; below, a line shows no output and the bar is short


@dataclass(frozen=True)
class Canvas:
    """The space and the characters there are. width and height in cells; `encoding` is the terminal's."""

    width: int
    height: int
    encoding: str = "utf-8"

    @property
    def rows(self) -> int:
        """How many rows a frame may take: lines that were printed before stay in sight."""
        return max(1, self.height - max(1, self.height // 6))

    @property
    def cells(self) -> int:
        """How wide a line may be: the last column stays free, for terminals that wrap there or count otherwise."""
        return max(1, self.width - 1)

    @property
    def rich_characters(self) -> bool:
        return self.encoding.lower().replace("-", "").startswith("utf")

    def plain(self, text: str) -> str:
        """Text that moves nothing on the terminal and that its encoding can tell."""
        shown = printable(text)
        if self.rich_characters:
            return shown
        return shown.encode(self.encoding, errors="backslashreplace").decode(self.encoding)

    def crop(self, text: str, cells: int) -> str:
        """Text in at most so many cells, with an ellipsis where something is missing."""
        if cells <= 0:
            return ""
        if cell_len(text) <= cells:
            return text
        return set_cell_size(text, cells - 1).rstrip() + ("…" if self.rich_characters else "~")

    def crop_path(self, path: str, cells: int) -> str:
        """A path in at most so many cells: its end is kept, which says more than the directories before it."""
        if cells <= 1 or cell_len(path) <= cells:
            return self.crop(path, cells)
        return ("…" if self.rich_characters else "~") + set_cell_size(path[::-1], cells - 1).rstrip()[::-1]

    def pad(self, text: str, cells: int) -> str:
        """Text in exactly so many cells."""
        return set_cell_size(self.crop(text, cells), max(0, cells))


def duration(seconds: float) -> str:
    """A duration for people, in two parts at most: `42s`, `3m05s`, `2h07m`, `3d04h`."""
    whole = max(0, int(seconds))
    for unit, part, size, part_size in (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part_size:02d}{part}"
    return f"{whole}s"


def money(dollars: float) -> str:
    return "<$0.01" if 0 < dollars < 0.01 else f"${dollars:,.2f}"


def amount(number: int) -> str:
    """A count in three digits or so: `950`, `12.3k`, `4.1M`."""
    for limit, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}"
    return str(number)
