"""Reading refs without a process, and changing several of them at once or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from git_support import World, make_world
from prodigy.git import command
from prodigy.git.command import GitError
from prodigy.git.repo import ANY, RefChange, RefMoved

RUN = "refs/heads/prodigy/r1/run"
ITEM = "refs/prodigy/r1/attempts/0001/a1"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def test_a_ref_is_read_loose_packed_and_loose_again_without_a_process(world: World) -> None:
    repo = world.repo()
    first = world.head()
    before = command.calls()
    assert repo.read_ref("refs/heads/main") == first
    world.git("pack-refs", "--all")
    assert not (world.root / ".git/refs/heads/main").exists()
    assert repo.read_ref("refs/heads/main") == first
    second = world.commit({"x": "x"})
    assert repo.read_ref("refs/heads/main") == second
    world.git("pack-refs", "--all")
    assert repo.read_ref("refs/heads/main") == second
    assert repo.read_ref("refs/heads/none") is None
    assert repo.read_ref("refs/heads") is None
    assert repo.read_ref("refs/heads/main/below") is None
    assert command.calls() == before


def test_a_packed_annotated_tag_is_its_own_object(world: World) -> None:
    world.git("tag", "-a", "-m", "tag", "v1")
    world.git("pack-refs", "--all")
    assert world.repo().read_ref("refs/tags/v1") == world.git("rev-parse", "v1")


def test_symbolic_refs_are_followed_but_not_forever(world: World) -> None:
    world.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
    assert world.repo().read_ref("refs/heads/alias") == world.head()
    (world.root / ".git/refs/heads/loop").write_text("ref: refs/heads/loop\n")
    with pytest.raises(GitError, match="symbolic"):
        world.repo().read_ref("refs/heads/loop")


@pytest.mark.parametrize(
    "name", ["HEAD", "refs/../config", "refs//x", "refs/heads/.x", "refs/heads/x.lock", "refs/a b"]
)
def test_what_is_no_ref_name_is_refused(world: World, name: str) -> None:
    with pytest.raises(GitError, match="not a"):
        world.repo().read_ref(name)
    with pytest.raises(GitError, match="not a"):
        world.repo().update_refs([RefChange(name, None, world.head())])


def test_names_need_not_be_ascii(world: World) -> None:
    name = "refs/heads/prodigy/r1/items/0001-größe"
    world.repo().update_refs([RefChange(name, None, world.head())])
    assert world.repo().read_ref(name) == world.head()
    world.git("pack-refs", "--all")
    assert world.repo().read_ref(name) == world.head()


def test_a_damaged_ref_is_an_error(world: World) -> None:
    (world.root / ".git/refs/heads/bad").write_text("nonsense\n")
    with pytest.raises(GitError, match="no object id"):
        world.repo().read_ref("refs/heads/bad")


def test_refs_are_created_moved_and_deleted_in_one_process(world: World) -> None:
    repo = world.repo()
    first = world.head()
    second = world.commit({"x": "x"})
    before = command.calls()
    repo.update_refs([RefChange(RUN, None, first), RefChange(ITEM, ANY, first)])
    assert command.calls() - before == 1
    repo.update_refs([RefChange(RUN, first, second), RefChange(ITEM, first, None)], message="merge item 1")
    assert repo.read_ref(RUN) == second
    assert repo.read_ref(ITEM) is None
    assert "merge item 1" in world.git("reflog", "show", RUN)
    repo.update_refs([RefChange(RUN, ANY, None), RefChange(ITEM, ANY, None)])
    assert repo.read_ref(RUN) is None
    repo.update_refs([])


@pytest.mark.parametrize("packed", [False, True])
def test_nothing_changes_when_one_ref_is_not_as_expected(world: World, packed: bool) -> None:
    repo = world.repo()
    first = world.head()
    second = world.commit({"x": "x"})
    repo.update_refs([RefChange(RUN, None, second)])
    if packed:
        world.git("pack-refs", "--all")
    with pytest.raises(RefMoved, match=RUN) as caught:
        repo.update_refs([RefChange(ITEM, None, first), RefChange(RUN, first, second)])
    assert caught.value.found == {RUN: second}
    assert repo.read_ref(ITEM) is None
    with pytest.raises(RefMoved):
        repo.update_refs([RefChange(ITEM, None, first), RefChange(RUN, None, first)])
    with pytest.raises(RefMoved) as caught:
        repo.update_refs([RefChange(RUN, second, first), RefChange(ITEM, first, second)])
    assert caught.value.found == {ITEM: None}
    assert repo.read_ref(RUN) == second


def test_a_ref_that_must_stay_absent_can_be_checked(world: World) -> None:
    world.repo().update_refs([RefChange(ITEM, None, None)])
    world.repo().update_refs([RefChange(ITEM, None, world.head())])
    with pytest.raises(RefMoved):
        world.repo().update_refs([RefChange(ITEM, None, None)])


def test_a_branch_in_the_way_is_not_taken_for_a_moved_ref(world: World) -> None:
    world.git("branch", "prodigy")
    with pytest.raises(GitError, match="exists; cannot create") as caught:
        world.repo().update_refs([RefChange(RUN, None, world.head())])
    assert not isinstance(caught.value, RefMoved)


def test_an_object_that_does_not_exist_is_refused(world: World) -> None:
    with pytest.raises(GitError):
        world.repo().update_refs([RefChange(RUN, None, "1" * 40)])
    with pytest.raises(GitError, match="full object id"):
        world.repo().update_refs([RefChange(RUN, None, "main")])
    assert world.repo().read_ref(RUN) is None


def test_a_link_between_refs_does_not_move_the_users_branch(world: World) -> None:
    first = world.head()
    second = world.commit({"x": "x"})
    world.git("symbolic-ref", RUN, "refs/heads/main")
    world.repo().update_refs([RefChange(RUN, ANY, first)])
    assert world.head() == second
    assert world.repo().read_ref(RUN) == first


def test_a_revision_is_resolved_or_not(world: World) -> None:
    repo = world.repo()
    world.git("tag", "-a", "-m", "tag", "v1")
    assert repo.resolve("v1") == world.head()
    for revision in ("none", "HEAD:README", "--all", "", "HEAD^9", "1" * 40):
        assert repo.resolve(revision) is None, revision


def test_where_head_points_is_read_without_a_process(world: World) -> None:
    before = command.calls()
    head = world.repo().head()
    assert (head.ref, head.oid) == ("refs/heads/main", world.head())
    world.git("checkout", "-q", "--detach")
    head = world.repo().head()
    assert (head.ref, head.oid) == (None, world.head())
    assert command.calls() == before


def test_one_process_writes_refs_again_and_again(world: World) -> None:
    repo = world.repo().with_ref_writer()
    assert repo.ref_writer is not None
    first, second = world.head(), world.commit({"second.txt": "2"})
    before = command.calls()
    for number in range(5):
        repo.update_refs([RefChange(f"refs/heads/b{number}", None, first), RefChange("refs/heads/x", ANY, first)])
    repo.update_refs([RefChange("refs/heads/b0", first, second), RefChange("refs/heads/b1", ANY, None)])
    assert command.calls() - before == 1
    assert (repo.read_ref("refs/heads/b0"), repo.read_ref("refs/heads/b1")) == (second, None)
    with pytest.raises(RefMoved):
        repo.update_refs([RefChange("refs/heads/b0", first, second), RefChange("refs/heads/b2", first, second)])
    assert repo.read_ref("refs/heads/b2") == first
    repo.update_refs([RefChange("refs/heads/b2", first, second)])
    assert repo.read_ref("refs/heads/b2") == second
    repo.ref_writer.close()
