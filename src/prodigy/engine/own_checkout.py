"""The user's checkout while agents work: what changes is told, never undone: it may be the user's work."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from prodigy.engine.run import Run
from prodigy.git import config
from prodigy.git.command import GitError
from prodigy.git.context import checkout_status
from prodigy.state import events as ev

_NAMED = 5
_MOST = 1000  # paths whose size and time are looked at

# What is uncommitted: path -> what the file looked like.
State = Mapping[str, tuple[int, int] | None]


class OwnCheckout:
    """Compares what is uncommitted in the user's checkout with the last look. One git process a look."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._entries: list[config.Entry] | None = None
        self._last: State | None = None

    async def start(self) -> None:
        """Remember how it is, if it is not remembered yet."""
        if self._last is None:
            self._last = await asyncio.to_thread(self._look)

    async def tell(self) -> None:
        """Warn of what changed since the last look."""
        now = await asyncio.to_thread(self._look)
        if now is None or self._last is None:
            return
        before, self._last = self._last, now
        changed = sorted(path for path in before.keys() | now.keys() if before.get(path, ()) != now.get(path, ()))
        if changed:
            more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
            what = f"while agents worked, your checkout changed: {', '.join(changed[:_NAMED])}{more}"
            self._run.store.record(ev.Warned(message=f"{what}; if that was not you, look at `git status`"))

    def _look(self) -> State | None:
        """None when git can't tell."""
        repo = self._run.repo
        try:
            head = repo.head().oid
            if head is None:
                return None
            if self._entries is None:
                self._entries = config.read(repo)
            paths = checkout_status(repo, head, self._entries)
        except (GitError, OSError):
            return None
        return {path: _facts(repo.root / path) if number < _MOST else None for number, path in enumerate(paths)}


def _facts(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
