"""How the guarded files were, in the run's directory: a coordinator that was killed leaves it to the next one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prodigy.git import files
from prodigy.git.guarded import Kept

_FILE = "guarded.json"
_LIMIT = 1 << 30  # bytes


@dataclass(frozen=True)
class Remembered:
    """The guarded files of a repository, and the entries of its stash.

    common_dir: of the repository. settings: the files that are configuration. at_work: whether agents have been at work
    since and nobody has looked.
    """

    common_dir: str
    files: Mapping[str, Kept]
    settings: tuple[str, ...]
    stashed: frozenset[str]
    at_work: bool

    @classmethod
    def read(cls, directory: Path, common_dir: Path) -> Remembered | None:
        """What a run has remembered of this repository; None when it has not, or when it can't be read."""
        data = files.read_small(directory / _FILE, _LIMIT)
        if data is None:
            return None
        try:
            found = json.loads(data)
            kept = {name: _kept(fields) for name, fields in found["files"].items()}
            remembered = cls(
                found["common_dir"], kept, tuple(found["settings"]), frozenset(found["stashed"]), found["at_work"]
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # written by another version
        return remembered if remembered.common_dir == str(common_dir) else None

    def write(self, directory: Path) -> None:
        """Store it, readable by the owner only."""
        record = {
            "common_dir": self.common_dir,
            "files": {name: _fields(one) for name, one in self.files.items()},
            "settings": self.settings,
            "stashed": sorted(self.stashed),
            "at_work": self.at_work,
        }
        files.replace(directory / _FILE, json.dumps(record).encode())
        (directory / _FILE).chmod(0o600)


def _fields(one: Kept) -> dict[str, Any]:
    data = base64.b64encode(one.data).decode()
    return {"kind": one.kind, "mode": one.mode, "size": one.size, "data": data, "digest": one.digest}


def _kept(fields: dict[str, Any]) -> Kept:
    return Kept(fields["kind"], fields["mode"], fields["size"], base64.b64decode(fields["data"]), fields["digest"])
