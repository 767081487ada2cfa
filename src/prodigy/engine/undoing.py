"""Putting guarded files of the shared repository back as they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from prodigy.engine.evidence import Evidence
from prodigy.git.guard import as_it_was
from prodigy.git.guarded import NOTHING, CannotPutBack, Kept, look, put_back


class Undoing:
    """Two steps, so that a crash between them loses nothing: `collect` the evidence, then `undo`.

    was: how the guarded files were. left: why a path could not be put back, by path.
    """

    def __init__(self, common: Path, was: Mapping[str, Kept], evidence: Evidence) -> None:
        self._common = common
        self._was = was
        self._evidence = evidence
        self._found: dict[str, Kept] = {}
        self.left: dict[str, str] = {}

    def collect(self, names: Iterable[str]) -> None:
        """Keep what is found at these paths, and at what stands where their directories should be."""
        for name in names:
            in_the_way = [str(part) for part in Path(name).parents if str(part) != "." and not self._is_directory(part)]
            for one in (*reversed(in_the_way), name):
                if one not in self._found and one not in self.left:
                    self._collect(one)

    def undo(self) -> None:
        """Put back what was collected: what was planted goes first, so that there is room for what was there."""
        planted = [name for name in self._found if self._before(name).kind == "absent"]
        missing = [name for name in self._found if name not in planted]
        for name in (*sorted(planted, key=_depth, reverse=True), *sorted(missing, key=_depth)):
            found = self._found[name]
            try:
                self._require_real_parents(name)
                put_back(self._common, name, as_it_was(self._before(name), found), found)
            except CannotPutBack as problem:
                self.left[name] = str(problem)

    def _collect(self, name: str) -> None:
        path, was = self._common / name, self._before(name)
        # What is behind a link that stands where its directory should be is none of ours.
        found = look(path) if self._has_real_parents(name) else NOTHING
        try:
            _require_ours(was, found)
            self._evidence.keep(name, was, found, path)
        except CannotPutBack as problem:
            self.left[name] = str(problem)
        else:
            self._found[name] = look(path) if found.kind == "directory" else found

    def _require_real_parents(self, name: str) -> None:
        if not self._has_real_parents(name):
            raise CannotPutBack("a link stands where its directory should be")

    def _has_real_parents(self, name: str) -> bool:
        return all(self._is_directory(part) for part in Path(name).parents if str(part) != ".")

    def _before(self, name: str) -> Kept:
        return self._was.get(name, NOTHING)

    def _is_directory(self, part: Path) -> bool:
        """Whether a real directory is there, or nothing, where one can be made."""
        return look(self._common / part).kind in ("directory", "absent")


def _require_ours(was: Kept, found: Kept) -> None:
    if found.kind == "link" and found.digest == was.digest:
        raise CannotPutBack("it is a link from before, and what it names was changed")


def _depth(name: str) -> int:
    return name.count("/")
