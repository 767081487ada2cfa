"""Starting git: environment, errors, time limits, retries, inherited descriptors."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from pathlib import Path

import pytest

from git_support import World, make_world
from prodigy.errors import EnvironmentProblem, ProdigyError
from prodigy.git import command
from prodigy.git.command import GitError, GitTimeout, run_git
from prodigy.git.repo import Repo


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, monkeypatch)


def put_git_on_path(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `git` this shell script, which finds the real one as $GIT."""
    real = next(Path(part, "git") for part in os.environ["PATH"].split(":") if Path(part, "git").exists())
    directory.mkdir()
    program = directory / "git"
    program.write_text(f"#!/bin/sh\nGIT={real}\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def test_a_failure_says_what_git_said(world: World) -> None:
    with pytest.raises(GitError) as caught:
        world.repo().run("rev-parse", "--verify", "refs/heads/none")
    error = caught.value
    assert isinstance(error, ProdigyError)
    assert error.argv == ("git", "rev-parse", "--verify", "refs/heads/none")
    assert error.code == 128
    assert "Needed a single revision" in error.stderr
    assert "Needed a single revision" in str(error)


def test_an_expected_status_is_an_answer(world: World) -> None:
    assert world.repo().run("merge-base", "--is-ancestor", "HEAD", "HEAD", ok=(0, 1)).code == 0


def test_variables_of_the_caller_do_not_reach_git(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_EXEC_PATH"):
        monkeypatch.setenv(name, "/nonsense")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "nonsense")
    assert run_git(["rev-parse", "HEAD"], cwd=world.root).line


def test_the_users_configuration_is_read_only_when_asked_for(world: World) -> None:
    assert run_git(["config", "user.name"], cwd=world.root, user_config=True).line == "Ada"
    assert run_git(["config", "user.name"], cwd=world.root, ok=(1,)).line == ""


def test_a_command_that_takes_too_long_ends_with_its_children(world: World) -> None:
    pid_file = world.space / "pid"
    alias = f"alias.slow=!echo $$ > '{pid_file}'; sleep 600"
    with pytest.raises(GitTimeout, match="longer than 1 seconds"):
        run_git(["slow"], cwd=world.root, config=[alias], timeout_s=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_command_that_ignores_being_asked_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_TERMINATE_GRACE_S", 0.1)
    put_git_on_path(world.space / "bin", "trap '' TERM\nwhile :; do sleep 600; done", monkeypatch)
    with pytest.raises(GitTimeout):
        run_git(["version"], timeout_s=0.5)


def test_ctrl_c_on_our_terminal_does_not_reach_git(world: World) -> None:
    own = os.getsid(0)
    session = run_git(
        ["sid"], cwd=world.root, config=[f"alias.sid=!{sys.executable} -c 'import os; print(os.getsid(0))'"]
    ).line
    assert int(session) != own


@pytest.mark.parametrize(
    "words",
    [
        "fatal: failed to read .git/worktrees/slot 3/commondir: Success",
        "fatal: bad object worktrees/s1/HEAD",
    ],
)
def test_reads_that_hit_a_half_made_worktree_are_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    count = world.space / "count"
    script = f"echo x >> '{count}'\n[ $(wc -l < '{count}') -ge 3 ] && exec $GIT version\necho '{words}' >&2\nexit 128"
    put_git_on_path(world.space / "bin", script, monkeypatch)
    assert run_git(["version"]).line.startswith("git version")
    assert count.read_text() == "x\n" * 3


def test_repeating_has_an_end_and_other_failures_are_not_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_RETRY_DELAYS_S", (0.0, 0.0))
    count = world.space / "count"
    put_git_on_path(world.space / "bin", f"echo x >> '{count}'\necho \"$WORDS\" >&2\nexit 128", monkeypatch)
    monkeypatch.setenv("WORDS", "fatal: bad object worktrees/s1/HEAD")
    with pytest.raises(GitError):
        run_git(["version"])
    assert count.read_text() == "x\n" * 3
    monkeypatch.setenv("WORDS", "fatal: bad object HEAD")
    with pytest.raises(GitError):
        run_git(["version"])
    assert count.read_text() == "x\n" * 4


def test_every_process_is_counted(world: World) -> None:
    before = command.calls()
    run_git(["version"])
    world.repo().resolve("HEAD")
    assert command.calls() - before == 2


def test_children_of_git_keep_the_helpers_lock(world: World) -> None:
    """So a later coordinator sees that git of a dead one is still at work."""
    lock = world.space / "helpers"
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    ready, pid_file = world.space / "ready", world.space / "pid"
    os.mkfifo(ready)
    holder = f'sh -c \'echo $$ > "{pid_file}"; echo > "{ready}"; exec sleep 600\' >/dev/null 2>&1'
    script = f"alias.hold=!{holder} & cat '{ready}'"
    repo = Repo(world.root, world.root / ".git", world.root / ".git", helpers_fd=descriptor)
    run_git(["hold"], cwd=world.root, config=[script], fds=repo.fds)
    os.close(descriptor)
    other = os.open(lock, os.O_RDWR)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(other)
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_no_git_at_all_is_a_problem_of_the_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(world.space))
    with pytest.raises(EnvironmentProblem, match="git was not found") as caught:
        run_git(["version"])
    assert caught.value.exit_code == 5


def test_a_directory_that_is_gone_is_named(world: World) -> None:
    for path in (world.space / "gone", world.root / "README"):
        with pytest.raises(GitError, match="does not exist") as caught:
            run_git(["version"], cwd=path)
        assert caught.value.where == str(path)


def test_arguments_that_are_too_long_for_the_system_are_a_git_error(world: World) -> None:
    with pytest.raises(GitError, match="cannot be started"):
        run_git(["rev-parse", "x" * 200_000], cwd=world.root)
