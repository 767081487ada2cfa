"""Where everything is on disk."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from prodigy.errors import EnvironmentProblem
from prodigy.home import home
from prodigy.store.room import check_room


def ensure_home() -> Path:
    """The home directory, made (0700), writable and with room; raises EnvironmentProblem otherwise."""
    path = home()
    try:
        check_room(path, hint="Make room there, or set PRODIGY_HOME to a directory on another disk.")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("runs", "worktrees"):
            (path / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, error.strerror or str(error)) from error
    for name in ("", "runs", "worktrees"):
        if not os.access(path / name, os.W_OK | os.X_OK):
            raise _not_writable(path / name, "not writable")
    return path


def _not_writable(path: Path, reason: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the directory for runs can't be used: {reason}",
        where=str(path),
        hint="Make it writable, or set PRODIGY_HOME to a directory that is.",
    )


def repo_key(common_dir: Path) -> str:
    """A directory name for a repository: its name for people, a hash of its place for certainty."""
    folder = common_dir.parent if common_dir.name == ".git" else common_dir
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name)[:40].strip(".-") or "repo"
    return f"{name}-{hashlib.sha256(os.fsencode(common_dir)).hexdigest()[:10]}"


def run_directory(run_id: str) -> Path:
    return home() / "runs" / run_id
