"""What we set our own refs to, so that another hand on them is noticed."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prodigy.git import files, refs

# More of a ref's file than any ref has.
_READ_LIMIT = 4096


@dataclass(frozen=True)
class Moved:
    """A ref that does not hold what we set it to. found: what it holds, None when it is gone; a damaged ref holds
    its text."""

    name: str
    ours: str
    found: str | None

    @property
    def commit(self) -> str | None:
        """The commit that somebody put there, if it is one."""
        return self.found if self.found is not None and refs.is_oid(self.found) else None


class RefLedger:
    """Our refs and the commits we set them to. It knows a ref once we have set or seen it.

    prefixes: where our refs are. apart: one of them that somebody else looks after. turn: held while refs are written,
    so that a ref and its line here are never seen apart.
    """

    def __init__(self, prefixes: tuple[str, ...], apart: str) -> None:
        self.turn = threading.RLock()
        self._prefixes = prefixes
        self._apart = apart
        self._held: dict[str, str] = {}
        self._has_seen = False

    @contextlib.contextmanager
    def writing(self, changes: Mapping[str, str | None]) -> Iterator[None]:
        """Refs are written in the block: name -> new commit, None when it goes. When that fails, nothing is known of
        them any more: git may have died behind the deed."""
        own = {name: oid for name, oid in changes.items() if self._is_ours(name)}
        with self.turn:
            for name in own:
                self._held.pop(name, None)
            yield
            self._held |= {name: oid for name, oid in own.items() if oid is not None}

    def see(self, common_dir: Path) -> None:
        """Take all of our refs as they are, but those that are known; once. No process."""
        if self._has_seen:
            return
        self._has_seen = True
        with self.turn:
            for prefix in self._prefixes:
                packed = refs.packed_refs(common_dir).items()
                for name, oid in (*_loose(common_dir, prefix.rstrip("/")), *packed):
                    if name.startswith(prefix) and self._is_ours(name) and refs.is_oid(oid):
                        self._held.setdefault(name, oid)

    def expect(self, name: str, commit: str) -> None:
        """Know of a ref from elsewhere that we had set it to this commit."""
        with self.turn:
            self._held[name] = commit

    def names(self) -> list[str]:
        """All refs it knows."""
        with self.turn:
            return list(self._held)

    def moved(self, common_dir: Path, names: Iterable[str]) -> list[Moved]:
        """Those of `names` that do not hold what we set them to. No process."""
        found = []
        for name in names:
            ours = self._held.get(name)
            if ours is None or _text(common_dir, name) == ours:
                continue
            with self.turn:  # perhaps we are only just writing it
                ours, text = self._held.get(name), _text(common_dir, name)
                if ours is not None and text != ours:
                    found.append(Moved(name, ours, text))
        return found

    def _is_ours(self, name: str) -> bool:
        return name.startswith(self._prefixes) and name != self._apart


def _text(common_dir: Path, name: str) -> str | None:
    """What a ref holds, symbolic ones not followed."""
    path = common_dir / name
    data = files.read_small(path, _READ_LIMIT)
    if data is not None:
        return os.fsdecode(data).strip()
    return refs.packed_refs(common_dir).get(name)


def _loose(common_dir: Path, below: str) -> Iterator[tuple[str, str]]:
    for directory, _, leaves in os.walk(common_dir / below):
        for leaf in leaves:
            path = Path(directory, leaf)
            name = str(path.relative_to(common_dir))
            data = None if path.is_symlink() else files.read_small(path, _READ_LIMIT)
            if data is not None and refs.is_ref_name(name):
                yield name, os.fsdecode(data).strip()
