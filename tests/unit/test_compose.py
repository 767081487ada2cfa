"""Workflows out of several files: imports, bases, templates, and the steps of templates."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose_support import refused, texts, values, workflow, write
from prodigy.errors import UsageError, WorkflowError
from prodigy.workflow.load import load
from prodigy.workflow.model import MapReduce


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# extends -----------------------------------------------------------------------------------------------------

BASE = """\
name: base
env: {A: from base, B: from base}
map:
  input: items.json
  max_parallel: 2
  agent_template: [{shell: base}]
reduce: [{shell: report}]
"""


def test_own_keys_win_mappings_are_merged_and_lists_replaced() -> None:
    made = workflow(
        "extends: base.yml\nenv: {B: own}\nmap: {max_parallel: 5, agent_template: {claude: /own}}\n", base=BASE
    )
    assert made.name == "base"
    assert [(variable.name, variable.value) for variable in made.environment.variables] == [
        ("A", "from base"),
        ("B", "own"),
    ]
    (step,) = made.steps
    assert isinstance(step.action, MapReduce)
    assert step.action.max_parallel == 5
    assert texts(step.action.template) == ["/own"]
    assert texts(step.action.reduce) == ["report"]


@pytest.mark.parametrize("place", ["bases", "templates", "workflows", "."])
def test_a_base_is_found_by_its_name(place: str) -> None:
    write(**{"common" if place == "." else f"{place}__common": "- shell: base\n"})
    made = workflow("extends: common\n")
    assert texts(made.steps) == ["base"]


def test_a_base_of_another_shape_gives_way_to_own_steps() -> None:
    made = workflow("extends: base.yml\ncommands: [{shell: own}]\n", base=BASE)
    assert texts(made.steps) == ["own"]


def test_a_name_for_a_key_takes_the_place_of_its_other_name() -> None:
    made = workflow("extends: base.yml\nmap: {parallel: 7}\n", base=BASE)
    assert isinstance(made.steps[0].action, MapReduce)
    assert made.steps[0].action.max_parallel == 7


def test_files_are_found_from_the_file_that_names_them() -> None:
    made = workflow("extends: lib/a.yml\n", lib__a="extends: deep/b.yml\nname: a\n", lib__deep__b="- shell: b\n")
    assert (made.name, texts(made.steps)) == ("a", ["b"])


def test_env_files_of_a_base_are_found_beside_it() -> None:
    made = workflow("extends: lib/base.yml\n", lib__base="env_files: [.env]\nsteps: [{shell: a}]\n")
    assert made.environment.files == ("lib/.env",)


# Places ------------------------------------------------------------------------------------------------------


def test_problems_and_steps_of_another_file_name_it() -> None:
    (problem,) = refused("extends: base.yml\n", base="steps:\n  - shell: echo ${item.x}\n")
    assert (problem.file, problem.line, problem.column) == ("base.yml", 2, 17)
    made = workflow("extends: lib/base.yml\n", lib__base="\nsteps:\n  - shell: a\n")
    assert (made.steps[0].file, made.steps[0].line) == ("lib/base.yml", 3)
    assert workflow("steps: [{shell: a}]\n").steps[0].file is None


def test_an_error_prints_each_problem_with_its_own_file() -> None:
    write(main="extends: base.yml\ncolour: red\n", base="steps: [{shel: a}]\n")
    with pytest.raises(WorkflowError) as caught:
        load(Path("main.yml"))
    lines = [line for line in str(caught.value).splitlines() if not line.startswith("  ")]
    assert lines[0].startswith("main.yml:2:1: unknown key `colour`")
    assert lines[1].startswith("base.yml:1:10: unknown key `shel`")


def test_a_file_that_is_no_yaml_is_refused_at_its_own_place() -> None:
    (problem,) = refused("extends: base.yml\n", base="a: 'x\n")
    assert (problem.file, problem.line) == ("base.yml", 1)


def test_a_file_that_is_not_there_is_named_with_the_nearest() -> None:
    (problem,) = refused("- shell: a\n- use: x\n")
    assert "there is no template templates/x.yml" in problem.message
    (problem,) = refused("imports: [lib/step.yml]\nsteps: [{shell: a}]\n", lib__steps="- shell: a\n")
    assert (problem.line, problem.column) == (1, 11)
    assert problem.message == "there is no file lib/step.yml"
    assert problem.hint == "did you mean lib/steps.yml?"


@pytest.mark.parametrize("key", ["extends", "imports", "template"])
def test_a_url_is_refused_with_what_to_do(key: str) -> None:
    (problem,) = refused(f"{key}: https://example.org/x.yml\nsteps: [{{shell: a}}]\n")
    assert "is not fetched from a URL" in problem.message
    assert problem.hint == "save the file beside this one, and give its path or its name"


# Circles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["extends", "imports", "template"])
def test_a_circle_of_files_is_named_as_a_path_where_it_closes(key: str) -> None:
    (problem,) = refused(
        f"{key}: ./b.yml\nsteps: [{{shell: a}}]\n", b=f"name: b\n{key}: ./c.yml\n", c=f"{key}: ./b.yml\n"
    )
    assert (problem.file, problem.line) == ("c.yml", 1)
    assert problem.message == "these files go round in a circle: b.yml -> c.yml -> b.yml"


def test_a_circle_through_the_main_file() -> None:
    (problem,) = refused("extends: b.yml\nsteps: [{shell: a}]\n", b="imports: [main.yml]\n")
    assert problem.message.endswith("main.yml -> b.yml -> main.yml")


def test_a_circle_of_templates_is_named() -> None:
    problems = refused("templates: {a: [{use: b}], b: [{use: a}]}\nsteps: [{use: a}]\n")
    assert problems[0].message == "these templates go round in a circle: a -> b -> a"


def test_a_file_that_two_others_import_is_no_circle() -> None:
    made = workflow(
        "imports: [a.yml, b.yml]\nsteps: [{use: c}]\n",
        a="imports: [c.yml]\n", b="imports: [c.yml]\n", c="- shell: c\n",
    )  # fmt: skip
    assert texts(made.steps) == ["c"]


# imports -----------------------------------------------------------------------------------------------------

LIB = """\
env: {LEVEL: high, OTHER: x}
parameters: {target: src}
agents: {claude: {model: opus}}
templates:
  lint: [{shell: 'lint ${target}'}]
  both: [{use: lint}, {shell: both}]
steps:
  - {id: build, shell: make}
  - {name: check it, shell: make check}
"""


def test_an_import_gives_names_and_no_steps_of_its_own() -> None:
    made = workflow("imports: [lib.yml]\nsteps: [{shell: own}]\n", lib=LIB)
    assert texts(made.steps) == ["own"]
    assert [variable.name for variable in made.environment.variables] == ["LEVEL", "OTHER"]
    assert made.agents.known[0].model == "opus"
    assert values(made) == {"target": '"src"'}


@pytest.mark.parametrize(
    ("imported", "use", "expected"),
    [
        ("lib.yml", "lint", ["lint ${target}"]),
        ("lib.yml", "both", ["lint ${target}", "both"]),
        ("lib.yml", "build", ["make"]),
        ("lib.yml", "check it", ["make check"]),
        ("lib.yml", "lib", ["make", "make check"]),
        ("{path: lib.yml, alias: l}", "l.both", ["lint ${target}", "both"]),
        ("{path: lib.yml, alias: l}", "l.build", ["make"]),
        ("{path: lib.yml, alias: l}", "l", ["make", "make check"]),
    ],
)
def test_the_steps_of_an_imported_file_are_templates(imported: str, use: str, expected: list[str]) -> None:
    assert texts(workflow(f"imports: [{imported}]\nsteps: [{{use: '{use}'}}]\n", lib=LIB).steps) == expected


def test_selective_takes_only_what_it_names_and_knows_what_there_is() -> None:
    made = workflow("imports: [{path: lib.yml, selective: [LEVEL, claude]}]\nsteps: [{shell: a}]\n", lib=LIB)
    assert [variable.name for variable in made.environment.variables] == ["LEVEL"]
    assert values(made) == {}
    (problem,) = refused("imports: [{path: lib.yml, selective: [lin]}]\nsteps: [{shell: a}]\n", lib=LIB)
    assert problem.hint == "did you mean `lint`?"


def test_own_and_later_imported_values_win() -> None:
    main = "imports: [a.yml, b.yml]\nenv: {Z: own}\nsteps: [{shell: x}]\n"
    made = workflow(main, a="env: {X: a, Y: a, Z: a}\n", b="env: {Y: b, Z: b}\n")
    assert {variable.name: variable.value for variable in made.environment.variables} == {
        "X": "a",
        "Y": "b",
        "Z": "own",
    }


def test_composition_works_in_the_shape_of_a_list() -> None:
    made = workflow("- use: lint\n- shell: own\n", templates__lint="- shell: lint\n")
    assert texts(made.steps) == ["lint", "own"]


# template ----------------------------------------------------------------------------------------------------

TEMPLATE = """\
name: lint
description: lints
author: Ada
tags: [a]
parameters: {target: {type: string}, depth: {type: integer, default: 2}}
map: {input: items.json, max_parallel: 2, agent_template: [{shell: 'lint ${target}', timeout: 5}]}
"""


def test_a_template_gets_its_values_and_own_keys_win() -> None:
    main = "template: {name: lint, with: {target: src}, override: {map.max_parallel: 4}}\nname: mine\n"
    made = workflow(main, templates__lint=TEMPLATE)
    assert made.name == "mine"
    assert values(made) == {"depth": "2", "target": '"src"'}
    assert isinstance(made.steps[0].action, MapReduce)
    assert made.steps[0].action.max_parallel == 4


def test_an_override_reaches_into_lists_and_is_refused_where_there_is_nothing() -> None:
    main = "template: {source: ./t.yml, with: {target: a}, override: {'map.agent_template[0].timeout': 9}}\n"
    step = workflow(main, t=TEMPLATE).steps[0].action
    assert isinstance(step, MapReduce)
    assert step.template[0].policy.timeout_s == 9
    (problem,) = refused(main.replace("[0]", "[3]"), t=TEMPLATE)
    assert "there is no map.agent_template[3].timeout in the template" in problem.message


def test_a_template_says_what_it_takes() -> None:
    problems = refused("template: {name: lint, with: {targt: src}}\n", templates__lint=TEMPLATE)
    assert problems[0].hint == "did you mean `target`?"
    assert problems[1].message == "Required parameter 'target' not provided"
    assert problems[1].file == "templates/lint.yml"


# use ---------------------------------------------------------------------------------------------------------

USE = """\
templates:
  check:
    parameters: {path: {type: string}, times: {type: integer, default: 2}}
    steps:
      - shell: check ${path}
        retry: ${times}
      - claude: "/look at ${path}"
"""


def test_a_value_that_with_gives_is_data_of_the_run() -> None:
    made = workflow(USE + "steps: [{use: check, with: {path: 'a; rm b'}}]\n")
    ((name, text), (_, times)) = sorted(values(made).items())
    assert (text, times) == ('"a; rm b"', "2")
    assert name.startswith("path--")
    assert texts(made.steps) == [f"check ${{{name}}}", f"/look at ${{{name}}}"]
    assert made.steps[0].policy.retry is not None
    assert made.steps[0].policy.retry.attempts == 2


def test_a_placeholder_takes_the_place_of_the_parameter() -> None:
    main = "map: {input: i.json, agent_template: [{use: check, with: {path: '${item.path}', times: 4}}]}\n"
    action = workflow(USE + main).steps[0].action
    assert isinstance(action, MapReduce)
    assert texts(action.template) == ["check ${item.path}", "/look at ${item.path}"]


def test_text_beside_a_placeholder_is_no_code() -> None:
    main = "map: {input: i.json, agent_template: [{use: check, with: {path: '%s'}}]}\n"
    action = workflow(USE + main % "src/${item}.js").steps[0].action
    assert isinstance(action, MapReduce)
    assert texts(action.template)[0] == "check src/${item}.js"
    (problem,) = refused(USE + main % "$(rm ${item})")
    assert "is text beside placeholders, and the template has it in `shell`" in problem.message


def test_a_use_with_a_condition_gives_it_to_every_step() -> None:
    main = "templates: {t: [{shell: a}, {shell: b, when: '1 == 2'}, /c]}\nsteps: [{use: t, when: '1 == 1'}]\n"
    assert [step.when for step in workflow(main).steps] == ["1 == 1", "(1 == 1) && (1 == 2)", "1 == 1"]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{use: check}", "Required parameter 'path' not provided"),
        ("{use: check, with: {path: a, time: 1}}", "the template `check` has no parameter `time`"),
        ("{use: check, with: {path: a, times: many}}", 'must be a whole number, got "many"'),
        ("{use: chek}", "there is no template chek"),
        ("{use: check, with: {path: a}, shell: b}", "`shell` does not belong beside `use`"),
        ("{shell: a, with: {b: c}}", "`with` belongs to a `use` step"),
        ("{use: t, with: {what: a}}", "the template `t` has no `${what}`"),
    ],
)
def test_what_is_wrong_with_a_use(step: str, message: str) -> None:
    problems = refused(USE + f"  t: [{{shell: a}}]\nsteps: [{step}]\n")
    assert any(message in problem.message for problem in problems), problems
    assert all(problem.line == 9 for problem in problems)


def test_a_template_is_used_in_every_place_for_steps() -> None:
    main = """\
templates: {t: [{shell: t}]}
setup: {use: t}
map:
  input: i.json
  agent_template:
    - {shell: a, on_failure: {use: t}, on_exit_code: {3: {use: t}}}
reduce: [{use: t}, {foreach: [a], do: [{use: t}]}]
merge: {commands: [{use: t}]}
"""
    made = workflow(main)
    assert made.model_dump_json().count('"text":"t"') == 6


def test_templates_that_would_fill_the_memory_are_refused() -> None:
    lines = "".join(f"  t{n}: [{', '.join([f'{{use: t{n + 1}}}'] * 10)}]\n" for n in range(9))
    problems = refused(f"templates:\n{lines}  t9: [{{shell: a}}]\nsteps: [{{use: t0}}]\n")
    assert "the templates that are used here give more than 100,000 values" in problems[0].message


def test_a_workflow_that_only_gives_names_has_no_steps() -> None:
    with pytest.raises(UsageError, match="a workflow needs `map` or `steps`"):
        workflow("templates: {t: [{shell: a}]}\n")
