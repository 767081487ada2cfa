"""Agents can't push as the user unless the workflow says so; shell steps can."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_support import script, stand_in_path
from git_server import AUTHORIZATION, PASSWORD, USER, serving
from support import Project, git

HELPER = f"\"!f() {{ test $1 != get || printf 'username={USER}\\\\npassword={PASSWORD}\\\\n'; }}; f\""
PUSH = script({"sh": "git push server HEAD:refs/heads/by-agent > pushed.txt 2>&1; true"}, {"text": "done"})
SHELL = "git push -q server HEAD:refs/heads/by-shell"
FLOW = f"TOP\nsteps:\n  - claude: '{PUSH}'\n  - shell: {SHELL}\n"
TOKENS = {"GH_TOKEN": "gh-dummy-token", "GITLAB_TOKEN": "gl-dummy-token", "SSH_AUTH_SOCK": "/run/agent.sock",
          "GIT_ASKPASS": "/usr/bin/ask", "SSH_ASKPASS": "/usr/bin/ask"}  # fmt: skip
NAMES = script({"sh": "env > seen.txt"}, {"text": "done"})


@pytest.fixture
def server(project: Project, tmp_path: Path) -> Iterator[str]:
    """The address of a server on which the project's remote `server` is."""
    project.env = {"PATH": f"{stand_in_path(project.folder)}:{project.environment()['PATH']}", "NO_PROXY": "127.0.0.1",
                   "no_proxy": "127.0.0.1"}  # fmt: skip
    folder = tmp_path / "served"
    git(tmp_path, "init", "-q", "--bare", str(folder / "far.git"))
    with serving(folder) as address:
        git(project.repo, "remote", "add", "server", f"{address}/far.git")
        yield address


def pushed(project: Project, tmp_path: Path, flow: str) -> list[str]:
    """The branches that a run leaves on the server."""
    done = project.prodigy("run", project.workflow(flow), "--yes")
    assert done.code == 0, done.err
    return git(tmp_path / "served" / "far.git", "for-each-ref", "--format=%(refname:short)").splitlines()


def by_helper(project: Project, address: str) -> None:
    (project.folder / ".gitconfig").write_text(f"[credential]\n\thelper = {HELPER}\n")


def by_helper_of_the_address(project: Project, address: str) -> None:
    (project.folder / ".gitconfig").write_text(f'[credential "{address}"]\n\thelper = {HELPER}\n')


def by_header_in_the_repository(project: Project, address: str) -> None:
    git(project.repo, "config", f"http.{address}/.extraHeader", f"Authorization: {AUTHORIZATION}")


def by_header_in_the_environment(project: Project, address: str) -> None:
    project.env |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"http.{address}.extraHeader",
                    "GIT_CONFIG_VALUE_0": f"Authorization: {AUTHORIZATION}"}  # fmt: skip


def by_askpass(project: Project, address: str) -> None:
    program = project.folder / "ask"
    program.write_text(f'#!/bin/sh\ncase "$1" in User*) echo {USER} ;; *) echo {PASSWORD} ;; esac\n')
    program.chmod(0o755)
    project.env["GIT_ASKPASS"] = str(program)


WAYS = (
    by_helper, by_helper_of_the_address, by_header_in_the_repository, by_header_in_the_environment, by_askpass,
)  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_an_agent_can_not_push_with_what_the_user_pushes_with(
    project: Project, tmp_path: Path, server: str, way: object
) -> None:
    assert callable(way)
    way(project, server)
    assert pushed(project, tmp_path, FLOW.replace("TOP", "name: x")) == ["by-shell"]
    said = project.files("main")["pushed.txt"]
    assert "could not read Username" in said or "Authentication failed" in said or "403" in said


@pytest.mark.parametrize(
    "top", ["push_credentials: true", "agents: {claude: {push_credentials: true}}"], ids=["workflow", "agent"]
)
@pytest.mark.parametrize("way", [by_helper, by_askpass])
def test_it_can_where_the_workflow_says_so(
    project: Project, tmp_path: Path, server: str, way: object, top: str
) -> None:
    assert callable(way)
    way(project, server)
    assert pushed(project, tmp_path, FLOW.replace("TOP", top)) == ["by-agent", "by-shell"]


def seen(project: Project, flow: str) -> dict[str, str]:
    project.env = {"PATH": f"{stand_in_path(project.folder)}:{project.environment()['PATH']}", **TOKENS}
    done = project.prodigy("run", project.workflow(flow), "--yes")
    assert done.code == 0, done.err
    lines = git(project.repo, "show", "HEAD:seen.txt").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def test_tokens_and_agents_of_keys_are_withheld_even_with_all_other_variables(project: Project) -> None:
    flow = f"""
agents: {{claude: {{pass_env: '*'}}}}
secrets: {{GITHUB_TOKEN: GH_TOKEN}}
steps: [{{claude: '{NAMES}', env: {{CHOSEN: "${{GITHUB_TOKEN}}"}}}}]
"""
    found = seen(project, flow)
    assert not {"GH_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN", "SSH_AUTH_SOCK"} & found.keys()
    assert (found["GIT_ASKPASS"], found["GIT_TERMINAL_PROMPT"]) == ("/bin/true", "0")
    assert found["CHOSEN"] == TOKENS["GH_TOKEN"]  # the step itself says so


def test_all_of_them_are_there_where_the_workflow_says_so(project: Project) -> None:
    found = seen(project, f"push_credentials: true\nsteps: [{{claude: '{NAMES}'}}]\n")
    assert TOKENS.items() <= found.items()
    assert "GIT_SSH_COMMAND" not in found


def test_ssh_offers_no_key_whatever_its_configuration_says(project: Project) -> None:
    look = script({"sh": "$GIT_SSH_COMMAND -G example.org > seen.txt"}, {"text": "done"})
    project.env = {"PATH": f"{stand_in_path(project.folder)}:{project.environment()['PATH']}"}
    done = project.prodigy("run", project.workflow(f"- claude: '{look}'\n"), "--yes")
    assert done.code == 0, done.err
    settings = git(project.repo, "show", "HEAD:seen.txt").splitlines()
    for line in ("pubkeyauthentication false", "batchmode yes", "identityagent none", "identitiesonly yes",
                 "controlmaster false"):  # fmt: skip
        assert line in settings
    assert not any(line.startswith("controlpath") for line in settings)


def test_a_name_that_is_withheld_all_the_same_is_warned_of(project: Project) -> None:
    flow = "agents: {claude: {pass_env: [GH_TOKEN]MORE}}\nsteps: [{claude: x}]\n"
    told = project.prodigy("validate", project.workflow(flow.replace("MORE", "")))
    assert "GH_TOKEN is there to push with, and is withheld all the same" in told.err + told.out
    told = project.prodigy("validate", project.workflow(flow.replace("MORE", ", push_credentials: true")))
    assert "is withheld" not in told.err + told.out
