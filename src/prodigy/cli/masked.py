"""Standard output and error without secrets: the one place through which every text of a command goes."""

from __future__ import annotations

import io
import sys
from typing import TextIO

from prodigy.secrets import mask


class MaskedText(io.TextIOWrapper):
    """A text stream over another one's bytes. Each text is masked as a whole, so no writer may cut one into pieces;
    what steps printed is masked where it is read."""

    def write(self, text: str) -> int:
        super().write(mask(text))
        return len(text)


def mask_standard_streams() -> None:
    """From now on, what this process writes to its standard streams as text is masked."""
    sys.stdout = _masked(sys.stdout)
    sys.stderr = _masked(sys.stderr)


def _masked(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # it is closed, or a caller's own
    stream.flush()
    # The original, which `sys.__stdout__` keeps, shares the buffer and is not used any more.
    return MaskedText(
        stream.buffer,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
