"""The rules that stop a map, how errors are told, and the limits on time: with real git and real processes."""

from __future__ import annotations

import json
import re
import time

from recovery_support import attempts, events, kill, letters, warnings
from support import Done, Project, wait_until


def flow(policy: str, script: str, *, parallel: int = 1, source: str = "seq 8", reduce: str = "") -> str:
    """A workflow whose items run one script; reduce leaves a line."""
    lines = "".join(f"        {line}\n" for line in script.splitlines())
    return f"""
name: policy
{policy}
map:
  input: {json.dumps(source)}
  max_parallel: {parallel}
  agent_template:
    - shell: |
        echo ${{item}} >> "$TALLY"
{lines}
reduce:
  - shell: echo reduce >> "$TALLY"
{reduce}"""


def told(done: Done) -> list[str]:
    """The lines of progress, without their times."""
    return [re.sub(r"^[\d:]+ \[ *\d+\.\ds\] ", "", line) for line in done.err.splitlines()]


# Rules that stop -------------------------------------------------------------------------------------------


def test_max_failures_stops_the_map_and_a_resume_counts_anew(project: Project) -> None:
    script = "test ${item} -gt 4"
    done = project.prodigy("run", project.workflow(flow("max_failures: 2", script)), "--yes", "--json")
    assert done.code == 6, done.err
    assert done.json["status"] == "paused"
    assert done.json["stop_reason"] == "max_failures"
    assert "2 items have failed, and max_failures is 2" in done.json["error"]
    assert done.json["items"]["failed"] == 2
    assert done.json["items"]["pending"] == 6
    assert any(line.startswith("warning: nothing more starts: 2 items have failed") for line in told(done))
    shown = project.prodigy("status", "latest")
    assert "stopped: 2 items have failed, and max_failures is 2" in shown.out
    assert "paused (max_failures)" in project.prodigy("status").out
    status = project.prodigy("status", "latest", "--json").json
    assert (status["stop_reason"], status["error"]) == ("max_failures", done.json["error"])
    again = project.prodigy("resume", "latest", "--json")
    assert again.code == 6, again.err
    assert again.json["items"]["failed"] == 4
    last = project.prodigy("resume", "latest", "--json")
    assert last.code == 3, last.err
    assert last.json["items"]["successful"] == 4
    assert last.json["stop_reason"] is None
    tally = project.tally()
    assert tally.pop("reduce") == 1
    assert set(tally.values()) == {1}, "no item ran twice"
    project.assert_nothing_left()


def test_failure_threshold_stops_the_map_once_too_large_a_part_has_failed(project: Project) -> None:
    policy = "error_policy: {failure_threshold: 0.4}"
    done = project.prodigy("run", project.workflow(flow(policy, "test ${item} -lt 3")), "--json")
    assert done.code == 6, done.err
    assert done.json["stop_reason"] == "failure_threshold"
    assert "2 of 4 items that ended have failed" in done.json["error"]
    assert done.json["items"]["pending"] == 4
    assert "reduce" not in project.tally()


def test_failures_before_a_crash_count_after_it(project: Project) -> None:
    script = 'if [ ${item} = 2 ]; then touch "$SHARED/second"; sleep 2; fi\nfalse'
    running = project.start("run", project.workflow(flow("max_failures: 2", script)))
    wait_until((project.folder / "second").exists, "the second item runs")
    kill(running)
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 6, done.err
    assert done.json["stop_reason"] == "max_failures"
    assert done.json["items"]["failed"] == 2
    assert project.tally() == {"1": 1, "2": 1}


# The circuit breaker ---------------------------------------------------------------------------------------


def breaker(failures: int, timeout: str, probes: int = 1, successes: int = 1) -> str:
    return (
        f"circuit_breaker: {{failure_threshold: {failures}, timeout: {timeout}, half_open_requests: {probes},"
        f" success_threshold: {successes}}}"
    )


def test_the_breaker_rests_the_map_tries_a_few_and_goes_on(project: Project) -> None:
    script = "test ${item} -gt 3"
    text = flow(breaker(3, "1s", probes=1, successes=2), script, parallel=3)
    done = project.prodigy("run", project.workflow(text), "--json")
    assert done.code == 3, done.err
    assert done.json["status"] == "completed_with_failures"
    assert done.json["items"]["failed"] == 3
    journal = events(project, "agent_started", "agent_completed", "breaker_opened", "breaker_closed")
    kinds = [event["event_type"] for event in journal]
    opened, closed = kinds.index("breaker_opened"), kinds.index("breaker_closed")
    tried: list[int] = []
    for event in journal[opened + 1 : closed]:
        if event["event_type"] == "agent_started":
            assert not tried, "one at a time, until it closes"
            tried.append(event["ordinal"])
        elif event["ordinal"] in tried:
            tried.remove(event["ordinal"])
    assert kinds[opened + 1 : closed].count("agent_started") == 2
    assert "3 attempts failed one after another: nothing starts for 1 s" in told(done)
    assert "what was tried after the pause succeeded: going on as before" in told(done)
    assert done.json["duration_s"] >= 1


def test_a_breaker_behind_which_nothing_succeeds_stops_the_map_and_outlives_a_crash(project: Project) -> None:
    text = flow(breaker(2, "2s"), "false")
    running = project.start("run", project.workflow(text))
    wait_until(lambda: project.tally().total() == 2 and len(letters_now(project)) == 2, "the breaker is open")
    kill(running)
    began = time.monotonic()
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 6, done.err
    assert time.monotonic() - began > 4, "it rests again, and for what was left of its first rest"
    assert done.json["stop_reason"] == "breaker"
    assert "nothing succeeds" in done.json["error"]
    assert done.json["items"]["failed"] == 5, "two that opened it, and one behind each of three pauses"


def letters_now(project: Project) -> list[object]:
    done = project.prodigy("dlq", "list", "latest", "--json")
    return list(done.json) if done.code == 0 else []


# Telling errors --------------------------------------------------------------------------------------------


def test_errors_are_told_at_the_end_in_batches_or_at_once(project: Project) -> None:
    script = 'echo "no ${item}" >&2; exit ${item}'
    lines = {}
    for mode in ("aggregate", "immediate", "batched:2"):
        text = flow(f"error_collection: {mode}", script, source="seq 3")
        done = project.prodigy("run", project.workflow(text), "--no-merge")
        assert done.code == 3, done.err
        lines[mode] = [line for line in told(done) if line.startswith(("FAILED", "start", " ")) or "failed:" in line]
    starts = ["start  1", "start  2", "start  3"]
    fails = [f"FAILED {number}" for number in (1, 2, 3)]
    errors = [f"exited with code {number}: no {number}" for number in (1, 2, 3)]

    def at(mode: str, text: str) -> int:
        return next(number for number, line in enumerate(lines[mode]) if line.startswith(text))

    assert [line for line in lines["immediate"] if "FAILED" in line] == [
        f"{fail}: {error}  [{number}/3]"
        for number, (fail, error) in enumerate(zip(fails, errors, strict=True), 1)
    ]  # fmt: skip
    assert not any("items failed:" in line for line in lines["immediate"])
    assert [line for line in lines["aggregate"] if "FAILED" in line] == [
        f"{fail}  [{number}/3]" for number, fail in enumerate(fails, 1)
    ]
    assert lines["aggregate"][-2:] == ["3 items failed:", f"  1, 2, 3: errors such as {errors[0]}"]
    assert at("batched:2", starts[1]) < at("batched:2", "2 items failed:") < at("batched:2", starts[2])
    assert lines["batched:2"][-2:] == ["1 item failed:", f"  3: {errors[2]}"]


# Limits on time --------------------------------------------------------------------------------------------


LIMITED = """
name: limited
map:
  input: "printf 'a\\nb\\n'"
  max_parallel: 2
  {limits}
  agent_template:
    - shell: echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"; sleep 0.7
    - shell: |
        echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
        if [ ${{item}} = b ]; then sleep 30; fi
      retry: 3
      on_failure: {{shell: 'echo handled >> "$TALLY"'}}
    - shell: echo "$PRODIGY_ITEM_ID 3" >> "$TALLY"
reduce:
  - shell: echo reduce >> "$TALLY"
"""


def test_the_steps_of_an_item_share_its_time(project: Project) -> None:
    text = LIMITED.format(limits="agent_timeout_secs: 4")
    done = project.prodigy("run", project.workflow(text), "--json")
    assert done.code == 3, done.err
    (letter,) = letters(project).values()
    (failure,) = letter["failure_history"]
    assert letter["item_data"] == "b"
    assert failure["error_message"] == "the item ran longer than 4 s (agent_timeout_secs)"
    tally = project.tally()
    assert tally["handled"] == 0, "what is out of time is not tried again, nor handled"
    assert sum(count for line, count in tally.items() if line.endswith(" 2")) == 2
    assert tally["reduce"] == 1
    project.assert_nothing_left()


def test_what_an_item_has_used_is_used_after_a_crash_too(project: Project) -> None:
    text = LIMITED.format(limits="timeout_config: {agent_timeout_secs: 4, timeout_action: Fail}")
    text = text.replace("printf 'a\\nb\\n'", "printf 'b\\n'")
    running = project.start("run", project.workflow(text))
    wait_until(lambda: project.tally().total() == 2, "the second step runs")
    kill(running)
    steps = project.home / "runs" / project.run_id() / "steps"
    wait_until(lambda: len(list(steps.rglob("exit"))) == 3, "the second step's own watcher ends it")
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 6, done.err
    assert project.tally().total() == 2, "it did not have the whole time again"
    assert done.json["stop_reason"] == "max_failures"
    assert "timeout_action is fail: the item ran longer than 4 s" in done.json["error"]
    assert [list(numbers) for numbers in attempts(project).values()] == [[1]]
    assert "reduce" not in project.tally()
    assert project.prodigy("resume", "latest").code == 3
    assert project.tally()["reduce"] == 1


def test_single_steps_have_limits_by_kind_and_by_place_and_an_item_may_be_left_out(project: Project) -> None:
    limits = "timeout_config: {command_timeouts: {shell: 20, cmd_1: 0.5}, timeout_action: skip}"
    text = "".join(line for line in LIMITED.splitlines(keepends=True) if "retry:" not in line and "handled" not in line)
    done = project.prodigy("run", project.workflow(text.format(limits=limits)), "--json")
    assert done.code == 0, done.err
    assert done.json["items"]["skipped"] == 1
    assert done.json["items"]["successful"] == 1
    skipped = events(project, "agent_skipped", "agent_failed")
    assert [event.get("reason", event.get("error")) for event in skipped] == [
        "the step ran longer than 0.5 s (timeout_config)",
        "timeout_action is skip",
    ]


def test_setup_has_a_limit_for_all_its_steps_and_can_be_given_more(project: Project) -> None:
    text = """
name: phases
setup:
  timeout: 4
  commands:
    - shell: sleep 1
    - shell: echo second >> "$TALLY"; sleep 3.5
map:
  input: seq 1
  agent_template: [{shell: echo "item" >> "$TALLY"}]
"""
    done = project.prodigy("run", project.workflow(text), "--json")
    assert done.code == 1, done.err
    assert "the steps of setup ran longer than 4 s together (its `timeout`)" in done.json["error"]
    assert "item" not in project.tally()
    larger = project.workflow(text.replace("timeout: 4", "timeout: 1m"))
    again = project.prodigy("resume", "latest", "--workflow", larger, "--json")
    assert again.code == 0, again.err
    assert project.tally() == {"second": 2, "item": 1}
    assert not [line for line in warnings(project) if "timeout" in line]
