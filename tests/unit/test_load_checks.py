"""`validate`, `on_incomplete` and `step_validate`, from YAML to the checks of a step, and what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prodigy.workflow.load import parse
from prodigy.workflow.model import Agent, Check, Shell, Step, Want
from unit.workflow_texts import problems_of


def step_of(text: str) -> Step:
    (step,) = parse(text, "w.yml").workflow.steps
    return step


def warnings_of(text: str) -> list[str]:
    return [warning.message for warning in parse(text, "w.yml").warnings]


def shell(text: str, **parts: Any) -> Step:
    return Step(action=Shell(text=text), line=1, **parts)


def agent(prompt: str, **parts: Any) -> Step:
    return Step(action=Agent(prompt=prompt), line=1, **parts)


STEP_VALIDATE = (
    "step_validate: {commands: [{command: a, expect_output: 'ok \\d+', expect_exit_code: 3},"
    " {command: b, command_type: claude}, {shell: c, expect_exit_code: 1}],"
    " success_criteria: any, max_attempts: 3, retry_delay: 2}"
)
COMMIT = Check(expect="commit")


@pytest.mark.parametrize(
    ("written", "check"),
    [
        # A text or a list has to succeed; everything else tells how complete the work is.
        ("validate: make test", Check(expect="success", run=(shell("make test"),))),
        ("validate: [make test, /look]", Check(expect="success", run=(shell("make test"), agent("/look")))),
        ("validate: {shell: a}", Check(expect="result", run=(shell("a"),))),
        ("validate: {command: ./a b}", Check(expect="result", run=(shell("./a b"),))),
        ("validate: {command: /look-at it}", Check(expect="result", run=(agent("/look-at it"),))),
        ("validate: {command: /usr/bin/true}", Check(expect="result", run=(shell("/usr/bin/true"),))),
        ("validate: {claude: /look}", Check(expect="result", run=(agent("/look"),))),
        ("validate: {commands: [a, {claude: b}]}", Check(expect="result", run=(shell("a"), agent("b")))),
        ("validate: {shell: a, threshold: 90.5}", Check(expect="result", run=(shell("a"),), threshold=90.5)),
        ("validate: {shell: a, timeout: 5m}", Check(expect="result", run=(shell("a"),), timeout_s=300)),
        (
            "validate: {shell: a, result_file: out/r.json}",
            Check(expect="result", run=(shell("a"),), result_file="out/r.json"),
        ),
        # Repairs
        (
            "validate: {shell: a, on_incomplete: b}",
            Check(expect="result", run=(shell("a"),), repair=(shell("b"),), rounds=2),
        ),
        (
            "validate: {shell: a, on_incomplete: [/fix, b]}",
            Check(expect="result", run=(shell("a"),), repair=(agent("/fix"), shell("b")), rounds=2),
        ),
        (
            "validate: {shell: a, on_incomplete: {claude: /fix, max_attempts: 5, fail_workflow: false}}",
            Check(expect="result", run=(shell("a"),), repair=(agent("/fix"),), rounds=5, lenient=True),
        ),
        (
            "validate: {shell: a, on_incomplete: {claude: /fix, commit_required: true}}",
            Check(expect="result", run=(shell("a"),), repair=(agent("/fix", checks=(COMMIT,)),), rounds=2),
        ),
        (
            "validate: {shell: a, on_incomplete: {commands: [b, /fix, c], commit_required: true}}",
            Check(
                expect="result",
                run=(shell("a"),),
                repair=(shell("b"), agent("/fix", checks=(COMMIT,)), shell("c")),
                rounds=2,
            ),
        ),
        (
            "validate: {shell: a, on_incomplete: {prompt: finish it}}",
            Check(expect="result", run=(shell("a"),), repair=(agent("finish it"),), rounds=2),
        ),
        (
            "validate: {shell: a, on_incomplete: {fail_workflow: false}}",
            Check(expect="result", run=(shell("a"),), lenient=True),
        ),
        (
            "validate: {shell: a, on_incomplete: {shell: 'echo ${validation.completion}'}}",
            Check(expect="result", run=(shell("a"),), repair=(shell("echo ${validation.completion}"),), rounds=2),
        ),
        # on_incomplete beside validate belongs to it
        (
            "validate: a, on_incomplete: {claude: /fix}",
            Check(expect="result", run=(shell("a"),), repair=(agent("/fix"),), rounds=2),
        ),
        (
            "validate: a, on_incomplete: /fix, max_iterations: 7",
            Check(expect="result", run=(shell("a"),), repair=(agent("/fix"),), rounds=7),
        ),
        # step_validate
        (
            "step_validate: a",
            Check(expect="answers", run=(shell("a"),), wants=(Want(exit_code=0),)),
        ),
        (
            "step_validate: ['shell: a', 'claude: look', /look, b]",
            Check(
                expect="answers",
                run=(shell("a"), agent("look"), agent("/look"), shell("b")),
                wants=(Want(exit_code=0),) * 4,
            ),
        ),
        (
            STEP_VALIDATE,
            Check(
                expect="answers",
                run=(shell("a"), agent("b"), shell("c")),
                wants=(Want(exit_code=3, output="ok \\d+"), Want(exit_code=0), Want(exit_code=1)),
                needed=1,
                rounds=2,
                delay_s=2,
            ),
        ),
        (
            "step_validate: {commands: [a, b, c], success_criteria: {atleast: 2}, max_attempts: 2}",
            Check(
                expect="answers",
                run=(shell("a"), shell("b"), shell("c")),
                wants=(Want(exit_code=0),) * 3,
                needed=2,
                rounds=1,
                delay_s=5,
            ),
        ),
        (
            "step_validate: {commands: [a], success_criteria: all}",
            Check(expect="answers", run=(shell("a"),), wants=(Want(exit_code=0),)),
        ),
        (
            "step_validate: a, validation_timeout: 30, ignore_validation_failure: true",
            Check(expect="answers", run=(shell("a"),), wants=(Want(exit_code=0),), timeout_s=30, lenient=True),
        ),
        (
            "validate: {shell: a, timeout: 5}, validation_timeout: 30",
            Check(expect="result", run=(shell("a"),), timeout_s=5),
        ),
    ],
)
def test_checks_in_their_forms(written: str, check: Check) -> None:
    assert step_of(f"- {{shell: x, {written}}}").checks == (check,)


def test_a_commit_is_looked_for_before_all_else() -> None:
    kinds = [
        check.expect for check in step_of("- {shell: x, validate: a, step_validate: b, commit_required: true}").checks
    ]
    assert kinds == ["commit", "success", "answers"]


@pytest.mark.parametrize(
    "written", ["{type: object, required: [a], x: [1, 2.5, null, true, 0x10, .inf, 1e999]}", '\'{"type": "object"}\'']
)
def test_an_expected_schema_is_kept_as_json(written: str) -> None:
    (check,) = step_of(f"- {{shell: x, validate: {{shell: a, expected_schema: {written}}}}}").checks
    assert check.json_schema is not None
    assert json.loads(check.json_schema)["type"] == "object"


def test_skipped_checks_are_read_and_left_out() -> None:
    text = "- {shell: x, commit_required: true, validate: a, step_validate: b, skip_validation: true}"
    assert step_of(text).checks == (COMMIT,)
    assert warnings_of(text) == ["`skip_validation` switches the checks of this step off"]
    assert problems_of("- {shell: x, validate: [], skip_validation: true}")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("validate: a, max_iterations: 3", "`max_iterations` does nothing without `on_incomplete`"),
        ("on_incomplete: b", "`on_incomplete` does nothing without `validate`"),
        ("skip_validation: true", "`skip_validation` does nothing without `validate` or `step_validate`"),
        ("validate: {command: a}", "`command` under `validate` is deprecated"),
        ("validate: {shell: a, threshold: 0.9}", "`threshold` is in percent, so this is 0.9 %"),
        (
            "validate: {shell: a, on_incomplete: {claude: b, prompt: c}}",
            "`prompt` does nothing beside what repairs",
        ),
    ],
)
def test_what_does_nothing_is_warned_of(written: str, message: str) -> None:
    assert warnings_of(f"- {{shell: x, {written}}}") == [message]


WRONG = [
    ("validate: {}", 13, "`validate` has no command"),
    ("validate: {treshold: 90, shell: a}", 14, "unknown key `treshold` under `validate`; did you mean `threshold`?"),
    ("validate: {shell: a, threshold: 101}", 35, "`threshold` must be a number from 0 to 100, got 101"),
    ("validate: {shell: a, result_file: ../r.json}", 37, "`result_file`: ../r.json leaves the worktree"),
    ("validate: {commands: [a], env: {A: b}}", 29, "`env` belongs to a step, and here the steps stand under"),
    ("validate: {shell: a, expected_schema: 5}", 41, "`expected_schema` must be a mapping, got 5"),
    ("validate: {shell: a, expected_schema: '{'}", 41, "`expected_schema` is no JSON"),
    ("validate: {shell: a, expected_schema: {type: nothing}}", 41, "`expected_schema` is no JSON Schema: $.type"),
    ("validate: {shell: 'echo ${validation.missing}'}", 27, "`${validation.missing}"),
    ("validate: {shell: a, on_incomplete: {}}", 39, "`on_incomplete` is empty"),
    ("validate: {shell: a, on_incomplete: {claud: b}}", 40, "unknown key `claud` under `on_incomplete`; did you mean"),
    ("validate: {shell: a, on_incomplete: {shell: b, max_attempts: 0}}", 64, "`max_attempts` must be a whole number"),
    ("step_validate: []", 18, "`step_validate` has no command"),
    ("step_validate: {success_criteria: all}", 18, "`step_validate` has no `commands`"),
    ("step_validate: {commands: [{command: a, expect_output: 'a('}]}", 58, "`expect_output` is no regular expression"),
    ("step_validate: {commands: [{command: a, expect_exit_code: 300}]}", 61, "must be from 0 to 255, got 300"),
    (
        "step_validate: {commands: [{command: a, command_type: bash}]}",
        57,
        "`command_type` must be one of shell, claude",
    ),
    ("step_validate: {commands: [a], success_criteria: most}", 52, "`success_criteria` must be one of all, any"),
    (
        "step_validate: {commands: [a], success_criteria: {atleast: 2}}",
        62,
        "2 commands have to hold, but there are only 1",
    ),
    ("step_validate: 'shell:   echo ${item.x}'", 18, "has no value here"),
    ("step_validate: shell:echo ${item.x}", 29, "has no value here"),
    ("step_validate: 'x: echo ${map.x}'", 27, "has no value here"),
]


@pytest.mark.parametrize(("written", "column", "message"), WRONG)
def test_a_mistake_is_told_at_its_place(written: str, column: int, message: str) -> None:
    problem = problems_of(f"- shell: a\n  {written}\n")[0]
    assert message in problem.message
    assert (problem.line, problem.column) == (2, column)


def test_both_places_of_on_incomplete_are_one_too_many() -> None:
    (problem,) = problems_of("- {shell: x, validate: {shell: a, on_incomplete: b}, on_incomplete: c}")
    assert problem.message == "`on_incomplete` stands both in this step and under its `validate`"
