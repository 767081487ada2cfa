"""What a step can say, in every phase: conditions, retries, checks, handlers, captures, environment, directory."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from support import Project, git


@pytest.fixture(autouse=True)
def note(project: Project) -> None:
    """A program `note WORDS` that adds a line to the tally, without quotes that get in the way in small YAML."""
    program = project.folder / "bin" / "note"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" >> "$TALLY"\n')
    program.chmod(0o755)
    project.env["PATH"] = f"{program.parent}:{os.environ['PATH']}"


ITEMS = """printf '{"id":"a","n":1}\\n{"id":"b","n":2}\\n'"""


def run(project: Project, text: str, *args: str, code: int = 0) -> Any:
    done = project.prodigy("run", project.workflow(text), "--yes", "--json", *args)
    assert done.code == code, done.err
    return done.json


def events(project: Project, event_type: str) -> list[dict[str, Any]]:
    done = project.prodigy("events", "ls", "--event-type", event_type, "--json")
    return [json.loads(line)["event"] for line in done.out.splitlines()]


# Captures ---------------------------------------------------------------------------------------------------


def test_a_step_sees_what_steps_before_it_printed_in_every_phase(project: Project) -> None:
    run(
        project,
        f"""
setup:
  - shell: echo hello; echo oops >&2
    id: greet
  - shell: "echo '{{\\"colour\\": \\"red\\", \\"sizes\\": [1, 2]}}'"
    capture: palette
    capture_format: json
map:
  input: {ITEMS}
  agent_template:
    - shell: echo $(( ${{item.n}} * 10 ))
      capture: tenfold
      capture_format: number
    - shell: echo ${{tenfold}} ${{greet}} ${{palette.colour}} ${{palette.sizes[1]}} > ${{item.id}}.txt
reduce:
  - shell: printf 'x\\ny\\n'
    capture: both
    capture_format: lines
  - shell: >
      echo ${{both[1]}} ${{greet.output}} ${{greet.stderr}} ${{greet.exit_code}} ${{greet.success}} > reduce.txt
""",
    )
    assert (project.repo / "a.txt").read_text() == "10 hello red 2\n"
    assert (project.repo / "b.txt").read_text() == "20 hello red 2\n"
    assert (project.repo / "reduce.txt").read_text() == "y hello oops 0 true\n"


def test_a_capture_can_be_true_or_false_and_take_another_stream(project: Project) -> None:
    run(
        project,
        """
- shell: echo TRUE
  capture: said
  capture_format: boolean
- shell: "true"
  capture: held
  capture_format: boolean
- shell: echo out; echo err >&2
  capture: second
  capture_streams: stderr
- shell: echo out; echo err >&2
  capture: all
  capture_streams: {stdout: true, stderr: true}
- shell: |
    echo ${said} ${held} ${second} > out.txt
    echo ${all} >> out.txt
""",
    )
    assert (project.repo / "out.txt").read_text() == "true true err\nout\nerr\n"


def test_an_output_without_its_promised_form_fails_its_step(project: Project) -> None:
    summary = run(
        project,
        """
- shell: echo not json
  capture: x
  capture_format: json
""",
        code=1,
    )
    assert "capture_format is json, but the output is not JSON" in summary["error"]


def test_captures_of_a_finished_step_survive_a_resume(project: Project) -> None:
    text = """
- shell: echo one; echo ran >> "$TALLY"
  id: first
- shell: test -e "$SHARED/go"
- shell: echo ${first} > out.txt
"""
    run(project, text, code=1)
    (project.folder / "go").touch()
    assert project.prodigy("resume", "--yes").code == 0
    assert (project.repo / "out.txt").read_text() == "one\n"
    assert project.tally() == {"ran": 1}


def test_an_output_file_is_part_of_the_result_and_never_lands_outside(project: Project) -> None:
    outside = project.folder / "outside"
    outside.mkdir()
    text = """
map:
  input: printf 'a\\nb\\n'
  agent_template:
    - shell: echo said ${item}
      output: reports/${item}/out.txt
    - shell: if [ ${item} = b ]; then ln -s "$SHARED/outside" link; fi; mkdir -p link; echo x; echo work > ${item}.txt
      output_file: link/out.txt
"""
    assert run(project, text, code=3)["items"]["failed"] == 1
    assert (project.repo / "reports/a/out.txt").read_text() == "said a\n"
    assert (project.repo / "link/out.txt").read_text() == "x\n"
    assert list(outside.iterdir()) == []
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert "`output_file` can't be written" in letter["failure_history"][0]["error_message"]
    assert "b.txt" in project.files(letter["worktree_artifacts"]["branch_name"])  # the work itself is kept


# Conditions -------------------------------------------------------------------------------------------------


def test_a_step_whose_condition_does_not_hold_is_skipped_and_its_captures_are_null(project: Project) -> None:
    summary = run(
        project,
        """
- shell: echo 3
  id: count
  capture_format: number
- shell: echo never >> "$TALLY"
  when: "${count} > 5"
  id: skipped
- shell: echo always >> "$TALLY"
  when: "${count} >= 3 && ${count.success}"
- shell: echo null >> "$TALLY"
  when: "${skipped} == null"
""",
    )
    assert project.tally() == {"always": 1, "null": 1}
    assert summary["steps_run"] == 3
    assert [event["reason"] for event in events(project, "step_skipped")] == ["${count} > 5"]


def test_a_condition_may_look_at_the_item(project: Project) -> None:
    run(
        project,
        f"""
map:
  input: {ITEMS}
  agent_template:
    - shell: echo big > ${{item.id}}.txt
      when: "${{item.n}} > 1"
    - shell: echo "${{item.id}}" >> "$TALLY"
""",
    )
    assert not (project.repo / "a.txt").exists()
    assert (project.repo / "b.txt").read_text() == "big\n"
    assert project.tally() == {"a": 1, "b": 1}


# Retries ----------------------------------------------------------------------------------------------------


def test_a_failing_step_is_tried_again_in_the_state_it_left(project: Project) -> None:
    run(
        project,
        f"""
map:
  input: {ITEMS}
  agent_template:
    - shell: echo x >> tries-${{item.id}}; test "$(wc -l < tries-${{item.id}})" -eq 3
      retry: {{attempts: 3, backoff: fixed, initial_delay: 0}}
""",
    )
    assert (project.repo / "tries-a").read_text() == "x\nx\nx\n"
    assert len(events(project, "step_retrying")) == 4


def test_a_step_that_keeps_failing_fails_its_item_after_all_attempts(project: Project) -> None:
    text = f"""
map:
  input: {ITEMS}
  agent_template:
    - shell: echo "$PRODIGY_ITEM_ID" >> "$TALLY"; exit 9
      retry: {{attempts: 2, backoff: {{custom: {{delays: [0]}}}}}}
"""
    summary = run(project, text, code=3)
    assert summary["dead_letters"] == 2
    assert project.tally() == {"a": 2, "b": 2}


def test_only_failures_that_retry_on_names_are_tried_again(project: Project) -> None:
    text = """
map:
  input: printf 'transient\\nother\\n'
  agent_template:
    - shell: echo ${item} >> "$TALLY"; echo "${item} connection" | grep transient >&2; exit 1
      retry: {attempts: 3, initial_delay: 0, retry_on: [network, {pattern: "^never"}]}
"""
    assert run(project, text, code=3)["dead_letters"] == 2
    assert project.tally() == {"transient": 3, "other": 1}


def test_a_retry_may_end_in_a_fallback_or_in_going_on(project: Project) -> None:
    run(
        project,
        """
- shell: exit 1
  retry: {attempts: 2, initial_delay: 0, on_failure: {fallback: {command: echo fallback >> "$TALLY"}}}
- shell: exit 1
  retry: {attempts: 2, initial_delay: 0, on_failure: continue}
- shell: echo end >> "$TALLY"
""",
    )
    assert project.tally() == {"fallback": 1, "end": 1}


def test_retry_defaults_hold_for_every_step_without_its_own(project: Project) -> None:
    text = """
retry_defaults: {attempts: 3, initial_delay: 0}
steps:
  - shell: echo one >> "$TALLY"; exit 1
    on_failure: true
  - shell: echo two >> "$TALLY"; exit 1
    retry: 2
    on_failure: true
"""
    run(project, text.replace("retry: 2", "retry: {attempts: 2, initial_delay: 0}"))
    assert project.tally() == {"one": 3, "two": 2}


# Handlers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        ("true", {}),
        ("note handled", {"handled": 1}),
        ("[note handled, note again]", {"handled": 1, "again": 1}),
        ("{shell: note handled}", {"handled": 1, "original": 2}),
        ("{shell: note handled, max_attempts: 3}", {"handled": 3, "original": 4}),
        ("{shell: note handled, retry_original: false}", {"handled": 1}),
        ("{commands: [{shell: exit 3, continue_on_error: true}, note handled]}", {"handled": 1}),
        ("[{shell: 'note ${error.exit_code} ${error.kind}'}]", {"7 command_failed": 1}),
    ],
)
def test_every_form_of_on_failure_recovers_its_step(project: Project, handler: str, said: dict[str, int]) -> None:
    summary = run(
        project,
        f"""
map:
  input: echo one
  agent_template:
    - shell: echo original >> "$TALLY"; exit 7
      on_failure: {handler}
    - shell: echo next >> "$TALLY"
""",
    )
    assert summary["status"] == "completed"
    assert project.tally() == {"original": 1, "next": 1, **said}


@pytest.mark.parametrize(
    "handler",
    ["false", "exit 4", "{shell: echo handled, fail_workflow: true}", "{fail_workflow: true}", "[exit 4]"],
)
def test_a_failure_stands_when_its_handler_fails_or_says_so(project: Project, handler: str) -> None:
    text = f"""
map:
  input: echo one
  agent_template:
    - shell: exit 7
      on_failure: {handler}
    - shell: echo next >> "$TALLY"
"""
    assert run(project, text, code=3)["dead_letters"] == 1
    assert project.tally() == {}


def test_a_handler_may_mend_what_is_wrong_so_that_the_step_succeeds(project: Project) -> None:
    run(
        project,
        """
- shell: test -e fixed.txt
  on_failure: {shell: echo fixed > fixed.txt, max_retries: 2, fail_workflow: true}
""",
    )
    assert (project.repo / "fixed.txt").read_text() == "fixed\n"


def test_a_bare_on_failure_in_a_list_belongs_to_the_step_before_it(project: Project) -> None:
    run(project, "- shell: exit 1\n- on_failure: note handled\n- shell: note next\n")
    assert project.tally() == {"handled": 1, "next": 1}


def test_success_and_exit_codes_have_handlers_too(project: Project) -> None:
    run(
        project,
        """
- shell: echo ok
  id: fine
  on_success: {shell: "note ${fine}"}
- shell: exit 42
  on_exit_code:
    42: note forty-two
""",
    )
    assert project.tally() == {"ok": 1, "forty-two": 1}


def test_a_finished_handler_does_not_run_again_on_resume(project: Project) -> None:
    text = """
- shell: echo step >> "$TALLY"; exit 1
  on_failure: [note handler]
- shell: test -e "$SHARED/go"
"""
    run(project, text, code=1)
    (project.folder / "go").touch()
    assert project.prodigy("resume", "--yes").code == 0
    assert project.tally() == {"step": 1, "handler": 1}


def test_work_of_a_recovered_step_outside_the_items_is_in_the_result(project: Project) -> None:
    run(
        project,
        """
- shell: echo half > half.txt; git add half.txt; git commit -qm half; exit 1
  on_failure: true
""",
    )
    assert (project.repo / "half.txt").read_text() == "half\n"


# Checks -----------------------------------------------------------------------------------------------------


def test_a_failing_check_fails_its_step(project: Project) -> None:
    text = """
map:
  input: printf 'good\\nbad\\n'
  agent_template:
    - shell: echo ${item} > ${item}.txt
      validate: test -e good.txt
"""
    assert run(project, text, code=3)["items"]["failed"] == 1
    letters = project.prodigy("dlq", "list", "--json").json
    assert letters[0]["failure_history"][0]["error_type"] == "validation_failed"


def test_the_pause_before_a_retry_is_counted_from_the_end_of_the_check(project: Project) -> None:
    """A check that takes longer than the pause must not use it up."""
    run(
        project,
        """
- shell: echo "step $(date +%s%N)" >> "$SHARED/times"
  validate: sleep 0.5; echo "check $(date +%s%N)" >> "$SHARED/times"; test "$(grep -c step "$SHARED/times")" -ge 2
  retry: {attempts: 2, backoff: fixed, initial_delay: 400ms}
""",
    )
    times = [int(line.split()[1]) for line in (project.folder / "times").read_text().splitlines()]
    assert times[2] - times[1] >= 400_000_000


def test_a_retry_runs_the_step_and_its_check_again(project: Project) -> None:
    run(
        project,
        """
- shell: echo x >> tries
  validate: test "$(wc -l < tries)" -ge 3; echo check >> "$TALLY"
  retry: {attempts: 5, backoff: fibonacci, initial_delay: 0}
""",
    )
    assert (project.repo / "tries").read_text() == "x\nx\nx\n"
    assert project.tally() == {"check": 1}


# Environment ------------------------------------------------------------------------------------------------


def test_env_and_working_dir_take_placeholders_and_arrive_as_they_are(project: Project) -> None:
    project.write("src/one dir/x", "")
    project.commit()
    run(
        project,
        """
map:
  input: printf '{"id":"a","dir":"one dir","text":"$(touch pwned) \\\\"q\\\\" `id`"}'
  agent_template:
    - shell: |
        pwd | sed 's:.*/src/::' > where.txt
        printf '%s' "$TEXT" > text.txt
      working_dir: src/${item.dir}
      env: {TEXT: "${item.text}"}
""",
    )
    assert (project.repo / "src/one dir/where.txt").read_text() == "one dir\n"
    assert (project.repo / "src/one dir/text.txt").read_text() == '$(touch pwned) "q" `id`'
    assert not (project.repo / "src/one dir/pwned").exists()


def test_a_value_cannot_lead_the_working_directory_out_of_the_worktree(project: Project) -> None:
    text = """
map:
  input: printf '"../.."\\n'
  agent_template: [{shell: touch here, working_dir: "x/${item}"}]
"""
    run(project, text, code=3)
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert "leaves the worktree" in letter["failure_history"][0]["error_message"]


def test_an_item_whose_value_does_not_fit_is_invalid_and_not_worth_a_retry(project: Project) -> None:
    text = """
map:
  input: printf '{"id":"a","n":"x"}'
  agent_template: [{shell: "echo $(( ${item.n} + 1 ))"}]
"""
    run(project, text, code=3)
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert letter["failure_history"][0]["error_type"] == "invalid_item"
    assert letter["reprocess_eligible"] is False


def test_shell_options_replace_the_dialect(project: Project) -> None:
    run(
        project,
        """
- shell: "false; note went on"
  shell_options: [-u]
- shell: echo "${nope-}" "$nothing"
  shell_options: ["-e", "-u"]
  on_failure: [note unset]
""",
    )
    assert project.tally() == {"went on": 1, "unset": 1}


def test_a_step_ends_at_its_timeout(project: Project) -> None:
    text = """
map:
  input: echo one
  agent_template: [{shell: sleep 60, timeout: 1s}]
"""
    run(project, text, code=3)
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert letter["failure_history"][0]["error_type"] == "timeout"


def test_the_variables_of_a_skipped_fan_out_are_null(project: Project) -> None:
    run(
        project,
        """
steps:
  - id: none
    when: "1 == 2"
    mapreduce: {map: {input: missing.json, agent_template: [{shell: a}]}}
  - shell: echo ${none.failed} ${map.total} > out.txt
""",
    )
    assert (project.repo / "out.txt").read_text() == "null null\n"


# Several fan-outs -------------------------------------------------------------------------------------------


def test_fan_outs_follow_each_other_and_each_sees_what_the_one_before_merged(project: Project) -> None:
    summary = run(
        project,
        """
tasks:
  - id: first
    mapreduce:
      map: {input: "printf 'a\\\\nb\\\\n'", agent_template: [{shell: "echo 1 > ${item}.txt"}]}
      reduce: [{shell: "echo ${first.successful} > count.txt"}]
  - shell: ls *.txt > seen.txt
    when: "${first.successful} == 2"
  - id: second
    mapreduce:
      map:
        input: "glob:[ab].txt"
        agent_template: [{shell: "echo ${map.total} >> ${item}"}]
      reduce: [{shell: "echo ${map.success_count} ${first.total} ${second.success_rate} > second.txt"}]
""",
    )
    assert (project.repo / "a.txt").read_text() == "1\n2\n"
    assert (project.repo / "second.txt").read_text() == "2 2 100.0\n"
    assert "count.txt" in (project.repo / "seen.txt").read_text()
    assert summary["items"]["total"] == 4
    project.assert_nothing_left()


def test_failed_items_of_two_fan_outs_keep_their_work_apart_and_can_be_retried(project: Project) -> None:
    fan_out = """
  - mapreduce:
      map:
        input: printf '{"id":"x"}'
        agent_template: [{shell: 'echo NAME > NAME.txt; test -e "$SHARED/go"'}]
"""
    text = "steps:" + fan_out.replace("NAME", "one") + fan_out.replace("NAME", "two")
    assert run(project, text, code=3)["dead_letters"] == 2
    branches = git(project.repo, "branch", "--list", "prodigy/*/items/*", "--format=%(refname:short)").split()
    assert len(branches) == 2
    kept = [set(project.files(branch)) - {"README.md", "shared.txt"} for branch in branches]
    assert sorted(map(sorted, kept)) == [["one.txt"], ["two.txt"]]
    (project.folder / "go").touch()
    assert project.prodigy("dlq", "retry", "latest", "--yes").code == 0
    assert {path.name for path in project.repo.glob("*.txt")} == {"one.txt", "two.txt", "shared.txt"}


# What is left uncommitted -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("choice", "code", "there"), [("commit", 0, True), ("discard", 0, False), ("fail", 3, False)])
def test_on_uncommitted_says_what_becomes_of_changes(project: Project, choice: str, code: int, there: bool) -> None:
    text = f"""
map:
  input: echo one
  on_uncommitted: {choice}
  agent_template: [{{shell: "echo work > left.txt"}}]
"""
    run(project, text, code=code)
    assert (project.repo / "left.txt").exists() is there
