"""The options of `resume` and `dlq retry`, each shown by what runs and what does not."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterable

import pytest

from recovery_support import interrupt
from support import Done, Project, wait_until

FLOW = r"""
name: options
setup:
  - shell: echo setup >> "$TALLY"
map:
  input: printf '{"id":"a","size":1}\n{"id":"b","size":2}\n{"id":"c","size":3}\n'
  max_parallel: 1
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"
        echo first > "$PRODIGY_ITEM_ID.txt"
    - shell: |
        echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
        echo second >> "$PRODIGY_ITEM_ID.txt"
        if [ -e "$SHARED/fail-$PRODIGY_ITEM_ID" ]; then echo "no luck with $PRODIGY_ITEM_ID" >&2; exit 1; fi
    - shell: echo "$PRODIGY_ITEM_ID 3" >> "$TALLY"
reduce:
  - shell: |
      echo reduce >> "$TALLY"
      echo "${map.successful} of ${map.total}" > report.txt
"""
TWICE_WRITTEN = "first\nsecond"


def let_fail(project: Project, *items: str) -> None:
    for item in items:
        (project.folder / f"fail-{item}").touch()


def mend(project: Project, *items: str) -> None:
    for item in items:
        (project.folder / f"fail-{item}").unlink()


def failed_run(project: Project, *items: str, text: str = FLOW) -> Done:
    """A run in which these items failed."""
    let_fail(project, *items)
    done = project.prodigy("run", project.workflow(text), "--yes", "--json")
    assert done.code == 3, done.err
    return done


def steps(tally: Counter[str], items: Iterable[str]) -> dict[str, list[int]]:
    """How often each of an item's three steps ran."""
    return {item: [tally[f"{item} {number}"] for number in (1, 2, 3)] for item in items}


# Which items -----------------------------------------------------------------------------------------------


def test_a_plain_resume_leaves_dead_letters_alone(project: Project) -> None:
    failed_run(project, "b")
    mend(project, "b")
    before = project.tally()
    assert project.prodigy("resume", "latest").code == 3
    assert project.tally() == before


@pytest.mark.parametrize("option", ["--include-dlq", "--include-failed"])
def test_resume_runs_dead_letters_again_when_told_to(project: Project, option: str) -> None:
    failed_run(project, "a", "b")
    mend(project, "a")
    done = project.prodigy("resume", "latest", option, "--json")
    assert done.code == 3, done.err
    assert done.json["items"]["successful"] == 2
    assert steps(project.tally(), "abc") == {"a": [2, 2, 1], "b": [2, 2, 0], "c": [1, 1, 1]}
    assert project.files("main")["a.txt"] == TWICE_WRITTEN
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert [failure["attempt_number"] for failure in letter["failure_history"]] == [1, 2]


def test_items_with_so_many_tries_are_left_out(project: Project) -> None:
    failed_run(project, "a", "b")
    assert project.prodigy("dlq", "retry", "latest", "--item", "a").code == 3
    before = project.tally()
    done = project.prodigy("resume", "latest", "--include-dlq", "--max-retries", "2")
    assert done.code == 3, done.err
    assert project.tally() - before == Counter({"b 1": 1, "b 2": 1})
    before = project.tally()
    assert project.prodigy("dlq", "retry", "latest", "--max-retries", "2").code == 3
    assert project.tally() == before
    assert project.prodigy("resume", "latest", "--include-failed", "--max-retries", "2").code == 3
    assert project.tally() - before == Counter({"a 1": 1, "a 2": 1, "b 1": 1, "b 2": 1})


def test_dead_letters_come_after_what_is_pending(project: Project) -> None:
    text = FLOW.replace("map:\n", "on_item_failure: stop\nmap:\n", 1)
    let_fail(project, "a")
    assert project.prodigy("run", project.workflow(text)).code == 6
    mend(project, "a")
    done = project.prodigy("resume", "latest", "--include-dlq")
    assert done.code == 0, done.err
    order = [line for line in project.tally_file.read_text().splitlines() if line.endswith(" 1")]
    assert order == ["a 1", "b 1", "c 1", "a 1"]


@pytest.mark.parametrize(
    ("arguments", "again"),
    [
        (("--item", "b"), "b"),
        (("--item", "a", "--item", "c"), "ac"),
        (("--filter", "size >= 2"), "bc"),
        (("--filter", "item.id == 'a' or error_message contains 'luck with c'"), "ac"),
        (("--filter", "failure_count > 1"), ""),
        (("--parallel", "3"), "abc"),
    ],
)
def test_dlq_retry_runs_the_dead_letters_that_are_meant(
    project: Project, arguments: tuple[str, ...], again: str
) -> None:
    failed_run(project, "a", "b", "c")
    mend(project, "a", "b", "c")
    done = project.prodigy("dlq", "retry", "latest", *arguments, "--json")
    assert done.code == (0 if again == "abc" else 3), done.err
    assert {item for item in "abc" if project.tally()[f"{item} 3"]} == set(again)
    left = {letter["item_id"] for letter in project.prodigy("dlq", "list", "--json").json}
    assert left == set("abc") - set(again)


def test_a_filter_that_is_no_expression_is_told_with_its_place_and_runs_nothing(project: Project) -> None:
    failed_run(project, "a")
    before = project.tally()
    done = project.prodigy("dlq", "retry", "latest", "--filter", "size >")
    assert done.code == 2
    assert "^" in done.err
    assert "Traceback" not in done.err
    assert project.tally() == before


# Where they begin ------------------------------------------------------------------------------------------


def test_a_retry_begins_at_the_first_step(project: Project) -> None:
    failed_run(project, "b")
    mend(project, "b")
    assert project.prodigy("dlq", "retry", "latest").code == 0
    assert steps(project.tally(), "b") == {"b": [2, 2, 1]}
    assert project.files(project.run_branch())["b.txt"] == TWICE_WRITTEN


@pytest.mark.parametrize("command", [("dlq", "retry", "latest"), ("resume", "latest", "--include-dlq")])
def test_a_retry_from_the_failed_step_repeats_no_finished_step(project: Project, command: tuple[str, ...]) -> None:
    failed_run(project, "b")
    mend(project, "b")
    done = project.prodigy(*command, "--from-failed-step", "--json")
    assert done.code == 0, done.err
    assert done.json["steps_reused"] >= 1
    assert steps(project.tally(), "b") == {"b": [1, 2, 1]}
    assert project.files(project.run_branch())["b.txt"] == TWICE_WRITTEN, "what the failed step left is taken back"


def test_a_killed_retry_from_the_failed_step_goes_on_as_such(project: Project) -> None:
    failed_run(project, "b")
    mend(project, "b")
    killed = project.prodigy(
        "dlq", "retry", "latest", "--from-failed-step", env={"PRODIGY_FAULT": "before:agent_started"}
    )
    assert killed.code == -signal.SIGKILL
    assert project.prodigy("resume", "latest").code == 0
    assert steps(project.tally(), "b") == {"b": [1, 2, 1]}
    project.assert_nothing_left()


def interrupted_run(project: Project) -> None:
    """A run whose item `b` was ended by the user in its second step."""
    waits = 'if [ ! -e "$SHARED/go" ]; then touch "$SHARED/in-$PRODIGY_ITEM_ID"; sleep 60; fi'
    text = FLOW.replace(
        'if [ -e "$SHARED/fail', f'[ "$PRODIGY_ITEM_ID" != b ] || {{ {waits}; }}\n        if [ -e "$SHARED/fail'
    )
    running = project.start("run", project.workflow(text), "--no-merge")
    wait_until(lambda: (project.folder / "in-b").exists(), "the second step of b runs")
    interrupt(running)
    (project.folder / "go").touch()


def test_an_interrupted_item_goes_on_where_it_stood(project: Project) -> None:
    interrupted_run(project)
    assert project.prodigy("resume", "latest").code == 0
    assert steps(project.tally(), "abc") == {"a": [1, 1, 1], "b": [1, 2, 1], "c": [1, 1, 1]}


def test_an_interrupted_item_begins_anew_when_told_to(project: Project) -> None:
    interrupted_run(project)
    assert project.prodigy("resume", "latest", "--from-start").code == 0
    assert steps(project.tally(), "abc") == {"a": [1, 1, 1], "b": [2, 2, 1], "c": [1, 1, 1]}
    assert project.files(project.run_branch())["b.txt"] == TWICE_WRITTEN


# Another workflow ------------------------------------------------------------------------------------------


def test_an_edited_workflow_counts_for_what_has_not_begun(project: Project) -> None:
    failed_run(project, "b")
    edited = project.workflow(FLOW.replace("exit 1", "true"), "edited.yml")
    done = project.prodigy("dlq", "retry", "latest", "--workflow", edited, "--json")
    assert done.code == 0, done.err
    assert steps(project.tally(), "abc") == {"a": [1, 1, 1], "b": [2, 2, 1], "c": [1, 1, 1]}
    assert project.tally()["setup"] == 1
    assert project.tally()["reduce"] == 1


def test_steps_that_were_edited_run_again_even_from_the_failed_step(project: Project) -> None:
    failed_run(project, "b")
    text = FLOW.replace("echo first >", "echo other >").replace("exit 1", "true")
    edited = project.workflow(text, "edited.yml")
    done = project.prodigy("dlq", "retry", "latest", "--workflow", edited, "--from-failed-step")
    assert done.code == 0, done.err
    assert steps(project.tally(), "b") == {"b": [2, 2, 1]}
    assert project.files(project.run_branch())["b.txt"] == "other\nsecond"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('echo setup >> "$TALLY"', "echo another", "echo setup"),
        ("seq", "", ""),
        ('{"id":"a","size":1}', '{"id":"z"}', "map"),
        ('echo reduce >> "$TALLY"', "echo another", "echo reduce"),
    ],
)
def test_an_edited_workflow_that_changes_what_has_run_is_refused_with_the_first_difference(
    project: Project, old: str, new: str, named: str
) -> None:
    failed_run(project, "b")
    mend(project, "b")
    before = project.tally()
    edited = project.workflow(FLOW.replace(old, new), "edited.yml")
    done = project.prodigy("dlq", "retry", "latest", "--workflow", edited)
    if not named:
        assert done.code == 0, done.err
        return
    assert done.code == 2
    assert named in done.err
    assert "edited.yml:" in done.err
    assert project.tally() == before
    assert project.prodigy("dlq", "retry", "latest").code == 0, "the refusal changed nothing"


def test_reduce_may_be_edited_when_it_runs_again_anyway(project: Project) -> None:
    failed_run(project, "b")
    mend(project, "b")
    edited = project.workflow(FLOW.replace("report.txt", "other.txt"), "edited.yml")
    done = project.prodigy("dlq", "retry", "latest", "--reduce", "--workflow", edited, "--yes")
    assert done.code == 0, done.err
    assert project.files("main")["other.txt"] == "3 of 3"


def test_an_attempt_in_flight_keeps_the_workflow_it_began_with(project: Project) -> None:
    waits = 'touch "$SHARED/in-$PRODIGY_ITEM_ID"; until [ -e "$SHARED/go" ]; do sleep 0.05; done; '
    text = FLOW.replace('if [ -e "$SHARED/fail', waits + 'if [ -e "$SHARED/fail')
    running = project.start("run", project.workflow(text), "--no-merge")
    wait_until(lambda: (project.folder / "in-a").exists(), "the second step of a runs")
    running.kill()
    running.communicate()
    (project.folder / "go").touch()
    edited = project.workflow(text.replace('echo "$PRODIGY_ITEM_ID 3"', 'echo "$PRODIGY_ITEM_ID three"'), "edited.yml")
    done = project.prodigy("resume", "latest", "--workflow", edited)
    assert done.code == 0, done.err
    tally = project.tally()
    assert [tally[line] for line in ("a 2", "a 3", "b 3", "b three", "c three", "a three")] == [1, 1, 0, 1, 1, 0]


def test_a_failed_setup_step_can_be_mended_by_an_edited_workflow(project: Project) -> None:
    broken = project.workflow(FLOW.replace('echo setup >> "$TALLY"', 'echo setup >> "$TALLY"; exit 4'))
    assert project.prodigy("run", broken).code == 1
    done = project.prodigy("resume", "latest", "--workflow", project.workflow(FLOW, "edited.yml"))
    assert done.code == 0, done.err
    assert project.tally()["setup"] == 2


# Reduce, references, contradictions ------------------------------------------------------------------------


def test_reduce_runs_again_on_demand_only(project: Project) -> None:
    failed_run(project, "a", "b")
    mend(project, "a", "b")
    assert project.prodigy("dlq", "retry", "latest", "--item", "a", "--yes").code == 3
    assert project.files("main")["report.txt"] == "1 of 3"
    done = project.prodigy("dlq", "retry", "latest", "--reduce", "--yes")
    assert done.code == 0, done.err
    assert project.files("main")["report.txt"] == "3 of 3"
    assert project.tally()["reduce"] == 2


def test_a_run_is_found_by_id_prefix_file_name_and_latest(project: Project) -> None:
    failed_run(project, "b")
    run_id = project.run_id()
    file = project.folder / "flow.yml"
    for reference in (run_id, run_id[:-2], str(file), "options", "latest"):
        done = project.prodigy("resume", reference, "--json")
        assert done.code == 3, done.err
        assert done.json["run_id"] == run_id
    assert project.prodigy("resume", "nothing-like-it").code == 2


def test_the_earlier_names_of_commands_still_work(project: Project) -> None:
    failed_run(project, "b")
    mend(project, "b")
    assert project.prodigy("progress", "latest", "--json").json["items"]["failed"] == 1
    done = project.prodigy("resume-job", "latest", "--include-dlq", "--max-retries", "2", "--json")
    assert done.code == 0, done.err


@pytest.mark.parametrize("options", [("--from-start", "--from-failed-step"), ("--yes", "--no-merge")])
def test_options_that_exclude_each_other_are_refused(project: Project, options: tuple[str, ...]) -> None:
    failed_run(project, "b")
    done = project.prodigy("resume", "latest", *options)
    assert done.code == 2
    assert "exclude each other" in done.err


def test_the_options_reach_a_retry_in_the_background(project: Project) -> None:
    failed_run(project, "a", "b")
    mend(project, "a", "b")
    done = project.prodigy(
        "dlq", "retry", "latest", "--filter", "size == 2", "--from-failed-step", "--reduce", "--detach"
    )
    assert done.code == 0, done.err
    wait_until(lambda: project.prodigy("status", "latest", "--json").json["items"]["successful"] == 2, "b is retried")
    wait_until(lambda: project.tally()["reduce"] == 2, "reduce runs again")
    assert steps(project.tally(), "ab") == {"a": [1, 1, 0], "b": [1, 2, 1]}
    wait_until(lambda: project.prodigy("status", "latest", "--json").json["status"] != "running", "it ends")
    assert json.loads(project.prodigy("status", "latest", "--json").out)["status"] == "completed_with_failures"
