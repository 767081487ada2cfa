"""An executor that does everything as another one does, but starts processes otherwise: the base of simple plugins."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from prodigy.executors.base import DEFAULT_GRACE_S, Executor, Exit, ProcessSpec, ProcessState, Workspace
from prodigy.executors.furnishing import Lodging
from prodigy.git.snapshot import Snapshot

Change = Callable[[ProcessSpec, Workspace], ProcessSpec]


class WrappedExecutor:
    """`change` is applied to every process before it starts: it gets what is to be started and the workspace, and
    gives what is started in its place, e.g. with other words in front of `argv`."""

    def __init__(self, inner: Executor, change: Change) -> None:
        self._inner = inner
        self._change = change

    def expect(self, agents: int, items: int, lodging: Lodging | None = None) -> int:
        return self._inner.expect(agents, items, lodging)

    def remarks(self) -> list[str]:
        return self._inner.remarks()

    def lodges_for_long(self, slot: str) -> bool:
        return self._inner.lodges_for_long(slot)

    def used(self) -> list[str]:
        return self._inner.used()

    def reserve(self) -> str:
        return self._inner.reserve()

    def place(self, slot: str) -> Path:
        return self._inner.place(slot)

    async def open(self, slot: str, base: str) -> Workspace:
        return WrappedWorkspace(await self._inner.open(slot, base), self._change)

    def attach(self, slot: str) -> Workspace | None:
        found = self._inner.attach(slot)
        return None if found is None else WrappedWorkspace(found, self._change)

    def release(self, slot: str, next_base: str) -> None:
        self._inner.release(slot, next_base)

    def retire(self, slot: str) -> None:
        self._inner.retire(slot)

    async def discard(self, slot: str) -> None:
        await self._inner.discard(slot)

    async def end(self, executions: Collection[str]) -> None:
        await self._inner.end(executions)

    async def close(self, *, keep: Collection[str] | None) -> None:
        await self._inner.close(keep=keep)


class WrappedWorkspace:
    """The workspace of a `WrappedExecutor`."""

    def __init__(self, inner: Workspace, change: Change) -> None:
        self._inner = inner
        self._change = change

    @property
    def slot(self) -> str:
        return self._inner.slot

    @property
    def path(self) -> Path:
        return self._inner.path

    def directory(self, execution: str) -> Path:
        return self._inner.directory(execution)

    async def start(self, execution: str, spec: ProcessSpec) -> None:
        await self._inner.start(execution, self._change(spec, self._inner))

    def state(self, execution: str) -> ProcessState:
        return self._inner.state(execution)

    async def wait(self, execution: str) -> Exit | None:
        return await self._inner.wait(execution)

    async def stop(self, execution: str, grace_s: float = DEFAULT_GRACE_S) -> None:
        await self._inner.stop(execution, grace_s)

    async def kill_leftovers(self, execution: str) -> None:
        await self._inner.kill_leftovers(execution)

    async def fresh(self, commit: str) -> None:
        await self._inner.fresh(commit)

    def mark(self) -> str | None:
        return self._inner.mark()

    def set_mark(self, text: str) -> None:
        self._inner.set_mark(text)

    async def write(self, path: str, data: bytes) -> None:
        await self._inner.write(path, data)

    async def restore(self, boundary: Snapshot) -> None:
        await self._inner.restore(boundary)

    async def snapshot(self) -> Snapshot:
        return await self._inner.snapshot()

    async def is_same(self, one: Snapshot, other: Snapshot) -> bool:
        return await self._inner.is_same(one, other)

    async def untracked(self) -> frozenset[str]:
        return await self._inner.untracked()

    async def advance(self, commit: str, displaced: Path) -> tuple[str, ...]:
        return await self._inner.advance(commit, displaced)

    async def commit_leftovers(
        self,
        message: str,
        *,
        leave: frozenset[str] = frozenset(),
        only: Callable[[str], bool] | None = None,
        author: Mapping[str, str] | None = None,
    ) -> str:
        return await self._inner.commit_leftovers(message, leave=leave, only=only, author=author)

    async def squash(self, base: str, message: str, author: Mapping[str, str] | None = None) -> str:
        return await self._inner.squash(base, message, author)
