"""Which shell texts have been found to be in order before, so that a file is checked again in no time.

Only that is remembered, by hash, and only for reading workflow files: what runs is always compiled anew, so whoever
writes into this file can make nothing run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from prodigy.home import home, private

MAX_KEYS = 10_000


class CheckedScripts:
    """The keys of texts that were in order, one on each line of a file below the home directory."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or home() / "cache" / "scripts"
        self._keys = self._read()

    def _read(self) -> set[str]:
        try:
            return set(self._file.read_text("ascii", "replace").split())
        except OSError:
            return set()  # everything is checked, then

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def add(self, keys: Iterable[str]) -> None:
        """Remember more of them; a home that can't be written to costs the next call its time."""
        new = [key for key in dict.fromkeys(keys) if key not in self._keys]
        if not new:
            return
        with contextlib.suppress(OSError):
            private(self._file.parent)
            begin_anew = len(self._keys) + len(new) > MAX_KEYS
            with self._file.open("w" if begin_anew else "a", encoding="ascii") as file:
                file.write("".join(f"{key}\n" for key in new))
        self._keys.update(new)
