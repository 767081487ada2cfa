"""python3 -m tools.claim MODULE: fails while a colleague has the module. The colleagues are simulated.

A claim is a file in the directory `$DEMO_CLAIMS`, with a name in it and how often one has to ask. Without a number
there is no use in asking until the file is gone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def claim_file(directory: Path, module: str) -> Path:
    """Where the claim for a module is."""
    return directory / module.replace("/", "--")


def ask(directory: Path, module: str) -> str | None:
    """Who still has the module, None when it is free."""
    file = claim_file(directory, module)
    if not file.exists():
        return None
    who, *times = file.read_text().split()
    if times and int(times[0]) > 1:
        file.write_text(f"{who} {int(times[0]) - 1}\n")
    elif times:
        file.unlink()
    return who


if __name__ == "__main__":
    holder = ask(Path(os.environ.get("DEMO_CLAIMS", "/nonexistent")), sys.argv[1])
    sys.exit(f"{holder} has it (simulated)" if holder else None)
