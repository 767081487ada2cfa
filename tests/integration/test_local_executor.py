"""The pool of worktrees: reused, exact, one more than agents in flight."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from git_support import World, files_in, make_world
from prodigy.executors.local import LocalExecutor
from prodigy.executors.processes import Processes
from prodigy.git import worktrees


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def pool(world: World, tmp_path: Path, in_use: tuple[str, ...] = ()) -> LocalExecutor:
    private = world.private()
    return LocalExecutor(private.repo, private, Processes(tmp_path / "steps"), tmp_path / "trees", "r1", in_use)


def tracked(root: Path) -> set[str]:
    return {name for name in files_in(root) if name != ".git"}


def test_a_used_worktree_comes_back_without_a_trace_of_the_last_item(world: World, tmp_path: Path) -> None:
    async def use() -> None:
        executor = pool(world, tmp_path)
        base = world.head()
        executor.expect(1, 1)
        slot = executor.reserve()
        first = await executor.open(slot, base)
        before = files_in(first.path)
        (first.path / "left.txt").write_text("x")
        (first.path / "ignored.log").write_text("x")
        executor.release(slot, base)
        again = await executor.open(executor.reserve(), base)
        assert again.path == first.path
        assert files_in(again.path) == before
        await executor.close(keep=set())

    asyncio.run(use())
    assert len(worktrees.listed(world.repo())) == 1


def test_a_ready_worktree_steps_forward_to_a_newer_base(world: World, tmp_path: Path) -> None:
    async def use() -> None:
        executor = pool(world, tmp_path)
        old = world.head()
        executor.expect(1, 5)
        slot = executor.reserve()
        await executor.open(slot, old)
        executor.release(slot, old)
        await asyncio.wait(list(executor._going.values()))
        new = world.commit({"new.txt": "new", "sub/other.txt": "x"})
        workspace = await executor.open(executor.reserve(), new)
        assert workspace.slot == slot
        assert {"new.txt", "sub/other.txt"} <= tracked(workspace.path)
        assert (await workspace.snapshot()).commit is None
        assert world.git("-C", str(workspace.path), "status", "--porcelain") == ""
        await executor.close(keep=set())

    asyncio.run(use())


def test_there_is_one_worktree_more_than_agents_only_when_more_items_wait(world: World, tmp_path: Path) -> None:
    async def use(agents: int, items: int) -> int:
        executor = pool(world, tmp_path)
        executor.expect(agents, items)
        base = world.head()
        for _ in range(items):
            slot = executor.reserve()
            await executor.open(slot, base)
            executor.release(slot, base)
        count = len(worktrees.listed(world.repo())) - 1
        await executor.close(keep=set())
        return count

    assert asyncio.run(use(1, 1)) == 1
    assert asyncio.run(use(1, 6)) <= 2
    assert asyncio.run(use(2, 9)) <= 3


def test_a_slot_of_an_earlier_coordinator_is_not_given_away(world: World, tmp_path: Path) -> None:
    async def first() -> str:
        executor = pool(world, tmp_path)
        slot = executor.reserve()
        workspace = await executor.open(slot, world.head())
        (workspace.path / "precious.txt").write_text("work in progress")
        await executor.close(keep=None)
        return slot

    async def second(slot: str) -> None:
        executor = pool(world, tmp_path, in_use=(slot,))
        assert executor.reserve() != slot
        workspace = executor.attach(slot)
        assert workspace is not None
        assert (workspace.path / "precious.txt").read_text() == "work in progress"
        await executor.close(keep=set())

    asyncio.run(second(asyncio.run(first())))


def test_a_workspace_that_is_gone_cannot_be_attached(world: World, tmp_path: Path) -> None:
    assert pool(world, tmp_path, in_use=("s1",)).attach("s1") is None
