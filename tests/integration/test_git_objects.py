"""What we read and write of git's objects ourselves is what git itself reads and writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from git_support import World, make_world
from prodigy.git import contents, objects
from prodigy.git.private import PrivateGit
from prodigy.git.tree import PrivateTree

IDENTITY = {f"GIT_{role}_{part}": f"Änn {part}" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


@pytest.fixture
def private(world: World) -> Iterator[PrivateGit]:
    """As a run has it: with a process that reads objects."""
    found = world.private().with_reader()
    assert found.reader is not None
    yield found
    found.reader.close()


def _tree(world: World, private: PrivateGit) -> PrivateTree:
    plain = world.tree()
    return PrivateTree(private, plain.work_tree, plain.git_dir, plain.directory)


@pytest.mark.parametrize("kind", ["blob", "tree"])
def test_an_object_we_write_is_the_one_git_writes(world: World, kind: str) -> None:
    content = b"" if kind == "tree" else os.urandom(100) + b"\n"
    (world.space / "content").write_bytes(content)
    wanted = world.git("hash-object", "-t", kind, str(world.space / "content"))
    assert objects.object_id(kind, content, 20) == wanted
    for _ in range(2):  # the second time it is there
        assert objects.write(world.root / ".git" / "objects", kind, content, 20) == wanted
    assert world.git("cat-file", "-t", wanted) == kind
    assert world.git("fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("message", ["one line\n", "a title\n\nümläute, and no line end", "\n\n  spaces  \n\n"])
def test_a_commit_we_make_is_the_one_git_makes(world: World, private: PrivateGit, message: str) -> None:
    parents = (world.head(), world.commit({"more": "x"}))
    tree = world.git("rev-parse", "HEAD^{tree}")
    made = private.commit(tree, parents, message, IDENTITY)
    when = world.git("show", "-s", "--format=%ad", "--date=raw", made)
    dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    flags = [part for parent in parents for part in ("-p", parent)]
    text = message if message.endswith("\n") else f"{message}\n"
    by_git = private.run("commit-tree", *flags, tree, env=IDENTITY | dates, stdin=text.encode()).line
    assert made == by_git
    assert world.git("fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("name", ["<odd>", "dots.", " spaces ", '"quoted"', "two\nlines"])
def test_a_name_that_git_would_mend_is_left_to_git(world: World, private: PrivateGit, name: str) -> None:
    whose = IDENTITY | {"GIT_AUTHOR_NAME": name}
    made = private.commit(world.git("rev-parse", "HEAD^{tree}"), [world.head()], "x", whose)
    assert world.git("fsck", "--strict", "--no-dangling") == ""
    assert world.git("show", "-s", "--format=%an", made) == name.translate(str.maketrans("", "", "<>\n")).strip(' ."')


def test_a_parent_that_is_no_commit_is_refused(world: World, private: PrivateGit) -> None:
    blob = world.git("rev-parse", "HEAD:README")
    with pytest.raises(Exception, match="commit-tree"):
        private.commit(world.git("rev-parse", "HEAD^{tree}"), [blob], "x")


CHANGES: list[dict[str, str | bytes | None]] = [
    {"README": "other"},
    {"new": "x", "deep/er/file": "y", "README": None},
    {"README": None, "README/now": "a directory"},
    {"a.b": "2", "a0": "3", "a/c": "4"},  # sorted otherwise than they look
    {},
]


@pytest.mark.parametrize("changes", CHANGES)
def test_few_changes_are_what_git_tells(
    world: World, private: PrivateGit, changes: dict[str, str | bytes | None]
) -> None:
    old = world.head()
    for path in [path for path, content in changes.items() if content is None]:
        (world.root / path).unlink()
    new = world.commit({path: content for path, content in changes.items() if content is not None})
    for first, second in ((old, new), (new, old)):
        told = {
            change.path: None if change.status == "D" else objects.Entry(change.new_mode, change.new_oid)
            for change in private.changed_paths(first, second)
        }
        assert private.few_changes(first, second) == told
        made = private.tree_with(first, told)
        assert made in (world.git("rev-parse", f"{second}^{{tree}}"), None)
    assert private.tree_with(old, private.few_changes(old, new) or {}) == world.git("rev-parse", f"{new}^{{tree}}")


def _snapshot_both_ways(world: World, tree: PrivateTree) -> tuple[str, str]:
    """Trees of the snapshot as it is made, and as git alone makes it."""
    snapshot = tree.snapshot()
    plain = PrivateTree(world.private(), tree.work_tree, tree.git_dir, tree.directory)
    by_git = plain.snapshot()
    assert snapshot.commit is not None
    assert by_git.commit is not None
    ours, theirs = (world.git("rev-parse", f"{commit}^{{tree}}") for commit in (snapshot.commit, by_git.commit))
    return ours, theirs


def test_a_snapshot_without_git_is_the_one_git_makes(world: World, private: PrivateGit) -> None:
    tree = _tree(world, private)
    world.write({"new file": "x", "deep/er/file": "y", "README": "edited", "run.sh": "#!/bin/sh\n"}, tree.work_tree)
    (tree.work_tree / "run.sh").chmod(0o755)
    (tree.work_tree / "link").symlink_to("../nowhere")
    ours, by_git = _snapshot_both_ways(world, tree)
    assert ours == by_git
    assert contents.tree_of(private, tree.work_tree, world.head(), ("README",), ()) is not None


@pytest.mark.parametrize("attributes", [".gitattributes", "deep/.gitattributes"])
def test_files_that_attributes_convert_are_left_to_git(world: World, private: PrivateGit, attributes: str) -> None:
    tree = _tree(world, private)
    world.write({attributes: "* text eol=lf\n", "deep/dos.txt": "a\r\nb\r\n"}, tree.work_tree)
    ours, by_git = _snapshot_both_ways(world, tree)
    assert ours == by_git


def test_work_that_is_all_committed_is_seen_without_moving_the_index(world: World, private: PrivateGit) -> None:
    tree = _tree(world, private)
    base = tree.head()
    world.commit({"README": "edited", "new": "x"}, tree.work_tree)
    assert tree.snapshot().commit is None
    assert (tree.directory / "HEAD").read_text() == f"{base}\n"


@pytest.mark.parametrize("left", ["README", "new", "other", "gone"])
def test_what_a_commit_lacks_is_in_the_snapshot(world: World, private: PrivateGit, left: str) -> None:
    """In a file that the commit has too, or in another one."""
    tree = _tree(world, private)
    world.write({"gone": "x"}, tree.work_tree)
    head = world.commit({"README": "edited", "new": "x"}, tree.work_tree)
    world.write({left: None if left == "gone" else "later"}, tree.work_tree)
    snapshot = tree.snapshot()
    assert snapshot.head == head
    assert snapshot.commit is not None
    assert world.git("diff", "--name-only", head, snapshot.commit) == left


def test_a_file_that_is_put_back_after_the_commit_is_in_the_snapshot(world: World, private: PrivateGit) -> None:
    """Against the commit before, it looks untouched."""
    tree = _tree(world, private)
    before = (tree.work_tree / "README").read_bytes()
    head = world.commit({"README": "edited"}, tree.work_tree)
    (tree.work_tree / "README").write_bytes(before)
    commit = tree.snapshot().commit
    assert commit is not None
    assert world.git("diff", "--name-only", head, commit) == "README"


def test_a_tree_that_was_looked_at_becomes_exactly_the_commit(world: World, private: PrivateGit) -> None:
    tree = _tree(world, private)
    world.write({".gitignore": "*.o\n"}, tree.work_tree)
    merged = world.commit({"README": "edited", "new": "x"}, tree.work_tree)
    world.write({"left.o": "ignored", "left": "untracked"}, tree.work_tree)
    tree.snapshot()
    assert tree.tidy(merged)
    assert tree.catch_up(merged)
    assert world.git("status", "--porcelain", "--ignored", cwd=tree.work_tree) == ""
    assert tree.head() == merged
    assert _names(tree.work_tree) >= {"README", "new", ".gitignore"}


def test_edits_that_the_next_commit_does_not_have_are_gone_too(world: World, private: PrivateGit) -> None:
    tree = _tree(world, private)
    base = tree.head()
    world.commit({"README": "edited", "new": "x"}, tree.work_tree)
    tree.snapshot()
    assert not tree.tidy(base)
    tree.fresh(base)
    assert world.git("status", "--porcelain", "--ignored", cwd=tree.work_tree) == ""
    assert not (tree.work_tree / "new").exists()


def test_without_a_look_nothing_is_taken_for_known(world: World, private: PrivateGit) -> None:
    tree = _tree(world, private)
    merged = world.commit({"README": "edited"}, tree.work_tree)
    assert not tree.tidy(merged)
    tree.snapshot()
    assert tree.tidy(merged)
    tree.restore(tree.snapshot())
    assert not tree.catch_up(merged)


def test_a_tidy_tree_catches_up_with_what_others_merged(world: World, private: PrivateGit) -> None:
    tree = _tree(world, private)
    merged = world.commit({"README": "edited", "new": "x"}, tree.work_tree)
    tree.snapshot()
    assert tree.tidy(merged)
    world.git("reset", "--quiet", "--hard", merged)
    later = world.commit({"README": "again", "new": None, "new/is": "a directory", "others": "y"})
    assert tree.catch_up(later)
    assert world.git("status", "--porcelain", "--ignored", cwd=tree.work_tree) == ""
    assert tree.head() == later


def _names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}
