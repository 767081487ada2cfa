"""What a worktree looked like when nobody worked in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prodigy.git.command import GitError


@dataclass(frozen=True)
class Snapshot:
    """The state of a workspace at a step's end.

    head: the commit that HEAD names. commit: a commit holding the dirty tree on top of `head`, or None when
    the tree is clean. left_out: paths that were too large, no plain files or repositories of their own, and
    so are not in `commit`. abandoned: commits that were made here and that `head` does not contain. unfinished: the git
    operation that was left half done, e.g. `a merge`; None when there is none.
    """

    head: str
    commit: str | None
    left_out: tuple[str, ...] = ()
    abandoned: tuple[str, ...] = field(default=(), compare=False)
    unfinished: str | None = field(default=None, compare=False)


class UnreadableTree(GitError):
    """The files of a worktree can't be read. boundary: its commits, which can."""

    def __init__(self, error: GitError, boundary: Snapshot) -> None:
        super().__init__(error.what, argv=error.argv, code=error.code, stderr=error.stderr, where=error.where)
        self.boundary = boundary


@dataclass
class LastLook:
    """What a look at all files found.

    differing: path -> state as `git status` tells it, of what differed from the commit the private index stands
    at, if it still stands there and nobody has worked in the tree since; None when that is not known.
    """

    differing: Mapping[str, str] | None = None
