"""What of a worktree's work only the worktree has: commits that no ref reaches, changes that no commit has."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prodigy.engine import holding
from prodigy.git import alternates, clone
from prodigy.git.clone import PrivateClone
from prodigy.git.private import PrivateGit
from prodigy.git.repo import Repo
from prodigy.git.tree import PrivateTree


@dataclass(frozen=True)
class OnlyHere:
    """head: the commit at which the worktree stands, None when a ref reaches it. changes: a commit with what is not
    committed, None when there is nothing or a ref names a commit with the same files."""

    head: str | None = None
    changes: str | None = None

    @property
    def commits(self) -> tuple[str, ...]:
        """What needs a ref: the changes stand on the head, and so hold it."""
        return tuple(commit for commit in (self.changes or self.head,) if commit)


class _Aside(PrivateGit):
    """A private git directory whose new objects go beside the repository's, to look without leaving anything there."""

    @property
    def objects(self) -> Path:
        return self.directory / "objects"


def only_here(repo: Repo, git_dir: Path, path: Path, head: str, *, private: Path, index: Path, look: bool) -> OnlyHere:
    """What would be lost with the worktree at `path`. Nobody works in it.

    private: the private git directory of its run; without one the repository's settings of now count. index: where the
    worktree's private index is. look: write nothing but into a temporary directory; `changes` is then no commit that
    the repository has. Raises GitError and OSError.
    """
    is_clone = git_dir == clone.git_dir_of(path)
    collected = not is_clone or repo.run("cat-file", "-e", f"{head}^{{commit}}", ok=(0, 1, 128)).code == 0
    reached = collected and holding.is_reached(repo, head)
    known = head if collected else repo.resolve("HEAD") or head
    with _git_of(repo, known, private, look=look) as (git, own):
        directory = own / "index" if look or not private.is_dir() else index
        directory.mkdir(parents=True, exist_ok=True)
        tree = (PrivateClone if is_clone else PrivateTree)(git, path, git_dir, directory)
        commit = tree.snapshot().commit
        if commit is not None and git.tree_of(commit) in holding.trees(repo):
            commit = None
    return OnlyHere(None if reached else head, commit)


@contextmanager
def _git_of(repo: Repo, head: str, private: Path, *, look: bool) -> Iterator[tuple[PrivateGit, Path]]:
    """(git, a temporary directory beside it)"""
    with tempfile.TemporaryDirectory(prefix="prodigy-") as name:
        own = Path(name)
        if not look:
            known = private.is_dir()
            yield (PrivateGit.open(private, repo) if known else PrivateGit.create(own / "git", repo, head)), own
            return
        if private.is_dir():
            shutil.copytree(private, own / "git", ignore=shutil.ignore_patterns("slots"), symlinks=True)
        else:
            PrivateGit.create(own / "git", repo, head)
        found = PrivateGit.open(own / "git", repo)
        alternates.write(found.directory / "objects", repo.common_dir / "objects")
        yield _Aside(found.directory, repo, found.identity), own
