"""What the steps under `merge` may name: the run's branch, what is in it, and where it is going to."""

from __future__ import annotations

from pathlib import Path

from prodigy.engine.captures import Deferred
from prodigy.engine.run import Run
from prodigy.git.private import PrivateGit
from prodigy.workflow.formats import Names

_HEADS = "refs/heads/"
_FIELDS = ("id", "short_id", "author", "timestamp", "message")
_FORMAT = "%H%x1f%h%x1f%an%x1f%cI%x1f%s%x1e"


def merge_names(run: Run, worktree: Path) -> dict[str, object]:
    """`${merge.worktree}` and the others. Commits are those that the run branch has beyond its base."""
    row, tip = run.store.run(), run.merges.tip()
    ids = Deferred(lambda: Names(run.private.commits_between(row.base, tip)[1] if tip != row.base else ()))
    files = Deferred(lambda: Names(sorted(change.path for change in run.private.changed_paths(row.base, tip))))
    facts: dict[str, object] = {
        "worktree": str(worktree),
        "source_branch": row.branch.removeprefix(_HEADS),
        "target_branch": (row.target or "").removeprefix(_HEADS),
        "session_id": run.id,
        "commits": Deferred(lambda: _commits(run.private, ids())),
        "commit_count": Deferred(lambda: len(_sized(ids()))),
        "commit_ids": ids,
        "modified_files": Deferred(lambda: list(_sized(files()))),
        "file_count": Deferred(lambda: len(_sized(files()))),
        "file_list": files,
    }
    return {f"merge.{name}": value for name, value in facts.items()}


def _sized(value: object) -> Names:
    assert isinstance(value, Names)
    return value


def _commits(private: PrivateGit, ids: object) -> list[dict[str, str]]:
    wanted = _sized(ids)
    if not wanted:
        return []
    stdin = "".join(f"{oid}\n" for oid in wanted).encode()
    text = private.run("log", "--no-walk=unsorted", "--stdin", f"--format={_FORMAT}", stdin=stdin).text
    records = [record.strip("\n").split("\x1f") for record in text.split("\x1e") if record.strip("\n")]
    return [dict(zip(_FIELDS, record, strict=True)) for record in records]
