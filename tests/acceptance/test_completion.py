"""Completion in real shells."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import Project

FLOW = "map: {input: printf 'bad', agent_template: [{shell: 'false'}]}\nprofiles: {fast: {A: b}, slow: {A: c}}\n"


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """Where the shells find `prodigy`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "prodigy"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m prodigy.cli.main "$@"\n')
    program.chmod(0o755)
    return folder


def in_shell(project: Project, bin_folder: Path, argv: list[str]) -> list[str]:
    env = project.environment()
    env |= {"PATH": f"{bin_folder}:{env['PATH']}"}
    done = subprocess.run(argv, cwd=project.repo, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def script(project: Project, shell: str) -> Path:
    path = project.folder / f"completion.{shell}"
    done = project.prodigy("completion", shell)
    assert done.code == 0, done.err
    path.write_text(done.out)
    return path


def completed_in_bash(project: Project, bin_folder: Path, *words: str) -> list[str]:
    calls = f"""
source "{script(project, "bash")}"
COMP_WORDS=(prodigy {" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words)}
compopt() {{ :; }}
_prodigy_completion prodigy
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    return in_shell(project, bin_folder, ["bash", "--noprofile", "--norc", "-c", calls])


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("work",), ["worktree"]),
        (("worktree", "cl"), ["clean", "clean-orphaned"]),
        (("run", "--fail"), ["--fail-fast"]),
        (("resume-job", "--include-d"), ["--include-dlq"]),
        (("events", "export", "--format", ""), ["json", "csv", "markdown"]),
        (("config", "trace", "budget.p"), ["budget.per_day_usd"]),
    ],
)
def test_bash_completes_commands_options_and_choices(
    project: Project, bin_folder: Path, words: tuple[str, ...], offered: list[str]
) -> None:
    assert completed_in_bash(project, bin_folder, *words) == offered


def test_bash_completes_what_there_is_now(project: Project, bin_folder: Path) -> None:
    assert completed_in_bash(project, bin_folder, "status", "") == [], "no run yet, and no error at a prompt"
    flow = project.write("flow.yml", FLOW)
    project.commit()
    assert project.prodigy("run", flow, "--no-merge").code == 3
    assert completed_in_bash(project, bin_folder, "status", "20")[0] == project.run_id()
    assert completed_in_bash(project, bin_folder, "status", "fl") == ["flow"]
    (item,) = completed_in_bash(project, bin_folder, "dlq", "retry", "latest", "--item", "")
    assert item == project.prodigy("dlq", "list", "--json").json[0]["item_id"]
    assert completed_in_bash(project, bin_folder, "run", "fl") == ["flow.yml"]
    assert completed_in_bash(project, bin_folder, "run", "flow.yml", "--profile", "") == ["fast", "slow"]
    project.home.joinpath("config.yml").write_text("agents: {cheap: {kind: codex}}\n")
    assert completed_in_bash(project, bin_folder, "run", "flow.yml", "--agent", "c") == ["cheap", "claude", "codex"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_completes(project: Project, bin_folder: Path) -> None:
    calls = f"""
compdef() {{ :; }}
_describe() {{ print -l -- "${{(@P)3}}"; }}
compadd() {{ local -a given; given=("$@"); print -l -- "${{(@P)given[-1]}}"; }}
words=(prodigy worktree cl); CURRENT=3
source "{script(project, "zsh")}"
_prodigy_completion
"""
    found = in_shell(project, bin_folder, ["zsh", "-f", "-c", calls])
    assert [word.partition(":")[0] for word in found if word.startswith("clean")] == ["clean", "clean-orphaned"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish_completes(project: Project, bin_folder: Path) -> None:
    call = f"source '{script(project, 'fish')}'; complete -C 'prodigy worktree cl'"
    found = in_shell(project, bin_folder, ["fish", "--no-config", "-c", call])
    assert [word for word in found if word.startswith("clean")] == ["clean", "clean-orphaned"]


def test_completing_imports_neither_the_engine_nor_a_command() -> None:
    call = (
        "import os, sys; os.environ |= {'_PRODIGY_COMPLETE': 'bash_complete', 'COMP_WORDS': 'prodigy run --',"
        " 'COMP_CWORD': '2'}; sys.argv[1:] = []; from prodigy.cli.main import main; main();"
        " print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    assert "--fail-fast" in done.stdout
    imported = set(done.stdout.splitlines()[-1].split())
    assert not [name for name in imported if name.startswith(("prodigy.engine", "prodigy.executors", "pydantic"))]
    assert "prodigy.cli.runs" not in imported
