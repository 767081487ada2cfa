"""`workflows`: other workflows as parts of one, and what their steps get and give."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose_support import loaded, refused, texts, workflow
from prodigy.workflow.handlers import IGNORED
from prodigy.workflow.model import Group, MapReduce, Step

CHILD = """\
parameters: {target: {type: string}, depth: 2}
env: {LEVEL: high}
steps:
  - {shell: 'lint ${target}', capture: report, env: {OWN: x}}
  - claude: "/fix ${target} ${LEVEL}"
"""
MAIN = """\
workflows:
  lint: {source: lint.yml, parameters: {target: src}, outputs: [report]}
steps:
  - shell: echo ${report} ${lint.report}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def group(step: Step) -> Group:
    assert isinstance(step.action, Group)
    return step.action


def test_a_part_runs_before_the_own_steps_with_its_parameters() -> None:
    made = workflow(MAIN, lint=CHILD)
    part = group(made.steps[0])
    assert part.given == (("LEVEL", '"high"'), ("depth", "2"), ("target", '"src"'))
    assert part.outputs == ("report",)
    assert texts(part.do) == ["lint ${target}", "/fix ${target} ${LEVEL}"]
    assert [step.file for step in part.do] == ["lint.yml", "lint.yml"]
    assert made.parameters == ()
    assert (made.steps[0].id, made.steps[0].name, made.steps[0].line) == ("lint", "lint", 2)


def test_the_steps_of_a_part_have_its_parameters_and_variables_in_their_environment() -> None:
    first, second = group(workflow(MAIN, lint=CHILD).steps[0]).do
    assert first.policy.env == (("depth", "${depth}"), ("target", "${target}"), ("LEVEL", "high"), ("OWN", "x"))
    assert second.policy.env == (("depth", "${depth}"), ("target", "${target}"), ("LEVEL", "high"))


@pytest.mark.parametrize(
    "main",
    [
        "workflows: {a: {source: a.yml}, b: b.yml}\n",
        "workflows: {a: a, b: lib/b}\nmap: {input: i.json, agent_template: [{shell: own}]}\n",
    ],
)
def test_parts_run_in_the_order_written_in_every_shape(main: str) -> None:
    made = workflow(main, workflows__a="- shell: a\n", a="- shell: a\n", b="- shell: b\n", lib__b="- shell: b\n")
    assert [texts(group(step).do) for step in made.steps[:2]] == [["a"], ["b"]]
    assert [step.action.kind for step in made.steps[2:]] == (["mapreduce"] if "map" in main else [])


def test_a_step_runs_a_part_where_it_stands() -> None:
    main = MAIN.replace("steps:\n", "steps:\n  - shell: first\n  - {workflow: lint, when: '1 == 1', name: linted}\n")
    made = workflow(main, lint=CHILD)
    assert [step.action.kind for step in made.steps] == ["shell", "group", "shell"]
    assert (made.steps[1].when, made.steps[1].name, made.steps[1].line) == ("1 == 1", "linted", 5)


def test_a_part_stands_in_the_steps_of_an_item_too() -> None:
    main = "workflows: {lint: {source: lint.yml, inputs: {target: item.path}}}\n"
    main += "map: {input: i.json, agent_template: [{workflow: lint}]}\n"
    action = workflow(main, lint="- shell: lint ${target}\n").steps[0].action
    assert isinstance(action, MapReduce)
    assert group(action.template[0]).inputs == (("target", "item.path"),)


def test_what_is_handed_in_must_have_a_value_there() -> None:
    main = "workflows: {lint: {source: lint.yml, inputs: {target: found}}}\nsteps: [%s{workflow: lint}]\n"
    find = "{shell: find, capture: found}, "
    assert group(workflow(main % find, lint="- shell: l ${target}\n").steps[1]).inputs == (("target", "found"),)
    problems = refused(main % "", lint="- shell: l ${target}\n")
    assert problems[0].message == "`inputs`: found has no value here"


def test_the_options_of_a_part() -> None:
    main = "workflows: {lint: {source: lint.yml, continue_on_error: true, timeout: 1m, working_dir: sub}}\n"
    (step,) = workflow(main, lint="- shell: a\n- {shell: b, working_dir: c}\n- /fix\n").steps
    assert (step.policy.timeout_s, step.handlers) == (60, (IGNORED,))
    assert [inner.policy.working_dir for inner in group(step).do] == ["sub", "sub/c", "sub"]


def test_parallel_neighbours_are_one_fan_out_with_a_worktree_each() -> None:
    main = "workflows: {a: {source: a.yml, parallel: true}, b: {source: a.yml, parallel: true}, c: a.yml}\n"
    both, last = workflow(main, a="- shell: a\n").steps
    assert isinstance(both.action, MapReduce)
    assert both.action.input.values == ("a", "b")
    assert [(named.name, named.merge, texts(group(named.do[0]).do)) for named in both.action.named] == [
        ("a", True, ["a"]),
        ("b", True, ["a"]),
    ]
    assert group(last)


def test_a_part_has_parts_of_its_own_and_takes_nothing_from_the_outside_but_what_is_given() -> None:
    made = workflow(
        "parameters: {stage: prod}\nenv: {OUTER: x}\nworkflows: {a: a.yml}\n",
        a="workflows: {b: {source: b.yml, parameters: {s: '${own}'}}}\nparameters: {own: deep}\n",
        b="parameters: [s]\nsteps: [{claude: '${s} ${stage} ${OUTER}'}]\n",
    )
    inner = group(group(made.steps[0]).do[0])
    assert inner.given == (("s", '"deep"'),)
    own = "steps: [{shell: a, capture: x}, {workflow: a}]\nworkflows: {a: a.yml}\n"
    (problem,) = refused(own, a="- shell: b\n  when: 1 ==\n- claude: ${x}\n")
    assert (problem.file, problem.line) == ("a.yml", 2)


def test_agents_of_a_part_hold_for_the_whole() -> None:
    made = workflow("workflows: {a: a.yml}\n", a="agents: {claude: {model: opus}}\nsteps: [{shell: a}]\n")
    assert made.agents.known[0].model == "opus"


def test_what_a_part_says_in_vain_is_warned_of() -> None:
    child = "env: {A: {command: date}, B: x}\nmerge: [{shell: a}]\nsteps: [{shell: a}]\n"
    warnings = loaded("workflows: {a: a.yml}\n", a=child).warnings
    assert [(warning.file, warning.line, warning.message) for warning in warnings] == [
        ("a.yml", 1, "`A` does nothing in a part of another workflow"),
        ("a.yml", 2, "`merge` does nothing in a part of another workflow"),
    ]


def test_a_circle_of_parts_is_named() -> None:
    problems = refused(
        "workflows: {a: a.yml}\n", a="workflows: {b: {source: b.yml}}\n", b="\nworkflows: {a: main.yml}\n"
    )
    assert (problems[0].file, problems[0].line) == ("b.yml", 2)
    assert problems[0].message == "these files go round in a circle: main.yml -> a.yml -> b.yml -> main.yml"


FAN_OUT = "map: {input: i.json, agent_template: [{shell: a}]}\n"


@pytest.mark.parametrize(
    ("main", "message"),
    [
        ("workflows: {a: {}}\n", "the workflow `a` has no `source`"),
        ("workflows: {a: {source: a.yml, colour: red}}\n", "unknown key `colour` under the workflow `a`"),
        ("workflows: {a: {source: no.yml}}\n", "there is no workflow no.yml"),
        ("workflows: {a: {source: a.yml, parameters: {x: 1}}}\n", "has no parameter `x`"),
        ("workflows: {a: {source: a.yml, parameters: {p: '${x}'}}}\n", "has no value before the run"),
        ("workflows: {a: {source: a.yml, outputs: [x]}}\n", "no step of a.yml captures `x`"),
        ("workflows: {a: {source: a.yml, inputs: {map: x}}}\n", "`map` cannot be"),
        ("workflows: {a: {source: f.yml, parallel: true}}\n", "one that runs beside others can have none"),
        ("workflows: {A: {source: a.yml, parallel: true}}\n", "is no name for a worktree"),
        ("workflows: [a.yml]\n", "`workflows` must be a mapping of names"),
        ("workflows: {a: a.yml}\nsteps: [{workflow: b}]\n", "`workflows` has no \"b\""),
        ("workflows: {a: a.yml}\nsteps: [{workflow: a, shell: x}]\n", "a step does one thing"),
        ("workflows: {a: a.yml}\nsteps: [{workflow: a, timeout: 5}]\n", "`timeout` does not go with `workflow`"),
        ("steps: [{workflow: a}]\n", "this workflow has no `workflows`"),
        ("workflows: {a: f.yml}\nsteps: [{foreach: [x], do: [{workflow: a}]}]\n", "the workflow a has a `map`"),
    ],
)  # fmt: skip
def test_mistakes(main: str, message: str) -> None:
    problems = refused(main, a="parameters: {p: 1}\nsteps: [{shell: a, capture: made}]\n", f=FAN_OUT)
    assert any(message in problem.message for problem in problems), problems
