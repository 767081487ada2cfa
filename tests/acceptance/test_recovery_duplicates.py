"""Items that are listed twice: what the gap report asks of a resume, each on a real run.

Our database holds an id once for each fan-out, so sources that overlap are made by hand, as a damaged or foreign
database could have them: `add_items` drops that constraint and adds pending rows with ids that are there already.
"""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from recovery_support import (
    add_items,
    assert_every_attempt_has_ended,
    assert_free,
    attempts,
    events,
    flow,
    history,
    item_states,
    items,
    kill_when,
    letters,
    put,
    take,
    times,
    warnings,
)
from support import Done, Project

# An item that failed waits for its second try for longer than any test takes.
RETRY_LATE = "on_item_failure: retry\nretry_config: {max_attempts: 2, backoff: fixed, initial_delay: 600}"


pytestmark = pytest.mark.usefixtures("let_go")


def assert_told(project: Project, done: Done, count: int) -> None:
    """The warning on stderr, the summary, the event and the warning in the journal agree on how many were left out."""
    left_out = events(project, "items_deduplicated")
    assert sum(len(event["ordinals"]) for event in left_out) == count
    (planned,) = events(project, "items_planned")
    assert done.json["duplicates"] == planned["duplicates"] + count
    told = [warning for warning in warnings(project) if "duplicate" in warning]
    assert len(told) == len(left_out)
    assert sum(int(warning.rpartition(" ")[2]) for warning in told) == count
    for warning in told:
        assert warning in done.err


def assert_all_succeeded(done: Done, count: int) -> None:
    """So many ids, and nothing is left; what was left out may be counted as skipped."""
    parts = done.json["items"]
    assert (parts["successful"], parts["failed"], parts["running"], parts["pending"]) == (count, 0, 0, 0)
    assert parts["total"] == count + parts["skipped"]


def data_of(project: Project, item: str) -> Counter[str]:
    """How often a step saw which data of an item."""
    start = f"{item} data "
    return Counter({line.removeprefix(start): n for line, n in project.tally().items() if line.startswith(start)})


# Overlapping sources ---------------------------------------------------------------------------------------


def test_resume_with_overlapping_sources_deduplicates(project: Project) -> None:
    """Two items are pending twice."""
    put(project, "hold-a")
    kill_when(project, project.start("run", flow(project, items("abcd")), "--yes"), "a 2")
    add_items(project, {"id": "c", "data": "second"}, {"id": "b", "data": "second"})
    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert (done.code, done.json["status"]) == (0, "completed"), done.err
    assert times(project, 1) == times(project, 2) == {"a": 1, "b": 1, "c": 1, "d": 1}
    assert data_of(project, "b") == data_of(project, "c") == {"first": 1}, "the first of two equal sources counts"
    assert_all_succeeded(done, 4)
    assert_told(project, done, 2)
    assert_every_attempt_has_ended(project)
    assert_free(project)


def test_what_is_in_flight_takes_precedence_over_what_is_pending(project: Project) -> None:
    put(project, "hold-a")
    kill_when(project, project.start("run", flow(project, items("ab")), "--yes"), "a 2")
    add_items(project, {"id": "a", "data": "second"})
    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert times(project, 1) == times(project, 2) == {"a": 1, "b": 1}
    assert data_of(project, "a") == {"first": 1}
    assert_told(project, done, 1)
    assert_free(project)


def test_pending_takes_precedence_over_failed_with_different_data(project: Project) -> None:
    """An item that failed and waits for its second try is pending as well, with other data: that is what counts."""
    put(project, "fail-a", "hold-b")
    kill_when(project, project.start("run", flow(project, items("abc"), RETRY_LATE), "--yes"), "b 2")
    assert item_states(project)[0] == ("a", "failed")
    add_items(project, {"id": "a", "data": "second"})
    take(project, "fail-a")
    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert (done.code, done.json["status"]) == (0, "completed"), done.err
    assert times(project, 2) == {"a": 2, "b": 1, "c": 1}
    assert data_of(project, "a") == {"first": 1, "second": 1}
    assert item_states(project) == [
        ("a", "skipped"), ("b", "succeeded"), ("c", "succeeded"), ("a", "succeeded"),
    ]  # fmt: skip
    assert_told(project, done, 1)
    assert_every_attempt_has_ended(project)
    assert_free(project)


def test_pending_takes_precedence_over_a_dead_letter_with_different_data(project: Project) -> None:
    put(project, "fail-a", "hold-b")
    kill_when(project, project.start("run", flow(project, items("abc")), "--yes"), "b 2")
    assert item_states(project)[0] == ("a", "dead")
    add_items(project, {"id": "a", "data": "second"})
    take(project, "fail-a")
    put(project, "go")
    done = project.prodigy("resume", "latest", "--include-dlq", "--json")
    assert times(project, 2) == {"a": 2, "b": 1, "c": 1}, done.err
    assert data_of(project, "a") == {"first": 1, "second": 1}
    assert item_states(project)[3] == ("a", "succeeded")
    assert_told(project, done, 1)
    assert (done.code, done.json["status"], done.json["dead_letters"]) == (0, "completed", 0), done.err
    assert letters(project) == {}, "the item has succeeded, whichever row it was"
    assert_every_attempt_has_ended(project)
    assert_free(project)


def test_each_item_id_is_executed_exactly_once_by_a_resume(project: Project) -> None:
    """One item is dead, one failed, one in flight, one pending, and each is pending a second time."""
    retry_b = f"{RETRY_LATE[:-1]}, retry_on: [luck with b]}}"
    put(project, "fail-a", "fail-b", "hold-c")
    kill_when(project, project.start("run", flow(project, items("abcd"), retry_b), "--yes"), "c 2")
    assert [state for _, state in item_states(project)] == ["dead", "failed", "running", "pending"]
    add_items(project, *({"id": name, "data": "second"} for name in "dcba"))
    before = project.tally()
    take(project, "fail-a", "fail-b")
    put(project, "go")
    done = project.prodigy("resume", "latest", "--include-dlq", "--json")
    assert project.tally() - before == Counter(
        {"d 1": 1, "d 2": 1, "d data first": 1, "a 1": 1, "a 2": 1, "a data second": 1, "b 1": 1, "b 2": 1,
         "b data second": 1}
    ), done.err  # fmt: skip
    assert data_of(project, "c") == {"first": 1}
    assert attempts(project) == {"a": [1, 1], "b": [1, 1], "c": [1], "d": [1]}
    assert_told(project, done, 4)
    assert done.code == 0, done.err
    assert_all_succeeded(done, 4)
    assert_every_attempt_has_ended(project)
    assert_free(project)


def test_an_id_that_has_succeeded_is_not_run_again_because_it_is_pending_too(project: Project) -> None:
    """Nothing paid is paid twice."""
    put(project, "hold-b")
    kill_when(project, project.start("run", flow(project, items("ab")), "--yes"), "b 2")
    assert item_states(project)[0] == ("a", "succeeded")
    add_items(project, {"id": "a", "data": "second"})
    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert times(project, 1) == {"a": 1, "b": 1}
    assert_told(project, done, 1)
    assert_free(project)


def test_duplicates_are_told_once_and_not_by_every_resume(project: Project) -> None:
    put(project, "hold-a")
    kill_when(project, project.start("run", flow(project, items("ab")), "--yes"), "a 2")
    add_items(project, {"id": "b", "data": "second"})
    put(project, "go")
    killed = project.prodigy("resume", "latest", env={"PRODIGY_FAULT": "after:items_deduplicated"})
    assert killed.code == -signal.SIGKILL
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert done.json["duplicates"] == 1
    assert_all_succeeded(done, 2)
    assert len(events(project, "items_deduplicated")) == 1
    assert len(warnings(project)) == 1, "the warning is in the journal though the process was killed before it spoke"
    assert times(project, 1) == {"a": 1, "b": 1}
    again = project.prodigy("resume", "latest", "--json")
    assert (again.code, again.json["duplicates"]) == (0, 1)


# Dead and pending ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["after:dlq_items_reprocessed", "after:agent_started#1"])
def test_an_item_that_is_dead_and_pending_is_run_once_and_counted_once(project: Project, fault: str) -> None:
    """A `dlq retry` that was killed leaves items pending whose dead letters are still in the queue."""
    put(project, "fail-a", "fail-b")
    assert project.prodigy("run", flow(project, items("abc")), "--yes").code == 3
    assert project.prodigy("dlq", "retry", "latest", env={"PRODIGY_FAULT": fault}).code == -signal.SIGKILL
    waiting = letters(project)
    assert set(waiting) == {"a", "b"}
    assert waiting["b"]["state"] in ("pending", "running")
    take(project, "fail-a")
    done = project.prodigy("resume", "latest", "--include-dlq", "--json")
    assert done.code == 3, done.err
    assert times(project, 2) == {"a": 2, "b": 2, "c": 1}
    assert done.json["items"] == {
        "total": 3, "successful": 2, "failed": 1, "skipped": 0, "running": 0, "pending": 0,
    }  # fmt: skip
    assert (done.json["duplicates"], done.json["dead_letters"]) == (0, 1)
    assert history(letters(project)["b"]) == [1, 2]
    assert events(project, "items_deduplicated") == []
    assert_every_attempt_has_ended(project)
    assert_free(project)


# Duplicates in the input -----------------------------------------------------------------------------------


def test_equal_rows_of_the_input_are_dropped_counted_and_warned_of(project: Project) -> None:
    (project.folder / "rows").write_text("x\ny\nx\nz\nx\n")
    workflow = project.workflow("""
map:
  input: cat "$SHARED/rows"
  agent_template:
    - shell: |
        echo ${item} >> "$TALLY"
        test ${item} != y
""")
    done = project.prodigy("run", workflow, "--json")
    assert done.code == 3, done.err
    assert project.tally() == Counter("xyz")
    assert (done.json["items"]["total"], done.json["duplicates"]) == (3, 2)
    (planned,) = events(project, "items_planned")
    assert (planned["total"], planned["duplicates"]) == (3, 2)
    (warning,) = warnings(project)
    assert warning == "2 of the items equal an earlier one and were dropped: item 3, 5"
    assert warning in done.err
    status = project.prodigy("status", "latest", "--json").json
    assert status["duplicates"] == 2
    again = project.prodigy("resume", "latest", "--include-dlq", "--json")
    assert (again.code, again.json["duplicates"]) == (3, 2), "a resume counts nothing twice"
    assert project.tally() == Counter({"x": 1, "y": 2, "z": 1})


def test_two_different_items_with_one_id_both_run_and_are_told_apart(project: Project) -> None:
    (project.folder / "rows").write_text(
        '{"id":"same","data":"one"}\n{"id":"same","data":"two"}\n{"id":"same","data":"one"}\n'
    )
    workflow = project.workflow("""
map:
  input: cat "$SHARED/rows"
  max_parallel: 1
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID "${item.data} >> "$TALLY"
        echo ${item.data} > "$PRODIGY_ITEM_ID.txt"
""")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert done.code == 0, done.err
    assert project.tally() == Counter({"same one": 1, "same~2 two": 1})
    assert (done.json["items"]["successful"], done.json["duplicates"]) == (2, 1)
    assert "1 of the items share their id with a different one and got a suffix: same~2" in done.err
    assert len(warnings(project)) == 2
    files = project.files("main")
    assert (files["same.txt"], files["same~2.txt"]) == ("one", "two")


def test_a_duplicate_in_the_input_and_one_in_the_database_are_added_up(project: Project) -> None:
    put(project, "hold-a")
    twice = [*items("ab"), *items("b")]
    kill_when(project, project.start("run", flow(project, twice), "--yes"), "a 2")
    add_items(project, {"id": "b", "data": "second"})
    put(project, "go")
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert done.json["duplicates"] == 2
    assert times(project, 2) == {"a": 1, "b": 1}
    (planned,), (left_out,) = events(project, "items_planned"), events(project, "items_deduplicated")
    assert (planned["duplicates"], left_out["ordinals"]) == (1, [3])
