"""Git on a full disk: whose fault its errors are."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prodigy.errors import EnvironmentProblem
from prodigy.git.command import GitError
from prodigy.store.room import HINT, room

# Git says so in English because we ask for it (LC_ALL).
_GIT_SAYS = ("No space left on device", "Disk quota exceeded")
_TINY = 1 << 16  # bytes; with less, nothing else can have been in the way


@contextmanager
def blaming_full_disk(*places: Path) -> Iterator[None]:
    """Tell failures on a full disk from all others: EnvironmentProblem instead of GitError and OSError.

    places: directories that git writes to. The step that ran in a worktree is not to blame for them, and must not be
    judged by them.
    """
    try:
        yield
    except GitError as error:
        full = next((place for place in places if _is_full(place)), None)
        if full is None and not any(text in error.stderr for text in _GIT_SAYS):
            raise
        raise EnvironmentProblem(
            f"the disk is full: {error.what}", where=str(full or error.where or places[0]), hint=HINT
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = error.filename or next((place for place in places if _is_full(place)), places[0])
        raise EnvironmentProblem(f"the disk is full: {error.strerror}", where=str(where), hint=HINT) from error


def _is_full(place: Path) -> bool:
    """Git does not always say why it could not write."""
    free, files = room(place)
    return free < _TINY or files == 0
