"""Where a git directory reads objects beside its own."""

from __future__ import annotations

import os
from pathlib import Path


def write(objects: Path, *others: Path) -> None:
    """Let what has the object directory `objects`, made if need be, read those of `others` too."""
    (objects / "info").mkdir(parents=True, exist_ok=True)
    (objects / "info" / "alternates").write_bytes(b"".join(map(_line, others)))


def _line(path: Path) -> bytes:
    """Quoted as git quotes names, where a plain line would say something else."""
    name = os.fsencode(path)
    if name.startswith((b'"', b"#")) or b"\n" in name:
        name = b'"%s"' % name.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return name + b"\n"
