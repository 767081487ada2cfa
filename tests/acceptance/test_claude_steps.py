"""`claude:` steps in a whole run, with a scripted stand-in for the program."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pytest

from agent_support import script, stand_in_path
from support import Project, wait_until


@pytest.fixture(autouse=True)
def stand_in(project: Project) -> None:
    project.env["PATH"] = f"{stand_in_path(project.folder)}:{os.environ['PATH']}"
    project.env["CLAUDE_STAND_IN_LOG"] = str(project.folder / "calls")


def workflow(project: Project, *items: dict[str, Any], steps: str = "") -> str:
    """A map whose items carry what the stand-in is to do."""
    (project.folder / "items.json").write_text(json.dumps(list(items)))
    return f"""
agents: {{claude: {{pass_env: [SHARED]}}}}
map:
  input: cat "$SHARED/items.json"
  max_parallel: 2
  agent_template:
    - claude: "Work on ${{item.id}}. ${{item.script}}"
      id: agent
{steps}
"""


def commit(name: str) -> dict[str, str]:
    return {"sh": f"echo {name} > {name}.txt && git add {name}.txt && git commit -qm 'add {name}'"}


def test_agents_work_in_their_worktrees_and_their_answers_cost_and_tokens_are_kept(project: Project) -> None:
    text = workflow(
        project,
        {"id": "a", "script": script(commit("a"), {"text": "all done"})},
        {"id": "b", "script": script(commit("b"), {"text": "b's $(answer)"})},
        steps="    - shell: echo ${agent.output} > ${item.id}-answer.txt",
    )
    done = project.prodigy("run", project.workflow(text), "--yes", "--json")
    assert done.code == 0, done.err
    assert project.files("main") | {"a.txt": "a", "b-answer.txt": "b's $(answer)"} == project.files("main")
    assert done.json["cost_usd"] == pytest.approx(0.025)
    assert done.json["tokens"] == 4200
    assert (project.repo / "a-answer.txt").read_text() == "all done\n"


def test_an_agent_that_fails_is_in_the_queue_with_what_it_said_and_can_be_retried(project: Project) -> None:
    error = {"result": {"is_error": True, "api_error_status": 500, "result": "API Error: 500 overloaded"}}
    failing = {**error, "unless_file": str(project.folder / "go")}
    text = workflow(project, {"id": "a", "script": script(commit("a"), failing, {"text": "ok"})})
    done = project.prodigy("run", project.workflow(text), "--yes", "--json")
    assert done.code == 3, done.err
    (letter,) = project.prodigy("dlq", "list", "--json").json
    (failure,) = letter["failure_history"]
    assert failure["error_type"] == "command_failed"
    assert "API Error: 500" in failure["error_message"]
    assert done.json["cost_usd"] == pytest.approx(0.0125)
    (project.folder / "go").touch()
    again = project.prodigy("dlq", "retry", "latest", "--yes", "--json")
    assert again.code == 0, again.err
    assert again.json["cost_usd"] == pytest.approx(0.025)
    assert "a.txt" in project.files("main")


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ([{"text": "nothing to do"}], "commit_validation_failed"),
        ([{"result": None}, {"exit": 0}], "unknown"),
    ],
)
def test_how_an_agent_ends_decides_the_kind_of_the_failure(project: Project, steps: list[Any], kind: str) -> None:
    text = workflow(project, {"id": "a", "script": script(*steps)}, steps="      commit_required: true")
    assert project.prodigy("run", project.workflow(text), "--yes").code == 3
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert letter["failure_history"][0]["error_type"] == kind


def test_a_finished_agent_is_never_paid_again_after_kill_9(project: Project) -> None:
    text = workflow(
        project,
        {"id": "a", "script": script(commit("a"), {"text": "done"})},
        steps='    - shell: touch "$SHARED/second"; until [ -e "$SHARED/gate" ]; do sleep 0.05; done',
    )
    running = project.start("run", project.workflow(text), "--yes")
    wait_until(lambda: (project.folder / "second").exists(), "the agent is done and the next step runs")
    running.kill()
    running.communicate()
    (project.folder / "gate").touch()
    done = project.prodigy("resume", "--yes", "--json")
    assert done.code == 0, done.err
    assert len((project.folder / "calls").read_text().splitlines()) == 1
    assert done.json["cost_usd"] == pytest.approx(0.0125)


def test_slash_commands_args_and_a_large_prompt_reach_the_agent(project: Project) -> None:
    project.write(".claude/commands/fix.md", 'Fix $ARGUMENTS MOCK[[ [{"text": "fixed it"}] ]]\n')
    project.commit("commands")
    text = """
- /fix $ARG now
- claude: "${ARG} and ${FILE:-none}"
  id: echo
- shell: echo ${echo.output} > echoed.txt
"""
    done = project.prodigy("run", project.workflow(text), "--yes", "--args", "the bug")
    assert done.code == 0, done.err
    assert "the bug and none" in (project.repo / "echoed.txt").read_text()


def test_names_of_the_environment_need_no_braces_where_no_shell_reads(project: Project) -> None:
    text = r"""
env: {PLACE: shop, AT: {command: echo noon}}
parameters: {who: Ada}
secrets: {KEY: {command: echo s3cret-word}}
steps:
- claude: "go --to $PLACE $AT.x ${PLACE}s $who $ARG $PLACES \\$PLACE $$PLACE $HOME $KEY $5"
  id: said
- write_file: {path: "$PLACE.txt", content: "at $PLACE for $who, $HOME"}
- shell: echo ${said.output} >> "$PLACE.txt"; echo "$MADE" >> "$PLACE.txt"
  env: {MADE: "made for $who at $PLACE"}
"""
    done = project.prodigy("run", project.workflow(text), "--yes", "--args", "now")
    assert done.code == 0, done.err
    said = (project.repo / "shop.txt").read_text()
    assert r"go --to shop noon.x shops Ada now $PLACES \$PLACE $$PLACE $HOME $KEY $5" in said
    assert said.startswith("at shop for Ada, $HOME")
    assert said.endswith("made for Ada at shop\n")


def test_without_the_program_nothing_is_made(project: Project) -> None:
    bare = project.folder / "bare"
    bare.mkdir()
    for name in ("git", "bash", "sh"):
        (bare / name).symlink_to(str(shutil.which(name)))
    done = project.prodigy("run", project.workflow("- claude: hello\n"), env={"PATH": str(bare)})
    assert done.code == 5
    assert "'claude'" in done.err
    assert "install" in done.err
    assert not (project.home / "runs").exists()


def test_the_program_and_its_arguments_may_be_named_in_the_workflow(project: Project) -> None:
    program = project.folder / "stand-in bin" / "claude"
    text = f"""
agents: {{claude: {{command: {json.dumps(str(program))}, model: opus, args: [--append-system-prompt, be brief]}}}}
steps: [{{claude: hello}}]
"""
    done = project.prodigy("run", project.workflow(text), "--yes", env={"PATH": os.environ["PATH"]})
    assert done.code == 0, done.err
    (call,) = [json.loads(line) for line in (project.folder / "calls").read_text().splitlines()]
    words = " ".join(call["argv"])
    assert "--model opus" in words
    assert "--append-system-prompt be brief" in words


def test_a_failure_is_decided_the_same_after_a_crash(project: Project) -> None:
    """What an agent said decides about its retry; a resume must read it again."""
    lazy = {"text": "please try again", "unless_file": str(project.folder / "tried")}
    touch = {"sh": '[ -e "$SHARED/tried" ] && echo x > x.txt && git add . && git commit -qm x; touch "$SHARED/tried"'}
    text = f"""
agents: {{claude: {{pass_env: [SHARED]}}}}
map:
  input: echo '{{"id":"a"}}'
  agent_template:
    - claude: {json.dumps(script(touch, lazy, {"text": "please try again"}))}
      commit_required: true
      retry: {{attempts: 2, initial_delay: 0, retry_on: ["try again"]}}
    - shell: echo done
"""
    workflow = project.workflow(text)
    killed = project.prodigy("run", workflow, "--yes", env={"PRODIGY_FAULT": "after:step_finished#2"})
    assert killed.code == -9, killed.err
    done = project.prodigy("resume", "--yes", "--json")
    assert done.code == 0, done.err
    assert len((project.folder / "calls").read_text().splitlines()) == 2
    assert done.json["cost_usd"] == pytest.approx(0.025)


def test_what_an_agent_used_before_it_was_ended_is_counted(project: Project) -> None:
    gate = {"sleep_until_file": str(project.folder / "gate"), "unless_file": str(project.folder / "gate")}
    text = workflow(project, {"id": "a", "script": script({"sh": 'touch "$SHARED/at-work"'}, gate, {"text": "ok"})})
    running = project.start("run", project.workflow(text), "--yes")
    wait_until(lambda: (project.folder / "at-work").exists(), "the agent works")
    project.prodigy("cancel", "latest")
    running.communicate(timeout=60)
    assert running.returncode == 130
    before = project.prodigy("status", "latest", "--json").json
    assert before["tokens"] > 0
    (project.folder / "gate").touch()
    done = project.prodigy("resume", "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json["tokens"] > before["tokens"]


def test_as_root_a_run_is_refused_before_anything_is_made_and_the_cure_is_told(project: Project) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root is refused")
    flow = project.workflow("- claude: hello\n")
    done = project.prodigy("run", flow, env={"IS_SANDBOX": "0"})
    assert done.code == 5
    assert "refuses to skip permissions when it runs as root" in done.err
    assert "IS_SANDBOX=1" in done.err
    assert not (project.home / "runs").exists()
    allowed = project.workflow("agents: {claude: {permission_mode: acceptEdits}}\nsteps: [{claude: hello}]\n")
    assert project.prodigy("run", allowed, env={"IS_SANDBOX": "0"}).code == 0


def test_a_run_says_at_its_start_what_agents_may_do(project: Project) -> None:
    done = project.prodigy("run", project.workflow("- claude: hello\n"))
    assert done.err.startswith("claude may run any command with your rights")
