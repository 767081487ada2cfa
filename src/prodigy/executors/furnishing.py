"""What a worktree gets beside the files of its commit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prodigy.errors import EnvironmentProblem
from prodigy.git import files
from prodigy.git.tree import PrivateTree

# A note about a worktree, beside its index; gone when the worktree is made anew.
MARK = "mark"
READY = "ready"  # its setup has run


@dataclass(frozen=True)
class Furnishing:
    """What to put into a fresh worktree, and what to leave there.

    source: the checkout that `include` is copied from; include, keep_ignored: paths relative to a worktree. keep_all:
    everything that git ignores stays, but what is included is copied anew.
    """

    source: Path
    include: Sequence[str] = ()
    keep_ignored: Sequence[str] = ()
    keep_all: bool = False

    def tidy(self, tree: PrivateTree, likely: str) -> bool:
        """`PrivateTree.tidy`, of a worktree that gets nothing but its commit."""
        done = (
            not self.include
            and not self.keep_all
            and tree.tidy(likely, [files.exact_pattern(path) for path in self.keep_ignored])
        )
        if done:
            self._forget_setup(tree)
        return done

    def make_fresh(self, tree: PrivateTree, commit: str) -> None:
        """Make the worktree `commit` and nothing else but what is kept and included. Raises EnvironmentProblem."""
        self._forget_setup(tree)
        if self.keep_all:
            self._remove_included(tree.work_tree)
        tree.fresh(commit, [files.exact_pattern(path) for path in self.keep_ignored], keep_all=self.keep_all)
        for path in self.include:
            try:
                _copy(self.source / path, tree.work_tree, path, tree.directory / "include.part")
            except OSError as error:
                raise EnvironmentProblem(
                    f"`workspace.include`: {path} can't be copied into a worktree: {error}",
                    where=str(self.source),
                    hint="Make it readable, or take it out of the list.",
                ) from error

    def _remove_included(self, root: Path) -> None:
        """What an earlier item did to a copy is not for the next one."""
        for path in self.include:
            target = root / path
            if target.parent.resolve().is_relative_to(root.resolve()):
                files.remove(target)

    def _forget_setup(self, tree: PrivateTree) -> None:
        """When nothing of what setup made is kept, the worktree was gone, or setup was not over, it runs again."""
        mark = tree.directory / MARK
        keeps = self.keep_all or bool(self.keep_ignored)
        if not (keeps and tree.work_tree.is_dir() and (files.read_small(mark) or b"").startswith(READY.encode())):
            mark.unlink(missing_ok=True)


NOTHING_MORE = Furnishing(Path())


@dataclass(frozen=True)
class Lodging:
    """How the worktrees of a fan-out's items are had.

    fresh: every attempt gets a new one, which is gone behind it. name: they are those with this name, which stay for
    other runs. clone: they are clones with git directories of their own. total: how many there may be on this machine,
    of all runs. max_disk_mb, min_free_disk_mb: what those of the run may take together, and what must be free to make
    one; None: no limit of its own.
    """

    furnishing: Furnishing = NOTHING_MORE
    fresh: bool = False
    name: str | None = None
    clone: bool = False
    total: int | None = None
    per_run: int | None = None
    max_disk_mb: int | None = None
    min_free_disk_mb: int | None = None


def _copy(source: Path, root: Path, path: str, part: Path) -> None:
    """Copy a file or a directory, links as links; a link in the worktree is never followed out of it.

    part: a place outside of the worktree, from where the copy is moved when it is whole.
    """
    target = root / path
    if not source.exists() or files.lexists(target):
        return  # it was there when the run began; or the commit has it by now, or it was kept
    if not target.parent.resolve().is_relative_to(root.resolve()):
        return  # a merged item has put a link there that leads out
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        return  # a merged item has put something else in its place
    if not target.parent.resolve().is_relative_to(root.resolve()):
        return  # or a link that leads out
    files.remove(part)
    if source.is_dir():
        shutil.copytree(source, part, symlinks=True)
    else:
        shutil.copy2(source, part, follow_symlinks=True)
    shutil.move(part, target)
