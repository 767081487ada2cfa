"""How much is said: `--quiet`, `-v`, `-vv`, and plain lines elsewhere than on a terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import Project, wait_until

FLOW = """
name: told
map:
  input: printf '%s\\n' good bad
  agent_template:
    - shell: echo "hello from "${item}; test ${item} = good || { echo wrong >&2; exit 3; }
      name: greet
"""
LINE = re.compile(r"\d\d:\d\d:\d\d \[ +\d+\.\ds\] (.*)")


def said(err: str) -> list[str]:
    """What plain lines say; each of them begins with the time of day and that of the run."""
    found = [LINE.fullmatch(line) for line in err.splitlines()]
    assert all(found), err
    return [match[1] for match in found if match]


def test_plain_lines_have_the_time_of_day_and_of_the_run(project: Project) -> None:
    done = project.prodigy("run", project.workflow(FLOW), "--no-merge")
    lines = said(done.err)
    assert lines[0] == f"run {project.run_id()}"
    assert "2 items" in lines
    assert not [line for line in lines if line.startswith(("step ", "good |"))]


@pytest.mark.parametrize("flag", ["-q", "--quiet"])
def test_quiet_says_the_result_and_what_went_wrong(project: Project, flag: str) -> None:
    project.write("new.txt", "not committed")  # is warned of otherwise
    done = project.prodigy("run", project.workflow(FLOW), "--no-merge", flag)
    assert done.code == 3
    assert said(done.err) == ["FAILED bad: exited with code 3: wrong  [1/2]"] or said(done.err) == [
        "FAILED bad: exited with code 3: wrong  [2/2]"
    ]
    assert "told: completed with failures" in done.out
    again = project.prodigy("dlq", "retry", "latest", flag)
    assert said(again.err)[0].startswith("FAILED bad: exited with code 3: wrong")
    assert not [line for line in said(again.err) if line.startswith(("run ", "start", "map"))]
    resumed = project.prodigy("resume", "latest", flag)
    assert (resumed.err, resumed.code) == ("", 3)


def test_quiet_is_for_generated_workflows_too(project: Project) -> None:
    for call in (["exec", "shell: echo x > x.txt"], ["batch", "*.txt", "--command", "shell: true"]):
        done = project.prodigy(*call, "--quiet")
        assert (done.code, done.err) == (0, ""), call
        assert "completed" in done.out


def test_an_error_is_told_all_the_same(project: Project) -> None:
    done = project.prodigy("run", project.workflow("- shell: exit 4\n"), "--quiet")
    assert done.code == 1
    assert "Error: " in done.err


@pytest.mark.parametrize("call", [["-v", "run"], ["run", "-v"], ["run", "--verbose"], ["--verbose", "run"]])
def test_verbose_tells_every_step(project: Project, call: list[str]) -> None:
    done = project.prodigy(*call, str(project.workflow(FLOW)), "--no-merge")
    lines = said(done.err)
    assert "step   good: greet" in lines
    assert any(re.fullmatch(r"ended  good: greet: ok \(\d+\.\d s\)", line) for line in lines)
    assert any(line.startswith("ended  bad: greet: exited with code 3: wrong (") for line in lines)
    assert not [line for line in lines if " | " in line]


@pytest.mark.parametrize("call", [["-vv", "run"], ["-v", "run", "-v"], ["run", "-vv"]])
def test_twice_verbose_tells_what_steps_print(project: Project, call: list[str]) -> None:
    done = project.prodigy(*call, str(project.workflow(FLOW)), "--no-merge")
    lines = said(done.err)
    for line in ("good | hello from good", "bad | hello from bad", "bad | wrong", "run | good"):
        assert lines.count(line) == 1, line
    assert lines.index("bad | wrong") < next(n for n, line in enumerate(lines) if line.startswith("ended  bad"))


def test_what_is_printed_without_an_end_of_line_or_with_escapes_is_told_safely(project: Project) -> None:
    text = "- shell: printf 'odd\\033[2Jone\\nlast'\n  name: odd\n"
    done = project.prodigy("run", project.workflow(text), "--no-merge", "-vv")
    lines = said(done.err)
    assert "run | oddone" in lines
    assert "run | last" in lines


def test_quiet_and_verbose_exclude_each_other(project: Project) -> None:
    for call in (["run", "-q", "-v"], ["-v", "run", "-q"]):
        done = project.prodigy(*call, str(project.workflow(FLOW)))
        assert done.code == 2
        assert "--quiet and --verbose exclude each other" in done.err


def test_attach_tells_more_too(project: Project, let_go: None) -> None:
    gated = """
map:
  input: printf '%s\\n' one
  agent_template:
    - shell: echo before; touch "$SHARED/begun"; until test -e "$SHARED/go"; do sleep 0.02; done; echo behind
"""
    assert project.prodigy("run", project.workflow(gated), "--no-merge", "--detach").code == 0
    wait_until(Path(project.folder / "begun").exists, "it runs")
    call = [sys.executable, "-c", "from prodigy.cli.main import main; main()", "attach", "-vv"]
    with subprocess.Popen(call, cwd=project.repo, env=project.environment(), stderr=subprocess.PIPE) as watching:
        assert watching.stderr is not None
        assert said(watching.stderr.readline().decode()) == [f"run {project.run_id()}"]
        (project.folder / "go").touch()
        lines = said(watching.stderr.read().decode())
    assert watching.returncode == 0
    assert lines.count("one | behind") == 1
    assert "one | before" not in lines, "what was printed before is not told again"
    assert any(line.startswith("ended  one: ") for line in lines)
