"""Commits and trees as texts: for people, and for agents that are to understand what others did."""

from __future__ import annotations

from collections.abc import Sequence

from prodigy.git.private import PrivateGit
from prodigy.git.refs import full_oid

_MOST_COMMITS = 50


def patch(private: PrivateGit, old: str, new: str, limit: int, paths: Sequence[str] = ()) -> str:
    """The differences of two commits or trees as a diff, at most about `limit` bytes of it. paths: only these."""
    only = ("--", *(f":(literal){path}" for path in paths)) if paths else ()
    done = private.run("diff-tree", "-p", "--no-ext-diff", "--no-textconv", full_oid(old), full_oid(new), *only)
    if len(done.stdout) <= limit:
        return done.stdout.decode("utf-8", "replace")
    cut = done.stdout[:limit].rpartition(b"\n")[0].decode("utf-8", "replace")
    return f"{cut}\n[{len(done.stdout) - limit:,} more bytes]"


def log(private: PrivateGit, old: str, new: str) -> str:
    """The commits that `new` has and `old` has not, one a line, the newest first."""
    spec = f"{full_oid(old)}..{full_oid(new)}"
    return private.run(
        "log", "--no-merges", "--no-color", f"--max-count={_MOST_COMMITS}", "--format=%h %s", spec
    ).text.strip()


def merge_base(private: PrivateGit, one: str, other: str) -> str:
    """The best common ancestor of two commits that have one."""
    return private.run("merge-base", full_oid(one), full_oid(other)).line


def parents(private: PrivateGit, commit: str) -> list[str]:
    return private.run("rev-list", "--parents", "--max-count=1", full_oid(commit)).line.split()[1:]


def content(private: PrivateGit, tree: str, path: str) -> bytes | None:
    """What a file has in a commit or tree; None when there is none."""
    listed = private.run("ls-tree", "-z", "--full-tree", full_oid(tree), "--", f":(literal){path}").records()
    if not listed:
        return None
    kind, oid = listed[0].split("\t")[0].split(" ")[1:3]
    return private.run("cat-file", "blob", full_oid(oid)).stdout if kind == "blob" else None
