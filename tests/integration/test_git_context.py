"""What a run finds in the user's repository, and what it refuses to start with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from git_support import World, make_world
from prodigy.errors import EnvironmentProblem
from prodigy.git.context import common_dir_around, discover


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def refused(path: Path, prefix: str = "prodigy") -> EnvironmentProblem:
    with pytest.raises(EnvironmentProblem) as caught:
        discover(path, prefix)
    assert caught.value.exit_code == 5
    assert caught.value.hint
    return caught.value


def test_a_repository_is_found(world: World) -> None:
    context = discover(world.root)
    assert context.repo == world.repo()
    assert (context.head, context.branch) == (world.head(), "refs/heads/main")
    assert (context.shallow, context.dirty) == (False, 0)
    assert context.git_version >= (2, 38)
    assert common_dir_around(world.root) == world.root / ".git"


def test_a_line_break_in_its_path_is_refused_in_words(world: World) -> None:
    root = world.root.rename(world.space / "line\nbreak")
    assert "line break" in refused(root).what


def test_it_is_found_from_a_subdirectory_and_through_a_link(world: World) -> None:
    (world.space / "link").symlink_to(world.root / "src")
    for path in (world.root / "src", world.space / "link"):
        assert discover(path).repo == world.repo()


def test_a_linked_worktree_is_a_checkout_of_its_own(world: World) -> None:
    linked = world.space / "linked ü"
    world.git("worktree", "add", "-q", "-b", "feature", str(linked))
    head = world.commit({"x": "x"}, linked)
    context = discover(linked)
    assert (context.repo.root, context.repo.common_dir) == (linked, world.root / ".git")
    assert context.repo.git_dir.parent == world.root / ".git/worktrees"
    assert (context.head, context.branch) == (head, "refs/heads/feature")
    assert common_dir_around(linked) == world.root / ".git"


def test_a_worktree_of_a_bare_repository_is_fine(world: World) -> None:
    bare = world.space / "project.git"
    world.git("clone", "-q", "--bare", str(world.root), str(bare))
    world.git("worktree", "add", "-q", str(world.space / "checkout"), "main", cwd=bare)
    context = discover(world.space / "checkout")
    assert (context.repo.common_dir, context.branch, context.dirty) == (bare, "refs/heads/main", 0)


def test_variables_of_a_hook_that_started_us_do_not_matter(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "/nonsense")
    assert discover(world.root).dirty == 0


def test_a_detached_head_has_no_branch(world: World) -> None:
    world.git("checkout", "-q", "--detach")
    assert discover(world.root).branch is None


def test_changed_staged_and_untracked_files_are_counted_and_ignored_ones_are_not(world: World) -> None:
    world.write({"src/a.py": "edited", "README": None, "staged": "s", "new/1": "1", "new/2": "2", "a.log": "x"})
    world.git("add", "staged")
    index = (world.root / ".git/index").read_bytes()
    assert discover(world.root).dirty == 4
    assert (world.root / ".git/index").read_bytes() == index


def test_files_that_a_sparse_checkout_leaves_out_are_not_dirty(world: World) -> None:
    world.git("sparse-checkout", "set", "--no-cone", "/README")
    assert not (world.root / "src").exists()
    assert discover(world.root).dirty == 0


def test_a_shallow_clone_is_fine(world: World) -> None:
    world.commit({"x": "x"})
    clone = world.space / "shallow"
    world.git("clone", "-q", "--depth", "1", f"file://{world.root}", str(clone))
    context = discover(clone)
    assert (context.shallow, context.dirty) == (True, 0)


def test_filters_that_we_do_not_run_are_named(world: World) -> None:
    world.git("config", "filter.git-crypt.clean", "x")
    world.git("config", "filter.lfs.clean", "local only")
    world.git("config", "--global", "filter.nbstripout.clean", "x")
    assert discover(world.root).unused_filters == ("git-crypt", "lfs", "nbstripout")
    world.git("config", "--global", "filter.lfs.clean", "x")
    assert discover(world.root).unused_filters == ("git-crypt", "nbstripout")


def test_no_repository(world: World) -> None:
    problem = refused(world.space)
    assert "not a git repository" in str(problem)
    assert "git init" in str(problem)
    with pytest.raises(EnvironmentProblem, match="not a git repository"):
        common_dir_around(world.space)


def test_a_directory_that_does_not_exist(world: World) -> None:
    assert "does not exist" in str(refused(world.space / "none"))


def test_a_bare_repository(world: World) -> None:
    bare = world.space / "bare.git"
    world.git("clone", "-q", "--bare", str(world.root), str(bare))
    problem = refused(bare)
    assert "bare" in str(problem)
    assert "git worktree add" in str(problem)


def test_the_inside_of_a_git_directory(world: World) -> None:
    assert "cd" in str(refused(world.root / ".git"))


def test_no_commits_and_the_command_that_helps(world: World) -> None:
    empty = world.space / "empty"
    empty.mkdir()
    world.git("init", "-q", cwd=empty)
    world.write({"file": "x"}, empty)
    problem = refused(empty)
    assert "no commits" in str(problem)
    assert problem.hint
    subprocess.run(problem.hint, shell=True, cwd=empty, check=True, capture_output=True)
    assert discover(empty).dirty == 0


def test_a_git_that_is_too_old(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = world.space / "bin"
    world.write({"git": "#!/bin/sh\necho git version 2.37.9\n"}, old)
    (old / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{old}:{os.environ['PATH']}")
    problem = refused(world.root)
    assert "2.37.9 is too old" in str(problem)
    assert "2.38" in str(problem)


def test_a_partial_clone_and_the_command_that_fetches_everything(world: World) -> None:
    world.commit({"README": "two\n"})
    world.git("config", "uploadpack.allowFilter", "true")
    clone = world.space / "partial"
    world.git("clone", "-q", "--filter=blob:none", f"file://{world.root}", str(clone))
    problem = refused(clone)
    assert "partial clone" in str(problem)
    assert problem.hint
    assert "?" in world.git("rev-list", "--objects", "--missing=print", "HEAD", cwd=clone)
    subprocess.run(problem.hint, shell=True, cwd=clone, check=True, capture_output=True)
    assert discover(clone).dirty == 0
    assert "?" not in world.git("rev-list", "--objects", "--missing=print", "HEAD", cwd=clone)


def test_a_reftable_repository(world: World) -> None:
    world.git("config", "core.repositoryformatversion", "1")
    world.git("config", "extensions.refStorage", "reftable")
    assert "reftable" in str(refused(world.root))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_and_the_command_that_helps(world: World) -> None:
    for path in (world.root, world.root / ".git"):
        os.chown(path, 12345, 12345)
    problem = refused(world.root)
    assert "another user" in str(problem)
    assert problem.hint
    command = problem.hint.partition(": ")[2]
    subprocess.run(command, shell=True, cwd=world.root, check=True, capture_output=True)
    assert discover(world.root).dirty == 0


def test_a_branch_in_the_way_of_ours(world: World) -> None:
    world.git("branch", "prodigy")
    problem = refused(world.root)
    assert "'prodigy'" in str(problem)
    assert "git branch -m prodigy" in str(problem)
    assert discover(world.root, "agents/prodigy").head
    world.git("branch", "agents")
    world.git("pack-refs", "--all")
    assert "'agents'" in str(refused(world.root, "agents/prodigy"))


def test_a_head_that_cannot_be_read(world: World) -> None:
    (world.root / ".git/refs/heads/main").write_text("1" * 40 + "\n")
    assert "git fsck" in str(refused(world.root))
    (world.root / ".git/refs/heads/main").write_text("nonsense")
    assert "git fsck" in str(refused(world.root))


def test_a_broken_configuration(world: World) -> None:
    (world.root / ".git/config").write_text("[core\n")
    assert "bad config" in str(refused(world.root))
