"""python3 -m tools.find PACKAGE [--smallest N]: what there is to do, as JSON, the largest module first."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .spelling import count_old

WORTHWHILE = 3  # old spellings; a module with fewer is not worth a review


def items(package: Path) -> list[dict[str, str | int]]:
    """One item a module: id and path (as git names it), lines, and how many old spellings it has."""
    found = []
    for file in sorted(package.rglob("*.py")):
        source = file.read_bytes()
        if (old := count_old(source, everywhere=True)) >= WORTHWHILE:
            found.append((source.count(b"\n"), file.as_posix(), old))
    found.sort(key=lambda entry: (-entry[0], entry[1]))
    return [{"id": path, "path": path, "lines": lines, "old": old} for lines, path, old in found]


def smallest(listed: list[dict[str, str | int]], how_many: int) -> list[dict[str, str | int]]:
    """The smallest ones that have what there is to do in their annotations."""
    return [item for item in listed if count_old(Path(str(item["path"])).read_bytes()) >= WORTHWHILE][-how_many:]


if __name__ == "__main__":
    modules = items(Path(sys.argv[1]))
    if sys.argv[2:3] == ["--smallest"]:
        modules = smallest(modules, int(sys.argv[3]))
    sys.stdout.write(json.dumps(modules, indent=1) + "\n")
