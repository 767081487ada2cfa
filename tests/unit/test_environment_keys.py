"""`env`, `env_files`, `profiles` and `secrets`, from YAML to the model, and what is wrong with them."""

from __future__ import annotations

import pytest

from prodigy.errors import UsageError
from prodigy.workflow.environment import (
    Environment,
    Profile,
    Secret,
    Variable,
    changing,
    hidden,
    names,
    variables,
    with_profile,
)
from prodigy.workflow.load import parse
from unit.workflow_texts import problems_of

STEPS = "\nsteps: [{shell: make}]\n"


def environment(text: str, steps: str = STEPS) -> Environment:
    loaded = parse(text + steps, "w.yml")
    assert loaded.warnings == ()
    return loaded.workflow.environment


def variable(text: str) -> Variable:
    (found,) = environment(f"env: {{X: {text}}}").variables
    return found


@pytest.mark.parametrize(
    ("written", "fields"),
    [
        ("plain text", {"value": "plain text"}),
        ("8080", {"value": "8080"}),
        ("true", {"value": "true"}),
        ("", {"value": ""}),
        ("'${workflow.name}-${Y:-none}'", {"value": "${workflow.name}-${Y:-none}"}),
        ("'${env:HOME}/bin'", {"value": "${env.HOME}/bin"}),
        ("{command: git rev-parse HEAD}", {"command": "git rev-parse HEAD"}),
        ("{command: date, cache: true}", {"command": "date", "cached": True}),
        ("{command: date, cached: false}", {"command": "date"}),
        ("{condition: \"${env.CI} == 'true'\", when_true: 1, when_false: 2}",
         {"condition": "${env.CI} == 'true'", "value": "1", "otherwise": "2"}),
        ("{condition: 'true', when_true: a}", {"condition": "true", "value": "a", "otherwise": ""}),
        ("{secret: true, value: '${env.TOKEN}'}", {"value": "${env.TOKEN}", "secret": True}),
        ("{secret: true, command: ./token.sh}", {"command": "./token.sh", "secret": True}),
    ],
)  # fmt: skip
def test_kinds_of_variables(written: str, fields: dict[str, object]) -> None:
    assert variable(written) == Variable(name="X", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "provider", "key"),
    [
        ("MY_TOKEN", "env", "MY_TOKEN"),
        ('"${env:MY_TOKEN}"', "env", "MY_TOKEN"),
        ('"${MY_TOKEN}"', "env", "MY_TOKEN"),
        ('"env:MY_TOKEN"', "env", "MY_TOKEN"),
        ('"file:~/.token"', "file", "~/.token"),
        ("{provider: env, key: MY_TOKEN}", "env", "MY_TOKEN"),
        ("{provider: file, key: 'file:/run/secrets/x'}", "file", "/run/secrets/x"),
        ("{provider: command, key: pass show x}", "command", "pass show x"),
        ("{env: MY_TOKEN}", "env", "MY_TOKEN"),
        ("{file: secrets/x}", "file", "secrets/x"),
        ("{command: vault kv get -field=v x | tr -d x}", "command", "vault kv get -field=v x | tr -d x"),
    ],
)
def test_places_of_secrets(written: str, provider: str, key: str) -> None:
    assert environment(f"secrets: {{S: {written}}}").secrets == (Secret(name="S", provider=provider, key=key),)  # type: ignore[arg-type]


def test_files_and_profiles() -> None:
    found = environment(
        "env_files: [.env, conf/more.env]\n"
        "profiles:\n  prod: {description: the real one, HOST: a, N: 3}\n  dev: {env: {HOST: b}}\n"
    )
    assert found.files == (".env", "conf/more.env")
    assert found.profiles == (
        Profile(name="prod", variables=(Variable(name="HOST", value="a"), Variable(name="N", value="3"))),
        Profile(name="dev", variables=(Variable(name="HOST", value="b"),)),
    )
    assert environment("env_files: .env").files == (".env",)


def test_they_stand_in_both_shapes_of_a_workflow() -> None:
    text = "env: {A: b}\nmap: {input: ls, agent_template: [{shell: 'echo $A'}]}\n"
    assert parse(text, "w.yml").workflow.environment.variables == (Variable(name="A", value="b"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("env: [A]", "must be a mapping of names"),
        ("env: {1A: x}", "no name for an environment variable"),
        ("env: {PRODIGY_X: x}", "are ours"),
        ("env: {A: [1]}", "must be text"),
        ("env: {A: {cached: true}}", "has no `value`"),
        ("env: {A: {command: date, when_true: 1}}", "unknown key `when_true`"),
        ("env: {A: {condition: 'x =='}}", "has no `when_true`"),
        ("env: {A: {condition: 'x ==', when_true: 1}}", "`condition` can't be read"),
        ("env: {A: '${item.x}'}", "has no value here"),
        ("env: {A: '${map.total}'}", "has no value here"),
        ("env: {A: '${B%.js}'}", "not supported"),
        ("env: {PATH: {command: ./path.sh}}", "makes programs run code"),
        ("env: {D: '${date:%Y}'}", "`${date:%Y}` has no value in the workflow's `env`"),
        ("env: {U: {condition: x, when_true: '${uuid}'}}", "`${uuid}` has no value in the workflow's `env`"),
        ("env: {B: x, LD_PRELOAD: '${B}'}", "makes programs run code"),
        ("env_files: [{a: b}]", "`env_files` must be text"),
        ("profiles: [a]", "`profiles` must be a mapping"),
        ("profiles: {prod: x}", "must be a mapping of variables"),
        ("secrets: [A]", "`secrets` must be a mapping"),
        ("secrets: {A: 'my secret value'}", "must say where it comes from"),
        ("secrets: {A: {key: x}}", "must say where it comes from"),
        ("secrets: {A: {env: X, file: y}}", "must say where it comes from"),
        ("secrets: {A: {env: 'not a name'}}", "is no name for an environment variable"),
        ("secrets: {A: {provider: disk, key: x}}", "must be one of env, file, command"),
        ("secrets: {PATH: {command: ./path.sh}}", "makes programs run code"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, words: str) -> None:
    assert [problem for problem in problems_of(text + STEPS) if words in problem.message], problems_of(text + STEPS)


@pytest.mark.parametrize("provider", ["vault", "aws", "{custom: mine}", "vault:secret/x"])
def test_a_provider_that_is_gone_names_the_command_in_its_place(provider: str) -> None:
    written = f"'{provider}'" if ":" in provider and "{" not in provider else f"{{provider: {provider}, key: x}}"
    (problem,) = problems_of(f"secrets: {{TOKEN: {written}}}{STEPS}")
    assert "there is no provider" in problem.message
    assert "secrets: {TOKEN: {command: " in (problem.hint or "")


def test_the_users_own_path_may_be_made_longer() -> None:
    assert environment("env: {PATH: './bin:${PATH}'}").variables[0].value == "./bin:${PATH}"


def test_a_secret_that_stands_in_the_file_is_warned_of() -> None:
    (warning,) = parse(f"env: {{T: {{secret: true, value: abc}}}}{STEPS}", "w.yml").warnings
    assert "stored with each run" in warning.message


@pytest.mark.parametrize("step", ["claude: 'use ${TOKEN}'", "{shell: ls, working_dir: '${MADE}'}"])
def test_no_secret_may_be_put_into_a_prompt_or_a_path(step: str) -> None:
    text = f"secrets: {{TOKEN: T}}\nenv: {{MADE: 'x-${{TOKEN}}'}}\nsteps:\n  - {step}\n"
    (problem,) = problems_of(text)
    assert problem.line == 4
    assert "is a secret" in problem.message


def test_a_secret_may_stand_in_the_environment_of_a_step() -> None:
    steps = "\nsteps: [{shell: 'curl -H @x', env: {AUTH: 'Bearer ${TOKEN}'}}]\n"
    assert environment("secrets: {TOKEN: T}", steps).secrets


def test_a_capture_and_a_variable_cannot_have_one_name() -> None:
    (problem,) = problems_of("env: {OUT: x}\nsteps: [{shell: ls, capture: OUT}]\n")
    assert (problem.line, problem.message) == (1, "`OUT` is the id or the capture of a step too")


def test_names_in_prompts_are_checked_and_those_in_scripts_are_the_shells() -> None:
    environment("env: {HOST: x}", "\nsteps: [{shell: 'echo ${HOST//a/b} ${#HOST}', when: \"HOST == 'x'\"}]\n")
    (problem,) = problems_of("env: {HOST: x}\nsteps: [{claude: 'see ${HOST%.js}'}]\n")
    assert "not supported" in problem.message


def test_a_profile_is_chosen_by_name_and_the_nearest_one_is_told() -> None:
    found = environment("env: {H: x, U: 'http://${H}'}\nprofiles: {production: {H: p, N: n}, dev: {H: d}}")
    chosen = with_profile(found, "production")
    assert [(v.name, v.value) for v in variables(chosen)] == [("H", "p"), ("U", "http://${H}"), ("N", "n")]
    with pytest.raises(UsageError, match="did you mean production"):
        with_profile(found, "prodction")
    with pytest.raises(UsageError, match="the workflow has none"):
        with_profile(Environment(), "production")


def test_what_is_made_of_a_secret_is_one_and_what_is_made_of_what_changes_changes() -> None:
    found = environment(
        "secrets: {KEY: K}\nenv: {A: x, B: 'k=${KEY}', C: '${B}', D: {command: date}, E: '${D}', F: '${env.KEY}',"
        " G: {command: date, cache: true}, H: {condition: 'D', when_true: 1}}"
    )
    assert hidden(found) == {"KEY", "B", "C", "F"}
    assert changing(found) == {"D", "E", "H"}
    assert names(found) == {"A", "D", "E", "G", "H"}
