"""Whatever the user gets wrong: a message that helps, the right exit status, nothing half made."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support import Done, Project, git

FINE = 'name: fine\nmap:\n  input: echo \'{"id":"x"}\'\n  agent_template:\n    - shell: echo x > x.txt\n'


def assert_nothing_made(project: Project, done: Done, code: int, *words: str) -> None:
    assert done.code == code, done.err
    for word in words:
        assert word in done.err
    assert "Traceback" not in done.err
    runs = project.home / "runs"
    assert not runs.exists() or list(runs.iterdir()) == []


def test_not_a_repository(project: Project) -> None:
    elsewhere = project.folder / "plain"
    elsewhere.mkdir()
    done = project.prodigy("run", project.workflow(FINE), where=elsewhere)
    assert_nothing_made(project, done, 5, "not a git repository", "git init")


def test_no_commits(project: Project) -> None:
    empty = project.folder / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    done = project.prodigy("run", project.workflow(FINE), where=empty)
    assert_nothing_made(project, done, 5, "no commits yet", "git commit")


def test_a_bare_repository(project: Project) -> None:
    bare = project.folder / "bare.git"
    git(project.repo, "clone", "-q", "--bare", ".", str(bare))
    done = project.prodigy("run", project.workflow(FINE), where=bare)
    assert_nothing_made(project, done, 5, "bare", "git worktree add")


def test_a_detached_head_runs_without_target_and_yes_is_refused(project: Project) -> None:
    git(project.repo, "switch", "-q", "--detach")
    done = project.prodigy("run", project.workflow(FINE), "--yes")
    assert_nothing_made(project, done, 2, "detached")
    done = project.prodigy("run", project.workflow(FINE), "--json")
    assert (done.code, done.json["target"], done.json["merged"]) == (0, None, False)
    assert "x.txt" in project.files(project.run_branch())


def test_a_shallow_clone_works(project: Project) -> None:
    project.write("more.txt", "more")
    project.commit("more")
    shallow = project.folder / "shallow"
    git(project.repo, "clone", "-q", "--depth", "1", f"file://{project.repo}", str(shallow))
    done = project.prodigy("run", project.workflow(FINE), "--yes", where=shallow)
    assert done.code == 0, done.err
    assert (shallow / "x.txt").exists()
    assert git(shallow, "rev-parse", "--is-shallow-repository") == "true"


def test_a_linked_worktree_and_a_subdirectory_work(project: Project) -> None:
    linked = project.folder / "línked tree"
    git(project.repo, "worktree", "add", "-q", "-b", "side", str(linked))
    (linked / "sub").mkdir()
    done = project.prodigy("run", project.workflow(FINE), "--yes", where=linked / "sub")
    assert done.code == 0, done.err
    assert (linked / "x.txt").exists()
    assert not (project.repo / "x.txt").exists()


def test_a_dirty_checkout_is_told_and_left_alone(project: Project) -> None:
    project.write("README.md", "edited")
    project.write("untracked.txt", "mine")
    done = project.prodigy("run", project.workflow(FINE), "--yes")
    assert done.code == 0, done.err
    assert "2 changed or untracked files" in done.err
    assert (project.repo / "README.md").read_text() == "edited"
    assert (project.repo / "untracked.txt").read_text() == "mine"
    assert (project.repo / "x.txt").exists()


def test_all_problems_of_a_file_at_once_with_their_places(project: Project) -> None:
    workflow = project.workflow("name: x\nmap:\n  input: a.json\n  max_paralel: 3\n  agent_template:\n    - shel: ls\n")
    for command in ("run", "validate"):
        done = project.prodigy(command, workflow)
        assert_nothing_made(project, done, 2, f"{workflow}:4:3", "max_parallel", f"{workflow}:6:7", "shell")


def test_a_tab_in_yaml(project: Project) -> None:
    done = project.prodigy("run", project.workflow("map:\n\tinput: x\n"))
    assert_nothing_made(project, done, 2, "flow.yml:2:1", "tab")


def test_a_missing_workflow_file(project: Project) -> None:
    project.workflow(FINE)
    done = project.prodigy("run", project.folder / "flow.yaml")
    assert_nothing_made(project, done, 2, "no such workflow file", "flow.yml")


def test_a_missing_input_file(project: Project) -> None:
    done = project.prodigy("run", project.workflow(FINE.replace('echo \'{"id":"x"}\'', "missing.json")))
    assert_nothing_made(project, done, 2, "missing.json", str(project.repo))


def test_an_input_that_is_not_json(project: Project) -> None:
    project.write("items.json", '[{"id": "a"},\n {"id": }]')
    project.commit()
    done = project.prodigy("run", project.workflow(FINE.replace('echo \'{"id":"x"}\'', "items.json")))
    assert_nothing_made(project, done, 2, "items.json:2:9", "not JSON")


def test_an_input_that_setup_gets_wrong_fails_the_run_and_can_be_mended(project: Project) -> None:
    workflow = project.workflow("""
setup:
  - shell: cp "$SHARED/source.json" items.json
map:
  input: items.json
  agent_template:
    - shell: echo x > ${item.id}
""")
    (project.folder / "source.json").write_text("not json")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert (done.code, done.json["status"]) == (2, "failed")
    assert "items.json:1:1" in done.err
    worktree = next((project.home / "worktrees").glob("*/*-run"))
    (worktree / "items.json").write_text('[{"id": "a"}]')
    assert project.prodigy("resume", "latest").code == 0
    assert "a" in project.files("main")


def test_a_failing_input_command(project: Project) -> None:
    done = project.prodigy("run", project.workflow(FINE.replace('echo \'{"id":"x"}\'', "echo nope >&2; exit 4")))
    assert done.code == 1
    assert "the input command failed: exited with code 4: nope" in done.err


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to make a read-only mount")
def test_a_home_that_cannot_be_written(project: Project) -> None:
    project.home.mkdir()
    workflow = project.workflow(FINE)
    command = f'mount -t tmpfs -o ro none "{project.home}" && exec "$@"'
    probe = subprocess.run(["unshare", "-rm", "sh", "-c", command, "sh", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no mount namespaces here")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, "sh", *_cli("run", str(workflow))],
        cwd=project.repo, env=project.environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr.decode()
    assert "PRODIGY_HOME" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_home_that_is_a_file(project: Project) -> None:
    project.home.write_text("not a directory")
    done = project.prodigy("run", project.workflow(FINE))
    assert done.code == 5
    assert "PRODIGY_HOME" in done.err
    assert git(project.repo, "branch", "--list", "prodigy/*") == ""


def test_a_branch_in_the_way(project: Project) -> None:
    git(project.repo, "branch", "prodigy")
    done = project.prodigy("run", project.workflow(FINE))
    assert_nothing_made(project, done, 5, "prodigy", "git branch -m")


def test_a_typo_in_a_command(project: Project) -> None:
    done = project.prodigy("resum")
    assert done.code == 2
    assert "resume" in done.err


def test_contradicting_options(project: Project) -> None:
    done = project.prodigy("run", project.workflow(FINE), "--yes", "--no-merge")
    assert_nothing_made(project, done, 2, "exclude each other")


def test_no_command_prints_help(project: Project) -> None:
    done = project.prodigy()
    assert done.code == 0
    assert "validate" in done.out


def test_output_into_a_closed_pipe_is_no_error(project: Project) -> None:
    assert project.prodigy("run", project.workflow(FINE)).code == 0
    done = subprocess.run(
        ["bash", "-c", '"$@" | true; exit "${PIPESTATUS[0]}"', "bash", *_cli("events", "ls", "latest")],
        cwd=project.repo, env=project.environment(), capture_output=True, check=False,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0


def _cli(*args: str) -> list[str]:
    import sys

    return [sys.executable, "-m", "prodigy.cli.main", *args]


def test_a_run_whose_repository_is_gone(project: Project) -> None:
    workflow = project.workflow("steps:\n  - shell: 'false'\n")
    assert project.prodigy("run", workflow).code == 1
    moved = project.folder / "moved"
    project.repo.rename(moved)
    done = project.prodigy("resume", project.run_id(), where=moved)
    assert done.code == 5
    assert str(Path(project.repo)) in done.err


# Which run is meant ----------------------------------------------------------------------------------------

FAILING = "name: failing\nmap:\n  input: echo x\n  agent_template:\n    - shell: exit 3\n"
ACTING = (
    ("resume",), ("cancel", "latest"), ("detach",), ("dlq", "retry", "latest"), ("dlq", "clear", "latest", "--yes"),
    ("dlq", "purge", "--older-than-days", "0", "--yes"), ("worktree", "merge"), ("worktree", "clean", "latest"),
    ("export", "latest", "run.tgz"),
)  # fmt: skip


@pytest.fixture
def elsewhere(project: Project) -> Path:
    """A place in no repository. The project has one run, with a dead letter."""
    assert project.prodigy("run", project.workflow(FAILING), "--no-merge").code == 3
    place = project.folder / "plain"
    place.mkdir()
    return place


def test_outside_of_any_repository_only_an_id_is_acted_on(project: Project, elsewhere: Path) -> None:
    run_id = project.run_id()
    for call in ACTING:
        done = project.prodigy(*call, where=elsewhere)
        assert (done.code, "you stand in none" in done.err) == (2, True), (call, done)
        assert "give the run's id" in done.err
    named = project.prodigy("dlq", "retry", "failing", where=elsewhere)
    assert (named.code, "you stand in none" in named.err) == (2, True)
    assert project.prodigy("status", "latest", "--json", where=elsewhere).json["run_id"] == run_id
    assert len(project.prodigy("dlq", "list", "--json", where=elsewhere).json) == 1
    assert project.prodigy("dlq", "clear", run_id[:12], "--yes", where=elsewhere).code == 0
    assert project.prodigy("dlq", "list", run_id, "--json", where=elsewhere).json == []


def test_a_name_means_no_run_of_another_repository(project: Project, elsewhere: Path) -> None:
    git(elsewhere, "init", "-q")
    for call in (*ACTING, ("status", "latest"), ("dlq", "list"), ("logs",)):
        done = project.prodigy(*call, where=elsewhere)
        assert (done.code, "no run of this repository yet" in done.err) == (2, True), (call, done)
    for name in ("failing", str(project.folder / "flow.yml")):
        for call in (("status", name), ("dlq", "clear", name, "--yes")):
            done = project.prodigy(*call, where=elsewhere)
            assert done.code == 2, done
            assert "no run of this repository is called" in done.err
            assert project.run_id() in done.err
    assert project.prodigy("status", project.run_id(), where=elsewhere).code == 0


def test_in_a_repository_that_can_not_be_used_that_is_told(project: Project, elsewhere: Path) -> None:
    bare = project.folder / "bare.git"
    git(project.repo, "clone", "-q", "--bare", ".", str(bare))
    for call in (*ACTING, ("status",), ("status", "latest")):
        done = project.prodigy(*call, where=bare)
        assert (done.code, "bare" in done.err) == (5, True), (call, done)
    assert project.prodigy("status", project.run_id(), where=bare).code == 0, "an id says all"
    assert len(project.prodigy("dlq", "list", project.run_id(), "--json").json) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to give a directory away")
def test_in_a_repository_of_another_user_that_is_told(project: Project, elsewhere: Path) -> None:
    assert elsewhere.is_dir()
    stranger = project.folder / "stranger"
    git(project.folder, "init", "-q", str(stranger))
    for path in (stranger, stranger / ".git"):
        os.chown(path, 4242, 4242)
    for call in (("resume",), ("dlq", "clear", "latest", "--yes"), ("status", "latest"), ("status",)):
        done = project.prodigy(*call, where=stranger)
        assert (done.code, "belongs to another user" in done.err) == (5, True), (call, done)


def test_an_empty_text_names_no_run(project: Project, elsewhere: Path) -> None:
    assert elsewhere.is_dir()
    for call in (
        ("status", ""), ("resume", ""), ("cancel", ""), ("dlq", "list", ""), ("dlq", "retry", ""),
        ("dlq", "clear", "", "--yes"), ("dlq", "purge", "", "--older-than-days", "0", "--yes"), ("attach", ""),
        ("dlq", "list", "--job-id", ""), ("worktree", "merge", ""), ("worktree", "clean", ""),
        ("worktree", "clean-orphaned", ""), ("export", "", "run.tgz"), ("logs", ""), ("events", "ls", ""),
    ):  # fmt: skip
        done = project.prodigy(*call)
        assert (done.code, "an empty text names no run" in done.err) == (2, True), (call, done)
    assert len(project.prodigy("dlq", "list", "--json").json) == 1


def test_two_numbers_for_one_limit_are_refused(project: Project, elsewhere: Path) -> None:
    assert elsewhere.is_dir()
    done = project.prodigy("dlq", "retry", "latest", "--parallel", "2", "--max-parallel", "3")
    assert (done.code, "name two numbers" in done.err) == (2, True)
    assert project.prodigy("dlq", "retry", "latest", "--parallel", "2", "--max-parallel", "2").code == 3


def test_the_error_of_a_failed_run_is_shown_in_lines(project: Project) -> None:
    text = "steps:\n  - shell: echo one >&2; echo two >&2; exit 4\n"
    assert project.prodigy("run", project.workflow(text)).code == 1
    out = project.prodigy("status", "latest").out
    assert "  error: " in out
    assert "\\n" not in out


@pytest.mark.parametrize("given", ["flows/fix.yml", "workflow/fix.yml", "fix.yml", "workflows/fxi.yml"])
def test_a_workflow_that_is_elsewhere_is_found_for_the_user(project: Project, given: str) -> None:
    project.write("workflows/fix.yml", "- shell: make\n")
    done = project.prodigy("run", given)
    assert done.code == 2
    assert "did you mean workflows/fix.yml?" in done.err
