"""Where Prodigy keeps what is its own."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`PRODIGY_HOME`, by default `~/.prodigy`."""
    return Path(os.environ.get("PRODIGY_HOME") or Path.home() / ".prodigy").absolute()


def private(directory: Path) -> None:
    """Make a directory below the home, and the home, so that only their owner can read them. Raises OSError."""
    for part in (home(), *reversed([one for one in (directory, *directory.parents) if home() in one.parents])):
        part.mkdir(mode=0o700, parents=part == home(), exist_ok=True)
