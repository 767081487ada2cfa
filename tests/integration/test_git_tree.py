"""A worktree seen through the private git directory: made fresh, recorded, restored, committed, moved on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from git_support import World, files_in, make_world
from prodigy.git import command, index, leftovers
from prodigy.git.command import GitError
from prodigy.git.obstacles import PathsInTheWay
from prodigy.git.private import PrivateGit
from prodigy.git.snapshot import Snapshot
from prodigy.git.tree import PrivateTree


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def assert_fresh(world: World, tree: PrivateTree, commit: str) -> None:
    """The files are those of the commit, and the worktree's own git agrees."""
    assert world.git("status", "--porcelain", "--ignored", cwd=tree.work_tree) == ""
    assert world.git("rev-parse", "HEAD", cwd=tree.work_tree) == commit
    assert tree.head() == commit
    listed = world.git("ls-tree", "-r", "-z", "--name-only", commit).split("\0")[:-1]
    assert sorted(files_in(tree.work_tree)) == sorted(listed)


def test_fresh_fills_an_empty_worktree_detached(world: World) -> None:
    tree = world.tree()
    assert_fresh(world, tree, world.head())
    assert (tree.git_dir / "HEAD").read_text() == f"{world.head()}\n"


def test_fresh_takes_two_processes(world: World) -> None:
    tree = world.tree()
    before = command.calls()
    tree.fresh(world.head())
    assert command.calls() - before == 2


def test_fresh_moves_between_commits(world: World) -> None:
    first = world.head()
    second = world.commit({"src/a.py": None, "lib/new.py": "new\n", "README": "changed\n"})
    tree = world.tree(commit=first)
    for commit in (second, first, second):
        tree.fresh(commit)
        assert_fresh(world, tree, commit)


def test_fresh_leaves_nothing_of_the_item_before(world: World) -> None:
    tree = world.tree()
    root = tree.work_tree
    world.git("checkout", "-q", "-b", "agent", cwd=root)
    world.commit({"committed": "1"}, root)
    world.write({"src/a.py": "edited", "README": None, "untracked": "x", "build/x.o": "x", "a.log": "x"}, root)
    world.git("init", "-q", "nested", cwd=root)
    world.git("init", "-q", "build/nested", cwd=root)
    world.git("update-index", "--skip-worktree", "src/é b.py", cwd=root)
    world.write({"src/é b.py": "hidden edit"}, root)
    world.write({"config.worktree": "[core]\n\tbare = false\n", "info/sparse-checkout": "/*\n"}, tree.git_dir)
    tree.fresh(world.head())
    assert_fresh(world, tree, world.head())
    assert (root / "src/é b.py").read_text() == "b\n"
    assert sorted(path.name for path in tree.git_dir.iterdir()) == [
        *("HEAD", "commondir", "gitdir", "index", "locked"),
    ]


@pytest.mark.parametrize(
    "name", ["MERGE_HEAD", "CHERRY_PICK_HEAD", "index.lock", "HEAD.lock", "ORIG_HEAD", "config.worktree"]
)
def test_fresh_removes_state_of_operations(world: World, name: str) -> None:
    tree = world.tree()
    (tree.git_dir / name).write_text(f"{world.head()}\n")
    (tree.git_dir / "rebase-merge").mkdir()
    (tree.git_dir / "rebase-merge" / "head-name").write_text("refs/heads/main\n")
    tree.fresh(world.head())
    assert not (tree.git_dir / name).exists()
    assert not (tree.git_dir / "rebase-merge").exists()


def test_fresh_keeps_what_it_is_told_to_keep(world: World) -> None:
    tree = world.tree()
    world.write({"build/cache": "expensive", "a.log": "x", "other": "x"}, tree.work_tree)
    tree.fresh(world.head(), keep_ignored=["build/"])
    assert (tree.work_tree / "build/cache").read_text() == "expensive"
    assert not (tree.work_tree / "a.log").exists()
    assert not (tree.work_tree / "other").exists()


def test_fresh_undoes_an_edit_of_the_same_size_and_time(world: World) -> None:
    tree = world.tree()
    path = tree.work_tree / "src/a.py"
    status = path.stat()
    path.write_text("A\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    tree.fresh(world.head())
    assert path.read_text() == "a\n"


def test_fresh_undoes_a_mode_and_a_type_change(world: World) -> None:
    tree = world.tree()
    root = tree.work_tree
    (root / "src/a.py").chmod(0o755)
    (root / "README").unlink()
    (root / "README").symlink_to("/etc/hostname")
    (root / ".gitignore").unlink()
    (root / ".gitignore").mkdir()
    world.write({".gitignore/inside": "x"}, root)
    tree.fresh(world.head())
    assert_fresh(world, tree, world.head())
    assert not (root / "src/a.py").stat().st_mode & 0o111
    assert not (root / "README").is_symlink()


def test_fresh_removes_a_directory_that_took_the_place_of_a_file_that_is_gone(world: World) -> None:
    first = world.head()
    second = world.commit({"README": None})
    tree = world.tree(commit=first)
    (tree.work_tree / "README").unlink()
    world.write({"README/kept": "x"}, tree.work_tree)
    tree.fresh(second)
    assert_fresh(world, tree, second)


def test_fresh_is_not_fooled_by_a_link_to_the_moved_directory(world: World) -> None:
    """The link shows `read-tree` the very files it wrote, so only the sweep notices."""
    tree = world.tree()
    outside = world.space / "outside"
    (tree.work_tree / "src").rename(outside)
    (tree.work_tree / "src").symlink_to(outside)
    tree.fresh(world.head())
    assert_fresh(world, tree, world.head())
    assert not (tree.work_tree / "src").is_symlink()
    assert (outside / "a.py").read_text() == "a\n"


def test_fresh_never_writes_through_a_link_out_of_the_tree(world: World) -> None:
    second = world.commit({"src/a.py": "second\n", "src/deep/new.py": "new\n"})
    first = world.git("rev-parse", f"{second}~")
    tree = world.tree(commit=first)
    outside = world.space / "outside"
    world.write({"a.py": "precious", "deep/new.py": "precious"}, outside)
    (tree.work_tree / "src/a.py").unlink()
    (tree.work_tree / "src/é b.py").unlink()
    (tree.work_tree / "src").rmdir()
    (tree.work_tree / "src").symlink_to(outside)
    tree.fresh(second)
    assert_fresh(world, tree, second)
    assert files_in(outside) == {"a.py": b"precious", "deep/new.py": b"precious"}


def test_fresh_replaces_a_worktree_that_became_a_link(world: World) -> None:
    tree = world.tree()
    outside = world.space / "outside"
    tree.work_tree.rename(outside)
    world.write({"precious": "x"}, outside)
    tree.work_tree.symlink_to(outside)
    tree.fresh(world.head())
    assert_fresh(world, tree, world.head())
    assert (outside / "precious").exists()


def test_fresh_removes_a_repository_planted_in_a_tracked_directory(world: World) -> None:
    """`clean -ffdx` leaves it, and the next agent's git would take it for its own."""
    tree = world.tree()
    world.git("init", "-q", "src", cwd=tree.work_tree)
    (tree.work_tree / "src/.git/hooks").mkdir(exist_ok=True)
    tree.fresh(world.head())
    assert not (tree.work_tree / "src/.git").exists()
    assert_fresh(world, tree, world.head())


def test_fresh_removes_a_repository_in_a_directory_that_the_next_commit_fills(world: World) -> None:
    first = world.head()
    second = world.commit({"later/file": "x"})
    tree = world.tree(commit=first)
    world.git("init", "-q", "later", cwd=tree.work_tree)
    tree.fresh(second)
    assert not (tree.work_tree / "later/.git").exists()
    assert_fresh(world, tree, second)


def test_fresh_empties_submodules(world: World) -> None:
    oid = world.head()
    world.git("update-index", "--add", "--cacheinfo", f"160000,{oid},libs/sub")
    world.git("commit", "-q", "-m", "submodule")
    tree = world.tree(commit=world.head())
    world.git("init", "-q", "libs/sub", cwd=tree.work_tree)
    world.write({"libs/sub/left": "x"}, tree.work_tree)
    tree.fresh(world.head())
    assert list((tree.work_tree / "libs/sub").iterdir()) == []


def test_fresh_repairs_the_links_between_worktree_and_repository(world: World) -> None:
    tree = world.tree()
    (tree.work_tree / ".git").unlink()
    world.git("init", "-q", cwd=tree.work_tree)
    (tree.git_dir / "commondir").write_text("/nonsense\n")
    (tree.git_dir / "gitdir").write_text("/nonsense/.git\n")
    (tree.git_dir / "HEAD").unlink()
    (tree.git_dir / "HEAD").mkdir()
    tree.fresh(world.head())
    assert_fresh(world, tree, world.head())
    assert world.git("rev-parse", "--git-common-dir", cwd=tree.work_tree) == str(tree.private.repo.common_dir)


def test_fresh_makes_a_lost_worktree_and_its_place_in_the_repository_anew(world: World) -> None:
    tree = world.tree()
    world.git("worktree", "remove", "-f", "-f", str(tree.work_tree))
    assert not tree.git_dir.exists()
    tree.fresh(world.head())
    assert_fresh(world, tree, world.head())


def test_fresh_does_not_take_a_place_that_belongs_to_another_worktree_now(world: World) -> None:
    tree = world.tree()
    world.git("worktree", "remove", "-f", "-f", str(tree.work_tree))
    other = world.space / "elsewhere" / tree.git_dir.name
    world.git("worktree", "add", "-q", "--detach", str(other))
    assert world.git("rev-parse", "--absolute-git-dir", cwd=other) == str(tree.git_dir)
    with pytest.raises(GitError, match="another worktree"):
        tree.fresh(world.head())
    assert world.git("status", "--porcelain", cwd=other) == ""


def test_fresh_survives_a_damaged_private_index_and_a_stale_lock(world: World) -> None:
    tree = world.tree()
    tree.index.write_bytes(b"DIRC" + b"\0" * 100)
    (tree.directory / "index.lock").touch()
    world.write({"untracked": "x"}, tree.work_tree)
    tree.fresh(world.head())
    assert_fresh(world, tree, world.head())


def test_write_protected_directories_do_not_stay(world: World) -> None:
    """As package managers make their caches; only root gets past them without help."""
    tree = world.tree()
    clean = tree.snapshot()
    makers: list[Callable[[], None]] = [lambda: tree.fresh(world.head()), lambda: tree.restore(clean)]
    for make in makers:
        world.write({"cache/pkg/file": "x"}, tree.work_tree)
        for name in ("cache/pkg", "cache", "src"):
            (tree.work_tree / name).chmod(0o500)
        (tree.work_tree / "README").unlink()
        make()
        assert_fresh(world, tree, world.head())


@pytest.mark.parametrize("name", [".gitignore", "src/.gitignore", "src/.gitattributes"])
def test_a_pipe_that_git_waits_for_holds_us_up_only_so_long(world: World, name: str) -> None:
    tree = world.tree()
    (tree.work_tree / name).unlink(missing_ok=True)
    os.mkfifo(tree.work_tree / name)
    world.write({"src/a.py": "edited"}, tree.work_tree)
    impatient = PrivateTree(tree.private, tree.work_tree, tree.git_dir, tree.directory, timeout_s=0.5)
    snapshot = impatient.snapshot()
    assert snapshot.commit is not None
    assert world.git("show", f"{snapshot.commit}:src/a.py") == "edited"
    impatient.fresh(world.head())
    assert_fresh(world, tree, world.head())


def test_fresh_refuses_anything_but_a_full_id(world: World) -> None:
    tree = world.tree()
    for name in ("HEAD", "main", "--help", world.head()[:10]):
        with pytest.raises(GitError, match="full object id"):
            tree.fresh(name)


def test_head_follows_the_branch_that_an_agent_switched_to(world: World) -> None:
    tree = world.tree()
    world.git("checkout", "-q", "-b", "fix/ä", cwd=tree.work_tree)
    commit = world.commit({"x": "x"}, tree.work_tree)
    before = command.calls()
    assert tree.head() == commit
    world.git("pack-refs", "--all")
    assert tree.head() == commit
    assert command.calls() == before


def test_head_may_be_a_ref_of_the_worktree_alone(world: World) -> None:
    tree = world.tree()
    world.git("update-ref", "refs/worktree/mine", world.head(), cwd=tree.work_tree)
    (tree.git_dir / "HEAD").write_text("ref: refs/worktree/mine\n")
    assert tree.head() == world.head()


def test_head_of_a_branch_without_commits_is_an_error(world: World) -> None:
    tree = world.tree()
    world.git("checkout", "-q", "--orphan", "empty", cwd=tree.work_tree)
    with pytest.raises(GitError, match="no commits"):
        tree.head()


@pytest.mark.parametrize("content", ["", "nonsense\n", "ref: ../../../etc/passwd\n", "ref: refs/../HEAD\n"])
def test_a_damaged_head_is_an_error(world: World, content: str) -> None:
    tree = world.tree()
    (tree.git_dir / "HEAD").write_text(content)
    with pytest.raises(GitError):
        tree.head()


def test_a_pipe_as_head_is_an_error(world: World) -> None:
    tree = world.tree()
    (tree.git_dir / "HEAD").unlink()
    os.mkfifo(tree.git_dir / "HEAD")
    with pytest.raises(GitError, match="HEAD"):
        tree.head()


def test_a_clean_tree_has_no_snapshot_commit_and_costs_one_process(world: World) -> None:
    tree = world.tree()
    world.write({"a.log": "ignored"}, tree.work_tree)
    before = command.calls()
    assert tree.snapshot() == Snapshot(world.head(), None)
    assert command.calls() - before == 1


def test_a_snapshot_holds_changed_deleted_and_untracked_files_and_no_ignored_ones(world: World) -> None:
    tree = world.tree()
    root = tree.work_tree
    world.write({"src/a.py": "edited", "README": None, "neu/ü\nx": "new", "a.log": "ignored"}, root)
    (root / "src/é b.py").chmod(0o755)
    (root / "link").symlink_to("/etc/hostname")
    index_before = (tree.git_dir / "index").read_bytes()
    snapshot = tree.snapshot()
    assert snapshot.head == world.head()
    assert snapshot.commit is not None
    listed = world.git("ls-tree", "-r", "-z", snapshot.commit).split("\0")[:-1]
    modes = {line.split("\t")[1]: line.split(" ")[0] for line in listed}
    assert modes == {
        ".gitignore": "100644",
        "link": "120000",
        "neu/ü\nx": "100644",
        "src/a.py": "100644",
        "src/é b.py": "100755",
    }
    assert world.git("rev-parse", f"{snapshot.commit}^") == world.head()
    assert world.git("show", f"{snapshot.commit}:src/a.py") == "edited"
    assert (tree.git_dir / "index").read_bytes() == index_before
    assert tree.head() == world.head()


def test_a_snapshot_sees_through_the_agents_index_and_branch(world: World) -> None:
    tree = world.tree()
    root = tree.work_tree
    world.git("checkout", "-q", "-b", "agent", cwd=root)
    head = world.commit({"committed": "1", "src/a.py": "2"}, root)
    world.git("update-index", "--skip-worktree", "README", cwd=root)
    world.git("update-index", "--assume-unchanged", "src/a.py", cwd=root)
    world.write({"README": "hidden", "src/a.py": "hidden"}, root)
    snapshot = tree.snapshot()
    assert snapshot.head == head
    assert snapshot.commit is not None
    assert world.git("show", f"{snapshot.commit}:README") == "hidden"
    assert world.git("show", f"{snapshot.commit}:src/a.py") == "hidden"
    assert world.git("diff", "--name-only", head, snapshot.commit).split() == ["README", "src/a.py"]


def test_a_snapshot_notices_an_edit_of_the_same_size_in_the_same_moment(world: World) -> None:
    tree = world.tree()
    world.write({"src/a.py": "A\n"}, tree.work_tree)
    snapshot = tree.snapshot()
    assert snapshot.commit is not None
    assert world.git("show", f"{snapshot.commit}:src/a.py") == "A"


def test_copies_of_an_index_keep_its_time(world: World) -> None:
    """Otherwise git takes an edit of the same size, made in the second the file was written in, for none."""
    tree = world.tree()
    os.utime(tree.index, ns=(10**18, 10**18))
    tree._publish(world.head(), ["HEAD", "index"])
    assert (tree.git_dir / "index").stat().st_mtime_ns == 10**18
    with tree._scratch_index() as scratch:
        assert scratch.stat().st_mtime_ns == 10**18


def test_a_snapshot_names_what_it_leaves_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(leftovers, "MAX_TOTAL_BYTES", 250)
    tree = world.tree()
    root = tree.work_tree
    world.write({"big": "x" * 101, "m1": "x" * 90, "m2": "x" * 90, "m3": "x" * 90, "src/a.py": "y" * 101}, root)
    world.git("init", "-q", "nested", cwd=root)
    world.write({"nested/file": "x"}, root)
    (root / "README").unlink()
    os.mkfifo(root / "README")
    snapshot = tree.snapshot()
    assert sorted(snapshot.left_out) == ["README", "big", "m3", "nested/", "src/a.py"]
    assert snapshot.commit is not None
    assert world.git("diff", "--name-only", snapshot.head, snapshot.commit).split() == ["m1", "m2"]


def test_a_snapshot_of_nothing_but_what_is_left_out_has_no_commit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "MAX_FILE_BYTES", 100)
    tree = world.tree()
    world.write({"big": "x" * 101}, tree.work_tree)
    assert tree.snapshot() == Snapshot(world.head(), None, ("big",))


def test_a_snapshot_records_a_link_in_place_of_a_directory(world: World) -> None:
    tree = world.tree()
    outside = world.space / "outside"
    (tree.work_tree / "src").rename(outside)
    (tree.work_tree / "src").symlink_to(outside)
    snapshot = tree.snapshot()
    assert snapshot.commit is not None
    names = world.git("ls-tree", "-r", "--name-only", snapshot.commit).split("\n")
    assert names == [".gitignore", "README", "src"]


def test_restore_brings_a_snapshot_back(world: World) -> None:
    tree = world.tree()
    root = tree.work_tree
    head = world.commit({"committed": "1"}, root)
    world.write({"src/a.py": "edited", "README": None, "new/file": "new", "a.log": "ignored"}, root)
    snapshot = tree.snapshot()
    kept = files_in(root)
    world.write({"src/a.py": "worse", "README": "back", "junk": "x", "new/file": None}, root)
    world.commit({}, root)
    (tree.git_dir / "MERGE_HEAD").write_text(f"{head}\n")
    tree.restore(snapshot)
    assert files_in(root) == kept
    assert tree.head() == head
    status = world.git("status", "--porcelain", "-z", cwd=root).split("\0")[:-1]
    assert sorted(status) == [" D README", " M src/a.py", "?? new/"]
    assert not (tree.git_dir / "MERGE_HEAD").exists()
    assert tree.snapshot().commit is not None


def test_restore_fills_a_worktree_that_was_lost(world: World) -> None:
    tree = world.tree()
    world.write({"src/a.py": "edited", "new": "new"}, tree.work_tree)
    snapshot = tree.snapshot()
    again = world.tree("another")
    again.restore(snapshot)
    assert (again.work_tree / "src/a.py").read_text() == "edited"
    assert (again.work_tree / "new").read_text() == "new"
    assert again.head() == world.head()


def test_restore_leaves_submodules_alone(world: World) -> None:
    world.git("update-index", "--add", "--cacheinfo", f"160000,{world.head()},libs/sub")
    world.git("commit", "-q", "-m", "submodule")
    tree = world.tree(commit=world.head())
    world.git("init", "-q", "libs/sub", cwd=tree.work_tree)
    world.write({"libs/sub/made by setup": "x", "README": "edited"}, tree.work_tree)
    snapshot = tree.snapshot()
    assert snapshot.left_out == ()
    tree.restore(snapshot)
    assert (tree.work_tree / "libs/sub/made by setup").exists()


def test_restore_survives_a_damaged_private_index(world: World) -> None:
    tree = world.tree()
    world.write({"new": "new", "a.log": "ignored"}, tree.work_tree)
    snapshot = tree.snapshot()
    kept = files_in(tree.work_tree)
    tree.index.write_bytes(b"DIRC" + b"\0" * 100)
    tree.restore(snapshot)
    assert files_in(tree.work_tree) == kept


def test_restore_keeps_what_the_snapshot_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "MAX_FILE_BYTES", 100)
    tree = world.tree()
    world.write({"we[i]rd *": "x" * 101, "weird": "x"}, tree.work_tree)
    snapshot = tree.snapshot()
    world.write({"wei": "x"}, tree.work_tree)
    tree.restore(snapshot)
    assert (tree.work_tree / "we[i]rd *").exists()
    assert not (tree.work_tree / "wei").exists()


def test_commit_all_commits_leftovers_in_the_users_name(world: World) -> None:
    tree = world.tree()
    root = tree.work_tree
    world.write({"src/a.py": "edited", "README": None, "new": "new", "a.log": "ignored"}, root)
    commit = tree.commit_all("leftovers ä")
    assert commit is not None
    assert tree.head() == commit
    assert world.git("status", "--porcelain", cwd=root) == ""
    assert world.git("log", "-1", "--format=%an <%ae> %cn %s", commit) == "Ada <ada@example.org> Ada leftovers ä"
    assert world.git("diff", "--name-only", world.head(), commit).split() == ["README", "new", "src/a.py"]
    assert tree.snapshot() == Snapshot(commit, None)


def test_commit_all_without_leftovers_changes_nothing(world: World) -> None:
    tree = world.tree()
    world.git("checkout", "-q", "-b", "agent", cwd=tree.work_tree)
    assert tree.commit_all("nothing") is None
    assert world.git("branch", "--show-current", cwd=tree.work_tree) == "agent"


def test_commit_all_leaves_the_agents_branch_where_it_was(world: World) -> None:
    tree = world.tree()
    world.git("checkout", "-q", "-b", "agent", cwd=tree.work_tree)
    head = world.commit({"x": "1"}, tree.work_tree)
    world.write({"x": "2"}, tree.work_tree)
    commit = tree.commit_all("leftovers")
    assert world.git("rev-parse", "agent", f"{commit}^") == f"{head}\n{head}"
    assert world.git("branch", "--show-current", cwd=tree.work_tree) == ""


def test_commit_all_can_leave_untracked_files(world: World) -> None:
    tree = world.tree()
    world.write({"src/a.py": "1", "one": "1", "two": "2"}, tree.work_tree)
    assert sorted(tree.untracked()) == ["one", "two"]
    first = tree.commit_all("tracked", tracked_only=True)
    assert first is not None
    assert world.git("status", "--porcelain", cwd=tree.work_tree) == "?? one\n?? two"
    second = tree.commit_all("all but one", leave=frozenset({"one"}))
    assert second is not None
    assert world.git("diff", "--name-only", first, second) == "two"
    assert tree.untracked() == ["one"]


def test_advance_keeps_untracked_ignored_and_edited_files(world: World) -> None:
    old = world.head()
    new = world.commit({"README": "two\n", "lib/x": "x\n", "src/é b.py": None})
    tree = world.tree(commit=old)
    world.write({"untracked": "u", "lib/mine": "m", "a.log": "l", "src/a.py": "edited"}, tree.work_tree)
    tree.advance(old, new)
    assert tree.head() == new
    assert world.git("status", "--porcelain", cwd=tree.work_tree) == " M src/a.py\n?? lib/mine\n?? untracked"
    assert (tree.work_tree / "README").read_text() == "two\n"
    assert (tree.work_tree / "a.log").exists()
    assert tree.snapshot().head == new


def test_advance_is_not_stopped_by_files_that_were_only_touched(world: World) -> None:
    old = world.head()
    new = world.commit({"README": "two\n"})
    tree = world.tree(commit=old)
    os.utime(tree.work_tree / "README", (1, 1))
    tree.advance(old, new)
    assert_fresh(world, tree, new)


def test_advance_follows_commits_that_an_agent_made(world: World) -> None:
    tree = world.tree()
    old = world.commit({"src/a.py": "agent"}, tree.work_tree)
    other = world.tree("other", commit=old)
    new = world.commit({"src/a.py": "more", "y": "y"}, other.work_tree)
    tree.advance(old, new)
    assert_fresh(world, tree, new)


@pytest.mark.parametrize(
    ("mine", "in_the_way"),
    [
        ({"lib/x": "mine"}, ["lib/x"]),
        ({"lib": "a file"}, ["lib"]),
        ({"b.log": "ignored"}, ["b.log"]),
        ({"b.log/deep/file": "ignored directory"}, ["b.log/deep/file"]),
        ({"README": "edited"}, ["README"]),
        ({"README": "edited", "lib/x": "mine"}, ["lib/x"]),
    ],
)
def test_advance_names_what_is_in_the_way_and_touches_nothing(
    world: World, mine: dict[str, str], in_the_way: list[str]
) -> None:
    old = world.head()
    new = world.commit({"README": "two\n", "lib/x": "x\n", "b.log": "tracked though ignored"})
    tree = world.tree(commit=old)
    world.write(mine, tree.work_tree)
    before = files_in(tree.work_tree)
    with pytest.raises(PathsInTheWay) as caught:
        tree.advance(old, new)
    assert list(caught.value.paths) == in_the_way
    assert files_in(tree.work_tree) == before
    assert tree.head() == old
    assert tree.snapshot().head == old


def test_advance_does_not_go_through_a_link(world: World) -> None:
    old = world.head()
    new = world.commit({"lib/x": "x\n"})
    tree = world.tree(commit=old)
    outside = world.space / "outside"
    outside.mkdir()
    (tree.work_tree / "lib").symlink_to(outside)
    with pytest.raises(PathsInTheWay, match="lib"):
        tree.advance(old, new)
    assert list(outside.iterdir()) == []


def test_advance_makes_way_for_a_file_that_becomes_a_directory(world: World) -> None:
    old = world.head()
    world.write({"README": None})
    new = world.commit({"README/inside": "x\n"})
    tree = world.tree(commit=old)
    tree.advance(old, new)
    assert_fresh(world, tree, new)
    tree.fresh(old)
    assert_fresh(world, tree, old)


def test_advance_from_elsewhere_is_refused(world: World) -> None:
    old = world.head()
    new = world.commit({"x": "x"})
    tree = world.tree(commit=new)
    with pytest.raises(GitError, match="HEAD is not at"):
        tree.advance(old, new)


def test_the_index_is_read_again_when_its_mark_is_missing(world: World) -> None:
    """As after a crash between the two."""
    tree = world.tree()
    head = world.commit({"x": "1"}, tree.work_tree)
    (tree.directory / "HEAD").write_text("ref: refs/heads/none\n")
    assert tree.snapshot() == Snapshot(head, None)


def test_directories_are_read_from_the_index_in_either_way(world: World) -> None:
    """From the tree of directories at the end of the file, or entry by entry when that is missing or not whole."""
    commit = world.commit({"a/b/c/1": "1", "a/b/2": "2", "é/x": "3", "a-b/x": "4", "z/" + "n" * 200 + "/x": "5"})
    tree = world.tree()
    data = tree.index.read_bytes()
    expected = sorted(["src", "a", "a/b", "a/b/c", "é", "a-b", "z", "z/" + "n" * 200])
    assert index._from_cached_trees(data, 20) is not None
    assert index.directories(data, 20) == expected
    world.git("reset", "-q", "--mixed", commit, cwd=tree.work_tree)
    world.git("update-index", "--force-remove", "a/b/2", cwd=tree.work_tree)
    plain = (tree.git_dir / "index").read_bytes()
    assert index._from_cached_trees(plain, 20) is None
    assert index.directories(plain, 20) == expected
    with_setting = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": index.END_OF_ENTRIES_SETTING,
        "GIT_CONFIG_VALUE_0": "1",
    }
    world.git("update-index", "--force-remove", "a/b/c/1", cwd=tree.work_tree, env=with_setting)
    partial = (tree.git_dir / "index").read_bytes()
    assert b"EOIE" in partial
    assert index._from_cached_trees(partial, 20) is None
    assert index.directories(partial, 20) == [name for name in expected if not name.startswith("a/") and name != "a"]


@pytest.mark.parametrize("data", [b"", b"nonsense", b"DIRC\0\0\0\4\0\0\0\1", b"DIRC\0\0\0\2\0\0\0\1" + b"\0" * 40])
def test_what_is_no_index_is_an_error(data: bytes) -> None:
    with pytest.raises(GitError, match="index"):
        index.directories(data, 20)


def test_a_repository_with_sha256_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path, monkeypatch)
    (world.root / ".git").rename(tmp_path / "old")
    world.git("init", "-q", "--object-format=sha256")
    head = world.commit({})
    assert len(head) == 64
    tree = world.tree()
    assert_fresh(world, tree, head)
    world.git("init", "-q", "src", cwd=tree.work_tree)
    world.write({"src/a.py": "edited"}, tree.work_tree)
    snapshot = tree.snapshot()
    assert snapshot.commit is not None
    tree.fresh(head)
    assert_fresh(world, tree, head)
    assert not (tree.work_tree / "src/.git").exists()


def test_line_ends_are_converted_as_the_user_has_it(world: World) -> None:
    world.git("config", "core.autocrlf", "true")
    tree = world.tree()
    assert (tree.work_tree / "README").read_bytes() == b"read me\r\n"
    assert tree.snapshot() == Snapshot(world.head(), None)
    world.write({"README": "two\r\nlines\r\n"}, tree.work_tree)
    commit = tree.commit_all("crlf")
    assert world.git("cat-file", "blob", f"{commit}:README") == "two\nlines"


def test_what_the_user_ignores_stays_ignored(world: World) -> None:
    (world.home / ".config/git").mkdir(parents=True)
    (world.home / ".config/git/ignore").write_text(".DS_Store\n")
    (world.root / ".git/info/exclude").write_text("*.secret\n")
    tree = world.tree()
    world.write({".DS_Store": "x", "a.secret": "x", "b": "x"}, tree.work_tree)
    assert tree.untracked() == ["b"]


def test_the_users_lfs_filter_runs(world: World) -> None:
    for name, script in {"clean": "tr a-z A-Z", "smudge": "tr A-Z a-z"}.items():
        world.git("config", "--global", f"filter.lfs.{name}", script)
    world.commit({".gitattributes": "*.bin filter=lfs\n", "a.bin": "content\n"})
    assert world.git("cat-file", "blob", "HEAD:a.bin") == "CONTENT"
    tree = world.tree()
    assert (tree.work_tree / "a.bin").read_text() == "content\n"
    assert tree.snapshot() == Snapshot(world.head(), None)


def test_a_private_git_directory_is_made_once(world: World) -> None:
    private = world.private()
    world.git("config", "core.autocrlf", "true")
    again = world.private()
    assert again == private
    assert b"autocrlf" not in (again.directory / "config").read_bytes()
    with pytest.raises(GitError, match="not a private git directory"):
        PrivateGit.open(world.space, world.repo())
