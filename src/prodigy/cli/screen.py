"""A terminal with a live area at its bottom, drawn by rich. Neither a resize nor the terminal's end is an error."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TextIO, cast

from rich.console import Console
from rich.live import Live
from rich.text import Text

from prodigy.cli.canvas import Canvas

FALLBACK_SIZE = (80, 24)
SHOW_CURSOR = "\x1b[?25h"
KEPT = 50  # printed lines, to print again after the screen had to be wiped


class Area(NamedTuple):
    """What is drawn, and the space it was made for: the terminal may have another size by now."""

    canvas: Canvas
    lines: list[Text]


class Screen:
    """Lines printed for good, and below them an area that is replaced as a whole. One thread at a time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = _Surviving(stream)
        self._console = Console(
            file=cast("TextIO", self._stream), force_terminal=True, legacy_windows=False,
            markup=False, highlight=False, emoji=False,
        )  # fmt: skip
        self._live: Live | None = None
        self._drawn: Area | None = None
        self._printed: deque[Text] = deque(maxlen=KEPT)
        self._given_up = False

    @property
    def draws(self) -> bool:
        """Whether a live area can be shown (still)."""
        return not (self._given_up or self._stream.gone)

    def canvas(self) -> Canvas:
        """The space there is now."""
        size = self._stream.size() or shutil.get_terminal_size(FALLBACK_SIZE)
        self._console.size = size
        return Canvas(*size, self._console.encoding)

    def show(self, messages: Sequence[tuple[str, str]], area: Area | None) -> None:
        """Print messages (text, style) for good, then draw the area (None: leave it as it is)."""
        canvas = self.canvas() if area is None else area.canvas
        lines = [Text(canvas.plain(text), style=style) for text, style in messages]
        self._printed.extend(lines)
        if not self.draws:
            self._write_plainly(lines)
            return
        if area is not None and self._has_shrunk(canvas):
            self._wipe()
            lines = list(self._printed)[-max(1, canvas.height - len(area.lines)) :]
        if not lines and (area is None or self._drawn == area):
            return
        with self._console:  # one write for all of it
            if lines:
                self._print(lines)
            if area is not None:
                self._draw(area.lines)
                self._drawn = area

    def clear(self) -> None:
        """Take the area away; the next one is drawn below what was printed meanwhile."""
        if self._live is not None:
            self._live.stop()
        self._live = self._drawn = None

    def give_up(self) -> None:
        """No live area from now on: lines are written as they are, without rich, below what is there."""
        if self._live is not None:
            self._stream.write(f"{SHOW_CURSOR}\n")
        self._given_up = True
        self._live = None

    def _print(self, lines: Iterable[Text]) -> None:
        self._console.print(Text("\n").join(lines), soft_wrap=True)

    def _draw(self, lines: Iterable[Text]) -> None:
        text = Text("\n", no_wrap=True, overflow="crop").join(lines)
        if self._live is None:
            self._live = Live(
                text, console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop",
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._live.start(refresh=True)
        else:
            self._live.update(text, refresh=True)

    def _has_shrunk(self, canvas: Canvas) -> bool:
        """Whether the terminal moved or wrapped rows of the last area, so that its place is not known."""
        if self._drawn is None:
            return False
        return canvas.width < self._drawn.canvas.width or canvas.height <= len(self._drawn.lines)

    def _wipe(self) -> None:
        self.clear()
        self._console.clear()

    def _write_plainly(self, lines: Iterable[Text]) -> None:
        for line in lines:
            self._stream.write(f"{line.plain}\n")
        self._stream.flush()


class _Surviving:
    """A stream that outlives its terminal: what can't be written any more is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.gone = False

    @property
    def encoding(self) -> str:
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        return True

    def size(self) -> os.terminal_size | None:
        """Columns and rows of the terminal, None when it does not tell."""
        try:
            found = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return None
        return found if found.columns and found.lines else None

    def write(self, text: str) -> int:
        if not self.gone:
            try:
                return self._stream.write(text)
            except BlockingIOError:
                return 0  # it takes nothing right now; the next frame is whole again
            except (OSError, ValueError):
                self.gone = True
        return len(text)

    def flush(self) -> None:
        if not self.gone:
            try:
                self._stream.flush()
            except BlockingIOError:
                return
            except (OSError, ValueError):
                self.gone = True
