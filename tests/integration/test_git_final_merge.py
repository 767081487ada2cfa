"""The final merge into the user's checkout: nothing of the user's is lost, also when it is cut off in the middle."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from git_support import World, files_in, make_world
from prodigy.git.checkout import _LOCK_TEXT, locked_index
from prodigy.git.command import GitError
from prodigy.git.final_merge import (
    Checkout,
    CheckoutNotReady,
    FinalConflict,
    FinalPlan,
    UpToDate,
    apply,
    checked_out_at,
    finish,
    obstacles,
    plan_final,
)
from prodigy.git.obstacles import PathsInTheWay
from prodigy.git.repo import RefChange

MAIN = "refs/heads/main"
BEFORE: dict[str, str | bytes | None] = {
    "same": "same\n",
    "edited": "old\n",
    "deleted/only": "old\n",
    "file-to-dir": "old\n",
    "dir-to-file/x": "old\n",
    "mode": "old\n",
}
AFTER: dict[str, str | bytes | None] = {
    "edited": "new, and longer\n",
    "deleted/only": None,
    "added/é ü": "new\n",
    "file-to-dir": None,
    "dir-to-file/x": None,
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = make_world(tmp_path, monkeypatch)
    world.commit(BEFORE)
    (world.root / "link").symlink_to("same")
    world.commit({})
    return world


def run_tip(world: World) -> str:
    """A commit with every kind of change, made in a worktree on top of main."""
    tree = world.tree("run", world.head())
    root = tree.work_tree
    world.write(AFTER, root)
    (root / "dir-to-file").rmdir()
    (root / "mode").chmod(0o755)
    (root / "link").unlink()
    (root / "link").symlink_to("edited")
    return world.commit({"dir-to-file": "new\n", "file-to-dir/x": "new\n"}, root)


def planned(world: World, tip: str | None = None) -> FinalPlan:
    plan = plan_final(world.private(), world.repo(), MAIN, tip or run_tip(world), "Merge run")
    assert isinstance(plan, FinalPlan)
    return plan


def checkout(world: World) -> Checkout:
    found = checked_out_at(world.repo(), MAIN)
    assert found is not None
    return found


def move_main(world: World, plan: FinalPlan) -> None:
    world.repo().update_refs([RefChange(MAIN, plan.old, plan.new)], "prodigy: merge run")


def test_a_target_that_did_not_move_is_fast_forwarded(world: World) -> None:
    old, tip = world.head(), run_tip(world)
    plan = planned(world, tip)
    assert (plan.old, plan.new) == (old, tip)
    assert "edited" in plan.paths
    assert "same" not in plan.paths
    apply(world.private(), checkout(world), plan)
    move_main(world, plan)
    assert world.git("status", "--porcelain") == ""
    assert world.head() == tip
    assert not (world.root / "deleted").exists()
    assert world.git("reflog", "-1", "--format=%gs") == "prodigy: merge run"


def test_a_target_that_moved_is_merged(world: World) -> None:
    tip = run_tip(world)
    old = world.commit({"users": "work\n"})
    plan = planned(world, tip)
    assert world.git("log", "-1", "--format=%P %s", plan.new) == f"{old} {tip} Merge run"
    apply(world.private(), checkout(world), plan)
    move_main(world, plan)
    assert world.git("status", "--porcelain") == ""
    assert (world.root / "users").read_text() == "work\n"
    assert (world.root / "edited").read_text() == AFTER["edited"]


def test_a_target_that_has_it_all_is_up_to_date(world: World) -> None:
    tip = run_tip(world)
    world.git("merge", "-q", tip)
    plan = plan_final(world.private(), world.repo(), MAIN, tip, "Merge run")
    assert plan == UpToDate(world.head())


def test_a_conflict_is_named_before_anything_happens(world: World) -> None:
    tip = run_tip(world)
    world.commit({"edited": "by the user\n"})
    plan = plan_final(world.private(), world.repo(), MAIN, tip, "Merge run")
    assert isinstance(plan, FinalConflict)
    assert plan.paths == ("edited",)


def test_a_target_that_is_gone_is_an_error(world: World) -> None:
    with pytest.raises(GitError, match="does not exist"):
        plan_final(world.private(), world.repo(), "refs/heads/gone", world.head(), "Merge run")


def test_other_work_of_the_user_survives_byte_for_byte(world: World) -> None:
    plan = planned(world)
    world.write({"same": "edited by the user\n", "staged": "staged\n", "untracked ü": b"\xff\0", "a.log": "ignored"})
    world.write({"README": "staged first\n"})
    world.git("add", "staged", "README")
    world.write({"README": "then edited\n", "added/mine": "beside\n"})
    world.git("rm", "-q", "--cached", "src/a.py")
    before = {name: content for name, content in files_in(world.root).items() if name not in plan.paths}
    staged = world.git("diff", "--cached", "--raw", "--no-abbrev", "HEAD")
    assert obstacles(world.private(), checkout(world), plan) == []
    apply(world.private(), checkout(world), plan)
    move_main(world, plan)
    after = {name: content for name, content in files_in(world.root).items() if name not in plan.paths}
    assert after == before
    assert world.git("diff", "--cached", "--raw", "--no-abbrev", "HEAD") == staged
    assert (world.root / "edited").read_text() == AFTER["edited"]


def test_files_that_were_only_touched_are_not_in_the_way(world: World) -> None:
    plan = planned(world)
    os.utime(world.root / "edited", (1, 1))
    assert obstacles(world.private(), checkout(world), plan) == []
    apply(world.private(), checkout(world), plan)
    move_main(world, plan)
    assert world.git("status", "--porcelain") == ""


def _stage(world: World) -> None:
    world.write({"edited": "staged\n"})
    world.git("add", "edited")
    world.write({"edited": "old\n"})


def _hide(world: World, how: str) -> None:
    world.git("update-index", how, "edited")
    world.write({"edited": "hidden\n"})


def _link_parent(world: World) -> None:
    (world.space / "elsewhere").mkdir()
    (world.root / "added").symlink_to(world.space / "elsewhere")


OBSTACLES: dict[str, tuple[Callable[[World], object], list[str]]] = {
    "edited": (lambda world: world.write({"edited": "mine\n"}), ["edited"]),
    "staged": (_stage, ["edited"]),
    "unstaged deletion": (lambda world: (world.root / "edited").unlink(), ["edited"]),
    "staged deletion": (lambda world: world.git("rm", "-q", "edited"), ["edited"]),
    "assumed unchanged": (lambda world: _hide(world, "--assume-unchanged"), ["edited"]),
    "skip-worktree": (lambda world: _hide(world, "--skip-worktree"), ["edited"]),
    "edit of a deleted file": (lambda world: world.write({"deleted/only": "mine\n"}), ["deleted/only"]),
    "mode": (lambda world: (world.root / "edited").chmod(0o755), ["edited"]),
    "untracked": (lambda world: world.write({"added/é ü": "mine\n"}), ["added/é ü"]),
    "the same, untracked": (lambda world: world.write({"added/é ü": "new\n"}), ["added/é ü"]),
    "a file where a directory comes": (lambda world: world.write({"added": "mine\n"}), ["added"]),
    "a directory where a file comes": (lambda world: world.write({"added/é ü/x": "mine\n"}), ["added/é ü/x"]),
    "a link to elsewhere": (_link_parent, ["added"]),
    "beside a file in a leaving directory": (
        lambda world: world.write({"dir-to-file/mine.log": "ignored\n"}),
        ["dir-to-file/mine.log"],
    ),
}


@pytest.mark.parametrize("name", OBSTACLES)
def test_what_is_in_the_way_is_named_and_nothing_is_touched(world: World, name: str) -> None:
    do, expected = OBSTACLES[name]
    plan = planned(world)
    do(world)
    before, index = files_in(world.root), (world.root / ".git/index").read_bytes()
    assert obstacles(world.private(), checkout(world), plan) == expected
    with pytest.raises(PathsInTheWay) as caught:
        apply(world.private(), checkout(world), plan)
    assert list(caught.value.paths) == expected
    assert files_in(world.root) == before
    assert (world.root / ".git/index").read_bytes() == index
    assert not (world.root / ".git/index.lock").exists()


def test_an_ignored_file_is_not_overwritten(world: World) -> None:
    tree = world.tree("run", world.head())
    plan = planned(world, world.commit({"build/out": "tracked though ignored"}, tree.work_tree))
    world.write({"build/out": "precious"})
    assert obstacles(world.private(), checkout(world), plan) == ["build/out"]


@pytest.mark.parametrize("operation", ["merge", "rebase", "cherry-pick", "revert"])
def test_an_operation_in_progress_refuses(world: World, operation: str) -> None:
    plan = planned(world)
    world.git("checkout", "-q", "-b", "other")
    conflicting = world.commit({"same": "other\n"})
    world.git("checkout", "-q", "main")
    world.commit({"same": "main\n"})
    here = checkout(world)
    with pytest.raises(AssertionError):
        world.git(operation, conflicting)
    with pytest.raises(CheckoutNotReady, match=f"{operation} is in progress"):
        obstacles(world.private(), here, plan)
    assert checked_out_at(world.repo(), MAIN) == here


def test_a_sparse_checkout_refuses_until_it_is_whole(world: World) -> None:
    plan = planned(world)
    world.git("sparse-checkout", "set", "--no-cone", "/same")
    with pytest.raises(CheckoutNotReady, match="sparse"):
        obstacles(world.private(), checkout(world), plan)
    world.git("sparse-checkout", "disable")
    assert obstacles(world.private(), checkout(world), plan) == []


def test_a_split_index_refuses_with_the_command_that_helps(world: World) -> None:
    plan = planned(world)
    world.git("update-index", "--split-index")
    with pytest.raises(CheckoutNotReady, match="split") as caught:
        obstacles(world.private(), checkout(world), plan)
    assert caught.value.hint
    world.git(*caught.value.hint.split()[1:])
    for path in (world.root / ".git").glob("sharedindex.*"):
        path.unlink()
    assert obstacles(world.private(), checkout(world), plan) == []


def test_a_checkout_whose_index_is_locked_refuses(world: World) -> None:
    plan = planned(world)
    (world.root / ".git/index.lock").touch()
    with pytest.raises(CheckoutNotReady, match="another git command"):
        apply(world.private(), checkout(world), plan)
    assert (world.root / ".git/index.lock").exists()
    assert world.git("status", "--porcelain") == ""


def test_git_of_the_user_is_kept_out_meanwhile(world: World) -> None:
    with locked_index(checkout(world)), pytest.raises(AssertionError, match=r"index\.lock"):
        world.git("add", "--all")
    world.git("add", "--all")


def test_an_index_of_version_4_with_an_untracked_cache_works(world: World) -> None:
    world.git("config", "feature.manyFiles", "true")
    world.git("update-index", "--index-version", "4", "--untracked-cache", "--force-untracked-cache")
    plan = planned(world)
    apply(world.private(), checkout(world), plan)
    move_main(world, plan)
    assert world.git("status", "--porcelain") == ""


def test_a_linked_worktree_that_has_the_target_is_found_and_merged_into(world: World) -> None:
    linked = world.space / "linked ü"
    world.git("worktree", "add", "-q", "-b", "feature", str(linked))
    tree = world.tree("run", world.head())
    tip = world.commit({"edited": "new\n"}, tree.work_tree)
    found = checked_out_at(world.repo(), "refs/heads/feature")
    assert found is not None
    assert found.path == linked
    plan = plan_final(world.private(), world.repo(), "refs/heads/feature", tip, "Merge run")
    assert isinstance(plan, FinalPlan)
    apply(world.private(), found, plan)
    world.repo().update_refs([RefChange("refs/heads/feature", plan.old, plan.new)])
    assert world.git("status", "--porcelain", cwd=linked) == ""
    assert (linked / "edited").read_text() == "new\n"
    assert (world.root / "edited").read_text() == "old\n"


def test_a_branch_that_nobody_has_checked_out_has_no_checkout(world: World) -> None:
    world.git("branch", "idle")
    assert checked_out_at(world.repo(), "refs/heads/idle") is None


def done(world: World, plan: FinalPlan) -> None:
    finish(world.private(), world.repo(), world.root, plan.old, plan.new)


def assert_merged(world: World, plan: FinalPlan, rest: dict[str, bytes | str]) -> None:
    """The changed paths are as in `new`, everything else is as it was, and the index agrees."""
    move_main(world, plan)
    status = world.git("status", "--porcelain", "--no-renames", "-z").split("\0")[:-1]
    assert not {entry[3:] for entry in status} & set(plan.paths)
    assert {name: content for name, content in files_in(world.root).items() if name not in plan.paths} == rest
    assert (world.root / "edited").read_text() == AFTER["edited"]
    assert (world.root / "mode").stat().st_mode & 0o111
    assert (world.root / "link").readlink() == Path("edited")


def users_work(world: World, plan: FinalPlan) -> dict[str, bytes | str]:
    world.write({"same": "edited\n", "staged": "staged\n", "untracked": "u", "added/mine": "m", "x.log": "l"})
    world.git("add", "staged")
    return {name: content for name, content in files_in(world.root).items() if name not in plan.paths}


def test_finish_completes_what_was_not_even_begun(world: World) -> None:
    plan = planned(world)
    rest = users_work(world, plan)
    done(world, plan)
    assert_merged(world, plan, rest)
    assert "staged" in world.git("diff", "--cached", "--name-only")


@pytest.mark.parametrize("ref_moved", [False, True])
def test_finish_after_everything_was_done_changes_nothing(world: World, ref_moved: bool) -> None:
    plan = planned(world)
    rest = users_work(world, plan)
    apply(world.private(), checkout(world), plan)
    before = files_in(world.root)
    if ref_moved:
        move_main(world, plan)
    done(world, plan)
    assert files_in(world.root) == before
    if not ref_moved:
        assert_merged(world, plan, rest)


@pytest.mark.parametrize("cut", range(13))
def test_finish_completes_an_apply_that_was_cut_off_anywhere(world: World, cut: int) -> None:
    """`read-tree` removes files, then writes files, and replaces the index last: it was killed after `cut` of these."""
    plan = planned(world)
    rest = users_work(world, plan)
    index = (world.root / ".git/index").read_bytes()
    ready = world.space / "ready"
    shutil.copytree(world.root, ready, symlinks=True)
    world.git("status", cwd=ready)
    world.git("read-tree", "-m", "-u", plan.old, plan.new, cwd=ready)
    paths = sorted(plan.paths)
    removals = [partial(_remove, world.root, path) for path in paths if _is_leaf(world.root / path)]
    steps = [*removals, *(partial(_copy, ready, world.root, path) for path in paths if _is_leaf(ready / path))]
    assert len(steps) == 12
    for step in steps[:cut]:
        step()
    if cut % 2:
        (world.root / ".git/index.lock").write_bytes(_LOCK_TEXT)
    assert (world.root / ".git/index").read_bytes() == index
    done(world, plan)
    assert_merged(world, plan, rest)
    assert not (world.root / ".git/index.lock").exists()


def _is_leaf(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def _remove(root: Path, path: str) -> None:
    (root / path).unlink()
    for parent in (root / path).relative_to(root).parents:
        if parent != Path() and not any((root / parent).iterdir()):
            (root / parent).rmdir()


def _copy(source: Path, target: Path, path: str) -> None:
    (target / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source / path, target / path, follow_symlinks=False)


def test_finish_completes_a_file_that_was_written_in_part(world: World) -> None:
    plan = planned(world)
    rest = users_work(world, plan)
    world.write({"edited": "new, an", "added/é ü": ""})
    done(world, plan)
    assert_merged(world, plan, rest)


# Completing these loses nothing.
HARMLESS = {"unstaged deletion", "the same, untracked"}


@pytest.mark.parametrize("name", sorted(OBSTACLES.keys() - HARMLESS))
def test_finish_touches_nothing_when_a_path_is_neither_old_nor_new(world: World, name: str) -> None:
    do, expected = OBSTACLES[name]
    plan = planned(world)
    do(world)
    before, index = files_in(world.root), (world.root / ".git/index").read_bytes()
    with pytest.raises(PathsInTheWay) as caught:
        done(world, plan)
    assert list(caught.value.paths) == expected
    assert files_in(world.root) == before
    assert (world.root / ".git/index").read_bytes() == index


def test_finish_needs_the_checkout(world: World) -> None:
    plan = planned(world)
    with pytest.raises(CheckoutNotReady, match="no checkout"):
        finish(world.private(), world.repo(), world.space, plan.old, plan.new)
