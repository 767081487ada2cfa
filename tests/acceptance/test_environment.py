"""The environment of steps: which source of a variable wins, what a resume keeps, and what is never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prodigy.secrets import MASK
from recovery_support import run_directory, warnings
from support import Done, Project, git, make_project

SHOW = 'printf "%s\\n" '


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def printed(project: Project, execution: str) -> list[str]:
    return (run_directory(project) / "steps" / execution / "stdout").read_text().splitlines()


def run(project: Project, text: str, *options: str, code: int = 0, **env: str) -> Done:
    done = project.prodigy("run", project.workflow(text), "--yes", *options, env=env)
    assert done.code == code, done.err
    return done


def test_later_sources_win_over_earlier_ones(project: Project) -> None:
    (project.folder / "one.env").write_text("F=one\nG=one\nV=file\n")
    (project.folder / "two.env").write_text("export G='two'\nUSERS=file\n")
    run(
        project,
        f"""
name: order
env_files: [one.env, two.env, three.env]
env: {{V: global, W: global, S: global, T: global, MADE: "${{V}}/${{F}}/${{USERS}}/${{env:HOME_OF}}/${{NONE:-x}}"}}
secrets: {{T: THE_SECRET}}
steps:
  - shell: {SHOW} "$USERS" "$F" "$G" "$V" "$W" "$S" "$T" "$MADE"
    env: {{S: "step of ${{W}}", T: step}}
  - shell: {SHOW} "$S"
""",
        USERS="user",
        HOME_OF="home",
        THE_SECRET="a-secret-value",
    )
    shown = ["file", "one", "two", "global", "global", "step of global", "a-secret-value", "global/one/file/home/x"]
    assert printed(project, "it1/1/t1") == shown
    assert printed(project, "it1/2/t1") == ["global"]
    assert [message for message in warnings(project) if "three.env" in message]


def test_conditions_and_commands_give_values_that_texts_and_conditions_of_steps_may_name(project: Project) -> None:
    run(
        project,
        f"""
name: kinds
env:
  MODE: {{condition: "${{env.WANTED}} == 'fast'", when_true: quick, when_false: slow}}
  WHERE: {{command: "pwd; echo more"}}
  NAMED: "${{MODE}}-${{workflow.name}}"
steps:
  - shell: {SHOW} "$MODE" "$WHERE" "$NAMED" "$PWD" "$GIVEN" ${{MODE}}
    env: {{GIVEN: "${{WHERE}}"}}
    when: "${{MODE}} == 'quick'"
  - shell: 'false'
    when: "MODE == 'slow'"
""",
        WANTED="fast",
    )
    lines = printed(project, "it1/1/t1")
    assert lines == ["quick", lines[1], "more", "quick-kinds", lines[1], lines[1], "more", "quick"]


def test_a_cached_command_runs_once_a_run_also_over_a_resume_and_another_once_a_step(project: Project) -> None:
    text = f"""
name: cached
env:
  ONCE: {{command: 'echo once >> "$TALLY"; date +%N', cache: true}}
  EACH: {{command: 'echo each >> "$TALLY"; date +%N'}}
steps:
  - shell: {SHOW} "$ONCE" "$EACH"
  - shell: {SHOW} "$ONCE" "$EACH"; [ -e "$SHARED/go" ]
"""
    run(project, text, code=1)
    (project.folder / "go").touch()
    assert project.prodigy("resume", "--yes").code == 0
    first, second, third = (printed(project, f"it1/{step}") for step in ("1/t1", "2/t1", "2/t2"))
    assert first[0] == second[0] == third[0]
    assert len({first[1], second[1], third[1]}) == 3
    assert project.tally() == {"once": 1, "each": 3}


def test_a_command_that_fails_fails_its_step_before_it_starts(project: Project) -> None:
    text = "env: {X: {command: 'echo no luck >&2; exit 3'}}\nsteps: [{shell: 'echo ran >> $TALLY'}]\n"
    done = run(project, text, code=1)
    assert "could not be started: the variable X: its command exited with code 3: no luck" in done.err
    assert not project.tally()


def test_a_clear_environment_has_what_it_takes_and_no_more(project: Project) -> None:
    run(
        project,
        """
name: clear
env: {GLOBAL: g}
secrets: {TOKEN: THE_SECRET}
steps:
  - shell: env > seen; git add seen; git commit -qm seen
    clear_env: true
    env: {OWN: o}
""",
        THE_SECRET="a-secret-value",
        OTHER="other",
        LC_TIME="C",
    )
    seen = dict(line.split("=", 1) for line in git(project.repo, "show", "HEAD:seen").splitlines())
    assert {"PATH", "HOME", "OWN", "TOKEN", "LC_TIME", "GIT_EDITOR", "PRODIGY_RUN_ID"} <= seen.keys()
    assert not {"GLOBAL", "OTHER", "TALLY", "THE_SECRET"} & seen.keys()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("secrets: {T: NOT_SET}", "the secret T: the environment variable NOT_SET is not set"),
        ("secrets: {T: {file: nowhere}}", "the secret T: there is no file nowhere"),
        ("env_files: [bad.env]", "bad.env:2: this is no `NAME=value`"),
    ],
)
def test_what_is_not_there_is_told_before_the_run_is_made(project: Project, text: str, words: str) -> None:
    (project.folder / "bad.env").write_text("A=1\nwhat is this\n")
    done = project.prodigy("run", project.workflow(f"{text}\nsteps: [{{shell: ls}}]\n"))
    assert done.code in (2, 5)
    assert words in done.err
    assert not list((project.home / "runs").glob("*")) if project.home.exists() else True


# Secrets ---------------------------------------------------------------------------------------------------

PLANTED = {
    "env": "env\"secret'9f3a",
    "file": "file-secret-77b1",
    "command": "command-secret-c0de",
    "variable": "variable-secret-5150",
    "dotenv": "dotenv-secret-1a2b",
    "inherited": "inherited-secret-0d0d",
}

LEAKING = """
name: leaking
env_files: [.env]
env: {VARIABLE: {secret: true, value: "${env.PLANTED_VARIABLE}"}}
secrets:
  BY_ENV: PLANTED_ENV
  BY_FILE: {file: secret.txt}
  BY_COMMAND: {command: 'cat "$SHARED/command.txt"'}
setup:
  - shell: 'echo "$BY_ENV$BY_FILE$BY_COMMAND $VARIABLE $APP_PASSWORD $OUTER_TOKEN" | tee said; cat said >&2'
    capture: said
map:
  input: printf '%s\\n' '[{"id":"one"},{"id":"two"}]'
  max_parallel: 1
  agent_template:
    - shell: 'echo "${item.id}: $BY_ENV $BY_FILE" > ${item.id}.txt'
    - shell: |
        python3 -c 'import json, os; print(json.dumps(dict(os.environ)))' >&2
        echo "Error: can not log in with $BY_ENV, $BY_FILE, $BY_COMMAND, $VARIABLE, $APP_PASSWORD, $OUTER_TOKEN" >&2
        [ ${item.id} = two ] || exit 1
reduce:
  - shell: 'echo "$BY_COMMAND" >&2; exit 1'
"""


def leaking(project: Project) -> tuple[Done, dict[str, str]]:
    (project.folder / ".env").write_text(f"APP_PASSWORD={PLANTED['dotenv']}\n")
    (project.folder / "secret.txt").write_text(PLANTED["file"] + "\n")
    (project.folder / "command.txt").write_text(PLANTED["command"] + "\n")
    env = {
        "PLANTED_ENV": PLANTED["env"],
        "PLANTED_VARIABLE": PLANTED["variable"],
        "OUTER_TOKEN": PLANTED["inherited"],
    }
    return run(project, LEAKING, "--json", code=1, **env), env


def leaks(data: bytes | str) -> list[str]:
    text = data.decode(errors="replace") if isinstance(data, bytes) else data
    text += json.dumps(text)
    return [name for name, value in PLANTED.items() if value in text or json.dumps(value)[1:-1] in text]


def test_no_command_and_no_record_shows_a_secret(project: Project) -> None:
    done, _ = leaking(project)
    assert leaks(done.out + done.err) == []
    assert MASK in done.json["error"]
    calls = [
        ("status", "latest"), ("status", "latest", "--json"), ("status",), ("events", "ls"), ("events", "ls", "--json"),
        ("logs",), ("logs", "--json"), ("logs", "--item", "one"), ("logs", "--item", "one", "--stderr"),
        ("logs", "--step", "it1/1"), ("logs", "--step", "it1/1", "--follow"),
        ("dlq", "list"), ("dlq", "list", "--json"), ("dlq", "show", "one"), ("dlq", "inspect", "one", "--json"),
        ("dlq", "analyze"), ("dlq", "export", "-"), ("dlq", "export", str(project.folder / "letters.json")),
        ("worktree", "ls"), ("attach", "latest"),
    ]  # fmt: skip
    shown = {call: project.prodigy(*call) for call in calls}
    for call, said in shown.items():
        assert said.code in (0, 1, 2), (call, said.err)
        assert leaks(said.out + said.err) == [], call
    for call in (("logs", "--step", "it1/1"), ("dlq", "list", "--json"), ("events", "ls", "--json")):
        assert MASK in shown[call].out, call
    assert leaks((project.folder / "letters.json").read_text()) == []
    directory = run_directory(project)
    for path in directory.rglob("*"):
        if path.is_file() and path.name not in ("stdout", "stderr") and not path.is_relative_to(directory / "git"):
            assert leaks(path.read_bytes()) == [], path
    for path in (project.home / "prodigy.db",):
        assert not path.exists() or leaks(path.read_bytes()) == []
    assert leaks(git(project.repo, "log", "--all", "--format=%B")) == []


def test_what_steps_printed_stays_whole_for_the_steps_and_is_private(project: Project) -> None:
    leaking(project)
    directory = run_directory(project) / "steps/it1/1/t1"
    assert sorted(leaks((directory / "stdout").read_text().replace(MASK, ""))) == sorted(PLANTED)
    assert all(path.stat().st_mode & 0o077 == 0 for path in directory.iterdir())


def test_a_secret_that_was_changed_is_taken_anew_and_the_old_one_stays_masked(project: Project) -> None:
    _, env = leaking(project)
    again = project.prodigy("resume", env={**env, "PLANTED_ENV": "a-new-value-for-it"})
    assert again.code == 1
    shown = project.prodigy("logs", "--item", "one").out
    assert leaks(shown) == []
    assert project.prodigy("resume", env={"PLANTED_ENV": "", "PLANTED_VARIABLE": "x"}).code == 5


def test_a_commit_message_that_the_engine_writes_has_no_secret(project: Project) -> None:
    text = """
name: commits
secrets: {BY_ENV: PLANTED_ENV}
steps:
  - shell: 'printf %s "$BY_ENV"'
    capture: said
  - shell: echo x > new.txt
    auto_commit: true
    commit_config: {message_template: "add with ${said}"}
"""
    run(project, text, PLANTED_ENV=PLANTED["env"])
    assert git(project.repo, "log", "-1", "--format=%s", "HEAD") == f"add with {MASK}"


def test_an_exported_run_masks_elsewhere_too(project: Project) -> None:
    leaking(project)
    file = project.folder / "run.tar.gz"
    assert project.prodigy("export", "latest", file).code == 0
    elsewhere = {"PRODIGY_HOME": str(project.folder / "elsewhere")}
    assert project.prodigy("import", file, env=elsewhere).code == 0
    done = project.prodigy("logs", project.run_id(), "--step", "it1/1", env=elsewhere)
    assert MASK in done.out
    assert leaks(done.out) == []
