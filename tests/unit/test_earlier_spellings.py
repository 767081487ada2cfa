"""Spellings of the earlier system that mean the same as a newer one."""

from __future__ import annotations

import pytest

from prodigy.errors import WorkflowError
from prodigy.workflow.load import parse
from prodigy.workflow.model import Workflow


def workflow(text: str) -> Workflow:
    return parse(text, "w.yml").workflow


MAP = "map: {{input: ls, agent_template: [{{shell: a}}], {}}}"
STEP = "- {{shell: a, {}}}"
PARAMETER = 'parameters: {{required: [{{name: p, default: a, validation: "matches({})"}}]}}\nsteps: [{{shell: a}}]'
SAME = [
    (MAP.format("timeout_per_agent: 600s"), MAP.format("agent_timeout_secs: 600")),
    ("{mode: standard, steps: [{shell: a}]}", "steps: [{shell: a}]"),
    (STEP.format("max_attempts: 3"), STEP.format("retry: 3")),
    (STEP.format("retry_config: {attempts: 2, backoff: fixed}"), STEP.format("retry: {attempts: 2, backoff: fixed}")),
    (STEP.format("capture: x, capture_format: text"), STEP.format("capture: x")),
    (STEP.format("capture: x, capture_streams: 'stdout, exit_code'"), STEP.format("capture: x")),
    (
        STEP.format("capture: x, capture_streams: 'stdout,stderr,success'"),
        STEP.format("capture: x, capture_streams: both"),
    ),
    (STEP.format("capture: shell.output"), STEP.format("name: ~").replace(", name: ~", "")),
    (STEP.format("context: {file: x}, options: {fix: true}, args: [a]"), "- {shell: a}"),
    (
        "templates: {t: [{shell: a}]}\nsteps: [{template: t}]",
        "templates: {t: [{shell: a}]}\nsteps: [{use: t}]",
    ),
    (
        STEP.format("on_failure: {shell: b, claude: /c, max_attempts: 2}"),
        STEP.format("on_failure: {commands: [{shell: b}, {claude: /c}], max_attempts: 2}"),
    ),
    (
        STEP.format("on_success: {claude: /c, shell: b, timeout: 5}"),
        STEP.format("on_success: [{claude: /c, timeout: 5}, {shell: b, timeout: 5}]"),
    ),
    (PARAMETER.format("'^a'"), PARAMETER.format("value, '^a'")),
]


@pytest.mark.parametrize(("earlier", "newer"), SAME)
def test_it_means_the_same(earlier: str, newer: str) -> None:
    assert workflow(earlier) == workflow(newer)


def test_a_condition_may_stand_in_one_placeholder() -> None:
    text = "- {shell: a, id: s-1}\n- {shell: b, when: '%s'}"
    both = [workflow(text % when).steps[1].when for when in ("${s-1.exit_code == 0 && s-1.success}", "${s-1.success}")]
    assert both == ["${s-1.exit_code == 0 && s-1.success}", "${s-1.success}"]
    with pytest.raises(WorkflowError, match=r"w\.yml:2:\d+: `when` can't be read"):
        workflow(text % "${s-1.exit_code == 0 &&}")


@pytest.mark.parametrize(
    ("name", "is_harmless"),
    [("GIT_BRANCH", True), ("GIT_AUTHOR_NAME", True), ("NODE_ENV", True), ("GIT_SSH_COMMAND", False),
     ("GIT_CONFIG_COUNT", False), ("GIT_BRANCHES", False), ("NODE_OPTIONS", False)],
)  # fmt: skip
def test_variables_that_no_program_runs_may_hold_data(name: str, is_harmless: bool) -> None:
    text = f"env: {{{name}: {{command: git branch --show-current}}}}\nsteps: [{{shell: a}}]"
    if is_harmless:
        assert workflow(text)
        return
    with pytest.raises(WorkflowError, match="makes programs run code"):
        workflow(text)
