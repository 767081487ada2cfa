"""What a step commits by itself when it has succeeded: `auto_commit` and `commit_config`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prodigy.engine.site import Site
from prodigy.errors import ProdigyError
from prodigy.executors.base import Snapshot
from prodigy.git.private import PrivateGit
from prodigy.workflow.commits import AUTHOR
from prodigy.workflow.interpolate import interpolate_text
from prodigy.workflow.model import Commit, Step
from prodigy.workflow.regex import found
from prodigy.workflow.shell.checks import unusable


async def commit_step(step: Step, site: Site, since: Snapshot) -> None:
    """Commit what the step left, and make one commit of all of its commits, as its policy says.

    since: the boundary before the step's first try. Raises ProdigyError when the message can't be filled in or the
    author is none.
    """
    commit = step.policy.commit
    if commit is None:
        return
    message = _message(step, commit, site)
    author = _author(commit, site)
    head = (await site.workspace.snapshot()).head
    if commit.auto:
        head = await site.workspace.commit_leftovers(message, only=_wanted(commit), author=author)
    if commit.squash and head != since.head:
        await site.workspace.squash(since.head, message, author)


async def unlike_pattern(step: Step, private: PrivateGit, since: Snapshot, after: Snapshot) -> str | None:
    """Why a commit of the step is not as `commit_config` wants it, or None."""
    commit = step.policy.commit
    if commit is None or commit.pattern is None or since.head == after.head:
        return None
    _, added = await asyncio.to_thread(private.commits_between, since.head, after.head)
    for oid in added:
        message = (await asyncio.to_thread(private.message, oid)).strip()
        if not found(commit.pattern, message):
            first = message.splitlines()[0] if message else ""
            return f"the commit {oid[:12]} has the message {first[:80]!r}, which does not match {commit.pattern!r}"
    return None


def _message(step: Step, commit: Commit, site: Site) -> str:
    if commit.message is None:
        return f"{step.label}\n"
    text = interpolate_text(commit.message, site.scope)
    if reason := unusable(text):
        raise ProdigyError(f"the message of a commit {reason}")
    return f"{text.rstrip()}\n"


def _author(commit: Commit, site: Site) -> dict[str, str] | None:
    if commit.author is None:
        return None
    text = interpolate_text(commit.author, site.scope)
    match = AUTHOR.fullmatch(text)
    if match is None or unusable(text):
        raise ProdigyError(f"the author of a commit must be `Name <mail>`, got {text[:80]!r}")
    return {"GIT_AUTHOR_NAME": match["name"], "GIT_AUTHOR_EMAIL": match["mail"]}


def _wanted(commit: Commit) -> Callable[[str], bool] | None:
    """Whether a path is to be committed, by patterns as in .gitignore; None: every path is."""
    if not commit.include and not commit.exclude:
        return None
    from pathspec import PathSpec  # few workflows have patterns

    include = PathSpec.from_lines("gitignore", commit.include or ("*",))
    exclude = PathSpec.from_lines("gitignore", commit.exclude)
    return lambda path: include.match_file(path) and not exclude.match_file(path)
