"""Commits that were made in a worktree and that its HEAD does not contain any more: amended, reset or rebased away.

Only the log of HEAD knows of them, and it goes when the worktree is made fresh. No process in the usual case, in which
each commit was made on top of the one before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from prodigy.git import files
from prodigy.git.private import PrivateGit

_READ_LIMIT = 1 << 20  # bytes
_LINE = re.compile(r"([0-9a-f]{40,64}) ([0-9a-f]{40,64}) [^\t]*(?:\t(.*))?")
# Moves to a commit that was there already.
_NO_COMMIT = re.compile(r"(checkout|reset|clone|[Bb]ranch|(?:pull|rebase).*\((start|finish|abort)\)|.*Fast-forward$)")
# Makes a commit in the place of the last one instead of on top of it.
_IN_PLACE_OF = re.compile(r"\((amend|squash|fixup)")


def made_there(git_dir: Path, head: str) -> list[str]:
    """The commits other than `head` that were made in the worktree with this git directory, the last of each line, as
    the log of HEAD tells it."""
    data = files.read_small(git_dir / "logs" / "HEAD", _READ_LIMIT) or b""
    moves = [found.groups() for line in os.fsdecode(data).split("\n") if (found := _LINE.fullmatch(line))]
    made = [(old, new, how or "") for old, new, how in moves if not _NO_COMMIT.match(how or "")]
    # Of commits on top of each other the last one stands for all.
    covered = {old for old, _, how in made if how and not _IN_PLACE_OF.search(how)}
    tops = dict.fromkeys(new for _, new, _ in made if new not in covered)
    return [commit for commit in tops if commit != head]


def abandoned(private: PrivateGit, others: Sequence[str], head: str) -> tuple[str, ...]:
    """Those of the commits that neither `head` nor another of them contains, in their order."""
    if not others or (len(others) == 1 and private.is_ancestor(others[0], head)):
        return ()
    apart = set(private.run("merge-base", "--independent", head, *others).text.split())
    return tuple(commit for commit in others if commit in apart)
