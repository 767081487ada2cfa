"""Parameters of a workflow, and the values that are put into it when it is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compose_support import loaded, refused, values, workflow
from prodigy.errors import UsageError, WorkflowError
from prodigy.workflow.load import LoadOptions, Written, as_before
from prodigy.workflow.model import Agent, Foreach, MapReduce, Workflow

STEPS = "steps: [{shell: 'echo ${name}'}]\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def given(**parameters: object) -> LoadOptions:
    return LoadOptions({name: Written(v) if isinstance(v, str) else v for name, v in parameters.items()})


def value_of(made: Workflow, name: str = "name") -> object:
    return json.loads(values(made)[name])


def the_map(made: Workflow) -> MapReduce:
    (action,) = (step.action for step in made.steps if isinstance(step.action, MapReduce))
    return action


# Declarations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "declared",
    [
        "{required: [{name: name, type: string, description: d}]}",
        "{required: [name], optional: []}",
        "[{name: name, type: string}]",
        "[name]",
        "{name: {type: string, description: d}}",
        "{name: }",
    ],
)
def test_every_form_of_a_parameter_that_must_be_given(declared: str) -> None:
    main = f"parameters: {declared}\n{STEPS}"
    assert value_of(workflow(main, given(name="x"))) == "x"
    (problem,) = refused(main)
    assert (problem.line, problem.message) == (1, "Required parameter 'name' not provided")
    assert problem.hint == "give it with `--param name=VALUE`, in a `--param-file`, or a `default` here"


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("{optional: [{name: name, default: d}]}", "d"),
        ("{optional: [name]}", None),
        ("[{name: name, default: [1, a]}]", [1, "a"]),
        ("{name: {type: integer, default: 0x10}}", 16),
        ("{name: {default: 1.5}}", 1.5),
        ("{name: true}", True),
        ("{name: {host: h, port: 1}}", {"host": "h", "port": 1}),
        ("{name: {type: string, default: 1.10}}", "1.10"),
        ("{name: {required: false}}", None),
    ],
)
def test_defaults(declared: str, expected: object) -> None:
    assert value_of(workflow(f"parameters: {declared}\n{STEPS}")) == expected


def test_the_last_that_gives_a_value_wins() -> None:
    main = f"parameters: {{name: declared}}\ndefaults: {{name: default}}\n{STEPS}"
    assert value_of(workflow(main)) == "default"
    assert value_of(workflow(main, given(name="user"))) == "user"


def test_defaults_alone_are_parameters_too_and_may_name_others() -> None:
    made = workflow(f"parameters: {{env: prod}}\ndefaults: {{name: 'x-${{env}}'}}\n{STEPS}".replace("env", "stage"))
    assert value_of(made) == "x-prod"
    assert value_of(workflow(f"defaults: {{name: 5}}\n{STEPS}", given(name="${HOME}"))) == "${HOME}"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("string", "5", "5"),
        ("number", "2.5", 2.5),
        ("integer", "7", 7),
        ("boolean", "true", True),
        ("array", '["a", 1]', ["a", 1]),
        ("object", '{"a": null}', {"a": None}),
        ("any", "5", 5),
        ("any", "false", False),
        ("any", "[1]", [1]),
        ("any", "[not json", "[not json"),
        ("any", "text", "text"),
        ("any", "", ""),
    ],
)
def test_the_type_says_what_the_characters_mean(kind: str, text: str, expected: object) -> None:
    found = value_of(workflow(f"parameters: {{name: {{type: {kind}}}}}\n{STEPS}", given(name=text)))
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("number", "many", 'it must be a number, got "many"'),
        ("integer", "2.5", "it must be a whole number, got 2.5"),
        ("boolean", "yes", 'it must be true or false, got "yes"'),
        ("array", "a,b", "it must be JSON, got 'a,b'"),
        ("array", "{}", "it must be a list, got {}"),
        ("object", "NaN", "it must be JSON"),
        ("string", ["a"], 'it must be a text, got ["a"]'),
        ("string", "a\0b", "it has a NUL character in it"),
        ("any", json.dumps("\ud800"), "it has a character in it that is no Unicode"),
        ("any", "9" * 5000, None),
    ],
)
def test_a_value_of_another_type_is_refused_where_it_was_given(kind: str, value: object, message: str | None) -> None:
    main = f"parameters: {{name: {{type: {kind}}}}}\n{STEPS}"
    if message is None:
        assert value_of(workflow(main, given(name=value))) == value
        return
    with pytest.raises(UsageError) as caught:
        workflow(main, given(name=value))
    assert caught.value.where == "--param name"
    assert f"the parameter `name`: {message}" in caught.value.what


def test_a_default_of_another_type_is_refused_in_its_place() -> None:
    (problem,) = refused(f"parameters: {{name: {{type: integer, default: many}}}}\n{STEPS}")
    assert (problem.line, problem.column) == (1, 45)


def test_a_name_that_is_no_parameter_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="has no parameter `nam`") as caught:
        workflow(f"parameters: {{name: a}}\n{STEPS}", given(nam="x"))
    assert caught.value.hint == "did you mean `name`?"
    with pytest.raises(UsageError, match="it has none"):
        workflow("- shell: a\n", given(x="1"))


def test_a_validation_is_an_expression_over_value_and_the_others() -> None:
    main = f"parameters: {{most: 5, name: {{type: integer, validation: 'value > 0 && name <= most'}}}}\n{STEPS}"
    assert value_of(workflow(main, given(name="5"))) == 5
    with pytest.raises(UsageError, match="the parameter `name` is 6, for which"):
        workflow(main, given(name="6"))
    (problem,) = refused(f"parameters: {{name: {{default: 1, validation: 'value >'}}}}\n{STEPS}")
    assert "`validation` can't be read" in problem.message


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ("parameters: {item: 1}", "`item` cannot be a parameter"),
        ("parameters: {1a: 1}", "a parameter's name has letters"),
        ("parameters: [{type: string}]", "a parameter must be a name, or a mapping with `name`"),
        ("parameters: {name: {type: text}}", "`type` must be one of string, number"),
        ("parameters: {name: {type: string, colour: red}}", "unknown key `colour` under the parameter `name`"),
        ("parameters: [name, name]", "stands on line 1 already"),
        ("parameters: 5", "`parameters` must be a mapping or a list, got 5"),
        ("parameters: {A: 1}\nenv: {A: 2}", "`A` is a parameter too"),
        ("parameters: {name: .inf}", "a number that JSON has"),
        ("defaults: [a]", "`defaults` must be a mapping of names and values"),
    ],
)
def test_mistakes_in_declarations(top: str, message: str) -> None:
    problems = refused(f"{top}\n{STEPS}")
    assert any(message in problem.message for problem in problems), problems


def test_a_type_written_as_a_default_is_warned_of() -> None:
    (warning,) = loaded(f"parameters: {{name: string}}\n{STEPS}").warnings
    assert warning.hint == "for the type, write `name: {type: string}`"


def test_another_version_takes_the_values_of_the_one_before_where_they_fit() -> None:
    main = f"parameters: {{name: {{type: integer, default: 1}}, gone: x}}\n{STEPS}"
    old = workflow(main, given(name="5"))
    edited = main.replace(", gone: x", ", more: y")
    assert values(workflow(edited, as_before(old))) == {"name": "5", "more": '"y"'}
    assert value_of(workflow(edited, as_before(old, given(name="6")))) == 6
    assert value_of(workflow(edited.replace("integer, default: 1", "string, default: a"), as_before(old))) == "a"


# Values that are fixed on load ---------------------------------------------------------------------------------

MAP = "map: {{input: i.json, {}, agent_template: [{{shell: a}}]}}\n"


@pytest.mark.parametrize("written", ["$n", '"${n}"'])
def test_a_number_takes_its_value_from_a_parameter_the_env_or_the_process(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("n", "2")
    main = MAP.format(f"max_parallel: {written}")
    assert the_map(workflow(main)).max_parallel == 2
    assert the_map(workflow("env: {n: 3}\n" + main)).max_parallel == 3
    assert the_map(workflow("parameters: {n: 4}\n" + main)).max_parallel == 4


def test_a_name_without_a_value_is_refused_where_it_stands() -> None:
    (problem,) = refused("steps:\n  - shell: a\n    timeout: $NO_SUCH\n")
    assert (problem.line, problem.column) == (3, 14)
    assert (
        problem.message
        == "`$NO_SUCH`: no parameter, no `env` of the workflow and no environment variable is called NO_SUCH"
    )


def test_every_kind_of_fixed_value() -> None:
    main = """\
parameters: {secs: 5, yes_: true, policy: skip, who: ann, deep: {a: [{b: 3}]}, files: [a, b], json: i.json, q: "$.x[*]"}
name: for ${who}
on_item_failure: ${policy}
map:
  input: data/${json}
  json_path: ${q}
  filter: "name == ${who} && kind == 'of ${who}'"
  max_items: ${deep.a[0].b}
  timeout_config: {command_timeouts: {claude: "${secs}"}, timeout_policy: PerCommand}
  agent_template:
    - {shell: a, commit_required: "${yes_}", timeout: "${secs}m"}
    - {foreach: "${files}", do: [{shell: b}]}
"""
    made = workflow(main)
    action = the_map(made)
    assert made.name == "for ann"
    assert action.errors.on_item_failure == "skip"
    assert (action.input.kind, action.input.text, action.json_path) == ("file", "data/i.json", "$.x[*]")
    assert action.select is not None
    assert action.select.filter == "name == \"ann\" && kind == 'of ann'"
    assert action.select.max_items == 3
    assert action.limits is not None
    assert action.limits.commands == (("claude", 5.0),)
    assert action.template[0].policy.timeout_s == 300
    assert [check.expect for check in action.template[0].checks] == ["commit"]
    assert isinstance(action.template[1].action, Foreach)
    assert action.template[1].action.input.values == ("${files[0]}", "${files[1]}")


def test_a_value_in_a_filter_is_no_code() -> None:
    main = "parameters: {who: x}\n" + MAP.format("filter: 'name == ${who} || kind == \"${who}\"'")
    action = the_map(workflow(main, given(who='" || true || "\\')))
    assert action.select is not None
    assert action.select.filter == r'name == "\" || true || \"\\" || kind == "\" || true || \"\\"'


@pytest.mark.parametrize("value", ["rm -rf x", "list_all", "$(reboot)", "a;b.json"])
def test_a_value_is_no_command_for_input(value: str) -> None:
    with pytest.raises(WorkflowError, match="which is no name of a file"):
        workflow(
            "parameters: {src: i.json}\n" + MAP.format("offset: 0").replace("i.json, o", "'${src}', o"),
            given(src=value),
        )


def test_a_command_for_input_keeps_its_placeholders() -> None:
    main = "parameters: {src: i.json}\n" + MAP.format("offset: 0").replace("i.json, o", "'ls ${src}', o")
    assert the_map(workflow(main)).input.text == "ls ${src}"


def test_prompts_and_shell_texts_keep_their_placeholders_which_have_values() -> None:
    made = workflow(
        "parameters: {name: x}\nsteps: [{claude: '/fix ${name}'}, {shell: 'fix ${name}', when: '${name} == 1'}]\n"
    )
    assert isinstance(made.steps[0].action, Agent)
    assert made.steps[0].action.prompt == "/fix ${name}"
    assert values(made) == {"name": '"x"'}


def test_env_takes_parameters_as_text_but_no_placeholders_and_no_code() -> None:
    main = "parameters: {who: x}\nenv: {WHO: 'is ${who}', MADE: {command: 'echo $who'}}\n" + STEPS.replace(
        "name", "who"
    )
    variables = {each.name: each for each in workflow(main, given(who="a b")).environment.variables}
    assert variables["WHO"].value == "is a b"
    assert variables["MADE"].command == "echo $who"
    with pytest.raises(WorkflowError, match="would be read as a placeholder"):
        workflow(main, given(who="${HOME}"))
    with pytest.raises(WorkflowError, match="makes programs run code"):
        workflow(main.replace("WHO:", "LD_PRELOAD:"))


@pytest.mark.parametrize("other", ["${HOME|default:y}", "${env.HOME}", "${env.A:-b}", "$${x}", "${workflow.name}"])
def test_env_keeps_other_placeholders_beside_a_parameter(other: str) -> None:
    made = workflow(f"parameters: {{p: x}}\nenv: {{A: '{other} ${{p}}'}}\n" + STEPS.replace("${name}", "x"))
    (variable,) = made.environment.variables
    assert variable.value == f"{other} x"
