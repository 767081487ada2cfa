"""An agent can write to the shared repository and to its worktree. Whatever it leaves there, our git does not run it.

Each attack is first shown to work on plain git, as a user would run it: a trap that cannot close would prove nothing.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from git_support import Canary, World, files_in, make_canary, make_world
from prodigy.git import command, worktrees
from prodigy.git.context import discover
from prodigy.git.final_merge import FinalPlan, apply, checked_out_at, finish, obstacles, plan_final
from prodigy.git.guard import differences, observe
from prodigy.git.identity import agent_env, identity_env
from prodigy.git.merge import merge
from prodigy.git.private import PrivateGit
from prodigy.git.repo import ANY, RefChange
from prodigy.git.tree import PrivateTree


@dataclass(frozen=True)
class Scene:
    """A run with one worktree, the commits of two agents, and a program that must not run."""

    world: World
    canary: Canary
    tree: PrivateTree
    base: str
    one: str
    two: str

    @property
    def root(self) -> Path:
        return self.tree.work_tree

    def config(self, key: str, value: str) -> None:
        self.world.git("config", "--file", str(self.world.root / ".git/config"), key, value)

    def script(self) -> str:
        return str(self.canary.program)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    world = make_world(tmp_path, monkeypatch)
    base = world.commit({"shared": "".join(f"{number}\n" for number in range(9)), "picture.png": "0\n"})
    maker = world.tree("maker")
    one = world.commit({"shared": "one\n", "picture.png": "1\n", "one": "1"}, maker.work_tree)
    maker.fresh(base)
    two = world.commit({"shared": "two\n", "picture.png": "2\n", "two": "2"}, maker.work_tree)
    tree = world.tree("victim", base)
    return Scene(world, make_canary(tmp_path), tree, base, one, two)


def everything_we_do_with_git(scene: Scene) -> None:
    """Every operation of ours once, in the order of a run's life, up to the final merge."""
    world, tree, private, repo = scene.world, scene.tree, scene.tree.private, scene.world.repo()
    observe(repo, [tree.git_dir])
    world.write({"shared": "edited\n", "picture.png": "edited\n", "untracked": "u"}, scene.root)
    snapshot = tree.snapshot()
    tree.restore(snapshot)
    head = tree.head()
    commit = tree.commit_all("leftovers")
    assert commit is not None
    private.is_ancestor(scene.base, scene.one)
    private.commits_between(scene.one, scene.two)
    private.changed_paths(scene.one, scene.two)
    private.diffstat(scene.one, scene.two)
    merged = private.commit(merge(private, scene.one, scene.two).tree, [scene.one, scene.two], "merge")
    run = "refs/heads/prodigy/run"
    repo.update_refs([RefChange(run, None, scene.base), RefChange("refs/prodigy/a1", ANY, commit)])
    repo.update_refs([RefChange(run, scene.base, merged), RefChange("refs/prodigy/a1", commit, None)])
    repo.resolve("HEAD")
    repo.read_ref(run)
    identity_env(repo)
    agent_env(repo)
    tree.fresh(head)
    tree.advance(head, scene.one)
    tree.fresh(scene.two)
    added = worktrees.add(repo, world.space / "trees" / "added", scene.one)
    fresh = PrivateTree(private, world.space / "trees" / "added", added, private.directory / "slots" / "added")
    fresh.fresh(scene.one)
    worktrees.listed(repo)
    worktrees.remove(repo, fresh.work_tree, added)


def final_merge(scene: Scene) -> None:
    repo, private = scene.world.repo(), scene.tree.private
    assert discover(scene.world.root).dirty == 0
    assert PrivateGit.create(scene.world.space / "another" / "git", repo, scene.base)
    checkout = checked_out_at(repo, "refs/heads/main")
    plan = plan_final(private, repo, "refs/heads/main", scene.one, "Merge run")
    assert checkout is not None
    assert isinstance(plan, FinalPlan)
    assert obstacles(private, checkout, plan) == []
    apply(private, checkout, plan)
    finish(private, repo, checkout.path, plan.old, plan.new)
    repo.update_refs([RefChange("refs/heads/main", plan.old, plan.new)])


def plain_git(scene: Scene, *args: str, cwd: Path | None = None) -> None:
    """What a user may do at any time; whether it succeeds does not matter."""
    subprocess.run(["git", *args], cwd=cwd or scene.root, capture_output=True, check=False, stdin=subprocess.DEVNULL)


def _hooks(scene: Scene) -> None:
    names = (
        *(
            "pre-commit",
            "prepare-commit-msg",
            "commit-msg",
            "post-commit",
            "post-checkout",
            "post-merge",
            "pre-merge-commit",
        ),
        *(
            "reference-transaction",
            "post-index-change",
            "pre-auto-gc",
            "pre-rebase",
            "post-rewrite",
            "update",
            "pre-receive",
        ),
    )
    for name in names:
        hook = scene.world.root / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.symlink_to(scene.canary.program)


def _hooks_path(scene: Scene) -> None:
    hooks = scene.world.space / "hooks"
    hooks.mkdir()
    for name in ("reference-transaction", "post-index-change", "post-checkout", "pre-commit"):
        (hooks / name).symlink_to(scene.canary.program)
    scene.config("core.hooksPath", str(hooks))


def _fsmonitor(scene: Scene) -> None:
    scene.config("core.fsmonitor", scene.script())
    scene.config("core.fsmonitorHookVersion", "1")


def _filter(scene: Scene) -> None:
    for name in ("clean", "smudge"):
        scene.config(f"filter.evil.{name}", scene.script())
    (scene.world.root / ".git/info/attributes").write_text("* filter=evil\n")


def _filter_process_in_the_tree(scene: Scene) -> None:
    scene.config("filter.evil.process", scene.script())
    scene.config("filter.evil.required", "true")
    (scene.root / ".gitattributes").write_text("* filter=evil\n")


def _lfs_replaced(scene: Scene) -> None:
    for name in ("clean", "smudge", "process"):
        scene.config(f"filter.lfs.{name}", scene.script())
    (scene.root / ".gitattributes").write_text("* filter=lfs\n")


def _global_filter_after_the_start(scene: Scene) -> None:
    scene.world.git("config", "--global", "filter.lfs.clean", scene.script())
    scene.world.git("config", "--global", "core.fsmonitor", scene.script())
    (scene.root / ".gitattributes").write_text("* filter=lfs\n")


def _merge_driver(scene: Scene) -> None:
    scene.config("merge.evil.driver", f"{scene.script()} %O %A %B")
    (scene.world.root / ".git/info/attributes").write_text("* merge=evil\n")
    scene.config("merge.default", "evil")


def _diff_drivers(scene: Scene) -> None:
    scene.config("diff.external", scene.script())
    scene.config("diff.evil.textconv", scene.script())
    scene.config("diff.evil.command", scene.script())
    (scene.world.root / ".git/info/attributes").write_text("* diff=evil\n")


def _pager_editor_and_prompts(scene: Scene) -> None:
    for key in ("core.pager", "core.editor", "sequence.editor", "core.askPass", "core.sshCommand", "pager.diff-tree"):
        scene.config(key, scene.script())
    scene.config("credential.helper", scene.script())
    scene.config("core.alternateRefsCommand", scene.script())
    scene.config("commit.gpgSign", "true")
    scene.config("gpg.program", scene.script())


def _aliases(scene: Scene) -> None:
    for name in ("status", "st", "read-tree", "update-ref", "merge-tree", "clean", "worktree"):
        scene.config(f"alias.{name}", f"!{scene.script()}")


def _partial_clone(scene: Scene) -> None:
    scene.config("extensions.partialClone", "evil")
    scene.config("remote.evil.promisor", "true")
    remote = scene.world.space / "remote.sh"  # unlike the canary, it does not wait for its input
    remote.write_text(f"#!/bin/sh\n: > '{scene.canary.mark}'\nexit 1\n")
    remote.chmod(0o755)
    scene.config("remote.evil.url", f"ext::{remote}")
    scene.config("protocol.ext.allow", "always")
    scene.config("core.repositoryFormatVersion", "1")


def _git_file(scene: Scene) -> None:
    evil = _evil_repository(scene)
    (scene.root / ".git").write_text(f"gitdir: {evil}\n")


def _git_directory(scene: Scene) -> None:
    evil = _evil_repository(scene)
    (scene.root / ".git").unlink()
    evil.rename(scene.root / ".git")


def _commondir(scene: Scene) -> None:
    evil = _evil_repository(scene)
    (scene.tree.git_dir / "commondir").write_text(f"{evil}\n")


def _config_worktree(scene: Scene) -> None:
    scene.config("extensions.worktreeConfig", "true")
    for directory in (scene.tree.git_dir, scene.world.root / ".git"):
        scene.world.git("config", "--file", str(directory / "config.worktree"), "core.fsmonitor", scene.script())


def _nested_repository(scene: Scene) -> None:
    scene.world.git("init", "-q", "src", cwd=scene.root)
    scene.world.git("init", "-q", "nested", cwd=scene.root)
    for name in ("src", "nested"):
        scene.world.git("config", "core.fsmonitor", scene.script(), cwd=scene.root / name)
    scene.world.write({"nested/file": "x"}, scene.root)


def _submodule(scene: Scene) -> None:
    _nested_repository(scene)
    scene.world.git("update-index", "--add", "--cacheinfo", f"160000,{scene.base},nested", cwd=scene.root)
    scene.config("submodule.nested.update", f"!{scene.script()}")
    scene.config("submodule.recurse", "true")
    scene.config("submodule.nested.active", "true")
    (scene.root / ".gitmodules").write_text('[submodule "nested"]\n\tpath = nested\n\turl = ./nested\n')


def _index_of_the_worktree(scene: Scene) -> None:
    """An index that says its fsmonitor must be asked."""
    scene.config("core.fsmonitor", scene.script())
    plain_git(scene, "update-index", "--fsmonitor")
    plain_git(scene, "update-index", "--split-index")


def _evil_repository(scene: Scene) -> Path:
    evil = scene.world.space / "evil"
    scene.world.git("clone", "-q", "--bare", str(scene.world.root), str(evil))
    scene.world.git("config", "core.bare", "false", cwd=evil)
    scene.world.git("config", "core.fsmonitor", scene.script(), cwd=evil)
    for name in ("post-index-change", "reference-transaction", "post-checkout"):
        (evil / "hooks").mkdir(exist_ok=True)
        (evil / "hooks" / name).symlink_to(scene.canary.program)
    return evil


# What is left, and a command of the user that falls for it.
ATTACKS: dict[str, tuple[Callable[[Scene], None], tuple[str, ...]]] = {
    "hooks": (_hooks, ("commit", "--allow-empty", "-m", "x")),
    "core.hooksPath": (_hooks_path, ("commit", "--allow-empty", "-m", "x")),
    "fsmonitor": (_fsmonitor, ("status",)),
    "filter in info/attributes": (_filter, ("add", "--renormalize", ".")),
    "filter process in the tree": (_filter_process_in_the_tree, ("add", "--renormalize", ".")),
    "lfs replaced": (_lfs_replaced, ("add", "--renormalize", ".")),
    "global filter after the start": (_global_filter_after_the_start, ("status",)),
    "merge driver": (_merge_driver, ("merge-tree", "--write-tree", "ONE", "TWO")),
    "diff drivers": (_diff_drivers, ("diff", "ONE", "TWO")),
    "pager, editor and prompts": (_pager_editor_and_prompts, ("commit", "--allow-empty", "-m", "x")),
    "aliases": (_aliases, ("st",)),
    "partial clone": (_partial_clone, ("cat-file", "-p", "1" * 40)),
    "git file": (_git_file, ("status",)),
    "git directory": (_git_directory, ("status",)),
    "commondir": (_commondir, ("status",)),
    "config.worktree": (_config_worktree, ("status",)),
    "nested repository": (_nested_repository, ("-C", "src", "status")),
    "submodule": (_submodule, ("status",)),
    "index of the worktree": (_index_of_the_worktree, ("status",)),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_that_an_agent_leaves_is_run(scene: Scene, name: str) -> None:
    ATTACKS[name][0](scene)
    scene.canary.mark.unlink(missing_ok=True)
    everything_we_do_with_git(scene)
    if name != "partial clone":  # refused, as it should be
        final_merge(scene)
    assert not scene.canary.sang


@pytest.mark.parametrize("name", ATTACKS)
def test_plain_git_falls_for_it(scene: Scene, name: str) -> None:
    """So that the test above can fail."""
    attack, bait = ATTACKS[name]
    attack(scene)
    scene.canary.mark.unlink(missing_ok=True)
    names = {"ONE": scene.one, "TWO": scene.two}
    plain_git(scene, *(names.get(part, part) for part in bait))
    assert scene.canary.sang


def test_a_missing_object_is_fetched_from_nowhere(scene: Scene) -> None:
    _partial_clone(scene)
    for answer in (scene.world.repo().resolve, scene.tree.private.tree_of, scene.tree.fresh):
        with contextlib.suppress(command.GitError):
            answer("1" * 40)
    assert not scene.canary.sang


@pytest.mark.parametrize("setting", ["core.hooksPath", "core.fsmonitor"])
def test_the_switches_are_what_keeps_hooks_and_fsmonitor_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """On the shared repository; the private directory does not even see them."""
    (_hooks_path if setting == "core.hooksPath" else _fsmonitor)(scene)
    change = RefChange("refs/prodigy/x", None, scene.base)
    scene.world.repo().update_refs([change])
    scene.world.repo().run("status")
    assert not scene.canary.sang
    monkeypatch.setattr(command, "_HARDENING", ())
    scene.world.repo().update_refs([RefChange("refs/prodigy/y", None, scene.base)])
    scene.world.repo().run("status")
    assert scene.canary.sang


@pytest.mark.parametrize("name", ["git file", "git directory", "commondir", "nested repository", "config.worktree"])
def test_the_next_agents_git_does_not_run_it_either(scene: Scene, name: str) -> None:
    """What is in the worktree or its own git directory is gone once it is made fresh."""
    ATTACKS[name][0](scene)
    scene.tree.fresh(scene.two)
    (scene.world.root / ".git/config.worktree").unlink(missing_ok=True)
    scene.canary.mark.unlink(missing_ok=True)
    for directory in (scene.root, scene.root / "src"):
        scene.world.git("status", cwd=directory)
        assert scene.world.git("rev-parse", "HEAD", cwd=directory) == scene.two
    assert not scene.canary.sang


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hooks", "hooks/pre-commit was created"),
        ("core.hooksPath", "config: core.hookspath is now"),
        ("fsmonitor", "config: core.fsmonitor is now"),
        ("filter in info/attributes", "info/attributes was created"),
        ("merge driver", "config: merge.evil.driver is now"),
        ("commondir", "commondir was changed"),
        ("config.worktree", "config.worktree: core.fsmonitor is now"),
        ("partial clone", "config: extensions.partialclone is now"),
    ],
)
def test_the_guard_tells_of_it(scene: Scene, name: str, words: str) -> None:
    before = observe(scene.world.repo(), [scene.tree.git_dir])
    ATTACKS[name][0](scene)
    found = differences(before, observe(scene.world.repo(), [scene.tree.git_dir]))
    assert any(words in change for change in found.tampered), found.tampered


def test_a_skip_worktree_edit_of_one_item_is_not_seen_by_the_next(scene: Scene) -> None:
    scene.world.git("update-index", "--skip-worktree", "shared", cwd=scene.root)
    scene.world.write({"shared": "left by the item before"}, scene.root)
    assert scene.world.git("status", "--porcelain", cwd=scene.root) == ""
    scene.tree.fresh(scene.base)
    assert "left by" not in (scene.root / "shared").read_text()
    assert not scene.world.git("ls-files", "-v", cwd=scene.root).startswith("S")


def test_a_link_never_leads_our_git_out_of_the_tree(scene: Scene) -> None:
    """Not when we make it fresh, record it, restore it, or move it on."""
    outside = scene.world.space / "outside"
    scene.world.write({"a.py": "precious", "é b.py": "precious", "one": "precious"}, outside)
    before = files_in(outside)
    operations: list[Callable[[], object]] = [
        lambda: scene.tree.fresh(scene.base),
        lambda: scene.tree.restore(scene.tree.snapshot()),
        lambda: scene.tree.commit_all("leftovers"),
        lambda: scene.tree.fresh(scene.one),
    ]
    for operation in operations:
        scene.tree.fresh(scene.base)
        for name in ("src/a.py", "src/é b.py"):
            (scene.root / name).unlink()
        (scene.root / "src").rmdir()
        (scene.root / "src").symlink_to(outside)
        (scene.root / "README").unlink()
        (scene.root / "README").symlink_to(outside / "one")
        operation()
        assert files_in(outside) == before


def test_a_hostile_name_is_a_name(scene: Scene) -> None:
    names = [
        "--help",
        "-z",
        ":(exclude)*",
        "$(touch x)",
        "a\nb",
        'q"uote',
        "back\\slash",
        os.fsdecode(b"\xff\xfe"),
        "é",
    ]
    scene.world.write(dict.fromkeys(names, "1"), scene.root)
    commit = scene.tree.commit_all("--amend")
    assert commit is not None
    changed = scene.tree.private.changed_paths(scene.base, commit)
    assert sorted(change.path for change in changed) == sorted(names)
    scene.tree.fresh(scene.base)
    assert not set(names) & set(files_in(scene.root))
    scene.tree.fresh(commit)
    assert set(names) <= set(files_in(scene.root))


@pytest.mark.parametrize(
    "path", [".git/hooks/post-checkout", "sub/.GIT/config", "../outside", "git~1/config", ".git\u200c/config"]
)
def test_a_commit_with_a_path_into_a_git_directory_is_refused(scene: Scene, path: str) -> None:
    blob = scene.world.git("hash-object", "-w", "--stdin", stdin="evil")
    tree = blob
    for depth, part in enumerate(reversed(path.split("/"))):
        mode = "100755 blob" if depth == 0 else "040000 tree"
        tree = scene.world.git("mktree", "-z", stdin=f"{mode} {tree}\t{part}\0")
    commit = scene.world.git("commit-tree", "-m", "evil", "-p", scene.base, tree)
    before = files_in(scene.world.space)
    with pytest.raises(command.GitError, match="invalid path"):
        scene.tree.fresh(commit)
    written = {name for name in files_in(scene.world.space) if name not in before}
    assert not {name for name in written if name.endswith(("post-checkout", "outside", "/config"))}
    scene.tree.fresh(scene.base)


def test_replaced_objects_are_not_used(scene: Scene) -> None:
    scene.world.git("replace", scene.one, scene.two)
    scene.tree.fresh(scene.one)
    assert (scene.root / "one").exists()
    tree = scene.world.repo().run("rev-parse", f"{scene.one}:").line
    assert tree == scene.tree.private.tree_of(scene.one)


def test_a_program_named_by_the_environment_is_not_run(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "GIT_EXTERNAL_DIFF",
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_ASKPASS",
        "SSH_ASKPASS",
        "GIT_EDITOR",
        "GIT_PAGER",
    ):
        monkeypatch.setenv(name, scene.script())
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", scene.script())
    everything_we_do_with_git(scene)
    final_merge(scene)
    assert not scene.canary.sang
