"""Every mistake in a workflow file is a problem with its place, and says what to do."""

from __future__ import annotations

import pytest

from prodigy.errors import WorkflowError
from prodigy.workflow import keys
from prodigy.workflow.load import parse
from unit.workflow_texts import LATER, TEMPLATE, mapping, problems_of

REFUSED: list[tuple[str, int, int, str, str | None]] = [
    # What is not a workflow
    ("", 1, 1, "this file has no workflow in it", "a workflow is a list of steps"),
    ("# nothing\n\n", 1, 1, "this file has no workflow in it", "a workflow is a list of steps"),
    ("~", 1, 1, "this file has no workflow in it", "a workflow is a list of steps"),
    ("\n\n  hello\n", 3, 3, 'this file holds only the text "hello"', "a workflow is a list of steps"),
    ("5", 1, 1, "this file holds only the text 5", "a workflow is a list of steps"),
    ("[]", 1, 1, "this workflow has no steps", "a workflow is a list of steps"),
    ("{}", 1, 1, "a workflow needs `map` or `steps`", "a workflow is a list of steps"),
    ("steps: []", 1, 1, "this workflow has no steps", "a workflow is a list of steps"),
    ("name: x\n", 1, 1, "a workflow needs `map` or `steps`", "a workflow is a list of steps"),
    ("- analyze: {}\n", 1, 1, "this workflow has no steps", None),
    # Shapes
    (
        f"steps: [{{shell: a}}]\nmap: {{input: x.json, {TEMPLATE}}}",
        1, 1, "a workflow has `map` or `steps`, not both", "a `mapreduce` step can stand in a list of steps",
    ),
    ("commands: [{shell: a}]\ntasks: [{shell: a}]",
     2, 1, "`tasks` and `commands` are two names of one thing", "line 1"),
    ("setup: [{shell: a}]\nsteps: [{shell: a}]",
     1, 1, "`setup` goes with `map`", "write it at the beginning of the list"),
    ("steps: [{shell: a}]\nreduce: [{shell: a}]",
     2, 1, "`reduce` goes with `map`", "write it in the `mapreduce` step"),
    ("steps:\n", 1, 1, "`steps` is empty", "give it a list of steps, or remove it"),
    ("steps: 5", 1, 8, "`steps` must be a list of steps, got 5", None),
    ("map: [1]", 1, 6, "`map` must be a mapping with `input` and `agent_template`, got a list", None),
    ("map:\n", 1, 1, "`map` must be a mapping with `input` and `agent_template`, got nothing", None),
    (mapping(TEMPLATE), 2, 3, "`map` has no `input`", None),
    (mapping("input: x.json"), 2, 3, "`map` has no `agent_template`", None),
    (mapping("input: x.json\nagent_template: []"), 3, 19, "`agent_template` has no step", None),
    (mapping("input: x.json\noperation: []"), 3, 14, "`operation` has no step", None),
    (mapping("input: x.json\nagent_template: 5"), 3, 19, "`agent_template` must be a list of steps, got 5", None),
    (mapping("input: x.json\nagent_template:"), 3, 3, "`agent_template` is empty", "give it a list of steps"),
    (f"setup: {{commands: {{commands: []}}}}\nmap: {{input: x.json, {TEMPLATE}}}",
     1, 19, "`commands` cannot stand inside", None),
    (f"setup: {{commands: [], timeout: soon}}\nmap: {{input: x.json, {TEMPLATE}}}",
     1, 32, "`timeout` must be a time of more than 0", None),
    ("- mapreduce: 5", 1, 14, "`mapreduce` must be a mapping with `map`, got 5", None),
    ("- mapreduce: {}", 1, 14, "`mapreduce` has no `map`", None),
    ("mode: parallel\nsteps: [{shell: a}]", 1, 7, '`mode` must be mapreduce or sequential, got "parallel"', None),
    ("mode: [x]\nsteps: [{shell: a}]", 1, 7, "`mode` must be text, got a list", None),
    # More than one fan-out
    (
        mapping(f"input: x.json\nagent_template:\n- mapreduce: {{map: {{input: x.json, {TEMPLATE}}}}}"),
        4, 5, "a `mapreduce` step cannot stand inside another one", "put it behind the other one",
    ),
    # Steps
    ("- 5", 1, 3, "a step must be a mapping such as `shell: make test`, got 5", None),
    ("- [a]", 1, 3, "a step must be a mapping such as `shell: make test`, got a list", None),
    ("-\n- shell: a", 1, 2, "a step must be a mapping such as `shell: make test`, got nothing", None),
    ("- '  '", 1, 3, 'a step must be a mapping such as `shell: make test`, got "  "', None),
    ("steps: ' '", 1, 8, '`steps` must be a list of steps, got " "', None),
    ("- {}", 1, 3, "this step is empty", "give it a `shell`"),
    ("- name: fix it", 1, 3, "this step does nothing", "give it a `shell`"),
    ("- shell: a\n  mapreduce: {}", 2, 3, "a step does one thing, but this one has `shell` and `mapreduce`", None),
    ("- shell:", 1, 3, "`shell` must be text, got nothing", None),
    ("- shell: ''", 1, 10, "`shell` is empty", None),
    ("- shell: |\n\n", 1, 10, "`shell` is empty", None),
    ("- shell: {a: b}", 1, 10, "`shell` must be text, got a mapping", None),
    ('- shell: "a\\0b"', 1, 10, "`shell` has a NUL character in it", None),
    ("- shell: a\n  commit_required: yes", 2, 20, '`commit_required` must be true or false, got "yes"', None),
    ("- shell: a\n  commit_required: 1", 2, 20, "`commit_required` must be true or false, got 1", None),
    ("- shell: a\n  id: 9lives", 2, 7, '`id` must be a name of letters, digits, `_` and `-`, got "9lives"', None),
    ("- shell: a\n  id: map", 2, 7, "`map` cannot be an id: it is the name of built-in variables", None),
    ("- {shell: a, id: x}\n- {shell: b, id: x}", 2, 18, "the id `x` is taken by the step on line 1", None),
    ("- shell: a\n  name: [x]", 2, 9, "`name` must be text, got a list", None),
    ('- shell: a\n  name: "x\\ny"', 2, 9, "`name` must be one line of printable text", None),
    ("- shell: a\n  name: fix ${item}", 2, 9, "a placeholder in `name` is part of the language", None),
    ("name: [x]\nsteps: [{shell: a}]", 1, 7, "`name` must be text, got a list", None),
    # Map values
    (mapping(f"input: x.json\nmax_parallel: many\n{TEMPLATE}"), 3, 17,
     '`max_parallel` must be a whole number of at least 1, got "many"', None),
    (mapping(f"input: x.json\nparallel: 0\n{TEMPLATE}"),
     3, 13, "`parallel` must be a whole number of at least 1, got 0", None),
    (mapping(f"input: x.json\nmax_parallel: 2.5\n{TEMPLATE}"), 3, 17, "got 2.5", None),
    (mapping(f"input: x.json\nmax_parallel: '8'\n{TEMPLATE}"), 3, 17, 'got "8"', "write the number without quotes"),
    (mapping(f"input: x.json\nmax_parallel: 99999999999999\n{TEMPLATE}"), 3, 17, "got 99999999999999", None),
    (mapping(f"input: x.json\nmax_parallel: $N\n{TEMPLATE}"), 3, 17,
     "`$N`: no parameter, no `env` of the workflow and no environment variable is called N", "give it a value"),
    (mapping(f"input: x.json\nmax_parallel: 1\nparallel: 2\n{TEMPLATE}"), 4, 3,
     "`parallel` and `max_parallel` are two names of one thing", "remove one of them; the other is on line 3"),
    (mapping(f"input: [a, null]\n{TEMPLATE}"), 2, 14, "a value of `input` must be text, got nothing", None),
    (mapping(f"input:\n{TEMPLATE}"), 2, 3, "`input` must be text, got nothing", None),
    (mapping(f"input: glob:../*.py\n{TEMPLATE}"), 2, 10, "`input`: ../*.py leaves the worktree", "`glob:src/**/*.py`"),
    (mapping(f"input: 'glob: '\n{TEMPLATE}"), 2, 10, "`input`: it is empty", None),
    (mapping(f"input: $NO_SUCH/items.json\n{TEMPLATE}"),
     2, 10,
     "`$NO_SUCH/items.json`: no parameter, no `env` of the workflow and no environment variable is called NO_SUCH",
     "give it a value"),
    (mapping(f"input: x.json\njson_path: items[*\n{TEMPLATE}"),
     3, 20, "`json_path` is not a JSONPath: unbalanced brackets", "RFC 9535"),
    (mapping(f"input: x.json\njson_path: ' $.a b'\n{TEMPLATE}"),
     3, 20, "`json_path` is not a JSONPath: expected '.'", None),
    (mapping(f"input: x.json\njson_path: $[?foo(@)]\n{TEMPLATE}"), 3, 17, "function 'foo' is not defined", None),
    (mapping(f"input: x.json\njson_path: ${{item.x}}\n{TEMPLATE}"),
     3, 15, "`json_path` is not a JSONPath", "placeholders are not"),
    (mapping(f"input: x.json\njson_path: [a]\n{TEMPLATE}"), 3, 14, "`json_path` must be text, got a list", None),
    # Keys
    (mapping(f"input: x.json\nmax_paralel: 8\n{TEMPLATE}"), 3, 3,
     "unknown key `max_paralel` under `map`; did you mean `max_parallel`?", None),
    ("stepz: [{shell: a}]\nsteps: [{shell: a}]",
     1, 1, "unknown key `stepz` at the top level; did you mean `steps`?", None),
    ("- shel: a", 1, 3, "unknown key `shel` in a step; did you mean `shell`?", None),
    ("- shell: a\n  Timeout: 5", 2, 3, "unknown key `Timeout` in a step; did you mean `timeout`?", None),
    ("- shell: a\n  colour: 5",
     2, 3, "unknown key `colour` in a step", "known keys: agent, allow_failure, analysis, args"),
    ("max_parallel: 5\nsteps: [{shell: a}]",
     1, 1, "`max_parallel` does not belong at the top level", "it belongs under `map`"),
    (mapping(f"input: x.json\ncommit_required: true\n{TEMPLATE}"),
     3, 3, "`commit_required` does not belong under `map`", "in a step"),
    ('- shell: a\n  "\\e[31m\\n": b', 2, 3, "unknown key `\\x1b[31m\\n` in a step", None),
    (f"- shell: a\n  {'k' * 50}: b", 2, 3, f"unknown key `{'k' * 40}…` in a step", None),
    (f"- shell: a\n  timeout: {'k' * 41}", 2, 12, f'got "{"k" * 40}…"', None),
    ("- shell: a\n  on: b", 2, 3, "unknown key `on` in a step", None),
    ("- shell: a\n  ? [x]\n  : b", 2, 5, "a key must be one word, not a list or a mapping", "in quotes"),
    ("- shell: a\n  : b", 2, 3, "there is no key before this `:` in a step", None),
    ("- shell: a\n  5: b", 2, 3, "unknown key `5` in a step", None),
    ("- shell: a\n  shell: b", 2, 3, "`shell` stands twice in this mapping, first on line 1", None),
    ("- shell: a\n  budget: 3", 2, 11, "`budget` must be a mapping, got 3", "e.g. `budget: {max_cost_usd: 20}`"),
    ("- foreach: x", 1, 3, "this `foreach` has no `do`", None),
    (f"- mapreduce:\n    map: {{input: x.json, {TEMPLATE}}}\n    on_item_failure: {{custom: mine}}",
     3, 22, "names a handler, and there are none", "use one of dlq, retry, skip, stop"),
    (mapping(f"input: x.json\non_item_failure: ignore\n{TEMPLATE}"), 3, 20, "`on_item_failure` must be", None),
    (f"error_policy: {{max_failure: 3}}\nmap: {{input: x.json, {TEMPLATE}}}", 1, 16,
     "unknown key `max_failure` under `error_policy`; did you mean `max_failures`?", None),
    (mapping(f"input: x.json\nretry_config: {{max_attempts: 2, on_failure: stop}}\non_item_failure: retry\n{TEMPLATE}"),
     3, 35, "`on_failure` does not stand in `retry_config`", "dead letter queue"),
    (f"- mapreduce: {{map: {{input: x.json, {TEMPLATE}}}}}\n  timeout: 5",
     2, 3, f"`timeout` {LATER} on a `mapreduce` step", None),
    ("- handler: {name: x}", 1, 3, "`handler` is not part of the language any more", "as a `shell` step"),
    ("- goal_seek: {goal: x}", 1, 3, "`goal_seek` is not part of the language any more", "use `validate`"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "message", "hint"), REFUSED)
def test_a_mistake_is_one_problem_with_its_place_and_cure(
    text: str, line: int, column: int, message: str, hint: str | None
) -> None:
    (problem,) = problems_of(text)
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)
    assert (hint or "") in (problem.hint or "")


def test_all_problems_of_a_file_are_reported_at_once_in_file_order() -> None:
    text = """\
nam: x
map:
  max_parallel: many
  retries: 3
  agent_template:
    - foreach: /fix
    - shell: a
      commit_required: maybe
    - [nonsense]
  input: [null]
reduce:
  - shel: x
  - shell: 'x'
    shell: 'y'
"""
    assert [(problem.line, problem.column) for problem in problems_of(text)] == [
        (1, 1), (3, 17), (4, 3), (6, 7), (8, 24), (9, 7), (10, 11), (12, 5), (14, 5),
    ]  # fmt: skip


def test_the_report_has_a_line_for_each_problem_and_its_hint() -> None:
    with pytest.raises(WorkflowError) as caught:
        parse("- name: fix it\n- 5\n", "dir/w.yml")
    assert str(caught.value) == (
        "dir/w.yml:1:3: this step does nothing\n"
        "  give it a `shell` or a `claude`\n"
        "dir/w.yml:2:3: a step must be a mapping such as `shell: make test`, got 5"
    )
    assert caught.value.exit_code == 2


def test_a_problem_in_an_aliased_step_is_reported_once() -> None:
    assert len(problems_of("- &a {shell: a, colour: red}\n- *a\n- *a\n")) == 1


@pytest.mark.parametrize(
    ("table", "document"),
    [
        (keys.WORKFLOW, "{%s: x, steps: [{shell: a}]}"),
        (keys.MAP, "{map: {input: x.json, %s: x, agent_template: [{shell: a}]}}"),
        (keys.MAPREDUCE, "[{mapreduce: {%s: x, map: {input: x.json, agent_template: [{shell: a}]}}}]"),
        (keys.NESTED_STEPS, "{setup: {%s: x, commands: []}, map: {input: x.json, agent_template: [{shell: a}]}}"),
    ],
)
def test_every_key_that_does_not_run_yet_is_refused(table: keys.KeyTable, document: str) -> None:
    for key in table.later:
        assert [problem.message for problem in problems_of(document % key)] == [f"`{key}` {LATER}"]


def test_every_key_of_a_step_that_does_not_run_yet_is_refused() -> None:
    for key in keys.STEP.later:
        assert f"`{key}` {LATER}" in [problem.message for problem in problems_of(f"[{{shell: a, {key}: x}}]")]


@pytest.mark.parametrize("table", [keys.WORKFLOW, keys.MAP, keys.MAPREDUCE, keys.STEP, keys.NESTED_STEPS])
def test_a_key_has_one_meaning(table: keys.KeyTable) -> None:
    assert not table.runs & table.later
    assert not (table.runs | table.later) & (table.synonyms.keys() | keys.GIVEN_UP.keys())
    assert set(table.synonyms.values()) <= table.runs
