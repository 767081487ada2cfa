"""What agents see of the user's environment, and how they are given more."""

from __future__ import annotations

import pytest

from agent_support import script, stand_in_path
from support import Project, git

SEEN = script({"sh": "env > seen.txt"}, {"text": "done"})
BASE = {"HTTPS_PROXY": "http://proxy:1", "no_proxy": "localhost", "SSL_CERT_FILE": "/ca.pem", "LC_TIME": "C",
        "XDG_CACHE_HOME": "/cache", "NVM_DIR": "/nvm", "JAVA_HOME": "/java"}  # fmt: skip
KEYS = {"ANTHROPIC_API_KEY": "sk-dummy-key", "CLAUDE_CODE_MAX_RETRIES": "1", "AWS_PROFILE": "work",
        "DATABASE_URL": "postgres://u:p@h/d", "OPENAI_API_KEY": "sk-dummy-two", "CLOUD_ML_REGION": "east"}  # fmt: skip


@pytest.fixture
def agents(project: Project) -> Project:
    project.env = {"PATH": f"{stand_in_path(project.folder)}:{project.environment()['PATH']}", **BASE, **KEYS}
    return project


def seen(project: Project, flow: str, **env: str) -> dict[str, str]:
    """The variables that the agent of a run had."""
    done = project.prodigy("run", project.workflow(flow), "--yes", env=env)
    assert done.code == 0, done.err
    lines = git(project.repo, "show", "HEAD:seen.txt").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_an_agent_gets_what_it_takes_and_what_its_program_reads_and_no_more(agents: Project) -> None:
    found = seen(agents, f"- claude: '{SEEN}'\n")
    assert BASE.items() <= found.items()
    assert {"PATH", "HOME", "GIT_EDITOR", "PRODIGY_RUN_ID", "PRODIGY_WORKTREE"} <= found.keys()
    assert KEYS.keys() & found.keys() == {"ANTHROPIC_API_KEY", "CLAUDE_CODE_MAX_RETRIES"}
    assert not {"TALLY", "SHARED"} & found.keys()


@pytest.mark.parametrize(
    ("switch", "names"),
    [("CLAUDE_CODE_USE_BEDROCK", {"AWS_PROFILE"}), ("CLAUDE_CODE_USE_VERTEX", {"CLOUD_ML_REGION"})],
)
def test_the_keys_of_a_cloud_go_with_the_switch_that_uses_it(agents: Project, switch: str, names: set[str]) -> None:
    clouds = {"AWS_PROFILE", "CLOUD_ML_REGION"}
    assert seen(agents, f"- claude: '{SEEN}'\n", **{switch: "1"}).keys() & clouds == names
    flow = f"agents: {{claude: {{env: {{{switch}: '1'}}}}}}\nsteps: [{{claude: '{SEEN}'}}]\n"
    assert seen(agents, flow).keys() & clouds == names


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("AWS_PROFILE", {"AWS_PROFILE"}),
        ("[AWS_*, SHARED]", {"AWS_PROFILE", "SHARED"}),
        ("'*'", {"AWS_PROFILE", "DATABASE_URL", "SHARED"}),
    ],
)
def test_a_workflow_gives_an_agent_more_names(agents: Project, wanted: str, names: set[str]) -> None:
    found = seen(agents, f"agents: {{claude: {{pass_env: {wanted}}}}}\nsteps: [{{claude: '{SEEN}'}}]\n")
    assert found.keys() & {"AWS_PROFILE", "DATABASE_URL", "SHARED"} == names


def test_what_the_workflow_and_the_step_say_reaches_an_agent_also_with_the_values_of_the_user(agents: Project) -> None:
    flow = f"""
env: {{SHARED: "${{env.SHARED}}", MADE: here}}
secrets: {{TOKEN: DATABASE_URL}}
parameters: {{AWS_PROFILE: {{default: work}}}}
steps:
  - claude: '{SEEN}'
    env: {{OWN: "${{env.OPENAI_API_KEY}}"}}
"""
    found = seen(agents, flow)
    assert found["SHARED"] == str(agents.folder)
    assert (found["MADE"], found["TOKEN"], found["AWS_PROFILE"]) == ("here", KEYS["DATABASE_URL"], "work")
    assert found["OWN"] == KEYS["OPENAI_API_KEY"]
    assert not {"OPENAI_API_KEY", "DATABASE_URL"} & found.keys()


def test_any_other_program_gets_nothing_of_its_own_unless_it_is_named(agents: Project) -> None:
    flow = """
agents: {default: own, own: {kind: command, command: [sh, -c, "env > seen.txt"]MORE}}
steps: [{agent: {prompt: look}}]
"""
    names = {"ANTHROPIC_API_KEY", "DATABASE_URL"}
    assert not seen(agents, flow.replace("MORE", "")).keys() & names
    assert seen(agents, flow.replace("MORE", ", pass_env: [DATABASE_URL]")).keys() & names == {"DATABASE_URL"}


def test_a_shell_step_has_all_unless_the_workflow_or_the_step_says_otherwise(agents: Project) -> None:
    flow = """
HEAD
env: {MADE: here}
steps: [{shell: env > seen.txt, MORE}]
"""

    def names(head: str, more: str) -> set[str]:
        text = flow.replace("HEAD", head).replace("MORE", more)
        return seen(agents, text).keys() & {"SHARED", "MADE", "NVM_DIR", "ANTHROPIC_API_KEY"}

    everything = {"SHARED", "MADE", "NVM_DIR", "ANTHROPIC_API_KEY"}
    assert names("", "name: x") == everything
    assert names("inherit: false", "name: x") == {"MADE", "NVM_DIR"}
    assert names("", "inherit: false") == {"MADE", "NVM_DIR"}
    assert names("inherit: false", "inherit: true") == everything
    assert names("", "clear_env: true") == {"NVM_DIR"}


def test_an_agent_that_fails_for_want_of_a_variable_says_how_it_gets_it(agents: Project) -> None:
    flow = """
agents: {default: own, own: {kind: command, command: [sh, -c, 'echo "${DATABASE_URL:?is not set}"']}}
steps: [{agent: {prompt: look}}]
"""
    done = agents.prodigy("run", agents.workflow(flow), "--yes")
    assert done.code == 1
    assert "`agents: {own: {pass_env: [DATABASE_URL]}}` gives it DATABASE_URL too" in done.err
    assert KEYS["DATABASE_URL"] not in done.err


def test_a_dry_run_lists_what_an_agent_will_not_get(agents: Project) -> None:
    flow = agents.workflow("agents: {claude: {pass_env: DATABASE_URL}}\nsteps: [{claude: hello}]\n")
    told = agents.prodigy("run", flow, "--dry-run", "--json").json["withheld_variables"]["claude"]
    assert {"AWS_PROFILE", "OPENAI_API_KEY"} <= set(told)
    assert not {"PATH", "ANTHROPIC_API_KEY", "DATABASE_URL"} & set(told)
    assert "claude does not get of your environment: " in agents.prodigy("run", flow, "--dry-run").out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("agents: {claude: {pass_env: [A-B]}}\nsteps: [{claude: x}]", "`pass_env`: A-B is no name of a variable"),
        ("steps: [{claude: x, inherit: true}]", "an agent never gets all of your environment by `inherit`"),
    ],
)
def test_what_can_not_be_is_told_on_load(project: Project, text: str, words: str) -> None:
    done = project.prodigy("validate", project.workflow(text))
    assert done.code == 2
    assert words in done.err + done.out
