"""Merging two commits in memory: neither an index nor a work tree is touched."""

from __future__ import annotations

import os
from dataclasses import dataclass

from prodigy.git.command import GitError
from prodigy.git.private import PrivateGit
from prodigy.git.refs import full_oid, is_oid

_CLEAN, _CONFLICT, _REFUSED = 0, 1, 128


@dataclass(frozen=True)
class Merged:
    """The merge is clean; `tree` holds its result."""

    tree: str


@dataclass(frozen=True)
class Conflict:
    """The merge needs a decision.

    paths: that conflict. message: what git says of them. tree: the result so far, with conflict markers in
    these paths.
    """

    paths: tuple[str, ...]
    message: str
    tree: str


class UnrelatedHistories(GitError):
    """The two commits have no ancestor in common, so git does not merge them."""


def merge(private: PrivateGit, ours: str, theirs: str, base: str | None = None) -> Merged | Conflict:
    """Merge the commit `theirs` into the commit `ours`.

    base: their common ancestor, when the caller knows it; spares the merge when it is `ours`.
    Raises UnrelatedHistories.
    """
    for oid in (ours, theirs):
        full_oid(oid)
    if ours in (base, theirs):
        return Merged(private.tree_of(theirs))
    what = ("merge-tree", "--write-tree", "-z", "--name-only", "--messages", ours, theirs)
    done = private.run(*what, ok=(_CLEAN, _CONFLICT, _REFUSED))
    if done.code == _REFUSED:
        kind = UnrelatedHistories if "unrelated histories" in done.stderr else GitError
        raise kind(
            f"git merge-tree failed: {done.stderr.strip()}", argv=("git", *what), code=done.code, stderr=done.stderr
        )
    tree, _, rest = done.stdout.partition(b"\0")
    if not is_oid(os.fsdecode(tree)):
        # An unknown commit also ends with status 1, but then there is no tree.
        message = f"git merge-tree found no commit: {done.stderr.strip()}"
        raise GitError(message, argv=("git", "merge-tree", ours, theirs), code=done.code, stderr=done.stderr)
    if done.code == _CLEAN:
        return Merged(os.fsdecode(tree))
    names, _, messages = rest.partition(b"\0\0")
    paths = tuple(os.fsdecode(name) for name in names.split(b"\0") if name)
    return Conflict(paths, _text(messages), os.fsdecode(tree))


def _text(messages: bytes) -> str:
    """The sentences of git's messages, each given as: number of paths, paths, kind, sentence."""
    fields = [os.fsdecode(part) for part in messages.split(b"\0")]
    sentences = []
    position = 0
    while position < len(fields) and fields[position].strip().isdecimal():
        sentence_at = position + int(fields[position]) + 2
        sentences += fields[sentence_at : sentence_at + 1]
        position = sentence_at + 1
    return "".join(sentences).rstrip()
