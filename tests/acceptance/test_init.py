"""`prodigy init`: a first workflow that works as it stands, and nothing of the user's lost."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from agent_support import stand_in_path
from prodigy.workflow.templates import STARTERS
from pty_support import answered
from support import Project, git

VALUES = {
    "migrate-api": ["--param", "old=print(", "--param", "new=log("],
    "refactor": ["--param", "goal=Use pathlib"],
    "compare-approaches": ["--param", "task=Say hello"],
}
ALL = sorted(path.stem for path in STARTERS.glob("*.yml"))


@pytest.fixture
def agents(project: Project) -> Project:
    """A project on a machine that has Claude Code and Codex, and no other agent."""
    directory = stand_in_path(project.folder)
    (Path(directory) / "codex").write_text("#!/bin/sh\n")
    (Path(directory) / "codex").chmod(0o755)
    project.env["PATH"] = f"{directory}:{os.environ['PATH']}"
    return project


def tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


def test_off_a_terminal_it_takes_the_defaults_and_says_what_to_type_next(agents: Project) -> None:
    before = tree(agents.repo)
    done = agents.prodigy("init")
    assert (done.code, done.err) == (0, "")
    written = tree(agents.repo).keys() - before.keys()
    assert written == {
        "workflows/fix-problems.yml", ".prodigy/schema.json", ".claude/commands/prodigy-fix-problems.md",
    }  # fmt: skip
    assert done.out.splitlines()[-7:] == [
        "Next:",
        "  prodigy validate workflows/fix-problems.yml",
        "  prodigy run workflows/fix-problems.yml --dry-run --run-input",
        "  git add .prodigy/schema.json .claude/commands workflows/fix-problems.yml",
        "  git commit -m 'Add a workflow'",
        "  prodigy run workflows/fix-problems.yml --param limit=3",
        "  prodigy run workflows/fix-problems.yml",
    ]
    first = (agents.repo / "workflows/fix-problems.yml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../.prodigy/schema.json"
    assert json.loads((agents.repo / ".prodigy/schema.json").read_text()) == agents.prodigy("schema").json


@pytest.mark.parametrize(("starter", "agent"), [*((name, "claude") for name in ALL), ("triage-issues", "codex")])
def test_what_it_writes_is_valid_to_a_strict_reader_and_could_be_run(agents: Project, starter: str, agent: str) -> None:
    which = [] if starter == "shell-only" else ["--agent", agent, "--budget", "7.5"]
    done = agents.prodigy("init", "--starter", starter, *which, *VALUES.get(starter, []), "--json")
    assert done.code == 0, done.err
    file = f"workflows/{starter}.yml"
    assert file in done.json["files"]
    checked = agents.prodigy("validate", "--strict", file)
    assert (checked.code, checked.err) == (0, "")
    planned = agents.prodigy("run", file, "--dry-run")
    assert planned.code == 0, planned.err
    if which:
        assert f"agents: {agent}" in planned.out
        assert "$7.50" in planned.out


def test_on_a_terminal_it_asks_three_questions_each_with_a_default(agents: Project) -> None:
    answers = [("name [", "shell-onl\n"), ("name [", "3\n"), ("name [", "codex\n"), ("dollars? [", "4\n")]
    code, shown, left = answered(["init"], answers, agents.repo, agents.environment())
    assert (code, left) == (0, []), shown
    assert "There is no shell-onl. Did you mean shell-only?" in shown
    assert "Number or name [fix-problems]:" in shown
    assert "Number or name [claude]:" in shown
    text = (agents.repo / "workflows/fix-problems.yml").read_text()
    assert "  default: codex  " in text
    assert "  max_cost_usd: 4\n" in text
    assert not (agents.repo / ".claude").exists()


def test_on_a_terminal_it_asks_for_what_the_job_can_not_do_without(agents: Project) -> None:
    answers = [("old:", "\n"), ("old:", 'get("x")\n'), ("new:", "fetch: it's async\n")]
    words = ["init", "--starter", "migrate-api", "--agent", "codex", "--budget", "3"]
    code, shown, left = answered(words, answers, agents.repo, agents.environment())
    assert (code, left) == (0, []), shown
    assert "What is to be done?" not in shown  # a flag answers its question
    assert "dollars" not in shown
    shown_as = agents.prodigy("template", "validate", "workflows/migrate-api.yml")
    assert shown_as.code == 0, shown_as.err
    text = (agents.repo / "workflows/migrate-api.yml").read_text()
    assert """    default: 'get("x")'\n""" in text
    assert """    default: "fetch: it's async"\n""" in text


def test_ctrl_c_at_a_question_leaves_nothing(agents: Project) -> None:
    before = tree(agents.repo)
    code, shown, _ = answered(["init"], [("name [", "\x03")], agents.repo, agents.environment())
    assert code == 130, shown
    assert tree(agents.repo) == before


def test_yes_asks_nothing_on_a_terminal(agents: Project) -> None:
    code, shown, _ = answered(["init", "--yes", "--starter", "refactor"], [], agents.repo, agents.environment())
    assert code == 2
    assert "prodigy init --starter refactor --param goal=..." in shown


def test_without_any_agent_it_takes_the_starter_that_needs_none(project: Project) -> None:
    directory = project.folder / "git alone"
    directory.mkdir()
    for name in ("git", "bash", "sh"):
        (directory / name).symlink_to(next(p for d in os.environ["PATH"].split(":") if (p := Path(d, name)).exists()))
    project.env["PATH"] = str(directory)
    done = project.prodigy("init")
    assert done.code == 0, done.err
    assert "wrote workflows/shell-only.yml" in done.out
    named = project.prodigy("init", "--starter", "refactor", "--param", "goal=x")
    assert "claude is not on the PATH: " in named.out


def test_it_takes_how_things_are_checked_from_the_repository(agents: Project) -> None:
    agents.write("pyproject.toml", "[tool.mypy]\n[tool.pytest.ini_options]\n")
    agents.write("uv.lock", "")
    agents.write("lib/x.py", "")
    done = agents.prodigy("init", "--param", "tests=tox -q", "--json")
    assert done.json["parameters"] == {
        "checker": "uv run mypy --no-pretty --no-error-summary .", "prepare": "uv sync --quiet", "tests": "tox -q",
    }  # fmt: skip
    again = agents.prodigy("init", "--starter", "write-tests", "--json")
    assert again.json["parameters"]["sources"] == "lib/*.py"


def test_an_agent_of_ones_own_is_proposed_and_has_no_budget_when_it_tells_no_cost(agents: Project) -> None:
    agents.write(".prodigy/config.yml", "agents: {default: mine, mine: {kind: command, command: [cat]}}\n")
    done = agents.prodigy("init", "--starter", "triage-issues", "--param", "issues=echo []", "--json")
    assert (done.json["agent"], "mine does not tell what it costs" in str(done.json["notes"])) == ("mine", True)
    text = (agents.repo / "workflows/triage-issues.yml").read_text()
    assert "default: mine" in text
    assert "budget:" not in text
    assert "sandbox: auto}" not in text  # what the configuration says of it holds
    assert agents.prodigy("run", "workflows/triage-issues.yml", "--dry-run").code == 0


# What is there already ----------------------------------------------------------------------------------------


def test_nothing_is_written_over_what_is_there(agents: Project) -> None:
    agents.write(".claude/commands/prodigy-fix-problems.md", "mine\n")
    before = tree(agents.repo)
    done = agents.prodigy("init")
    assert done.code == 2
    assert ".claude/commands/prodigy-fix-problems.md is there already, and nothing was written" in done.err
    assert "--force" in done.err
    assert tree(agents.repo) == before
    assert agents.prodigy("init", "-f").code == 0
    assert "mine" not in tree(agents.repo)[".claude/commands/prodigy-fix-problems.md"]


def test_what_is_there_as_it_would_be_written_is_in_nobodys_way(agents: Project) -> None:
    assert agents.prodigy("init").code == 0
    again = agents.prodigy("init")
    assert (again.code, again.out.splitlines()[0]) == (0, "nothing to write: all of it is there already")


def test_the_schema_of_an_earlier_version_is_brought_up_to_date_and_no_other_file(agents: Project) -> None:
    agents.write(".prodigy/schema.json", '{"title": "Prodigy workflow"}')
    assert "wrote .prodigy/schema.json" in agents.prodigy("init").out
    agents.write(".prodigy/schema.json", '{"title": "mine"}')
    assert agents.prodigy("init", "--output", "other.yml").code == 2


def test_a_directory_that_is_a_link_to_elsewhere_is_not_followed(agents: Project) -> None:
    elsewhere = agents.folder / "elsewhere"
    elsewhere.mkdir()
    (agents.repo / ".claude").symlink_to(elsewhere)
    done = agents.prodigy("init")
    assert (done.code, list(elsewhere.iterdir())) == (2, [])
    assert "leads out of the repository" in done.err
    assert not (agents.repo / "workflows").exists()


def test_a_file_in_the_place_of_a_directory_leaves_all_as_it_was(agents: Project) -> None:
    agents.write(".prodigy", "a file\n")
    before = tree(agents.repo)
    done = agents.prodigy("init")
    assert done.code == 5
    assert "nothing was written" in done.err
    assert tree(agents.repo) == before
    assert not (agents.repo / "workflows").exists()


def test_commands_that_git_ignores_stay_in_the_workflow(agents: Project) -> None:
    agents.write(".gitignore", ".claude/\n")
    done = agents.prodigy("init")
    assert not (agents.repo / ".claude").exists()
    assert "git ignores .claude/commands" in done.out
    assert "agent:\n        prompt: |" in (agents.repo / "workflows/fix-problems.yml").read_text()


# Where --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a b", "-p", 'it\'s "odd" $HOME'])
def test_a_directory_of_any_name(project: Project, name: str) -> None:
    repo = project.folder / name
    git(project.folder, "clone", "-q", "repo", "--", f"./{name}")
    done = project.prodigy("init", "--starter", "shell-only", "--", name, where=project.folder)
    assert done.code == 0, done.err
    assert (repo / "workflows/shell-only.yml").is_file()
    go = next(line for line in done.out.splitlines() if line.startswith("  cd "))
    assert go.endswith(" && prodigy validate workflows/shell-only.yml")
    typed = ["sh", "-c", f"{go.split(' && ')[0]} && pwd"]
    assert subprocess.check_output(typed, cwd=project.folder, text=True).strip() == str(repo)


def test_a_path_with_a_line_break_is_refused(project: Project) -> None:
    odd = project.folder / "line\nbreak"
    odd.mkdir()
    git(odd, "init", "-q")
    done = project.prodigy("init", "-p", odd, where=project.folder)
    assert (done.code, [path.name for path in odd.iterdir()]) == (5, [".git"])


def test_outside_of_a_repository_it_says_what_to_do_and_makes_none(project: Project) -> None:
    outside = project.folder / "outside"
    outside.mkdir()
    done = project.prodigy("init", where=outside)
    assert (done.code, list(outside.iterdir())) == (5, [])
    assert "git init" in done.err


def test_a_repository_without_a_commit_is_told_of_the_first(agents: Project) -> None:
    empty = agents.folder / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    done = agents.prodigy("init", where=empty)
    assert done.code == 0, done.err
    assert "  git add . && git commit -m Start\n" in done.out


def test_from_a_directory_below_it_writes_at_the_root(agents: Project) -> None:
    agents.write("src/a.py", "")
    done = agents.prodigy("init", where=agents.repo / "src")
    assert done.out.splitlines()[0] == "wrote ../workflows/fix-problems.yml"
    assert "cd .. && prodigy validate workflows/fix-problems.yml" in done.out


def test_output_names_another_file_and_the_schema_is_found_from_there(agents: Project) -> None:
    done = agents.prodigy("init", "--output", "ci/deep/flow.yml", "--max-parallel", "2")
    assert done.code == 0, done.err
    text = (agents.repo / "ci/deep/flow.yml").read_text()
    assert text.splitlines()[0].endswith("$schema=../../.prodigy/schema.json")
    assert "  max_parallel: 2\n" in text
    assert "prodigy run ci/deep/flow.yml --param limit=3" in text


# What is asked for wrongly ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--starter", "fix-problem"], "Did you mean fix-problems?"),
        (["--agent", "codx"], "Did you mean codex?"),
        (["--param", "cheker=x"], "Did you mean checker?"),
        (["--param", "limit=many"], "a whole number"),
        (["--param", "limit"], "--param NAME=VALUE"),
        (["--starter", "shell-only", "--agent", "claude"], "runs no agent"),
        (["--starter", "shell-only", "--budget", "1"], "nothing that --budget could limit"),
        (["--starter", "refactor"], "--param goal=..."),
        (["--starter", "document-modules", "--param", "only=some"], "value in ['missing', 'all']"),
        (["-c", "fix-problem"], "Did you mean prodigy-fix-problems?"),
        (["--output", "."], "this is a directory"),
        (["nowhere"], "there is no such directory"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_written(agents: Project, words: list[str], said: str) -> None:
    before = tree(agents.repo)
    done = agents.prodigy("init", *words)
    assert done.code == 2, done.err
    assert said in done.err
    assert tree(agents.repo) == before


def test_commands_alone_are_installed_as_the_earlier_system_did(agents: Project) -> None:
    done = agents.prodigy("init", "-c", "fix-problems,prodigy-refactor", "-p", ".")
    assert done.out.splitlines() == [
        "wrote .claude/commands/prodigy-fix-problems.md",
        "wrote .claude/commands/prodigy-refactor.md",
    ]
    assert not (agents.repo / "workflows").exists()


def test_claude_code_is_given_the_prompt_by_the_command(agents: Project) -> None:
    """The workflow names the command, the command has the instructions, and the facts of the item come with it."""
    agents.write("bad.txt", "x\n")
    agents.write("check.sh", "grep -l x bad.txt | sed 's/$/:1: there is an x/'\n")
    agents.env["CLAUDE_STAND_IN_LOG"] = str(agents.folder / "calls")
    assert agents.prodigy("init", "--param", "checker=sh check.sh").code == 0
    command = agents.repo / ".claude/commands/prodigy-fix-problems.md"
    command.write_text(command.read_text() + '\nMOCK[[ [{"sh": "echo y > bad.txt"}] ]]\n')
    agents.commit()
    done = agents.prodigy("run", "workflows/fix-problems.yml", "--yes")
    assert done.code == 0, done.err
    assert (agents.repo / "bad.txt").read_text() == "y\n"
    (call,) = [json.loads(line) for line in (agents.folder / "calls").read_text().splitlines()]
    assert call["prompt"].splitlines() == [
        "/prodigy-fix-problems", "The file: bad.txt", "The check: sh check.sh", "It says:",
        "bad.txt:1: there is an x",
    ]  # fmt: skip
