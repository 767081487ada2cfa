"""Bringing a run's result into the user's branch and checkout without losing anything of the user's.

Only the mechanics: the caller stores the plan first, calls `apply`, moves the branch by a compare-and-swap,
and calls `finish` after a crash in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prodigy.git import worktrees
from prodigy.git.checkout import (
    ABSENT,
    GITLINK,
    Checkout,
    CheckoutNotReady,
    Scratch,
    locked_index,
    new_sides,
    old_sides,
    require_ready,
    scratch_index,
)
from prodigy.git.command import GitError
from prodigy.git.merge import Conflict, merge
from prodigy.git.obstacles import PathsInTheWay, in_the_way, untracked_in_the_way
from prodigy.git.private import Change, PrivateGit
from prodigy.git.repo import Repo

__all__ = [
    "Checkout",
    "CheckoutNotReady",
    "FinalConflict",
    "FinalPlan",
    "UpToDate",
    "apply",
    "checked_out_at",
    "finish",
    "obstacles",
    "plan_final",
]


@dataclass(frozen=True)
class FinalPlan:
    """The target moves from `old` to `new`, which changes `paths`."""

    old: str
    new: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class UpToDate:
    """The target already contains the run. tip: the target's commit."""

    tip: str


@dataclass(frozen=True)
class FinalConflict:
    """The target has moved since the run began, and these paths conflict. message: what git says of them."""

    paths: tuple[str, ...]
    message: str


def plan_final(
    private: PrivateGit, repo: Repo, target: str, run_tip: str, message: str
) -> FinalPlan | UpToDate | FinalConflict:
    """Compute the final merge in memory: a fast-forward where possible, else a merge commit with `message`.

    target: full name of the user's branch. Raises GitError when it does not exist.
    """
    old = repo.read_ref(target)
    if old is None:
        raise GitError("the target branch does not exist", where=target)
    if private.is_ancestor(run_tip, old):
        return UpToDate(old)
    if private.is_ancestor(old, run_tip):
        new = run_tip
    else:
        result = merge(private, old, run_tip)
        if isinstance(result, Conflict):
            return FinalConflict(result.paths, result.message)
        new = private.commit(result.tree, [old, run_tip], message)
    return FinalPlan(old, new, tuple(change.path for change in private.changed_paths(old, new)))


def checked_out_at(repo: Repo, ref: str) -> Checkout | None:
    """The checkout, main or linked, that has `ref` checked out or is in the middle of rebasing it.

    No process.
    """
    for worktree in worktrees.listed(repo):
        if worktree.branch == ref:
            return Checkout(worktree.root, worktree.git_dir)
    return None


def obstacles(private: PrivateGit, checkout: Checkout, plan: FinalPlan) -> list[str]:
    """What the plan would overwrite: edited and staged paths, and files, ignored ones too, where it adds one.

    Raises CheckoutNotReady when that cannot be told, e.g. in the middle of a rebase.
    """
    require_ready(private, checkout)
    changes = private.changed_paths(plan.old, plan.new)
    olds = old_sides(changes)
    with scratch_index(private, checkout) as scratch:
        found = scratch.staged_unlike(olds) | scratch.differing(olds)
    return sorted(found.union(untracked_in_the_way(checkout.path, changes)))


def apply(private: PrivateGit, checkout: Checkout, plan: FinalPlan) -> None:
    """Move the checkout's files and index from `plan.old` to `plan.new` and keep all else; no ref is moved.

    Raises PathsInTheWay with nothing touched. Killed in between, `finish` completes it.
    """
    found = obstacles(private, checkout, plan)
    if found:
        raise PathsInTheWay(found, checkout.path)
    with locked_index(checkout), scratch_index(private, checkout) as scratch:
        # What was only touched since git last looked is no change, but `read-tree` would take it for one.
        scratch.run("update-index", "-q", "--refresh", ok=(0, 1))
        scratch.run("read-tree", "-m", "-u", plan.old, plan.new)
        scratch.install()


def finish(private: PrivateGit, repo: Repo, path: Path, old: str, new: str) -> None:
    """Complete an `apply` in the checkout at `path`, wherever it was cut off: before it began, in between, at
    its end.

    Every changed path must be as in `old` or as in `new`, in the files and in the index. A file that is
    missing, or that is the beginning of the new one, is as good: nothing is lost with it. Raises
    PathsInTheWay with the others, and CheckoutNotReady; nothing is touched then.
    """
    checkout = _checkout(repo, path)
    require_ready(private, checkout)
    changes = private.changed_paths(old, new)
    with locked_index(checkout), scratch_index(private, checkout) as scratch:
        strange = _neither_old_nor_new(scratch, changes)
        if strange:
            raise PathsInTheWay(strange, checkout.path)
        scratch.set_entries(new_sides(changes))
        for change in changes:
            if change.status == "D" and change.old_mode != GITLINK:
                scratch.remove_file(change.path)
        written = [side.path for side in new_sides(changes) if side.mode not in (ABSENT, GITLINK)]
        scratch.checkout_files(written)
        scratch.install()


def _neither_old_nor_new(scratch: Scratch, changes: Sequence[Change]) -> list[str]:
    olds, news = old_sides(changes), new_sides(changes)
    staged = scratch.staged_unlike(olds) & scratch.staged_unlike(news)
    edited = scratch.differing(olds) & scratch.differing(news)
    replaceable = {side.path for side in news if side.path in edited and scratch.is_written_in_part(side)}
    present = [side.path for side in news if side.mode != ABSENT]
    others = set(in_the_way(scratch.checkout.path, present, changes)) - {side.path for side in news}
    return sorted(staged | (edited - replaceable) | others)


def _checkout(repo: Repo, path: Path) -> Checkout:
    for worktree in worktrees.listed(repo):
        if worktree.root == path:
            return Checkout(worktree.root, worktree.git_dir)
    raise CheckoutNotReady("there is no checkout of the repository any more", where=str(path))
