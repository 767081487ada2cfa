"""What git says of the work between two boundaries, for `${step.files_added}` and the like. Asked only when needed."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from prodigy.engine.captures import Deferred
from prodigy.executors.base import Snapshot
from prodigy.git.private import PrivateGit
from prodigy.workflow.formats import Names


class Changes:
    """The difference between two boundaries; uncommitted work counts, as its snapshot has it."""

    NAMES: ClassVar[tuple[str, ...]] = (
        *("files_added", "files_modified", "files_deleted", "files_changed"),
        *("commits", "commit_count", "insertions", "deletions"),
    )

    def __init__(self, private: PrivateGit, before: Snapshot, after: Snapshot) -> None:
        self._private = private
        self._before, self._after = before, after

    def names(self, prefix: str) -> dict[str, object]:
        """`step.files_added` and the others, each worked out when somebody asks. Reading one may raise GitError."""
        return {f"{prefix}.{name}": Deferred(lambda name=name: getattr(self, name)) for name in self.NAMES}  # type: ignore[misc]

    @property
    def files_added(self) -> Names:
        return self._with_status("A")

    @property
    def files_modified(self) -> Names:
        return self._with_status("MT")

    @property
    def files_deleted(self) -> Names:
        return self._with_status("D")

    @property
    def files_changed(self) -> Names:
        return self._with_status("AMTD")

    @cached_property
    def commits(self) -> Names:
        """The ids of the commits, oldest first."""
        if self._before.head == self._after.head:
            return Names(())
        return Names(self._private.commits_between(self._before.head, self._after.head)[1])

    def committed(self, pattern: str) -> Names:
        """The files that the commits add or change and that match a pattern as in .gitignore, sorted."""
        from pathspec import PathSpec  # few workflows have patterns

        if self._before.head == self._after.head:
            return Names(())
        changed = self._private.changed_paths(self._before.head, self._after.head)
        wanted = PathSpec.from_lines("gitignore", [pattern])
        return Names(sorted(c.path for c in changed if c.status != "D" and wanted.match_file(c.path)))

    @property
    def commit_count(self) -> int:
        return len(self.commits)

    @property
    def insertions(self) -> int:
        return self._lines[0]

    @property
    def deletions(self) -> int:
        return self._lines[1]

    def _with_status(self, letters: str) -> Names:
        return Names(sorted(path for path, status in self._files if status in letters))

    @cached_property
    def _files(self) -> list[tuple[str, str]]:
        old, new = _tree(self._before), _tree(self._after)
        return [] if old == new else [(c.path, c.status) for c in self._private.changed_paths(old, new)]

    @cached_property
    def _lines(self) -> tuple[int, int]:
        old, new = _tree(self._before), _tree(self._after)
        return (0, 0) if old == new else self._private.changed_lines(old, new)


def _tree(boundary: Snapshot) -> str:
    return boundary.commit or boundary.head
