"""Whose name commits carry, and what git sees in a step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from git_support import World, make_world
from prodigy.git.identity import AGENT_UNSET, agent_env, identity_env


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def test_the_users_name_is_used(world: World) -> None:
    assert identity_env(world.repo()) == {
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
    }


def test_the_repository_and_the_environment_say_it_better(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.git("config", "user.name", "Local")
    world.git("config", "author.name", "Author")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "env@example.org")
    identity = identity_env(world.repo())
    assert (identity["GIT_AUTHOR_NAME"], identity["GIT_COMMITTER_NAME"]) == ("Author", "Local")
    assert (identity["GIT_AUTHOR_EMAIL"], identity["GIT_COMMITTER_EMAIL"]) == ("ada@example.org", "env@example.org")


def test_settings_of_an_included_file_count(world: World) -> None:
    (world.home / "work").write_text("[user]\n\tname = At Work\n")
    (world.home / ".gitconfig").write_text(f'[includeIf "gitdir:{world.root}/"]\n\tpath = ~/work\n')
    assert identity_env(world.repo())["GIT_AUTHOR_NAME"] == "At Work"


def test_without_a_name_it_is_prodigys_and_the_email_of_the_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.home / ".gitconfig").unlink()
    assert set(identity_env(world.repo()).values()) == {"Prodigy", "prodigy@localhost"}
    monkeypatch.setenv("EMAIL", "me@example.org")
    assert identity_env(world.repo())["GIT_AUTHOR_EMAIL"] == "me@example.org"


def test_a_step_gets_a_name_only_when_the_user_has_none(world: World) -> None:
    assert not [name for name in agent_env(world.repo()) if "AUTHOR" in name or "COMMITTER" in name]
    (world.home / ".gitconfig").unlink()
    assert agent_env(world.repo())["GIT_COMMITTER_NAME"] == "Prodigy"


def test_a_steps_git_asks_nothing_and_signs_nothing(world: World) -> None:
    world.git("config", "commit.gpgsign", "true")
    world.git("config", "gpg.program", "/bin/false")
    world.git("config", "core.editor", "/bin/false")
    env = agent_env(world.repo())
    world.git("commit", "-q", "--allow-empty", "-m", "x", env=env)
    world.git("commit", "-q", "--amend", "--allow-empty", env=env)
    assert world.git("config", "gc.auto", env=env) == "0"
    assert world.git("config", "core.fsync", env=env) == "loose-object,reference"


def test_settings_that_the_environment_has_already_stay(world: World) -> None:
    mine = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "From CI"}
    env = mine | agent_env(world.repo(), mine)
    assert world.git("config", "user.name", env=env) == "From CI"
    assert world.git("config", "gc.auto", env=env) == "0"


def test_a_step_must_not_inherit_where_another_git_works(world: World) -> None:
    tree = world.tree()
    hook = {"GIT_DIR": str(world.root / ".git"), "GIT_INDEX_FILE": ".git/index", "GIT_WORK_TREE": str(world.root)}
    assert set(hook) <= set(AGENT_UNSET)
    env = {name: value for name, value in {**os.environ, **hook}.items() if name not in AGENT_UNSET}
    assert "GIT_DIR" not in env
    assert world.git("rev-parse", "--show-toplevel", cwd=tree.work_tree, env=env) == str(tree.work_tree)
