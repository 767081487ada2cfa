"""Where Prodigy keeps what is its own."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`PRODIGY_HOME`, by default `~/.prodigy`."""
    return Path(os.environ.get("PRODIGY_HOME") or Path.home() / ".prodigy").absolute()
