"""Worktrees of ours beside worktrees of the user."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from git_support import World, make_world
from prodigy.git import repo as repo_module
from prodigy.git import worktrees
from prodigy.git.command import GitError
from prodigy.git.repo import Repo


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def test_a_worktree_is_added_empty_detached_and_locked(world: World) -> None:
    path = world.space / "wörk trees" / "s1"
    git_dir = worktrees.add(world.repo(), path, world.head())
    assert git_dir == world.root / ".git/worktrees/s1"
    assert [entry.name for entry in path.iterdir()] == [".git"]
    assert (git_dir / "HEAD").read_text() == f"{world.head()}\n"
    path.rename(world.space / "away")
    world.git("worktree", "prune", "--expire", "now")
    assert git_dir.exists()


def test_a_name_that_is_taken_gets_another_place(world: World) -> None:
    first = worktrees.add(world.repo(), world.space / "a" / "s1", world.head())
    second = worktrees.add(world.repo(), world.space / "b" / "s1", world.head())
    assert first != second
    worktrees.remove(world.repo(), world.space / "a" / "s1", first)
    assert second.exists()
    assert not first.exists()


def test_a_place_in_use_is_refused(world: World) -> None:
    worktrees.add(world.repo(), world.space / "s1", world.head())
    with pytest.raises(GitError, match="already exists"):
        worktrees.add(world.repo(), world.space / "s1", world.head())
    with pytest.raises(GitError, match="full object id"):
        worktrees.add(world.repo(), world.space / "s2", "main")


def test_a_path_through_a_link_is_the_path_that_git_writes(world: World) -> None:
    (world.space / "real").mkdir()
    (world.space / "link").symlink_to(world.space / "real")
    git_dir = worktrees.add(world.repo(), world.space / "link" / "s1", world.head())
    worktrees.remove(world.repo(), world.space / "link" / "s1")
    assert not git_dir.exists()


def test_threads_and_processes_add_worktrees_at_the_same_time(world: World) -> None:
    """Without the lock git fails at random: it reads the half-made directories of the others."""
    head = world.head()
    paths = [world.space / "trees" / f"s{number}" for number in range(32)]
    context = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(8) as threads, ProcessPoolExecutor(2, mp_context=context) as processes:
        jobs = [
            (processes if number % 4 == 0 else threads).submit(worktrees.add, world.repo(), path, head)
            for number, path in enumerate(paths)
        ]
        assert len({job.result() for job in jobs}) == 32
    assert len(world.git("worktree", "list").split("\n")) == 33


def test_the_lock_is_waited_for_and_not_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    linked = Repo(world.space, world.root / ".git/worktrees/x", world.root / ".git")
    monkeypatch.setattr(repo_module, "_LOCK_TIMEOUT_S", 0.05)
    with linked.lock(), pytest.raises(GitError, match="held the lock"), world.repo().lock():
        pass
    before = sorted((world.root / ".git").iterdir())
    with world.repo().lock():
        assert sorted((world.root / ".git").iterdir()) == before


def test_a_removed_worktree_leaves_nothing(world: World) -> None:
    tree = world.tree()
    protected = tree.work_tree / "cache"
    world.write({"file": "x"}, protected)
    protected.chmod(0o500)
    worktrees.remove(world.repo(), tree.work_tree, tree.git_dir)
    assert not tree.work_tree.exists()
    assert not tree.git_dir.exists()
    assert world.git("worktree", "list").count("\n") == 0
    worktrees.remove(world.repo(), tree.work_tree, tree.git_dir)


@pytest.mark.parametrize("known", [True, False])
def test_a_worktree_that_is_gone_or_damaged_is_removed(world: World, known: bool) -> None:
    gone, damaged = world.tree("gone"), world.tree("damaged")
    gone.work_tree.rename(world.space / "moved")
    (damaged.work_tree / ".git").write_text("nonsense")
    for tree in (gone, damaged):
        worktrees.remove(world.repo(), tree.work_tree, tree.git_dir if known else None)
        assert not tree.git_dir.exists()
        assert not tree.work_tree.exists()
    assert (world.space / "moved").exists()


def test_the_link_at_a_worktrees_place_is_removed_and_not_its_target(world: World) -> None:
    tree = world.tree()
    outside = world.space / "outside"
    tree.work_tree.rename(outside)
    tree.work_tree.symlink_to(outside)
    worktrees.remove(world.repo(), tree.work_tree, tree.git_dir)
    assert (outside / "README").exists()
    assert not os.path.lexists(tree.work_tree)


def test_the_users_worktrees_are_never_touched(world: World) -> None:
    users = world.space / "user's"
    world.git("worktree", "add", "-q", "-b", "feature", str(users))
    admin = Path(world.git("rev-parse", "--absolute-git-dir", cwd=users))
    tree = world.tree()
    (tree.git_dir / "gitdir").write_text(f"{users}/.git\n")
    (admin / "gitdir").write_text(f"{tree.work_tree}/.git\n")
    worktrees.remove(world.repo(), tree.work_tree)
    assert admin.exists()
    (admin / "gitdir").write_text(f"{users}/.git\n")
    worktrees.remove(world.repo(), tree.work_tree, admin)
    assert world.git("branch", "--show-current", cwd=users) == "feature"


@pytest.mark.parametrize("what", ["root", "parent", "git directory"])
def test_the_users_checkout_is_never_removed(world: World, what: str) -> None:
    path = {"root": world.root, "parent": world.space, "git directory": world.root / ".git"}[what]
    with pytest.raises(GitError, match="user's own"):
        worktrees.remove(world.repo(), path)
    assert world.head()


def test_a_git_directory_of_another_repository_is_refused(world: World) -> None:
    elsewhere = world.space / "elsewhere" / ".git" / "worktrees" / "x"
    elsewhere.mkdir(parents=True)
    with pytest.raises(GitError, match="not a worktree of this repository"):
        worktrees.remove(world.repo(), world.space / "s1", elsewhere)
    assert elsewhere.exists()


def test_all_checkouts_are_listed(world: World) -> None:
    tree = world.tree()
    users = world.space / "user's"
    world.git("worktree", "add", "-q", "-b", "feature", str(users))
    half_made = world.root / ".git/worktrees/half"
    half_made.mkdir()
    (half_made / "gitdir").write_text("/nowhere/.git\n")
    listed = worktrees.listed(world.repo())
    assert [(entry.root, entry.branch, entry.locked) for entry in listed] == [
        (world.root, "refs/heads/main", False),
        (tree.work_tree, None, True),
        (users, "refs/heads/feature", False),
    ]
    assert {entry.oid for entry in listed} == {world.head()}


def test_the_main_checkout_is_listed_from_a_linked_one(world: World) -> None:
    users = world.space / "user's"
    world.git("worktree", "add", "-q", "-b", "feature", str(users))
    linked = Repo(users, world.root / ".git/worktrees/user's", world.root / ".git")
    assert [entry.root for entry in worktrees.listed(linked)] == [world.root, users]


def test_a_bare_repository_has_no_main_checkout(world: World) -> None:
    bare = world.space / "project" / ".git"
    world.git("clone", "-q", "--bare", str(world.root), str(bare))
    users = world.space / "project" / "main"
    world.git("worktree", "add", "-q", str(users), "main", cwd=bare)
    linked = Repo(users, bare / "worktrees/main", bare)
    assert [(entry.root, entry.branch) for entry in worktrees.listed(linked)] == [(users, "refs/heads/main")]


def test_a_branch_that_is_being_rebased_counts_as_checked_out(world: World) -> None:
    world.git("checkout", "-q", "-b", "topic")
    world.commit({"x": "topic"})
    world.git("checkout", "-q", "main")
    world.commit({"x": "main"})
    world.git("checkout", "-q", "topic")
    with pytest.raises(AssertionError, match="could not apply"):
        world.git("rebase", "main")
    assert worktrees.listed(world.repo())[0].branch == "refs/heads/topic"
