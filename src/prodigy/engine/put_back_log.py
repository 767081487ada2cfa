"""Guarded files that a run put back, for other runs in the same repository: they are not to take that for tampering."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from prodigy.home import home
from prodigy.store.paths import repo_key

_READ = 1 << 16  # bytes; the newest lines


def note(common_dir: Path, digests: Mapping[str, str]) -> None:
    """Tell other runs what these files are now: path -> digest."""
    path = _path(common_dir)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = "".join(f"{digest}\t{name!r}\n" for name, digest in digests.items())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, lines.encode(errors="backslashreplace"))
    finally:
        os.close(descriptor)


def noted(common_dir: Path) -> set[tuple[str, str]]:
    """(path, digest) of what runs put back lately."""
    try:
        with _path(common_dir).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _READ))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return set()
    found = (line.partition("\t") for line in lines)
    return {(name, digest) for digest, _, name in found}


def is_noted(known: set[tuple[str, str]], name: str, digest: str) -> bool:
    """Whether a run left the file like that."""
    return (repr(name), digest) in known


def _path(common_dir: Path) -> Path:
    return home() / "put-back" / repo_key(common_dir)
