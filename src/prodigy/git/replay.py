"""Other ways to bring commits onto a branch than a merge commit: one after another, or all in one. In memory."""

from __future__ import annotations

from collections.abc import Mapping

from prodigy.git import showing
from prodigy.git.merge import Merged, merge
from prodigy.git.private import PrivateGit


def squashed(private: PrivateGit, onto: str, head: str, tree: str, message: str) -> str:
    """One commit on top of `onto` that has the files of `tree`, by the author of `head`."""
    return private.commit(tree, (onto,), message, author_of(private, head))


def rebased(private: PrivateGit, onto: str, base: str, head: str, tree: str) -> str | None:
    """The commits from `base` up to `head`, each made again on top of `onto`; those that change nothing there are left
    out. None when that can't be done, or does not end in `tree`, which is what merging gives: there are merges among
    them, or one by one they conflict."""
    _, commits = private.commits_between(base, head)
    before, tip = base, onto
    for commit in commits:
        if showing.parents(private, commit) != [before]:
            return None
        if before != tip:
            picked = _picked(private, tip, commit, before)
            if picked is None:
                return None
            tip = picked
        else:
            tip = commit
        before = commit
    return tip if private.tree_of(tip) == tree else None


def _picked(private: PrivateGit, onto: str, commit: str, parent: str) -> str | None:
    """The commit made again on top of `onto`, which itself where it changes nothing; None when it conflicts."""
    # Git merges what has a common ancestor: with this one on our side, that is the commit's parent.
    ours = private.commit(private.tree_of(onto), (parent,), "ours\n")
    found = merge(private, ours, commit)
    if not isinstance(found, Merged):
        return None
    if found.tree == private.tree_of(onto):
        return onto
    return private.commit(found.tree, (onto,), private.message(commit), author_of(private, commit))


def author_of(private: PrivateGit, commit: str) -> Mapping[str, str]:
    """GIT_AUTHOR_* of a commit."""
    name, mail, date = private.run("log", "-1", "--no-show-signature", "--format=%an%n%ae%n%at %ad", "--date=format:%z",
                                   commit).text.split("\n")[:3]  # fmt: skip
    return {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": mail, "GIT_AUTHOR_DATE": date}
