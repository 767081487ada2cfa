"""The number of the last event, kept beside the database: it tells when the database has forgotten some.

What was committed is in `run.db` or, until SQLite moves it there, in `run.db-wal`. A log that was deleted, or an older
copy of the database that was put back, leaves a sound database of an earlier moment. To go on from there would run
steps again, in worktrees that have moved on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from prodigy.store.trouble import damaged

FILE = "last-event"
_WIDTH = 20  # digits


class LastEvent:
    """The file of one run. Only who drives the run writes it, after the commit: it is never ahead of the database."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def note(self, seq: int) -> None:
        """Remember that events up to `seq` are committed. A file that can't be written costs the check, not the run."""
        with suppress(OSError):
            if self._descriptor is None:
                self._descriptor = os.open(self._directory / FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._descriptor, b"%0*d\n" % (_WIDTH, seq), 0)

    def check(self, seq: int) -> None:
        """Raise CorruptState when the database's last event is an earlier one than was remembered."""
        try:
            noted = int((self._directory / FILE).read_bytes())
        except (OSError, ValueError):
            return  # never written, or of an earlier Prodigy
        if noted > seq:
            raise damaged(
                self._directory,
                f"the run's database has lost its last {noted - seq} events: its log (run.db-wal) was deleted, or an"
                " older copy was put in its place; put the right files back if you have them",
            )

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
