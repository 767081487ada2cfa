"""The keys of a step, from YAML to the six parts of the model, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from prodigy.workflow.agent_settings import AgentSettings
from prodigy.workflow.capture_values import Capture
from prodigy.workflow.failures import Retry
from prodigy.workflow.load import parse
from prodigy.workflow.model import Agent, Check, Handler, MapReduce, Policy, Shell, Step, Workspace
from unit.workflow_texts import TEMPLATE, problems_of


def step_of(text: str) -> Step:
    (step,) = parse(text, "w.yml").workflow.steps
    return step


def shell(text: str, line: int = 1, **parts: Any) -> Step:
    return Step(action=Shell(text=text), line=line, **parts)


@pytest.mark.parametrize(
    ("written", "retry"),
    [
        ("3", Retry(attempts=3)),
        ("{}", Retry()),
        ("{max_attempts: 2}", Retry(attempts=2)),
        ("{backoff: fixed, initial_delay: 2s}", Retry(backoff="fixed", initial_delay_s=2)),
        ("{backoff: {linear: {increment: 500ms}}}", Retry(backoff="linear", increment_s=0.5)),
        ("{backoff: {exponential: {base: 3}}, max_delay: 1m}", Retry(base=3, max_delay_s=60)),
        ("{backoff: {exponential: }}", Retry()),
        ("{backoff: {custom: {delays: [1s, 5s]}}}", Retry(backoff="custom", delays_s=(1, 5))),
        ("{jitter: true}", Retry(jitter=0.3)),
        ("{jitter: true, jitter_factor: 0.5, retry_budget: 5m}", Retry(jitter=0.5, budget_s=300)),
        ("{jitter: false, jitter_factor: 0.5}", Retry()),
        ("{initial_delay: 60s}", Retry(initial_delay_s=60, max_delay_s=60)),
        (
            "{backoff: {custom: {delays: [{secs: 1, nanos: 500000000}]}}}",
            Retry(backoff="custom", delays_s=(1.5,)),
        ),
        (
            "{retry_on: [Network, command_failed, {pattern: 'a.*b'}, 'x|y']}",
            Retry(retry_on=("network", "command_failed", "re:a.*b", "re:x|y")),
        ),
    ],
)
def test_retry_in_its_forms(written: str, retry: Retry) -> None:
    assert step_of(f"- {{shell: a, retry: {written}}}").policy == Policy(retry=retry)


@pytest.mark.parametrize(
    ("written", "handlers"),
    [
        ("on_failure: true", (Handler(on="failure"),)),
        ("on_failure: false", ()),
        ("allow_failure: true", (Handler(on="failure"),)),
        ("on_failure: b c", (Handler(on="failure", do=(shell("b c"),)),)),
        ("on_failure: {shell: b}", (Handler(on="failure", do=(shell("b"),), again=1),)),
        ("on_failure: {shell: b, max_attempts: 3}", (Handler(on="failure", do=(shell("b"),), again=3),)),
        ("on_failure: {shell: b, max_retries: 0}", (Handler(on="failure", do=(shell("b"),)),)),
        ("on_failure: {fail_workflow: true}", (Handler(on="failure", fatal=True),)),
        ("on_failure: {commands: [b], fail_workflow: true}", (Handler(on="failure", do=(shell("b"),), fatal=True),)),
        ("on_failure: {commands: [b], strategy: cleanup}", (Handler(on="failure", do=(shell("b"),)),)),
        ("on_success: {shell: b}", (Handler(on="success", do=(shell("b"),)),)),
        ("on_exit_code: {7: b, 0: c}", (Handler(on=7, do=(shell("b"),)), Handler(on=0, do=(shell("c"),)))),
        (
            "on_failure: /fix it",
            (Handler(on="failure", do=(Step(action=Agent(prompt="/fix it"), line=1),)),),
        ),
    ],
)
def test_handlers_in_their_forms(written: str, handlers: tuple[Handler, ...]) -> None:
    assert step_of(f"- {{shell: a, {written}}}").handlers == handlers


@pytest.mark.parametrize(
    ("written", "capture"),
    [
        ("id: x", Capture(names=("x",))),
        ("capture: x", Capture(names=("x",))),
        ("capture_output: x", Capture(names=("x",))),
        ("capture_output: true", None),
        ("id: x, capture: y", Capture(names=("x", "y"))),
        ("id: x, capture_format: json, capture_streams: both", Capture(names=("x",), format="json", stream="both")),
        ("id: x, capture_streams: {stdout: false}", Capture(names=("x",), stream="none")),
        ("id: x, capture_streams: {stderr: true, exit_code: true}", Capture(names=("x",), stream="both")),
    ],
)
def test_captures_in_their_forms(written: str, capture: Capture | None) -> None:
    assert step_of(f"- {{shell: a, {written}}}").capture == capture


def test_a_time_may_be_a_number_in_quotes() -> None:
    assert step_of("- {shell: a, timeout: '30'}").policy == Policy(timeout_s=30.0)


def test_other_keys_of_a_step() -> None:
    step = step_of(
        "- {shell: a, when: '${x} > 1', env: {A: b, N: 5, E: ''}, cwd: sub, idle_timeout: 5m, description: d,"
        " validate: check, shell_options: [-e, -o pipefail]}"
    )
    assert step.when == "${x} > 1"
    assert step.policy == Policy(env=(("A", "b"), ("N", "5"), ("E", "")), working_dir="sub", idle_timeout_s=300.0)
    assert step.checks == (Check(expect="success", run=(shell("check"),)),)
    assert step.action == Shell(text="a", options=("-e", "-o", "pipefail"))


def test_agents_in_their_forms() -> None:
    prompts = [
        step.action.prompt
        for step in parse(
            "[/fix this, fix that, {claude: '/do ${run.id}'}, {agent: {use: claude, prompt: p}}, {agent: {prompt: q}}]",
            "w.yml",
        ).workflow.steps
        if isinstance(step.action, Agent)
    ]
    assert prompts == ["/fix this", "/fix that", "/do ${run.id}", "p", "q"]


def test_the_earlier_systems_test_step_is_a_shell_step_with_a_handler() -> None:
    loaded = parse("- test: {command: make test, on_failure: {claude: /fix}}", "w.yml")
    fix = Step(action=Agent(prompt="/fix"), checks=(Check(expect="commit"),), line=1)
    assert loaded.workflow.steps == (shell("make test", handlers=(Handler(on="failure", do=(fix,), again=3),)),)
    assert [warning.message for warning in loaded.warnings] == ["`test` is deprecated"]


def test_what_a_workflow_says_once_holds_for_all_its_steps() -> None:
    text = f"""\
retry_defaults: {{attempts: 2}}
shell_options: [-u]
on_uncommitted: fail
settings: {{parallel_worktrees: 3, continue_on_error: true}}
workspace: {{include: [.env], keep_ignored: node_modules/, setup: [{{shell: s}}]}}
map: {{input: x.json, {TEMPLATE}}}
"""
    workflow = parse(text, "w.yml").workflow
    action = workflow.steps[0].action
    assert isinstance(action, MapReduce)
    assert (action.max_parallel, action.on_uncommitted) == (3, "fail")
    assert action.template[0].policy.retry == Retry(attempts=2)
    assert action.template[0].action == Shell(text="a", options=("-u",))
    setup = Step(action=Shell(text="s", options=("-u",)), phase="setup", line=5, policy=Policy(retry=Retry(attempts=2)))
    assert workflow.workspace == Workspace(include=(".env",), setup=(setup,), keep_ignored=("node_modules",))


WRONG = [
    ("retry: [3]", 10, "`retry` must be a number of attempts or a mapping, got a list"),
    ("retry: {attempts: 0}", 21, "`attempts` must be a whole number of at least 1, got 0"),
    ("retry: {backoff: exponental}", 20, "`backoff` must be one of fixed, linear, exponential, fibonacci, custom"),
    ("retry: {backoff: {linear: {step: 1}}}", 30, "unknown key `step` under `linear`"),
    ("retry: {initial_delay: soon}", 26, "`initial_delay` must be a time, got"),
    ("retry: {retry_on: ['a(']}", 22, "`retry_on` is no regular expression: missing )"),
    ("retry: {retry_on: [netwrk]}", 22, "`netwrk` is no kind of error"),
    ("on_failure: {}", 15, "`on_failure` is empty"),
    ("on_success: false", 15, "`on_success` must be a command or a list of steps, got false"),
    ("capture: map", 12, "`map` cannot be a capture"),
    ("allow_failure: yes", 18, "`allow_failure` must be true or false"),
    ("on_failure: retry", 15, "`on_failure: retry` would run the command `retry`"),
    ("on_failure: {commands: [b], strategy: bogus}", 41, "`strategy` must be one of recovery, fallback"),
    ("env: {MAKEFLAGS: '${run.id}'}", 20, "`MAKEFLAGS` makes programs run code"),
    ("retry: {on_failure: explode}", 23, "`on_failure` under `retry` must be stop, continue or {fallback: ...}"),
    ("env: [A]", 8, "`env` must be a mapping of names and values, got a list"),
    ("env: {'A B': c}", 9, "`A B` is no name for an environment variable"),
    ("env: {PRODIGY_X: c}", 9, "names that begin with PRODIGY_ are ours"),
    ("env: {PATH: '${run.id}'}", 15, "`PATH` makes programs run code, so no placeholder may be in it"),
    ("env: {GIT_DIR: '${run.id}'}", 18, "`GIT_DIR` makes programs run code"),
    ("working_dir: ../x", 16, "`working_dir`: ../x leaves the worktree"),
    ("working_dir: /tmp", 16, "`working_dir`: /tmp is not a path inside the worktree"),
    ("capture_format: json", 3, "`capture_format` without a name for what is captured"),
    ("when: 'x ='", 13, "`when` can't be read"),
    ("on_exit_code: {x: b}", 18, "`x` is no exit code"),
    ("on_failure: {shel: b}", 16, "unknown key `shel` in a step; did you mean `shell`?"),
    ("shell_options: [-c]", 18, "`-c` is no option for a script"),
    ("shell_options: [-o]", 18, "`-o` needs a name behind it"),
    ("validate: {expected_schema: {}}", 13, "`validate` has no command"),
    ("validate: []", 13, "`validate` has no step"),
]


@pytest.mark.parametrize(("written", "column", "message"), WRONG)
def test_a_mistake_in_a_key_is_told_at_its_place(written: str, column: int, message: str) -> None:
    problem = problems_of(f"- shell: a\n  {written}\n")[0]
    assert message in problem.message
    assert (problem.line, problem.column) == (2, column)


def test_conditions_on_names_that_nothing_defines_are_warned_of() -> None:
    loaded = parse("- {shell: a, when: '${nope} == 1'}\n- {shell: b, id: late, when: 'late'}", "w.yml")
    assert [warning.message for warning in loaded.warnings] == [
        "`when`: no step defines nope, so it counts as null",
        "`when`: late has no value here yet, so it counts as null",
    ]
    (warning,) = parse("- {shell: a, when: 'run.id == draft'}", "w.yml").warnings
    assert (warning.line, warning.column) == (1, 31)
    assert warning.hint == "a text stands in quotes: 'draft'"


def test_an_agent_may_be_another_program_with_a_model_and_arguments() -> None:
    text = "agents: {claude: {command: [npx, claude], model: sonnet, args: [--max-turns, 5]}}\nsteps: [{claude: a}]"
    settings = AgentSettings(name="claude", command=("npx", "claude"), model="sonnet", args=("--max-turns", "5"))
    assert parse(text, "w.yml").workflow.agents.known == (settings,)
    (problem,) = problems_of("agents: {fast: {model: x}}\nsteps: [{shell: a}]")
    assert (problem.column, problem.message) == (10, "the agent `fast` has no `kind`")


def test_the_variables_of_a_failure_are_refused_outside_of_its_handlers() -> None:
    (problem,) = problems_of("- shell: echo ${error.message}")
    assert "has a value only in `on_failure`" in problem.message
    assert [p.line for p in problems_of("- shell: a\n  retry: {on_failure: continue}\n  on_failure: true\n")] == [2]


def test_retry_defaults_do_not_reach_into_checks_and_handlers() -> None:
    defaults = "retry_defaults: {attempts: 3, on_failure: continue}"
    step = step_of(f"{defaults}\nsteps: [{{shell: a, validate: {{shell: b}}, on_success: {{shell: c}}}}]")
    assert step.policy.retry == Retry(attempts=3)
    assert step.checks[0].run[0].policy == Policy()
    assert step.handlers[0].do[0].policy == Policy()


def test_a_text_as_worktree_setup_is_a_shell_command() -> None:
    (setup,) = parse("workspace: {setup: npm ci}\nsteps: [{shell: a}]", "w.yml").workflow.workspace.setup
    assert setup.action == Shell(text="npm ci")
