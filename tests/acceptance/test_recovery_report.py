"""Each line of the earlier system's gap report that needs a whole run to be shown: dead letters, attempts, recovery.

What the report says of items that are listed twice is in test_recovery_duplicates.py.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from agent_support import script, stand_in_path
from recovery_support import (
    add_items,
    assert_every_attempt_has_ended,
    assert_free,
    attempts,
    events,
    flow,
    history,
    interrupt,
    items,
    kill,
    kill_when,
    letters,
    put,
    run_directory,
    take,
    terminate,
    times,
    wait_for_lines,
    warnings,
)
from support import Project, Running, git, processes_of, sampled, wait_until

WRITTEN = "one\ntwo"


pytestmark = pytest.mark.usefixtures("let_go")


def with_stand_in(project: Project) -> None:
    project.env["PATH"] = f"{stand_in_path(project.folder)}:{os.environ['PATH']}"


def ended_with(project: Project, *failing: str, names: str = "abc", policy: str = "") -> None:
    """A run that ended, and was merged, with these items failed."""
    put(project, *(f"fail-{name}" for name in failing))
    done = project.prodigy("run", flow(project, items(names), policy), "--yes")
    assert done.code == 3, done.err
    assert set(letters(project)) == set(failing)


# Dead letters ----------------------------------------------------------------------------------------------


def test_a_failed_and_a_timed_out_agent_are_in_the_dead_letter_queue(project: Project) -> None:
    """Failed agent populates the DLQ: json_log_location, error signature and history are set."""
    with_stand_in(project)
    overloaded = {"result": {"is_error": True, "api_error_status": 500, "result": "API Error: 500 overloaded"}}
    commit = {"sh": "echo half > half.txt; git add half.txt; git commit -qm half; echo edit >> half.txt"}
    waits = {"sleep_until_file": str(project.folder / "never")}
    work = [
        {"id": "failing", "slow": False, "script": script(commit, overloaded)},
        {"id": "slow", "slow": True, "script": script(waits)},
        {"id": "good", "slow": False, "script": script({"text": "done"})},
    ]
    (project.folder / "items.json").write_text(json.dumps(work))
    workflow = project.workflow("""
map:
  input: cat "$SHARED/items.json"
  max_parallel: 3
  agent_template:
    - claude: "${item.script}"
      when: item.slow == false
    - claude: "${item.script}"
      when: item.slow == true
      timeout: 2s
""")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert (done.code, done.json["status"]) == (3, "completed_with_failures"), done.err
    assert done.json["items"] | {"successful": 1, "failed": 2} == done.json["items"]
    found = letters(project)
    assert set(found) == {"failing", "slow"}
    for item, kind, step in (("failing", "command_failed", 1), ("slow", "timeout", 2)):
        letter = found[item]
        (failure,) = letter["failure_history"]
        assert (failure["attempt_number"], failure["error_type"]) == (1, kind)
        assert failure["step_failed"].endswith(f"/a1/{step}/t1")
        log = Path(failure["json_log_location"])
        assert log.is_relative_to(run_directory(project))
        assert log.is_file()
        assert len(letter["error_signature"]) == 16
        assert letter["item_data"] == next(data for data in work if data["id"] == item)
    assert found["failing"]["error_signature"] != found["slow"]["error_signature"]
    said = Path(found["failing"]["failure_history"][0]["json_log_location"]).read_text().splitlines()
    assert json.loads(said[-1])["result"] == "API Error: 500 overloaded"
    kept = project.files(found["failing"]["worktree_artifacts"]["branch_name"])
    assert kept["half.txt"] == "half\nedit", "what the agent committed and what it had not yet"
    assert processes_of(project.folder) == [], "the agent that took too long was ended"


def test_dlq_retry_reprocesses_failed_items_also_after_the_final_merge(project: Project) -> None:
    """`dlq retry` reprocesses failed items: merges, removes what succeeded, appends to the history of the others."""
    ended_with(project, "a", "b")
    before = letters(project)
    git(project.repo, "commit", "-q", "--allow-empty", "-m", "the user goes on")
    take(project, "fail-a")
    done = project.prodigy("dlq", "retry", "latest", "--json")
    assert (done.code, done.json["status"], done.json["merged"]) == (3, "completed_with_failures", True), done.err
    assert done.json["items"] | {"successful": 2, "failed": 1} == done.json["items"]
    assert project.files("main")["a.txt"] == WRITTEN
    assert "the user goes on" in git(project.repo, "log", "--format=%s", "main")
    left = letters(project)
    assert set(left) == {"b"}
    assert history(left["b"]) == [1, 2]
    assert left["b"]["failure_history"][0] == before["b"]["failure_history"][0], "the history is only added to"
    assert [event["item_id"] for event in events(project, "dlq_item_removed")] == ["a"]
    assert times(project, 1) == {"a": 2, "b": 2, "c": 1}
    assert_free(project)


@pytest.mark.parametrize(
    "fault",
    sampled(["after:dlq_items_reprocessed", "after:agent_started#2", "before:agent_completed#1", "after:merging#1"]),
)
def test_dlq_retry_that_was_killed_resumes_like_any_run(project: Project, fault: str) -> None:
    ended_with(project, "a", "b", "c", names="abcd")
    take(project, "fail-a", "fail-b")
    assert project.prodigy("dlq", "retry", "latest", env={"PRODIGY_FAULT": fault}).code == -signal.SIGKILL
    done = project.prodigy("resume", "latest", "--json")
    assert (done.code, done.json["merged"]) == (3, True), done.err
    assert times(project, 2) == {"a": 2, "b": 2, "c": 2, "d": 1}
    left = letters(project)
    assert set(left) == {"c"}
    assert history(left["c"]) == [1, 2]
    assert {"a.txt", "b.txt", "d.txt"} <= set(project.files("main"))
    assert_every_attempt_has_ended(project)
    assert_free(project)


def test_resume_includes_dead_letters(project: Project) -> None:
    """A stopped run has pending items and dead letters: a resume that is told so runs both, the dead ones last."""
    put(project, "fail-a", "hold-c")
    running = project.start("run", flow(project, items("abcd")), "--yes")
    wait_for_lines(project, "c 2")
    kill(running)
    take(project, "fail-a")
    put(project, "go")
    done = project.prodigy("resume", "latest", "--include-dlq", "--json")
    assert (done.code, done.json["status"], done.json["dead_letters"]) == (0, "completed", 0), done.err
    assert times(project, 2) == {"a": 2, "b": 1, "c": 1, "d": 1}
    order = [line for line in project.tally_file.read_text().splitlines() if line.endswith(" 1")]
    assert order == ["a 1", "b 1", "c 1", "d 1", "a 1"]
    assert letters(project) == {}
    assert {f"{name}.txt" for name in "abcd"} <= set(project.files("main"))
    assert_free(project)


# Kinds of failure ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ([{"result": {"is_error": True, "subtype": "error_max_turns", "result": None}}], "resource_exhausted"),
        (
            [{"result": {"is_error": True, "api_error_status": 402, "result": "Credit balance is too low"}}],
            "resource_exhausted",
        ),
        ([{"raw": "something odd"}, {"result": None}, {"exit": 0}], "unknown"),
    ],
)
def test_resource_exhausted_and_unknown_are_told_as_such(
    project: Project, steps: list[dict[str, object]], kind: str
) -> None:
    with_stand_in(project)
    (project.folder / "items.json").write_text(json.dumps([{"id": "a", "script": script(*steps)}]))
    workflow = project.workflow("""
map:
  input: cat "$SHARED/items.json"
  agent_template:
    - claude: "${item.script}"
""")
    assert project.prodigy("run", workflow).code == 3
    letter = letters(project)["a"]
    assert letter["failure_history"][0]["error_type"] == kind
    assert letter["error_signature"]
    assert letter["reprocess_eligible"]
    assert set(letters(project)) == {"a"}
    listed = project.prodigy("dlq", "list", "--kind", kind, "--json").json
    assert [record["item_id"] for record in listed] == ["a"]


# Attempt numbers -------------------------------------------------------------------------------------------


def test_attempt_numbers_count_up_whatever_starts_the_attempt(project: Project) -> None:
    """1, 2, 3, ... and never reused: by on_item_failure, dlq retry, kill -9, resume --include-dlq, interruption."""
    policy = "on_item_failure: retry\nretry_config: {max_attempts: 2, backoff: fixed, initial_delay: 0}"
    ended_with(project, "a", names="ab", policy=policy)
    assert project.prodigy("dlq", "retry", "latest").code == 3
    assert history(letters(project)["a"]) == [1, 2, 3]

    killed = project.prodigy("dlq", "retry", "latest", env={"PRODIGY_FAULT": "after:step_started#2"})
    assert killed.code == -signal.SIGKILL
    assert project.prodigy("resume", "latest").code == 3
    assert project.prodigy("resume", "latest", "--include-dlq").code == 3
    assert history(letters(project)["a"]) == [1, 2, 3, 4, 5], "a killed attempt goes on under its number"

    put(project, "hold-a")
    before = project.tally()["a 2"]
    running = project.start("dlq", "retry", "latest")
    wait_until(lambda: project.tally()["a 2"] == before + 1, "the sixth attempt is in its second step")
    interrupt(running)
    put(project, "go")
    assert project.prodigy("resume", "latest").code == 3
    assert history(letters(project)["a"]) == [1, 2, 3, 4, 5, 7], "what the user ended is no failure"

    take(project, "fail-a")
    done = project.prodigy("dlq", "retry", "latest", "--json")
    assert (done.code, done.json["dead_letters"]) == (0, 0), done.err
    assert attempts(project) == {"a": [1, 2, 3, 4, 5, 6, 7, 8], "b": [1]}
    assert_every_attempt_has_ended(project)
    assert project.files("main")["a.txt"] == WRITTEN


# Locks -----------------------------------------------------------------------------------------------------


def test_concurrent_resumes_are_blocked_and_the_next_one_is_not(project: Project) -> None:
    put(project, "hold-a")
    workflow = flow(project, items("ab"))
    kill_when(project, project.start("run", workflow, "--yes"), "a 2")
    first, second = project.start("resume", "latest"), project.start("resume", "latest")
    wait_until(lambda: first.poll() is not None or second.poll() is not None, "one of them is refused")
    loser, winner = (first, second) if first.poll() is not None else (second, first)
    _, err = loser.communicate()
    assert loser.returncode == 4, err
    assert f"process {winner.pid} on " in err.decode()
    assert winner.poll() is None
    put(project, "go")
    _, err = winner.communicate()
    assert winner.returncode == 0, err
    assert project.prodigy("resume", "latest").code == 0
    assert times(project, 1) == times(project, 2) == {"a": 1, "b": 1}
    assert_free(project)


# Recovery of an interrupted job ----------------------------------------------------------------------------


@pytest.mark.parametrize(("stop", "second_step_again"), [(interrupt, 2), (terminate, 1), (kill, 1)])
def test_an_interrupted_job_recovers(project: Project, stop: Callable[[Running], None], second_step_again: int) -> None:
    """SIGINT twice ends what runs, so it runs again; after SIGTERM and kill -9 it lives on, and its end is taken."""
    put(project, "fail-a", "hold-c")
    running = project.start("run", flow(project, items("abcd")), "--yes")
    wait_for_lines(project, "c 2")
    stop(running)
    status = project.prodigy("status", "latest", "--json").json
    assert status["status"] == "interrupted"
    assert (status["items"]["successful"], status["items"]["failed"]) == (1, 1)
    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert (done.code, done.json["status"]) == (3, "completed_with_failures"), done.err
    assert done.json["items"] == {
        "total": 4, "successful": 3, "failed": 1, "skipped": 0, "running": 0, "pending": 0,
    }  # fmt: skip
    assert times(project, 1) == {"a": 1, "b": 1, "c": 1, "d": 1}, "finished steps are never repeated"
    assert times(project, 2) == {"a": 1, "b": 1, "c": second_step_again, "d": 1}
    assert project.files("main") | {f"{name}.txt": WRITTEN for name in "bcd"} == project.files("main")
    assert set(letters(project)) == {"a"}
    assert_every_attempt_has_ended(project)
    assert_free(project)


# At scale --------------------------------------------------------------------------------------------------


def has_begun(project: Project, count: int) -> bool:
    return len(project.tally()) >= count


def stress(project: Project, count: int, kill_at: list[int]) -> None:
    """So many items, every tenth of which fails, with a kill -9 each time so many of them have begun."""
    workflow = project.workflow(f"""
map:
  input: seq -f '{{"id":"n%g"}}' 1 {count}
  max_parallel: 6
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        echo x > "$PRODIGY_ITEM_ID"
        case "$PRODIGY_ITEM_ID" in *0) test -e "$SHARED/mended" ;; esac
""")
    for number, begun in enumerate(kill_at):
        running = project.start(*(("resume", "latest") if number else ("run", workflow, "--yes")))
        wait_until(partial(has_begun, project, begun), f"{begun} items have begun", 600)
        assert running.poll() is None, "the kill came too late to mean anything"
        kill(running)
    done = project.prodigy("resume", "latest", "--json")
    failed = count // 10
    assert done.code == 3, done.err
    assert done.json["items"] == {
        "total": count, "successful": count - failed, "failed": failed, "skipped": 0, "running": 0, "pending": 0,
    }  # fmt: skip
    everything = {f"n{number}" for number in range(1, count + 1)}
    assert project.tally() == Counter(everything), "every item was executed exactly once"
    assert set(letters(project)) == {name for name in everything if name.endswith("0")}
    put(project, "mended")
    again = project.prodigy("dlq", "retry", "latest", "--json")
    assert (again.code, again.json["status"], again.json["dead_letters"]) == (0, "completed", 0), again.err
    assert everything <= set(git(project.repo, "ls-tree", "--name-only", "main").splitlines())
    assert set(project.tally().values()) == {1, 2}
    assert_every_attempt_has_ended(project)
    assert_free(project)


@pytest.mark.chaos
def test_a_hundred_items_with_failures_survive_three_kills(project: Project) -> None:
    stress(project, 100, [20, 45, 75])


@pytest.mark.chaos
def test_thousands_of_items_with_failures_survive_ten_kills(project: Project) -> None:
    stress(project, 2000, [180 * number for number in range(1, 11)])


# All of it -------------------------------------------------------------------------------------------------


def test_complete_resume_with_failures_dead_letters_duplicates_and_locking(project: Project) -> None:
    """Failures, dead letters, kill -9; five resumes at once, of which one works: it takes what is in flight, pending
    and dead, drops what is listed twice, runs each id once, updates the queue and frees the lock."""
    put(project, "fail-a", "fail-b", "hold-d")
    workflow = flow(project, items("abcdef"))
    kill_when(project, project.start("run", workflow, "--yes"), "d 2")
    assert set(letters(project)) == {"a", "b"}
    add_items(project, {"id": "e", "data": "second"}, {"id": "a", "data": "second"})
    take(project, "fail-a")
    resumes = [project.start("resume", "latest", "--include-dlq") for _ in range(5)]
    wait_until(lambda: sum(process.poll() is not None for process in resumes) == 4, "four resumes have ended")
    (winner,) = (process for process in resumes if process.poll() is None)
    for process in resumes:
        if process is not winner:
            _, err = process.communicate()
            assert process.returncode == 4, err
            assert f"process {winner.pid} on " in err.decode()
    put(project, "go")
    _, err = winner.communicate()
    assert winner.returncode == 3, err
    assert b"duplicates left out" in err

    status = project.prodigy("status", "latest", "--json").json
    assert (status["status"], status["duplicates"]) == ("completed_with_failures", 2)
    assert times(project, 2) == {"a": 2, "b": 2, "c": 1, "d": 1, "e": 1, "f": 1}
    assert any("duplicates left out" in warning for warning in warnings(project))
    left = letters(project)
    assert set(left) == {"b"}
    assert history(left["b"]) == [1, 2]
    assert {f"{name}.txt" for name in "acdef"} <= set(project.files("main"))
    assert_every_attempt_has_ended(project)
    assert_free(project)
    assert project.prodigy("resume", "latest").code == 3
    assert times(project, 2) == {"a": 2, "b": 2, "c": 1, "d": 1, "e": 1, "f": 1}
