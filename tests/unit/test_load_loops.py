"""`foreach` and `worktree` steps, from YAML to actions, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from prodigy.workflow.failures import ErrorPolicy, Retry
from prodigy.workflow.load import parse
from prodigy.workflow.model import Foreach, Input, MapReduce, Named, Phase, Shell, Step
from prodigy.workflow.selection import Selection
from unit.workflow_texts import problems_of


def steps_of(text: str) -> tuple[Step, ...]:
    return parse(text, "w.yml").workflow.steps


def step_of(text: str) -> Step:
    (step,) = steps_of(text)
    return step


def warnings_of(text: str) -> list[str]:
    return [warning.message for warning in parse(text, "w.yml").warnings]


def shell(text: str, phase: Phase = "", line: int = 1, **parts: Any) -> Step:
    return Step(action=Shell(text=text), phase=phase, line=line, **parts)


def values(*texts: str) -> Input:
    return Input(kind="values", values=texts)


COMMAND = Input(kind="command", text="ls")


@pytest.mark.parametrize(
    ("written", "action"),
    [
        # The flat form and the nested one
        ("foreach: ls, do: [{shell: a}]", Foreach(input=COMMAND, do=(shell("a"),))),
        ("foreach: {foreach: ls, do: [{shell: a}]}", Foreach(input=COMMAND, do=(shell("a"),))),
        ("foreach: {items: ls, do: {shell: a}}", Foreach(input=COMMAND, do=(shell("a"),))),
        (
            "foreach: {input: [x, 5, '${run.id}'], do: [{shell: a}]}",
            Foreach(input=values("x", "5", "${run.id}"), do=(shell("a"),)),
        ),
        (
            "foreach: 'glob:src/*.py', do: [{shell: a}]",
            Foreach(input=Input(kind="glob", text="src/*.py"), do=(shell("a"),)),
        ),
        (
            "foreach: ./list.sh, do: [{shell: a}]",
            Foreach(input=Input(kind="command", text="./list.sh"), do=(shell("a"),)),
        ),
        ("foreach: ls, parallel: false, do: [{shell: a}]", Foreach(input=COMMAND, do=(shell("a"),))),
        (
            "foreach: ls, parallel: 1, do: [{shell: a}], max_items: 3, continue_on_error: true",
            Foreach(input=COMMAND, do=(shell("a"),), max_items=3, continue_on_error=True),
        ),
        (
            "foreach: ls, do: [{shell: 'echo ${item} ${index} ${total}'}]",
            Foreach(input=COMMAND, do=(shell("echo ${item} ${index} ${total}"),)),
        ),
        (
            "foreach: ls, shell_options: [-u], do: [{shell: a}]",
            Foreach(input=Input(kind="command", text="ls", options=("-u",)), do=(shell("a"),)),
        ),
    ],
)
def test_values_one_after_another(written: str, action: Foreach) -> None:
    assert step_of(f"- {{{written}}}").action == action


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ("foreach: ls, parallel: true", {"max_parallel": 10}),
        ("foreach: ls, parallel: 3", {"max_parallel": 3}),
        ("foreach: {foreach: ls, parallel: 3}", {"max_parallel": 3}),
        ("foreach: [x, y], parallel: 3", {"max_parallel": 3, "input": values("x", "y")}),
        ("foreach: ls, parallel: 3, max_items: 5", {"max_parallel": 3, "select": Selection(max_items=5)}),
        ("foreach: ls, parallel: 3, continue_on_error: true", {"max_parallel": 3, "errors": ErrorPolicy()}),
    ],
)
def test_a_parallel_foreach_is_a_fan_out(written: str, fields: dict[str, Any]) -> None:
    template = (shell("echo ${item} ${index} ${item_id}", "map"),)
    default: dict[str, Any] = {"input": COMMAND, "errors": ErrorPolicy(continue_on_failure=False)}
    text = f"- {{{written}, when: '${{run.id}}', id: x, do: [{{shell: 'echo ${{item}} ${{index}} ${{item_id}}'}}]}}"
    text += "\n- shell: echo ${map.successful} ${x.failed}\n"
    step = steps_of(text)[0]
    assert step.action == MapReduce(template=template, **{**default, **fields})
    assert (step.id, step.when, step.phase) == ("x", "${run.id}", "map")


def test_the_workflow_says_how_many_run_where_the_foreach_does_not() -> None:
    action = step_of(
        "{parallel_worktrees: 4, on_uncommitted: fail, steps: [{foreach: ls, parallel: true, do: [{shell: a}]}]}"
    ).action
    assert isinstance(action, MapReduce)
    assert (action.max_parallel, action.on_uncommitted) == (4, "fail")


INSIDE = [
    ("[{shell: x, on_success: {foreach: ls, parallel: 2, do: [{shell: a}]}}]", "inside of another step or an item"),
    ("[{foreach: ls, do: [{foreach: ls, parallel: 2, do: [{shell: a}]}]}]", "inside of another step or an item"),
    (
        "{map: {input: ls, agent_template: [{foreach: ls, parallel: true, do: [{shell: a}]}]}}",
        "inside of another step or an item",
    ),
    ("{merge: [{foreach: ls, parallel: 2, do: [{shell: a}]}], steps: [{shell: a}]}", "in `merge`"),
    (
        "{workspace: {setup: [{foreach: ls, parallel: 2, do: [{shell: a}]}]}, steps: [{shell: a}]}",
        "inside of another step or an item",
    ),
]


@pytest.mark.parametrize(("text", "where"), INSIDE)
def test_a_parallel_foreach_elsewhere_runs_one_after_another_with_a_warning(text: str, where: str) -> None:
    assert warnings_of(text) == [f"`parallel` does nothing {where}: the values run one after another"]


def test_a_parallel_foreach_with_keys_of_other_steps_runs_one_after_another() -> None:
    text = "[{foreach: ls, parallel: 2, on_failure: b, env: {A: b}, do: [{shell: a}]}]"
    assert isinstance(step_of(text).action, Foreach)
    assert warnings_of(text) == [
        "`parallel` does not go with `env`, `on_failure` in one step: the values run one after another"
    ]


def test_a_parallel_foreach_may_stand_in_setup_and_reduce() -> None:
    loop = "[{foreach: ls, parallel: 2, do: [{shell: a}]}]"
    workflow = parse(
        f"{{setup: {loop}, map: {{input: ls, agent_template: [{{shell: a}}]}}, reduce: {loop}}}", "w.yml"
    ).workflow
    assert [step.action.kind for step in workflow.steps] == ["mapreduce", "mapreduce"]
    last = workflow.steps[1].action
    assert isinstance(last, MapReduce)
    assert [step.action.kind for step in last.reduce] == ["mapreduce"]


def test_retry_defaults_are_for_the_steps_of_a_loop_and_not_for_the_loop() -> None:
    step = step_of("{retry_defaults: {attempts: 2}, steps: [{foreach: ls, do: [{shell: a}]}]}")
    assert isinstance(step.action, Foreach)
    assert step.policy.retry is None
    assert step.action.do[0].policy.retry == Retry(attempts=2)


def test_a_name_of_one_value_is_gone_behind_the_loop() -> None:
    (problem,) = problems_of("- {foreach: ls, do: [{shell: a}]}\n- shell: echo ${item}\n")
    assert (problem.line, problem.column) == (2, 15)


def test_a_strict_reader_hears_of_the_hidden_outer_item() -> None:
    text = "{map: {input: ls, agent_template: [{foreach: ls, do: [{shell: 'echo ${item}'}]}]}}"
    assert [remark.message for remark in parse(text, "w.yml").remarks] == [
        "inside this `do`, `${item}` is the value of the `foreach`, not the outer item"
    ]
    assert not parse("[{foreach: ls, do: [{shell: a}]}]", "w.yml").remarks


def test_a_loop_over_nothing_is_warned_of() -> None:
    assert warnings_of("[{foreach: [], do: [{shell: a}]}]") == ["this `foreach` has no values, so it does nothing"]


def test_a_loop_over_one_value_goes_over_its_lines() -> None:
    action = steps_of("[{shell: a, id: x}, {foreach: ' ${x}', do: [{shell: a}]}]")[1].action
    assert isinstance(action, Foreach)
    assert action.input == Input(kind="command", text="printf '%s\\n' ${x}")
    (problem,) = problems_of("[{foreach: '${item}', do: [{shell: a}]}]")
    assert (problem.line, problem.column) == (1, 12)


NAMED = """\
- worktree: fast
  id: both
  name: one
  do: [{shell: a}]
- {worktree: small.1, merge: true, do: {shell: b}}
- shell: diff ${worktrees.fast.path} ${both.successful}
- {worktree: other, do: [{shell: c}]}
"""


def test_neighbouring_worktrees_are_one_fan_out() -> None:
    first, _, last = steps_of(NAMED)
    assert first == Step(
        action=MapReduce(
            input=values("fast", "small.1"),
            max_parallel=2,
            named=(
                Named(name="fast", do=(shell("a", "map", 4),)),
                Named(name="small.1", do=(shell("b", "map", 5),), merge=True),
            ),
        ),
        id="both",
        name="one",
        phase="map",
        line=1,
    )
    assert isinstance(last.action, MapReduce)
    assert last.action.input == values("other")


def test_at_most_parallel_worktrees_run_at_a_time() -> None:
    steps = ", ".join(f"{{worktree: w{number}, do: [{{shell: a}}]}}" for number in range(12))
    action = step_of(f"[{steps}]").action
    assert isinstance(action, MapReduce)
    assert action.max_parallel == 10
    action = step_of(f"{{parallel_worktrees: 3, steps: [{steps}]}}").action
    assert isinstance(action, MapReduce)
    assert action.max_parallel == 3


DO = "do: [{shell: a}]"
WRONG = [
    ("- foreach: ls", 1, 3, "this `foreach` has no `do`"),
    ("- {foreach: ls, do: []}", 1, 21, "`do` has no step"),
    (f"- {{foreach: {{{DO}}}}}", 1, 13, "`foreach` says of nothing what it runs for"),
    (f"- {{foreach: {{items: ls, {DO}}}, {DO}}}", 1, 44, "`do` stands both in this step and under its `foreach`"),
    (
        f"- {{foreach: {{items: ls, {DO}, parallell: 2}}}}",
        1,
        43,
        "unknown key `parallell` under `foreach`; did you mean",
    ),
    (f"- {{foreach: [a, ~], {DO}}}", 1, 17, "a value of `foreach` must be text, got nothing"),
    (f"- {{foreach: [{{a: '${{item.x}}'}}], {DO}}}", 1, 19, "`${item.x}` has no value here"),
    (f"- {{foreach: ['${{nope.x}}', '${{item}}'], {DO}}}", 1, 28, "`${item}` has no value here"),
    (f"- {{foreach: 5, parallel: two, {DO}}}", 1, 26, "`parallel` must be a whole number of at least 1"),
    (f"- {{foreach: ls, max_items: 0, {DO}}}", 1, 28, "`max_items` must be a whole number of at least 1"),
    (f"- {{foreach: 'glob:../x', {DO}}}", 1, 13, "`input`: ../x leaves the worktree"),
    ("- {shell: a, do: [{shell: b}]}", 1, 14, "`do` belongs to a `foreach` or `worktree` step"),
    ("- {shell: a, parallel: 2}", 1, 14, "`parallel` belongs to a `foreach` step"),
    (
        "- {foreach: ls, do: [{mapreduce: {map: {input: ls, agent_template: [{shell: a}]}}}]}",
        1,
        23,
        "a `mapreduce` step cannot stand inside another step",
    ),
    (
        "- {shell: a, on_failure: {mapreduce: {map: {input: ls, agent_template: [{shell: a}]}}}}",
        1,
        27,
        "a `mapreduce` step cannot stand inside another step",
    ),
    # Worktrees
    (f"- {{worktree: Big, {DO}}}", 1, 14, '`worktree` must be a plain word, got "Big"'),
    (f"- {{worktree: a.lock, {DO}}}", 1, 14, "`worktree` must be a plain word"),
    (f"- {{worktree: a..b, {DO}}}", 1, 14, "`worktree` must be a plain word"),
    ("- {worktree: a}", 1, 3, "this `worktree` step has no `do`"),
    ("- {worktree: a, do: []}", 1, 21, "`do` has no step"),
    (
        f"- {{worktree: a, {DO}}}\n- {{shell: a}}\n- {{worktree: a, {DO}}}",
        3,
        14,
        "the worktree `a` is taken by the step on line 1",
    ),
    (
        f"- {{worktree: a, id: x, {DO}}}\n- {{worktree: b, id: y, {DO}}}",
        2,
        17,
        "neighbouring worktrees are one fan-out",
    ),
    (f"- {{worktree: a, when: x, {DO}}}", 1, 17, "`when` does not belong in a `worktree` step"),
    (f"- {{worktree: a, shell: b, {DO}}}", 1, 17, "`shell` does not belong in a `worktree` step"),
    (f"map: {{input: ls, agent_template: [{{worktree: a, {DO}}}]}}", 1, 36, "a `worktree` step cannot stand inside"),
    (f"- {{shell: a, on_failure: {{worktree: a, {DO}}}}}", 1, 26, "a `worktree` step stands in a list of steps"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), WRONG)
def test_a_mistake_is_told_at_its_place(text: str, line: int, column: int, message: str) -> None:
    problem = problems_of(text)[0]
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)
