"""Workspaces in which every step has ended as soon as it starts: no process, no git, no files.

What is left is the engine's own cost of an item. Repository and private git directory are null as well; the merge
queue on top of them is the real one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prodigy.executors.base import DEFAULT_GRACE_S, Exit, ProcessSpec, ProcessState, Snapshot
from prodigy.executors.furnishing import Lodging
from prodigy.git.command import Completed
from prodigy.git.private import PrivateGit
from prodigy.git.repo import RefChange, Repo

_commits = itertools.count(1)


def _new_oid() -> str:
    return f"{next(_commits):040x}"


@dataclass
class NullWorkspace:
    """Each step makes one commit, which takes no time."""

    slot: str
    path: Path
    head: str
    noted: str | None = None

    def directory(self, execution: str) -> Path:
        return self.path / execution

    async def start(self, execution: str, spec: ProcessSpec) -> None:  # noqa: ARG002
        self.head = _new_oid()

    def state(self, execution: str) -> ProcessState:  # noqa: ARG002
        return ProcessState.FINISHED

    async def wait(self, execution: str) -> Exit | None:  # noqa: ARG002
        return Exit(code=0, reason="exited", started_at=0.0, duration_s=0.0)

    async def stop(self, execution: str, grace_s: float = DEFAULT_GRACE_S) -> None: ...

    async def kill_leftovers(self, execution: str) -> None: ...

    async def fresh(self, commit: str) -> None:
        self.head = commit

    def mark(self) -> str | None:
        return self.noted

    def set_mark(self, text: str) -> None:
        self.noted = text

    async def write(self, path: str, data: bytes) -> None: ...

    async def restore(self, boundary: Snapshot) -> None:
        self.head = boundary.head

    async def snapshot(self) -> Snapshot:
        return Snapshot(self.head, None)

    async def is_same(self, one: Snapshot, other: Snapshot) -> bool:
        return one == other

    async def untracked(self) -> frozenset[str]:
        return frozenset()

    async def advance(self, commit: str, displaced: Path) -> tuple[str, ...]:  # noqa: ARG002
        self.head = commit
        return ()

    async def commit_leftovers(
        self,
        message: str,  # noqa: ARG002
        *,
        leave: frozenset[str] = frozenset(),  # noqa: ARG002
        only: Callable[[str], bool] | None = None,  # noqa: ARG002
        author: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> str:
        return self.head

    async def squash(self, base: str, message: str, author: Mapping[str, str] | None = None) -> str:  # noqa: ARG002
        return self.head


class NullExecutor:
    """Slots without anything behind them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._free: list[str] = []
        self._count = 0

    def expect(self, agents: int, items: int, lodging: Lodging | None = None) -> int:  # noqa: ARG002
        return agents

    def remarks(self) -> list[str]:
        return []

    def lodges_for_long(self, slot: str) -> bool:  # noqa: ARG002
        return False

    def used(self) -> list[str]:
        return []

    def place(self, slot: str) -> Path:
        return self._path / slot

    def retire(self, slot: str) -> None: ...

    async def discard(self, slot: str) -> None: ...

    def reserve(self) -> str:
        if self._free:
            return self._free.pop()
        self._count += 1
        return f"s{self._count}"

    async def open(self, slot: str, base: str) -> NullWorkspace:
        return NullWorkspace(slot, self._path, base)

    def attach(self, slot: str) -> NullWorkspace | None:  # noqa: ARG002
        return None

    def release(self, slot: str, next_base: str) -> None:  # noqa: ARG002
        self._free.append(slot)

    async def end(self, executions: Collection[str]) -> None: ...

    async def close(self, *, keep: Collection[str] | None) -> None: ...


@dataclass(frozen=True)
class NullRepo(Repo):
    """Refs in a dictionary; only what guards the shared directory still reads files of it."""

    held: dict[str, str] = field(default_factory=dict, compare=False)

    def read_ref(self, name: str) -> str | None:
        return self.held.get(name)

    def update_refs(
        self,
        changes: Sequence[RefChange],
        message: str = "",  # noqa: ARG002
        identity: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> None:
        for change in changes:
            if change.new is None:
                self.held.pop(change.name, None)
            else:
                self.held[change.name] = change.new


@dataclass(frozen=True)
class NullPrivate(PrivateGit):
    """Every merge is clean and every history is straight."""

    def run(self, *args: str, **options: object) -> Completed:  # noqa: ARG002
        return Completed(0, f"{_new_oid()}\0".encode(), "")

    def tree_of(self, commit: str) -> str:
        return commit

    def commit(
        self,
        tree: str,  # noqa: ARG002
        parents: Sequence[str],  # noqa: ARG002
        message: str,  # noqa: ARG002
        identity: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> str:
        return _new_oid()

    def commits_between(self, old: str, new: str) -> tuple[tuple[str, ...], tuple[str, ...]]:  # noqa: ARG002
        return (), (new,)

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:  # noqa: ARG002
        return True
