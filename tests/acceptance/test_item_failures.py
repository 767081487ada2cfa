"""`on_item_failure`: dlq, retry, skip, stop, with real git and real processes, and with kill -9 in between."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest

from support import Project, git, wait_until

ITEMS = r"""printf '{"id":"good"}\n{"id":"bad"}\n{"id":"late"}\n'"""


def flow(policy: str, script: str, parallel: int = 1) -> str:
    return f"""
name: policy
{policy}
map:
  input: {json.dumps(ITEMS)}
  max_parallel: {parallel}
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"
        echo made > "$PRODIGY_ITEM_ID.txt"
    - shell: |
        echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
{"".join(f"        {line}{chr(10)}" for line in script.splitlines())}
reduce:
  - shell: echo reduce >> "$TALLY"
"""


FAILS = '[ "$PRODIGY_ITEM_ID" != bad ]'
FAILS_TWICE = FAILS + ' || [ "$(grep -c "^bad 2" "$TALLY")" -ge 3 ]'
RETRY = "on_item_failure: retry\nretry_config: {max_attempts: 3, backoff: fixed, initial_delay: 0.01}"


def attempts(project: Project, item: str) -> list[dict[str, object]]:
    """The starts of an item's attempts, from the events."""
    lines = project.prodigy("events", "ls", "latest", "--json", "--limit", "1000").out.splitlines()
    events = [json.loads(line)["event"] for line in lines]
    return [event for event in events if event["event_type"] == "agent_started" and event["item_id"] == item]


def test_dlq_parks_what_fails_and_the_rest_goes_on(project: Project) -> None:
    done = project.prodigy("run", project.workflow(flow("on_item_failure: dlq", FAILS)), "--yes", "--json")
    assert done.code == 3
    assert done.json["status"] == "completed_with_failures"
    assert done.json["items"]["failed"] == 1
    assert project.tally()["reduce"] == 1


def test_retry_runs_an_item_again_in_new_attempts_until_it_succeeds(project: Project) -> None:
    done = project.prodigy("run", project.workflow(flow(RETRY, FAILS_TWICE)), "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json["status"] == "completed"
    assert done.json["dead_letters"] == 0
    assert [event["attempt"] for event in attempts(project, "bad")] == [1, 2, 3]
    assert project.tally() == Counter({"good 1": 1, "good 2": 1, "bad 1": 3, "bad 2": 3, "late 1": 1, "late 2": 1,
                                       "reduce": 1})  # fmt: skip
    assert "bad.txt" in project.files("main")


def test_retry_lets_the_other_items_go_first(project: Project) -> None:
    assert project.prodigy("run", project.workflow(flow(RETRY, FAILS_TWICE))).code == 0
    order = [line for line in project.tally_file.read_text().splitlines() if line.endswith("1")]
    assert order == ["good 1", "bad 1", "late 1", "bad 1", "bad 1"]


def test_retry_ends_in_the_dead_letter_queue_with_every_attempt_in_its_history(project: Project) -> None:
    done = project.prodigy("run", project.workflow(flow(RETRY, FAILS)), "--json")
    assert done.code == 3, done.err
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert [failure["attempt_number"] for failure in letter["failure_history"]] == [1, 2, 3]
    assert letter["failure_count"] == 3
    again = project.prodigy("dlq", "retry", "latest", "--json")
    assert again.code == 3, again.err
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert [failure["attempt_number"] for failure in letter["failure_history"]] == [1, 2, 3, 4]


def test_a_kill_during_the_pause_before_a_retry_loses_no_try_and_gives_none_away(project: Project) -> None:
    slow = RETRY.replace("0.01", "2")
    running = project.start("run", project.workflow(flow(slow, FAILS_TWICE)), "--yes")
    wait_until(lambda: _has_event(project, "agent_retrying"), "the item waits for its second try")
    running.send_signal(signal.SIGKILL)
    running.communicate()
    status = project.prodigy("status", "latest", "--json").json
    assert status["items"]["failed"] == 1
    assert status["dead_letters"] == 0
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert [event["attempt"] for event in attempts(project, "bad")] == [1, 2, 3]
    assert project.tally()["bad 2"] == 3
    assert project.tally()["good 2"] == 1
    project.assert_nothing_left()


def _has_event(project: Project, name: str) -> bool:
    done = project.prodigy("events", "ls", "latest", "--json", "--event-type", name)
    return done.code == 0 and bool(done.out.strip())


def test_skip_leaves_the_item_out_and_the_run_is_completed(project: Project) -> None:
    done = project.prodigy("run", project.workflow(flow("on_item_failure: skip", FAILS)), "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json["status"] == "completed"
    assert done.json["items"] == {
        "total": 3, "successful": 2, "failed": 0, "skipped": 1, "running": 0, "pending": 0,
    }  # fmt: skip
    assert done.json["dead_letters"] == 0
    assert "bad.txt" not in project.files("main")
    branches = git(project.repo, "branch", "--list", "--format=%(refname:short)", "prodigy/*/items/*")
    assert project.files(branches)["bad.txt"] == "made", "the work of a skipped item is kept all the same"


@pytest.mark.parametrize("policy", ["on_item_failure: stop", "continue_on_failure: false"])
def test_stop_starts_nothing_more_and_resume_goes_on(project: Project, policy: str) -> None:
    done = project.prodigy("run", project.workflow(flow(policy, FAILS)), "--yes", "--json")
    assert done.code == 6, done.err
    assert done.json["status"] == "paused"
    assert done.json["stop_reason"] == "max_failures"
    assert done.json["merged"] is False
    assert done.json["items"] == {
        "total": 3, "successful": 1, "failed": 1, "skipped": 0, "running": 0, "pending": 1,
    }  # fmt: skip
    assert "reduce" not in project.tally()
    assert "bad" in project.prodigy("status", "latest").out + done.err
    again = project.prodigy("resume", "latest", "--json")
    assert again.code == 3, again.err
    assert again.json["items"]["successful"] == 2
    assert project.tally() == Counter({"good 1": 1, "good 2": 1, "bad 1": 1, "bad 2": 1, "late 1": 1, "late 2": 1,
                                       "reduce": 1})  # fmt: skip


def test_stop_lets_running_steps_end_and_their_items_go_on_after_resume(project: Project) -> None:
    script = (
        'case "$PRODIGY_ITEM_ID" in\n'
        '  bad) until [ -e "$SHARED/late-runs" ]; do sleep 0.05; done; exit 1 ;;\n'
        '  late) touch "$SHARED/late-runs"; until [ -e "$SHARED/paused" ]; do sleep 0.05; done ;;\n'
        "esac"
    )
    running = project.start("run", project.workflow(flow("on_item_failure: stop", script, parallel=3)), "--yes")
    wait_until(lambda: _has_event(project, "dlq_item_added"), "the failed item is parked")
    (project.folder / "paused").touch()
    running.communicate()
    assert running.returncode == 6
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 3, done.err
    assert set(project.tally().values()) == {1}
    project.assert_nothing_left()
