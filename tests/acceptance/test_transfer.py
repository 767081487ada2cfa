"""A run moves to another clone, home and path, and goes on there as if nothing had happened."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from faults.scenario import Result, new_project, result_of
from faults.test_crashes import COMPLETED_WITH_FAILURES, KILLED, POINTS, end_everything, running_steps
from prodigy.engine.transfer import exported_to
from prodigy.store.store import Store
from support import Done, Project, git, make_project, sampled, wait_until

USAGE, LOCKED, BROKEN_SURROUNDINGS = 2, 4, 5

WORKFLOW = r"""
name: house
steps:
  - shell: |
      echo setup >> "$TALLY"
      printf '{"id": "%s"}\n' good-1 good-2 bad flight good-3 good-4 > items.txt
      echo of-setup
    id: prepare
    capture: prepared
  - mapreduce:
     map:
      input: cat items.txt; echo input >> "$TALLY"
      max_parallel: 1
      agent_template:
      - shell: |
          echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"
          echo committed > "$PRODIGY_ITEM_ID.txt"
          git add -A
          git commit -q -m "$PRODIGY_ITEM_ID"
          echo edited >> "$PRODIGY_ITEM_ID.txt"
          echo untracked > "new-$PRODIGY_ITEM_ID.txt"
      - shell: |
          echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
          case $PRODIGY_ITEM_ID in
            bad) if [ ! -e "$SHARED/mended" ]; then echo "it went wrong" >&2; exit 7; fi ;;
            flight) echo half >> flight.txt; until [ -e "$SHARED/go" ]; do sleep 0.05; done ;;
          esac
          echo done >> "$PRODIGY_ITEM_ID.txt"
     reduce:
       - shell: |
           echo reduce >> "$TALLY"
           test -e items.txt
           echo "${map.successful} of ${map.total}, ${prepared}" > report.txt
"""


def clone_of(project: Project, folder: Path, *, whole: bool = True) -> Project:
    """Another clone of the repository's main branch, with a home of its own, at a path of its own."""
    other = Project(folder / "änother place, with spaces", {"SHARED": str(project.folder)})
    other.folder.mkdir(parents=True)
    depth = () if whole else ("--depth", "1")
    git(
        other.folder,
        "clone",
        "-q",
        "--single-branch",
        "--branch",
        "main",
        *depth,
        project.repo.as_uri(),
        str(other.repo),
    )
    return other


def move(project: Project, other: Project) -> str:
    """Export the project's run and import it into the other clone."""
    run_id = project.run_id()
    file = project.folder / "the run.tgz"
    exported = project.prodigy("export", run_id, file)
    assert exported.code == 0, exported.err
    if project.tally_file.exists():
        shutil.copy(project.tally_file, other.tally_file)
    imported = other.prodigy("import", file)
    assert imported.code == 0, imported.err
    assert imported.out.strip() == run_id
    return run_id


def store_of(project: Project) -> closing[Store]:
    return closing(Store.open(project.home / "runs" / project.run_id()))


def refs_of(project: Project) -> str:
    return git(project.repo, "for-each-ref")


def undisturbed(folder: Path) -> Project:
    project = make_project(folder)
    (project.folder / "go").touch()
    done = project.prodigy("run", project.workflow(WORKFLOW), "--yes")
    assert done.code == COMPLETED_WITH_FAILURES, done.err
    return project


def test_a_run_that_was_killed_goes_on_in_another_clone_as_if_undisturbed(tmp_path: Path) -> None:
    reference = undisturbed(tmp_path / "reference")
    project = make_project(tmp_path / "origin")
    other = clone_of(project, tmp_path / "other")
    running = project.start("run", project.workflow(WORKFLOW), "--yes")
    wait_until(lambda: project.tally()["flight 2"] == 1, "the second step of the item in flight")
    running.kill()
    running.communicate()
    refused = project.prodigy("export", project.run_id(), project.folder / "early.tgz")
    assert refused.code == LOCKED
    assert "still runs" in refused.err
    assert not (project.folder / "early.tgz").exists()
    end_everything(project)

    run_id = move(project, other)
    (project.folder / "go").touch()
    shutil.rmtree(project.home)  # nothing over there may be needed
    shutil.rmtree(project.repo)
    resumed = other.prodigy("resume", run_id)

    assert resumed.code == COMPLETED_WITH_FAILURES, resumed.err
    other.assert_nothing_left()
    assert other.files("main") == reference.files("main")
    assert other.files("main")["report.txt"] == "5 of 6, of-setup"
    assert other.tally() - reference.tally() == Counter({"flight 2": 1})
    assert reference.tally() - other.tally() == Counter()
    (letter,) = other.prodigy("dlq", "list", run_id, "--json").json
    assert [failure["exit_code"] for failure in letter["failure_history"]] == [7]
    assert "it went wrong" in other.prodigy("logs", run_id, "--item", "bad").out
    types = [record["event"]["event_type"] for record in events(other)]
    assert types.index("job_exported") < types.index("job_imported") < types.index("job_resumed")
    assert types.count("agent_started") == 6

    (project.folder / "mended").touch()
    retried = other.prodigy("dlq", "retry", run_id)
    assert retried.code == 0, retried.err
    assert other.files("main")["bad.txt"] == "committed\nedited\ndone"
    other.assert_nothing_left()


def events(project: Project) -> list[dict[str, dict[str, object]]]:
    with store_of(project) as store:
        return list(store.events())  # type: ignore[arg-type]


def test_dead_letters_of_a_finished_run_are_retried_elsewhere(tmp_path: Path) -> None:
    project = undisturbed(tmp_path / "origin")
    git(project.repo, "branch", "-f", "before", "main^1")
    other = Project(tmp_path / "other", {"SHARED": str(project.folder)})
    other.folder.mkdir()
    git(other.folder, "clone", "-q", "--single-branch", "--branch", "before", project.repo.as_uri(), str(other.repo))
    git(other.repo, "checkout", "-q", "-b", "main")
    with store_of(project) as store:
        assert store.run().merged is not None

    run_id = move(project, other)
    with store_of(other) as store:
        assert store.run().merged is None, "nothing is merged over here"
    (project.folder / "mended").touch()
    retried = other.prodigy("dlq", "retry", run_id)

    assert retried.code == 0, retried.err
    assert other.prodigy("dlq", "list", run_id, "--json").json == []
    assert other.files("main") == {
        **project.files("main"),
        "bad.txt": "committed\nedited\ndone",
        "new-bad.txt": "untracked",
    }
    assert other.tally() == project.tally() + Counter({"bad 1": 1, "bad 2": 1})
    other.assert_nothing_left()


def test_what_the_target_became_and_the_run_took_in_comes_along(tmp_path: Path) -> None:
    project = undisturbed(tmp_path / "origin")
    other = clone_of(project, tmp_path / "other")
    git(other.repo, "reset", "-q", "--hard", git(other.repo, "rev-list", "--max-parents=0", "HEAD"))
    project.write("later.txt", "of the user\n")
    project.commit("later")
    assert project.prodigy("dlq", "retry", project.run_id()).code == COMPLETED_WITH_FAILURES

    run_id = move(project, other)
    assert other.files(f"prodigy/{run_id}/run")["later.txt"] == "of the user"
    assert other.prodigy("resume", run_id, "--yes").code == COMPLETED_WITH_FAILURES
    assert other.files("main")["later.txt"] == "of the user"


# Crashes ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Result:
    project, workflow = new_project(tmp_path_factory.mktemp("reference"))
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == COMPLETED_WITH_FAILURES, done.err
    return result_of(project)


def crash_move_and_compare(folder: Path, fault: str, expected: Result) -> None:
    project, workflow = new_project(folder)
    other = clone_of(project, folder / "other")
    killed = project.prodigy("run", workflow, "--yes", env={"PRODIGY_FAULT": fault})
    assert killed.code == KILLED, killed.err
    end_everything(project)
    may_repeat = Counter(running_steps(project))
    run_id = move(project, other)
    resumed = other.prodigy("resume", run_id)
    assert resumed.code == COMPLETED_WITH_FAILURES, resumed.out + resumed.err
    result = result_of(other)
    assert not result.tally - expected.tally - may_repeat
    assert expected.tally - result.tally == Counter()
    assert (result.main, result.branch) == (expected.main, expected.branch)
    assert sorted(result.dead) == sorted(expected.dead)


# Merges of the run's own step and of items whose commits no ref holds yet; an attempt between
# boundaries; a final merge half done.
@pytest.mark.parametrize(
    "point",
    sampled(["after:worktree_merged#1", "after:step_finished#9", "final_merge:checked_out"]),
)
def test_a_run_killed_at_a_bad_moment_goes_on_elsewhere(point: str, reference: Result, tmp_path: Path) -> None:
    crash_move_and_compare(tmp_path, point, reference)


@pytest.mark.chaos
@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_at_any_moment_goes_on_elsewhere(point: str, reference: Result, tmp_path: Path) -> None:
    crash_move_and_compare(tmp_path, point, reference)


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Project, Project]:
    """A run that was killed while an item was in flight, and another clone of its repository."""
    project = make_project(tmp_path / "origin")
    other = clone_of(project, tmp_path / "other")
    killed = project.prodigy("run", project.workflow(WORKFLOW), env={"PRODIGY_FAULT": "after:step_started#5"})
    assert killed.code == KILLED, killed.err
    end_everything(project)
    (project.folder / "go").touch()
    return project, other


@pytest.mark.parametrize(
    ("point", "moved"),
    [
        ("before:job_imported", False),
        ("import:checked", False),
        ("import:refs", False),
        ("import:moved", True),
    ],
)
def test_an_import_that_is_killed_happened_or_did_not(
    point: str, moved: bool, stopped: tuple[Project, Project]
) -> None:
    project, other = stopped
    file = project.folder / "run.tgz"
    assert project.prodigy("export", project.run_id(), file).code == 0
    assert other.prodigy("import", file, env={"PRODIGY_FAULT": point}).code == KILLED
    again = other.prodigy("import", file)
    assert (again.code, "here already" in again.err) == ((USAGE, True) if moved else (0, False)), again.err
    resumed = other.prodigy("resume", project.run_id())
    assert resumed.code == COMPLETED_WITH_FAILURES, resumed.err
    other.assert_nothing_left()


def test_an_export_that_is_killed_leaves_no_file_of_that_name(stopped: tuple[Project, Project]) -> None:
    project, other = stopped
    file = project.folder / "run.tgz"
    last = "before:job_exported#2"  # the first goes into the copy
    assert project.prodigy("export", project.run_id(), file, env={"PRODIGY_FAULT": last}).code == KILLED
    assert not file.exists()
    move(project, other)
    assert other.prodigy("resume", project.run_id()).code == COMPLETED_WITH_FAILURES


# Refusals --------------------------------------------------------------------------------------------------


def test_a_run_is_imported_once(stopped: tuple[Project, Project]) -> None:
    project, other = stopped
    move(project, other)
    before = refs_of(other)
    again = other.prodigy("import", project.folder / "the run.tgz")
    assert again.code == USAGE
    assert "here already" in again.err
    assert refs_of(other) == before


def test_a_run_that_somebody_works_on_is_not_exported(project: Project) -> None:
    running = project.start("run", project.workflow(WORKFLOW))
    wait_until(lambda: project.tally()["flight 2"] == 1, "the item in flight")
    refused = project.prodigy("export", project.run_id(), project.folder / "run.tgz")
    (project.folder / "go").touch()
    running.communicate()
    assert refused.code == LOCKED
    assert "being worked on" in refused.err
    assert not (project.folder / "run.tgz").exists()


def test_a_file_is_replaced_only_when_told(stopped: tuple[Project, Project]) -> None:
    project, _ = stopped
    file = project.folder / "run.tgz"
    file.write_text("something else")
    refused = project.prodigy("export", project.run_id(), file)
    assert (refused.code, file.read_text()) == (USAGE, "something else")
    assert project.prodigy("export", project.run_id(), file, "--overwrite").code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in project.folder.iterdir() if path.name.endswith(".part")] == []


def test_only_a_plain_file_is_ever_replaced(stopped: tuple[Project, Project]) -> None:
    project, _ = stopped
    pipe, directory = project.folder / "pipe", project.folder / "directory"
    os.mkfifo(pipe)
    directory.mkdir()
    for target in (pipe, directory):
        for options in ((), ("--overwrite",)):
            refused = project.prodigy("export", project.run_id(), target, *options)
            assert (refused.code, "no file that could be replaced" in refused.err) == (USAGE, True), refused.err
            assert "--overwrite" not in refused.err
    assert pipe.is_fifo()
    with store_of(project) as store:
        assert exported_to(store) is None


def test_a_link_stays_and_what_it_points_at_is_written(stopped: tuple[Project, Project]) -> None:
    project, other = stopped
    link, file = project.folder / "link.tgz", project.folder / "elsewhere" / "run.tgz"
    file.parent.mkdir()
    file.write_text("something else")
    link.symlink_to(file)
    refused = project.prodigy("export", project.run_id(), link)
    assert (refused.code, file.read_text()) == (USAGE, "something else")
    assert project.prodigy("export", project.run_id(), link, "--overwrite").code == 0
    assert link.is_symlink()
    assert [path.name for path in file.parent.iterdir()] == ["run.tgz"]
    assert other.prodigy("import", file).code == 0


@pytest.mark.parametrize("name", ["x" * 252, "ü" * 126])
def test_the_name_of_the_file_may_be_as_long_as_the_system_allows(name: str, stopped: tuple[Project, Project]) -> None:
    project, _ = stopped
    done = project.prodigy("export", project.run_id(), project.folder / name)
    assert done.code == 0, done.err
    assert (project.folder / name).is_file()


def test_what_a_cancel_has_ended_can_be_exported(project: Project) -> None:
    running = project.start("run", project.workflow(WORKFLOW))
    wait_until(lambda: project.tally()["flight 2"] == 1, "the item in flight")
    running.kill()
    running.communicate()
    cancelled = project.prodigy("cancel", project.run_id())
    assert cancelled.code == 0, cancelled.err
    assert "cancelled" in cancelled.out
    exported = project.prodigy("export", project.run_id(), project.folder / "run.tgz")
    assert exported.code == 0, exported.err


def test_what_a_cancel_has_ended_in_another_process_can_be_exported(project: Project) -> None:
    running = project.start("run", project.workflow(WORKFLOW))
    wait_until(lambda: project.tally()["flight 2"] == 1, "the item in flight")
    cancelled = project.prodigy("cancel", project.run_id())
    exported = project.prodigy("export", project.run_id(), project.folder / "run.tgz")
    running.communicate()
    assert (cancelled.code, exported.code) == (0, 0), cancelled.err + exported.err


def test_a_repository_without_the_base_is_refused_with_the_commit(
    stopped: tuple[Project, Project], tmp_path: Path
) -> None:
    project, _ = stopped
    file = project.folder / "run.tgz"
    assert project.prodigy("export", project.run_id(), file).code == 0
    stranger = make_project(tmp_path / "stranger")
    stranger.write("README.md", "another history\n")
    stranger.commit()
    git(stranger.repo, "checkout", "-q", "--orphan", "else")
    stranger.commit("new root")
    git(stranger.repo, "branch", "-q", "-D", "main")
    git(stranger.repo, "reflog", "expire", "--expire=now", "--all")
    git(stranger.repo, "gc", "-q", "--prune=now")
    before = refs_of(stranger)
    refused = stranger.prodigy("import", file)
    assert refused.code == USAGE
    assert git(project.repo, "rev-parse", "main") in refused.err
    assert "git fetch" in refused.err
    assert refs_of(stranger) == before
    assert list((stranger.home / "runs").glob("[!.]*")) == []


def test_a_shallow_clone_that_has_the_base_is_enough(stopped: tuple[Project, Project], tmp_path: Path) -> None:
    project, _ = stopped
    shallow = clone_of(project, tmp_path / "shallow", whole=False)
    run_id = move(project, shallow)
    assert shallow.prodigy("resume", run_id, "--yes").code == COMPLETED_WITH_FAILURES
    assert shallow.files("main")["report.txt"].startswith("5 of 6")


def test_a_ref_that_stands_elsewhere_is_not_overwritten(stopped: tuple[Project, Project]) -> None:
    project, other = stopped
    file = project.folder / "run.tgz"
    assert project.prodigy("export", project.run_id(), file).code == 0
    other.write("own.txt", "mine\n")
    mine = other.commit()
    git(other.repo, "branch", project.run_branch(), mine)
    refused = other.prodigy("import", file)
    assert refused.code == USAGE
    assert project.run_branch() in refused.err
    assert git(other.repo, "rev-parse", project.run_branch()) == mine
    assert list((other.home / "runs").glob("[!.]*")) == []


def test_worktrees_of_an_earlier_time_are_not_taken_for_the_runs_own(stopped: tuple[Project, Project]) -> None:
    project, _ = stopped
    run_id = project.run_id()
    file = project.folder / "run.tgz"
    assert project.prodigy("export", run_id, file).code == 0
    shutil.rmtree(project.home / "runs" / run_id)
    stale = next((project.home / "worktrees").glob(f"*/{run_id}-s1"))
    (stale / "new-good-1.txt").write_text("not of this state")
    refused = project.prodigy("import", file)
    assert refused.code == USAGE
    assert (stale / "new-good-1.txt").exists()
    assert project.prodigy("worktree", "clean", run_id).code == 0
    assert project.prodigy("import", file).code == 0
    assert project.prodigy("resume", run_id, "--yes").code == COMPLETED_WITH_FAILURES
    assert project.files("main")["new-good-1.txt"] == "untracked"


# What people and scripts see -------------------------------------------------------------------------------


def test_a_run_travels_through_a_pipe(stopped: tuple[Project, Project]) -> None:
    project, other = stopped
    command = [sys.executable, "-m", "prodigy.cli.main"]
    export = subprocess.run(
        [*command, "export", project.run_id(), "-"],
        cwd=project.repo, env=project.environment(), capture_output=True, check=True,
    )  # fmt: skip
    done = subprocess.run(
        [*command, "import", "-", "--json", "-p", other.repo],
        cwd=other.folder, env=other.environment(), input=export.stdout, capture_output=True, check=True,
    )  # fmt: skip
    assert "was written to stdout" in export.stderr.decode()
    assert "prodigy import -" not in export.stderr.decode()
    answer = Done(0, done.stdout.decode(), "").json
    assert answer["status"] == other.prodigy("status", project.run_id(), "--json").json["status"] == "interrupted"
    assert answer["run_id"] == project.run_id()
    assert answer["next"] == f"prodigy resume {project.run_id()}"
    assert answer["repo"] == str(other.repo)


def test_the_origin_knows_where_its_run_went_and_the_new_place_does_not_care(stopped: tuple[Project, Project]) -> None:
    project, other = stopped
    with store_of(project) as store:
        assert exported_to(store) is None
    move(project, other)
    with store_of(project) as store:
        assert exported_to(store) == str(project.folder / "the run.tgz")
    with store_of(other) as store:
        assert exported_to(store) is None


def test_a_branch_that_the_result_is_meant_for_and_that_is_missing_is_told(stopped: tuple[Project, Project]) -> None:
    project, other = stopped
    git(other.repo, "checkout", "-q", "--detach")
    git(other.repo, "branch", "-q", "-D", "main")
    file = project.folder / "run.tgz"
    assert project.prodigy("export", project.run_id(), file).code == 0
    imported = other.prodigy("import", file)
    assert imported.code == 0, imported.err
    assert "the branch main" in imported.err


def test_the_printed_import_can_be_pasted_into_a_shell(stopped: tuple[Project, Project]) -> None:
    project, _ = stopped
    done = project.prodigy("export", project.run_id(), "-- it's & there.tgz", "--overwrite", where=project.folder)
    assert done.code == 2, "a name that begins with a dash needs --"
    done = project.prodigy("export", project.run_id(), "--", "-it's & there.tgz", where=project.folder)
    assert done.code == 0, done.err
    (line,) = [line for line in done.err.splitlines() if "prodigy import" in line]
    words = shlex.split(line.partition("prodigy import ")[2])
    assert words == ["./-it's & there.tgz"]


def test_a_run_that_has_worktrees_from_another_home_is_told(stopped: tuple[Project, Project]) -> None:
    project, _ = stopped
    file = project.folder / "run.tgz"
    assert project.prodigy("export", project.run_id(), file).code == 0
    moved = project.prodigy("import", file, env={"PRODIGY_HOME": str(project.folder / "second home")})
    assert moved.code == 0, moved.err
    assert "has a worktree in this repository already" in moved.err
    assert "steps run twice" in moved.err


def test_input_files_are_read_where_the_run_goes_on(tmp_path: Path) -> None:
    project = make_project(tmp_path / "origin")
    other = clone_of(project, tmp_path / "other")
    for place in (project, other):
        (place.repo / ".git/info/exclude").write_text("items.json\n")
        place.write("items.json", '["a", "b"]')
    workflow = project.workflow("""
steps:
  - shell: echo first >> "$TALLY"
  - mapreduce:
      map:
        input: items.json
        agent_template: [{shell: echo x > "$PRODIGY_ITEM_ID.txt"}]
""")
    killed = project.prodigy("run", workflow, env={"PRODIGY_FAULT": "after:step_finished#1"})
    assert killed.code == KILLED, killed.err
    end_everything(project)
    file = project.folder / "run.tgz"
    assert project.prodigy("export", project.run_id(), file).code == 0
    shutil.copy(project.tally_file, other.tally_file)
    run_id = project.run_id()
    shutil.rmtree(project.repo)
    imported = other.prodigy("import", file)
    assert imported.code == 0, imported.err
    resumed = other.prodigy("resume", run_id, "--yes")
    assert resumed.code == 0, resumed.err
    assert len([name for name in other.files("main") if name.endswith(".txt")]) == 3
    assert other.tally()["first"] == 1
