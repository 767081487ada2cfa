"""What an agent is told of the try before, and who resolves what conflicts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_support import script, stand_in_path
from support import Project, git


@pytest.fixture
def agents(project: Project) -> Project:
    project.env = {
        "PATH": f"{stand_in_path(project.folder)}:{project.environment()['PATH']}",
        "CLAUDE_STAND_IN_LOG": str(project.folder / "calls"),
    }
    return project


def calls(project: Project) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (project.folder / "calls").read_text().splitlines()]


TEXT = """
on_item_failure: retry
retry_config: {{max_attempts: 2, initial_delay: 0s}}
map:
  input: printf 'a\\n'
  agent_template:
    - claude: 'Do it. {script}'
      {more}
    - shell: echo the tests say no; test -e "$SHARED/second" || {{{{ touch "$SHARED/second"; exit 3; }}}}
"""


def text(more: str = "") -> str:
    change = {"sh": "echo wrong > wrong.txt && git add -A && git commit -qm wrong"}
    return TEXT.format(script=script(change, {"text": "done"}), more=more).replace("{{", "{").replace("}}", "}")


def test_an_agent_is_told_how_the_attempt_before_failed(agents: Project) -> None:
    done = agents.prodigy("run", agents.workflow(text()), "--yes", "--json")
    assert done.code == 0, done.err
    first, second = (call["prompt"] for call in calls(agents))
    assert "earlier attempt" not in first
    assert second.startswith("Do it.")
    for words in ("earlier attempt", "exited with code 3", "the tests say no", "+wrong", "wrong.txt"):
        assert words in second


def test_an_agent_that_is_to_begin_afresh_is_told_nothing(agents: Project) -> None:
    done = agents.prodigy("run", agents.workflow(text("fresh: true")), "--yes", "--json")
    assert done.code == 0, done.err
    assert [call["prompt"] for call in calls(agents)] == [calls(agents)[0]["prompt"]] * 2


def test_the_next_try_of_a_step_is_told_too_and_slash_commands_keep_their_arguments(agents: Project) -> None:
    agents.write(".claude/commands/fix.md", f"Fix $ARGUMENTS. {script({'text': 'hm'})}\n")
    agents.commit()
    flow = "- claude: /fix it\n  id: x\n  retry: {attempts: 2, initial_delay: 0s}\n  capture_format: json\n"
    done = agents.prodigy("run", agents.workflow(flow), "--json")
    assert done.code == 1
    first, second = calls(agents)
    assert first["prompt"] == second["prompt"] == "/fix it"
    words = second["argv"]
    assert "was tried before" in words[words.index("--append-system-prompt") + 1]


CONFLICT = """
map:
  input: printf 'a\\nb\\n'
  max_parallel: 2
  merge: {{on_conflict: {who}}}
  agent_template:
    - shell: |
        printf 'one\\ntwo %s\\nthree\\n' ${{item}} > shared.txt
        touch "$SHARED/in-${{item}}"
        until [ -e "$SHARED/in-a" ] && [ -e "$SHARED/in-b" ]; do sleep 0.05; done
        git commit -qam "Say ${{item}}"
"""
MERGED = 'printf "one\\ntwo a and b\\nthree\\n" > shared.txt'


@pytest.mark.parametrize("who", ["agent", f"[{{shell: '{MERGED}'}}]"])
def test_what_conflicts_is_resolved_and_merged_with_both_sides(agents: Project, who: str) -> None:
    agents.write(".claude/x", "x")
    stand_in = agents.folder / "resolver"
    stand_in.write_text(f'#!/bin/sh\ncat > "$SHARED/asked"\n{MERGED}\n')
    stand_in.chmod(0o755)
    flow = f"agents: {{default: r, r: {{kind: command, command: '{stand_in}', pass_env: SHARED}}}}\n" + CONFLICT.format(
        who=who
    )
    done = agents.prodigy("run", agents.workflow(flow), "--yes", "--json")
    assert done.code == 0, done.err
    assert agents.files("main")["shared.txt"] == "one\ntwo a and b\nthree"
    said = git(agents.repo, "log", "--format=%s", "main")
    assert "Say a" in said
    assert "Say b" in said
    if who == "agent":
        asked = (agents.folder / "asked").read_text()
        for words in ("shared.txt", "Say a", "Say b", "<<<<<<<", ">>>>>>>", "CONFLICT"):
            assert words in asked
    agents.assert_nothing_left()


def test_what_is_not_resolved_is_a_dead_letter_with_the_diff(agents: Project) -> None:
    flow = CONFLICT.format(who="[{shell: 'true'}]")
    done = agents.prodigy("run", agents.workflow(flow), "--json")
    assert done.code == 3, done.err
    (letter,) = agents.prodigy("dlq", "list", "--json").json
    failure = letter["failure_history"][-1]
    assert failure["error_type"] == "merge_conflict"
    assert "conflict markers are left in shared.txt" in failure["error_message"]
    shown = agents.prodigy("dlq", "inspect", letter["item_id"]).out
    assert "<<<<<<<" in shown
    agents.assert_nothing_left()


def test_a_step_is_told_that_it_stands_in_its_worktree(agents: Project) -> None:
    """Some agents believe PWD: they would work in the user's checkout."""
    done = agents.prodigy("run", agents.workflow("- shell: printenv PWD > pwd.txt; pwd -P >> pwd.txt\n"), "--yes")
    assert done.code == 0, done.err
    told, real = agents.files("main")["pwd.txt"].splitlines()
    assert told == real
