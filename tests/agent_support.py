"""A scripted stand-in for the `claude` program, for tests that need an agent but no model."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

STAND_IN = Path(__file__).parent / "agents" / "claude_stand_in.py"


def stand_in_path(folder: Path | str) -> str:
    """A directory below `folder` that holds an executable named `claude`: put it in front of a PATH."""
    directory = Path(folder) / "stand-in bin"
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "claude"
    program.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", "-S", str(STAND_IN)])} "$@"\n')
    program.chmod(0o755)
    return str(directory)


def script(*steps: dict[str, Any]) -> str:
    """The part of a prompt that tells the stand-in, or the real program behind the mock API, what to do."""
    return f"MOCK[[ {json.dumps(list(steps))} ]]"
