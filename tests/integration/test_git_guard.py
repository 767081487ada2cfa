"""Noticing what an agent changed that it shares with the user and with other agents."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from git_support import World, make_world
from prodigy.git import command
from prodigy.git.config_text import parse
from prodigy.git.guard import Differences, Fingerprint, differences, observe
from prodigy.git.repo import RefChange

RUN = "refs/heads/prodigy/r1/run"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = make_world(tmp_path, monkeypatch)
    world.repo().update_refs([RefChange(RUN, None, world.head())])
    return world


def look(world: World) -> Fingerprint:
    git_dirs = [path for path in (world.root / ".git/worktrees").glob("*") if path.is_dir()]
    return observe(world.repo(), git_dirs, [RUN])


def after(world: World, change: Callable[[], object]) -> Differences:
    before = look(world)
    change()
    return differences(before, look(world))


def git_file(world: World, name: str, content: str, mode: int = 0o644) -> Callable[[], None]:
    def write() -> None:
        path = world.root / ".git" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(mode)

    return write


def test_nothing_happened_and_no_process_ran(world: World) -> None:
    before = command.calls()
    assert after(world, lambda: None) == Differences((), ())
    assert command.calls() == before


def test_an_agents_ordinary_work_is_no_tampering(world: World) -> None:
    tree = world.tree()
    root = tree.work_tree

    def work() -> None:
        world.git("checkout", "-q", "-b", "prodigy/agent", cwd=root)
        world.git("branch", "--set-upstream-to=main", cwd=root)
        world.git("config", "user.name", "Agent", cwd=root)
        world.commit({"x": "x"}, root)
        world.git("gc", "-q", cwd=root)

    assert after(world, work) == Differences((), ())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("hooks/pre-commit", "#!/bin/sh\n", "hooks/pre-commit was created"),
        ("info/attributes", "* filter=evil\n", "info/attributes was created"),
        ("info/exclude", "*\n", "info/exclude was changed"),
        ("info/grafts", "x", "info/grafts was created"),
        ("objects/info/alternates", "/evil\n", "objects/info/alternates was created"),
        ("shallow", "1" * 40 + "\n", "shallow was created"),
        ("config.worktree", "[core]\n\tfsmonitor = evil\n", "config.worktree: core.fsmonitor is now 'evil'"),
    ],
)
def test_shared_files_are_guarded(world: World, name: str, content: str, words: str) -> None:
    assert after(world, git_file(world, name, content)) == Differences((words,), ())


def test_settings_are_told_by_name(world: World) -> None:
    world.git("config", "core.editor", "vi")

    def configure() -> None:
        world.git("config", "core.hooksPath", ".husky")
        world.git("config", "--unset", "core.editor")
        world.git("config", "--add", 'url."evil".insteadOf', "https://example.org")
        world.git("config", "branch.main.remote", "origin")

    assert after(world, configure).tampered == (
        "config: core.editor was removed",
        "config: core.hookspath is now '.husky'",
        "config: url.\"evil\".insteadof is now 'https://example.org'",
    )


@pytest.mark.parametrize(
    "text",
    [
        '[branch "x"] [core] fsmonitor = evil\n',
        '[branch "x"]\n\tdescription = a \\\n[core]\n\tfsmonitor = evil\n',
        '[branch "x"\n',
        "[core] fsmonitor = evil\n",
        "\ufeff[core]\n\tfsmonitor = evil\n",
        "[user]\n\tname = x\n[core]\n fsmonitor = evil # \\\n",
    ],
)
def test_no_setting_hides_in_a_corner_of_the_format(world: World, text: str) -> None:
    def append() -> None:
        with (world.root / ".git/config").open("a") as file:
            file.write(text)

    assert after(world, append).tampered == ("config was changed",)


def test_a_configuration_that_we_cannot_read_is_compared_as_a_whole(world: World) -> None:
    git_file(world, "config", "[core] bare = false\n")()
    assert after(world, lambda: None) == Differences((), ())
    assert after(world, git_file(world, "config", "[core] bare = false\n\n")).tampered == ("config was changed",)


def test_a_configuration_that_is_no_file_is_tampered_with(world: World) -> None:
    def replace() -> None:
        (world.root / ".git/config").unlink()
        os.mkfifo(world.root / ".git/config")

    assert after(world, replace).tampered == ("config was changed",)


def test_a_hook_that_becomes_executable_or_another_link_is_noticed(world: World) -> None:
    git_file(world, "hooks/pre-push", "#!/bin/sh\n")()
    (world.root / ".git/hooks/post-merge").symlink_to("a")

    def change() -> None:
        (world.root / ".git/hooks/pre-push").chmod(0o755)
        (world.root / ".git/hooks/post-merge").unlink()
        (world.root / ".git/hooks/post-merge").symlink_to("b")

    assert after(world, change).tampered == ("hooks/post-merge was changed", "hooks/pre-push was changed")


def test_hooks_that_become_a_link_to_elsewhere_are_noticed(world: World) -> None:
    git_file(world, "hooks/pre-push", "#!/bin/sh\n")()

    def change() -> None:
        (world.root / ".git/hooks").rename(world.space / "hooks")
        (world.root / ".git/hooks").symlink_to(world.space / "hooks")

    assert after(world, change).tampered == ("hooks was created", "hooks/pre-push was removed")


@pytest.mark.parametrize("name", ["gitdir", "commondir"])
def test_the_links_of_a_worktree_are_guarded(world: World, name: str) -> None:
    tree = world.tree()
    assert after(world, lambda: (tree.git_dir / name).write_text("/evil\n")).tampered == (
        f"worktrees/{tree.git_dir.name}/{name} was changed",
    )
    assert after(world, (tree.git_dir / name).unlink).tampered == (f"worktrees/{tree.git_dir.name}/{name} was removed",)


def test_the_settings_of_a_worktree_are_guarded(world: World) -> None:
    tree = world.tree()
    text = "[core]\n\tfsmonitor = evil\n"
    assert after(world, lambda: (tree.git_dir / "config.worktree").write_text(text)).tampered == (
        f"worktrees/{tree.git_dir.name}/config.worktree: core.fsmonitor is now 'evil'",
    )


def test_a_worktree_that_came_or_went_meanwhile_is_no_news(world: World) -> None:
    tree = world.tree("one")
    before = look(world)
    world.tree("two")
    both = look(world)
    assert differences(before, both) == Differences((), ())
    assert differences(both, observe(world.repo(), [tree.git_dir], [RUN])) == Differences((), ())


def test_our_own_refs_must_be_where_we_left_them(world: World) -> None:
    first = world.head()
    second = world.commit({"x": "x"})
    before = look(world)
    world.git("update-ref", RUN, second)
    moved = look(world)
    assert differences(before, moved).tampered == (f"{RUN} moved from {first[:12]} to {second[:12]}",)
    assert differences(before, moved, {RUN: second}) == Differences((), ())
    world.git("update-ref", "-d", RUN)
    assert differences(moved, look(world)).tampered == (f"{RUN} was removed",)


def test_what_the_user_may_move_is_told_apart(world: World) -> None:
    first = world.head()
    world.git("branch", "gone")

    def use() -> None:
        world.write({"README": "stashed"})
        world.git("stash", "-q")
        world.commit({"x": "x"})
        world.git("branch", "-D", "-q", "gone")
        world.git("tag", "v1")
        world.git("checkout", "-q", "-b", "other")

    found = after(world, use)
    second, stash = world.head(), world.git("rev-parse", "stash")
    assert stash
    assert found == Differences(
        (),
        (
            "HEAD moved from refs/heads/main to refs/heads/other",
            "refs/heads/gone was removed",
            f"refs/heads/main moved from {first[:12]} to {second[:12]}",
            "refs/heads/other was created",
            "refs/stash was created",
            "refs/tags/v1 was created",
            "the log of refs/stash was created",
        ),
    )


def test_packing_moves_no_ref(world: World) -> None:
    world.git("tag", "v1")
    assert after(world, lambda: world.git("pack-refs", "--all")) == Differences((), ())


def test_refs_of_our_own_are_not_walked(world: World) -> None:
    """So that the cost does not grow with the number of items."""
    refs = [RefChange(f"refs/prodigy/r1/attempts/{number:04}/a1", None, world.head()) for number in range(50)]
    refs += [RefChange(f"refs/heads/prodigy/r1/items/{number:04}", None, world.head()) for number in range(50)]
    before = look(world)
    world.repo().update_refs(refs)
    assert look(world) == before
    world.git("pack-refs", "--all")
    assert look(world) == before


def test_plain_configuration_is_read_as_git_reads_it(world: World) -> None:
    for key, value in {"core.editor": 'vi "-x" \\ y', "remote.o'r/i.url": "a#b", "branch.x.y.merge": "é"}.items():
        world.git("config", key, value)
    parsed = parse((world.root / ".git/config").read_text())
    assert parsed is not None
    keys = world.git("config", "--local", "--list", "--name-only", "-z").split("\0")[:-1]
    assert sorted(parsed) == sorted(keys)
