"""The guarded files of the shared repository: what somebody did to them is found, kept as evidence, and put back."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from prodigy.engine import put_back_log
from prodigy.engine.evidence import Evidence
from prodigy.engine.remembered import Remembered
from prodigy.engine.undoing import Undoing
from prodigy.faults import point
from prodigy.git import guard, guarded
from prodigy.git.guard import Fingerprint
from prodigy.git.guarded import Kept
from prodigy.git.repo import Repo

_T = TypeVar("_T")


@dataclass(frozen=True)
class Find:
    """What a look at the shared repository found. tampered: in words; empty when nothing was. left: what of it could
    not be put back. moved: what the user may have done. taken_over: what another run did for good reasons."""

    tampered: tuple[str, ...]
    left: tuple[str, ...]
    moved: tuple[str, ...]
    taken_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """A worktree of ours and its directory in the repository: the two files that tie it to the worktree."""

    work_tree: Path
    git_dir: Path

    def expected(self, common: Path) -> dict[str, Kept]:
        """The files as they must be."""
        texts = {"gitdir": f"{self.work_tree}/.git\n", "commondir": "../..\n"}
        return {str(Path(self.git_dir.relative_to(common), name)): _file(text) for name, text in texts.items()}


class SharedFiles:
    """Remembers how the guarded files were, in memory and in the run's directory. No git process.

    prefix: what the run's branches begin with. stashed: the entries of the stash, remembered with them. at_work:
    whether agents are.
    """

    def __init__(self, repo: Repo, directory: Path, prefix: str) -> None:
        self._repo = repo
        self._prefix = prefix
        self._directory = directory
        self._before = Fingerprint({}, {}, {})
        self._kept: dict[str, Kept] = {}
        self.stashed: frozenset[str] = frozenset()
        self.at_work = False

    def remember(self) -> None:
        """Take everything as it is."""
        self._before = self._observe()
        self._kept = guard.keep(self._repo, self._before)
        self.stashed = guard.stashes(self._repo)
        self.save()

    def save(self) -> None:
        """Leave to a later coordinator what it has to know."""
        settings = tuple(self._before.settings)
        now = Remembered(str(self._repo.common_dir), self._kept, settings, self.stashed, self.at_work)
        now.write(self._directory)

    def go_on(self, saved: Remembered, agents_ended: float) -> tuple[str, ...]:
        """Take everything as it is, but what agents did while nobody looked: that is found later, as if it happened
        then. What else changed since the last look is returned, in words.

        saved: how things were at the last look. agents_ended: when the last agent at work ended, seconds since the
        epoch.
        """
        now = self._observe()
        then = guard.fingerprint(saved.files, saved.settings, now.movable)
        files = guard.differences(then, now).files
        blamed = {name for name in files if saved.at_work and not self._is_younger(name, agents_ended)}
        self._kept = guard.keep(self._repo, now) | {name: saved.files.get(name, guarded.NOTHING) for name in blamed}
        self._before = Fingerprint(
            _with(now.guarded, then.guarded, blamed), _with(now.settings, then.settings, blamed), now.movable
        )
        self.stashed = saved.stashed
        self.save()
        return guard.differences(then, self._before).tampered

    def settle(self, evidence: Evidence, links: Collection[Link]) -> Find:
        """Look, keep what is found as evidence, and put it back."""
        common = self._repo.common_dir
        after = self._observe()
        taken_over = self._take_over(after)
        found = guard.differences(self._before, after)
        self._before = replace(self._before, movable=after.movable)
        expected = self._broken(links)
        names = [*found.files, *expected]
        words = (*found.tampered, *(f"{name} was changed" for name in expected))
        if not names:
            heads = [name for name in self._kept if name.rpartition("/")[2] == "HEAD"]
            self._kept |= {name: guarded.look(common / name) for name in heads}  # the user may move it
            return Find(evidence.earlier, (), found.moved, taken_over)
        undoing = Undoing(common, {**self._kept, **expected}, evidence)
        undoing.collect(names)
        words = evidence.record(words)
        point("tampering:found")
        undoing.undo()
        left = tuple(f"{name} ({why})" for name, why in sorted(undoing.left.items()))
        evidence.record((), left)
        back = [name for name in names if name not in undoing.left]
        put_back_log.note(common, {name: guarded.look(common / name).digest for name in back})
        if undoing.left:
            self._accept(undoing.left)
        point("tampering:put_back")
        return Find(words, left, found.moved, taken_over)

    def _observe(self) -> Fingerprint:
        return guard.observe(self._repo, (), branch_prefix=self._prefix)

    def _take_over(self, after: Fingerprint) -> tuple[str, ...]:
        """What another run put back as it was before its own agents began."""
        found = guard.differences(self._before, after)
        if not found.files:
            return ()
        known = put_back_log.noted(self._repo.common_dir)
        names = [
            name
            for name in found.files
            if put_back_log.is_noted(known, name, guarded.look(self._repo.common_dir / name).digest)
        ]
        return self._accept(names) if names else ()

    def _accept(self, names: Collection[str]) -> tuple[str, ...]:
        """From now on these are as they should be. What changed by that, in words."""
        before = self._before
        for name in names:
            self._kept[name] = guarded.look(self._repo.common_dir / name)
        now = self._observe()
        self._before = Fingerprint(
            _with(before.guarded, now.guarded, names), _with(before.settings, now.settings, names), before.movable
        )
        self.save()
        return guard.differences(before, self._before).tampered

    def _broken(self, links: Collection[Link]) -> dict[str, Kept]:
        """Files of worktrees in use that are not as they must be, and how they must be. Whoever removes a worktree
        whole harms itself."""
        common = self._repo.common_dir
        found = {}
        for link in (link for link in links if link.git_dir.is_dir() and not link.git_dir.is_symlink()):
            for name, must in link.expected(common).items():
                now = guarded.look(common / name)
                if (now.kind, now.data) != (must.kind, must.data):
                    found[name] = must
        return found

    def _is_younger(self, name: str, than: float) -> bool:
        """Whether a file was changed, or removed from its directory, after that time: agents can't set this clock."""
        path = self._repo.common_dir / name
        for place in (path, *path.parents):
            try:
                return place.lstat().st_ctime > than
            except (FileNotFoundError, NotADirectoryError):
                continue
        return False


def _with(base: Mapping[str, _T], other: Mapping[str, _T], names: Collection[str]) -> dict[str, _T]:
    """`base`, but for these names what `other` has."""
    found = {name: value for name, value in base.items() if name not in names}
    return found | {name: other[name] for name in names if name in other}


def _file(text: str) -> Kept:
    data = os.fsencode(text)
    return Kept("file", 0o644, len(data), data, "")
