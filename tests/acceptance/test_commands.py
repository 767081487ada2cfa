"""Flags and commands that people bring along from the earlier system, and the list of runs."""

from __future__ import annotations

import csv
import io

import pytest

from support import Project, make_project, wait_until

TWO = """
name: two
map:
  input: printf 'a\\nb\\nc\\n'
  max_parallel: 1
  agent_template:
    - shell: echo ${item} >> "$TALLY"; test ! -e "$SHARED/fails-${item}"
"""


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (("changelog", "generate", "--from", "v1", "-o", "x"), "a `shell` step"),
        (("changelog",), "a `shell` step"),
        (("checkpoints", "list", "--workflow-id", "x"), "`prodigy status`"),
        (("checkpoints", "show", "x", "--version", "3"), "`prodigy status RUN`"),
        (("checkpoints", "clean", "--all", "-f"), "`prodigy clean state`"),
        (("checkpoints", "--help"), "`prodigy resume RUN`"),
    ],
)
def test_what_is_not_carried_over_names_what_takes_its_place(
    project: Project, words: tuple[str, ...], instead: str
) -> None:
    done = project.prodigy(*words)
    assert (done.code, done.out) == (2, "")
    assert instead in done.err


def test_fail_fast_starts_nothing_more_after_a_failure_and_the_run_goes_on_later(project: Project) -> None:
    (project.folder / "fails-a").touch()
    done = project.prodigy("run", project.workflow(TWO), "--fail-fast", "--no-merge", "--json")
    assert (done.code, done.json["stop_reason"], done.json["items"]["pending"]) == (6, "max_failures", 2), done.err
    assert "--fail-fast" in done.json["error"]
    (project.folder / "fails-a").unlink()
    again = project.prodigy("run", project.workflow(TWO), "--resume", "latest", "--json")
    assert (again.code, again.json["run_id"], again.json["items"]["successful"]) == (3, done.json["run_id"], 2)
    assert "has changed" not in again.err


def test_run_with_resume_goes_on_and_takes_nothing_that_is_for_a_new_run(project: Project) -> None:
    assert project.prodigy("run", project.workflow(TWO), "--no-merge").code == 0
    assert project.prodigy("run", "--resume", "latest", "--no-merge", "--json").json["steps_run"] == 0
    refused = project.prodigy("run", "--resume", "latest", "--args", "x")
    assert (refused.code, "--args is for a new run" in refused.err) == (2, True)
    assert "Missing argument 'WORKFLOW'" in project.prodigy("run").err


def test_steps_run_here_and_other_places_are_answered(project: Project) -> None:
    assert project.prodigy("run", project.workflow(TWO), "--executor", "local", "--no-merge").code == 0
    for option in (["--executor", "dask"], ["--executor", "nowhere"], ["--scheduler", "tcp://x:1"]):
        done = project.prodigy("run", project.workflow(TWO), *option)
        assert (done.code, "local" in done.err) == (2, True), option
    assert len(list((project.home / "runs").iterdir())) == 1


def test_a_checkpoint_to_resume_from_is_answered(project: Project) -> None:
    assert project.prodigy("run", project.workflow(TWO), "--no-merge").code == 0
    done = project.prodigy("resume", "latest", "--from-checkpoint", "v3")
    assert (done.code, "no checkpoint files" in done.err) == (2, True)
    assert project.prodigy("resume-job", "latest", "-p", ".", "--no-merge").code == 0


def test_validate_takes_the_earlier_name_of_its_format(project: Project) -> None:
    assert project.prodigy("validate", project.workflow(TWO), "--format", "simplified").code == 0


def test_tail_alone_follows(project: Project) -> None:
    assert project.prodigy("run", project.workflow("- shell: seq 1 20\n"), "--no-merge").code == 0
    assert project.prodigy("logs", "--step", "it1/1", "--tail", "2", "--stdout").out.splitlines()[-2:] == ["19", "20"]
    assert project.prodigy("logs", "latest", "--tail").code == 0, "until nobody works on it"
    assert project.prodigy("logs", "--tail", "many").code == 2


# The list of runs ------------------------------------------------------------------------------------------


def test_runs_are_listed_in_eighty_columns_newest_first_and_chosen_by_state_and_age(project: Project) -> None:
    (project.folder / "fails-b").touch()
    first = project.prodigy("run", project.workflow(TWO), "--no-merge", "--json").json["run_id"]
    (project.folder / "fails-b").unlink()
    second = project.prodigy("run", project.workflow(TWO), "--no-merge", "--json").json["run_id"]
    head, *lines = project.prodigy("status").out.splitlines()
    assert head.split() == ["RUN", "STATUS", "ITEMS", "COST", "AGE", "WORKFLOW"]
    assert {line.split()[0]: line.split("  ")[1].strip() for line in lines} == {
        first: "with failures",
        second: "completed",
    }
    assert max(map(len, lines)) <= 80
    assert next(line for line in lines if first in line).split()[3:6] == ["2/3", "-1", "-"]

    def listed(*options: str) -> set[str]:
        return {row["run_id"] for row in project.prodigy("status", "--json", *options).json}

    assert listed("--state", "completed") == {second}
    assert listed("--state", "completed", "--state", "completed_with_failures") == {first, second}
    assert listed("--since", "1h") == {first, second}
    assert listed("--older-than", "1h") == set()
    assert len(listed("--limit", "1")) == 1
    assert project.prodigy("status", "--state", "paused").out == "no such runs\n"
    refused = project.prodigy("status", "latest", "--state", "paused")
    assert (refused.code, "--state chooses among runs" in refused.err) == (2, True)


def test_runs_of_all_repositories_say_whose_they_are(project: Project) -> None:
    other = make_project(project.folder / "elsewhere")
    for one in (project, other):
        done = project.prodigy("run", project.workflow("- shell: 'true'\n"), "-p", one.repo, "--no-merge")
        assert done.code == 0, done.err
    assert len(project.prodigy("status", "--json").json) == 1
    found = project.prodigy("status", "--all-repos", "--json").json
    assert {row["repository"] for row in found} == {str(project.repo), str(other.repo)}
    assert f"{other.folder.name}/repo: flow" in project.prodigy("status", "--all-repos").out


def test_status_is_written_for_other_programs(project: Project) -> None:
    assert project.prodigy("run", project.workflow(TWO), "--no-merge").code == 0
    shown = project.prodigy("status", "latest", "--json").json
    assert project.prodigy("progress", "latest", "--export", "-").json == shown
    path = project.folder / "status.csv"
    assert project.prodigy("progress", "latest", "--export", path).code == 0
    (row,) = csv.DictReader(io.StringIO(path.read_text()))
    assert (row["run_id"], row["items.total"]) == (shown["run_id"], "3")
    web = project.prodigy("progress", "latest", "--web", "8080")
    assert (web.code, "prodigy dashboard" in web.err) == (2, True)
    assert project.prodigy("status", "--format", "csv").code == 2


@pytest.mark.usefixtures("let_go")
def test_of_a_run_that_goes_on_status_says_how_far_it_is_and_what_runs(project: Project) -> None:
    waits = TWO.replace('echo ${item} >> "$TALLY";', 'until test ${item} != c -o -e "$SHARED/go"; do sleep 0.05; done;')
    running = project.start("run", project.workflow(waits), "--no-merge")
    wait_until(lambda: "2 of 3 items ended (66 %)" in project.prodigy("status", "latest").out, "two items are done")
    told = project.prodigy("status", "latest").out
    assert "phase: map" in told
    assert "  running " in told
    assert "watch it: prodigy attach" in told
    (project.folder / "go").touch()
    running.communicate()
    assert running.returncode == 0
