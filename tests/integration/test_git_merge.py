"""Merging in memory, and what the private git directory answers about commits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from git_support import World, files_in, make_world
from prodigy.git import command
from prodigy.git.command import GitError
from prodigy.git.merge import Conflict, Merged, merge
from prodigy.git.private import PrivateGit


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def branch(world: World, files: dict[str, str | bytes | None], start: str = "main") -> str:
    """A commit on top of `start`, made aside; main stays where it is."""
    world.git("checkout", "-q", "--detach", start)
    commit = world.commit(files)
    world.git("checkout", "-q", "main")
    return commit


def test_changes_of_both_sides_come_together(world: World) -> None:
    ours = branch(world, {"src/a.py": "ours\n"})
    theirs = branch(world, {"README": "theirs\n", "new ü": "x"})
    checkout = files_in(world.root)
    before = command.calls()
    private = world.private()
    made = command.calls()
    result = merge(private, ours, theirs)
    assert command.calls() - made == 1
    assert made - before <= 4
    assert isinstance(result, Merged)
    commit = private.commit(result.tree, [ours, theirs], "Merge\n\nProdigy-Item: 1")
    assert world.git("show", f"{commit}:src/a.py", f"{commit}:README") == "ours\ntheirs"
    assert world.git("log", "-1", "--format=%P|%an|%B", commit) == f"{ours} {theirs}|Ada|Merge\n\nProdigy-Item: 1"
    assert files_in(world.root) == checkout


def test_a_renamed_file_keeps_the_others_edit(world: World) -> None:
    base = world.commit({"long": "".join(f"{number}\n" for number in range(50))})
    ours = branch(world, {"long": None, "renamed": (world.root / "long").read_text()}, base)
    theirs = branch(world, {"long": (world.root / "long").read_text() + "more\n"}, base)
    result = merge(world.private(), ours, theirs)
    assert isinstance(result, Merged)
    assert world.git("show", f"{result.tree}:renamed").endswith("49\nmore")


def test_a_conflict_names_its_paths_and_says_why(world: World) -> None:
    ours = branch(world, {"src/é b.py": "ours\n", "a\nb": "1", "README": None})
    theirs = branch(world, {"src/é b.py": "theirs\n", "a\nb": "2", "README": "theirs\n"})
    result = merge(world.private(), ours, theirs)
    assert isinstance(result, Conflict)
    assert sorted(result.paths) == ["README", "a\nb", "src/é b.py"]
    assert "CONFLICT (modify/delete): README deleted in" in result.message
    assert "Merge conflict in src/é b.py" in result.message
    assert "<<<<<<<" in world.git("show", f"{result.tree}:src/é b.py")


def test_a_known_base_spares_the_merge(world: World) -> None:
    base = world.head()
    theirs = branch(world, {"x": "x"})
    private = world.private()
    tree = world.git("rev-parse", f"{theirs}^{{tree}}")
    assert merge(private, base, theirs, base=base) == Merged(tree)
    assert merge(private, theirs, theirs) == Merged(tree)
    assert merge(private, base, theirs) == Merged(tree)
    assert merge(private, theirs, base) == Merged(tree)


def test_an_unknown_commit_is_an_error_and_no_conflict(world: World) -> None:
    private = world.private()
    with pytest.raises(GitError, match="found no commit"):
        merge(private, world.head(), "1" * 40)
    for name in ("main", "--help", ""):
        with pytest.raises(GitError, match="full object id"):
            merge(private, world.head(), name)


def test_union_merges_are_honoured_at_every_level(world: World) -> None:
    base = world.commit(
        {
            ".gitattributes": "LOG merge=union\nsub/* merge=union\n",
            "LOG": "0\n",
            "sub/.gitattributes": "not merge\n",
            "sub/not": "0\n",
            "sub/yes": "0\n",
        }
    )
    private = world.private()
    for name in ("LOG", "sub/yes"):
        ours, theirs = branch(world, {name: "0\n1\n"}, base), branch(world, {name: "0\n2\n"}, base)
        result = merge(private, ours, theirs)
        assert isinstance(result, Merged), name
        assert world.git("show", f"{result.tree}:{name}") == "0\n1\n2"
    ours, theirs = branch(world, {"sub/not": "0\n1\n"}, base), branch(world, {"sub/not": "0\n2\n"}, base)
    assert isinstance(merge(private, ours, theirs), Conflict)


def test_a_shallow_clone_merges_and_is_walked(world: World, tmp_path: Path) -> None:
    for number in range(3):
        world.commit({"x": str(number)})
    clone = World(world.home, tmp_path / "shallow", tmp_path)
    world.git("clone", "-q", "--depth", "2", f"file://{world.root}", str(clone.root))
    base = clone.head()
    ours, theirs = branch(clone, {"a": "1"}), branch(clone, {"b": "2"})
    private = clone.private()
    assert isinstance(merge(private, ours, theirs), Merged)
    assert private.is_ancestor(base, ours)
    assert not private.is_ancestor(theirs, ours)
    assert private.commits_between(ours, theirs) == ((ours,), (theirs,))
    unrelated = clone.git("commit-tree", "-m", "root", f"{base}^{{tree}}")
    assert private.commits_between(unrelated, ours)[1] == (clone.git("rev-parse", f"{base}^"), base, ours)


def test_ancestry_and_trees(world: World) -> None:
    base = world.head()
    private = world.private()
    child = branch(world, {"x": "x"})
    before = command.calls()
    assert private.is_ancestor(base, base)
    assert command.calls() == before
    assert private.is_ancestor(base, child)
    assert not private.is_ancestor(child, base)
    assert private.tree_of(child) == world.git("rev-parse", f"{child}^{{tree}}")
    for unknown in ("1" * 40, private.tree_of(child)):
        with pytest.raises(GitError):
            private.is_ancestor(base, unknown)
    with pytest.raises(GitError):
        private.tree_of("1" * 40)


def test_commits_between_two_commits(world: World) -> None:
    base = world.head()
    first = branch(world, {"x": "1"})
    second = branch(world, {"x": "2"}, first)
    other = branch(world, {"y": "1"})
    private = world.private()
    assert private.commits_between(base, second) == ((), (first, second))
    assert private.commits_between(second, base) == ((first, second), ())
    assert private.commits_between(other, second) == ((other,), (first, second))
    assert private.commits_between(base, base) == ((), ())


def test_changed_paths_are_told_byte_for_byte(world: World) -> None:
    odd = os.fsdecode(b'b\xffd "name"\n')
    base = world.commit({odd: "1", "gone": "1", "mode": "1"})
    (world.root / "mode").chmod(0o755)
    (world.root / "README").unlink()
    (world.root / "README").symlink_to("src")
    new = world.commit({odd: "2", "gone": None, "added ü": "1"})
    changes = {change.path: change for change in world.private().changed_paths(base, new)}
    assert {path: change.status for path, change in changes.items()} == {
        odd: "M",
        "gone": "D",
        "mode": "M",
        "README": "T",
        "added ü": "A",
    }
    assert (changes["mode"].old_mode, changes["mode"].new_mode) == ("100644", "100755")
    assert changes["added ü"].old_mode == "000000"
    assert changes["added ü"].new_oid == world.git("rev-parse", f"{new}:added ü")
    assert "added ü" not in world.private().diffstat(base, base)
    assert "5 files changed" in world.private().diffstat(base, new)


def test_a_changed_submodule_is_a_changed_path(world: World) -> None:
    base = world.head()
    world.git("update-index", "--add", "--cacheinfo", f"160000,{base},sub")
    world.git("commit", "-q", "-m", "submodule")
    assert [change.path for change in world.private().changed_paths(base, world.head())] == ["sub"]


def test_settings_are_taken_over_from_an_allow_list(world: World) -> None:
    for key, value in {
        "core.autocrlf": "input",
        "core.eol": "lf",
        "core.hooksPath": "/evil",
        "core.fsmonitor": "/evil",
        "core.editor": "/evil",
        "merge.evil.driver": "/evil",
        "filter.lfs.clean": "/evil local",
        "filter.evil.clean": "/evil",
        "alias.status": "!/evil",
    }.items():
        world.git("config", key, value)
    world.git("config", "--global", "filter.lfs.process", 'git-lfs "filter"\\process')
    private = world.private()
    text = (private.directory / "config").read_text()
    assert "evil" not in text
    assert private.run("config", "core.autocrlf").line == "input"
    assert private.run("config", "filter.lfs.process").line == 'git-lfs "filter"\\process'


def test_commits_are_made_in_prodigys_name_when_the_user_has_none(world: World) -> None:
    (world.home / ".gitconfig").unlink()
    private = world.private()
    commit = private.commit(private.tree_of(world.head()), [world.head()], "x")
    line = world.git("log", "-1", "--format=%an <%ae> %cn <%ce>", commit)
    assert line == "Prodigy <prodigy@localhost> Prodigy <prodigy@localhost>"


def test_a_private_directory_is_whole_or_not_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = world.space / "run" / "git"
    with pytest.raises(GitError):
        PrivateGit.create(directory, world.repo(), "1" * 40)
    assert list(directory.parent.iterdir()) == []
    assert PrivateGit.create(directory, world.repo(), world.head()).tree_of(world.head())


def test_a_short_straight_history_is_read_without_a_process_and_any_other_is_walked(world: World) -> None:
    base = world.head()
    first, second = world.commit({"a.txt": "1"}), world.commit({"a.txt": "2"})
    plain = world.private()
    private = plain.with_reader()
    assert private.reader is not None
    assert private.tree_of(second) == plain.tree_of(second)
    before = command.calls()
    assert private.commits_between(base, second) == ((), (first, second))
    assert private.is_ancestor(base, second)
    assert command.calls() == before
    world.git("switch", "-q", "-c", "side", base)
    side = world.commit({"b.txt": "1"})
    for old, new in ((second, side), (side, second), (second, base), (first, side)):
        assert private.commits_between(old, new) == plain.commits_between(old, new)
        assert private.is_ancestor(old, new) == plain.is_ancestor(old, new)
    private.reader.close()
    assert private.is_ancestor(base, second), "it is started again when it is needed"
    private.reader.close()
