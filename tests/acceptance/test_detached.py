"""`--detach`: the call tells what became of the process in the background, not only that there is one."""

from __future__ import annotations

import signal
import subprocess
import time
from types import SimpleNamespace
from typing import Any

import pytest

from prodigy.cli.background import drive_in_background
from prodigy.engine import background
from support import Project, processes_of, wait_until

GATED = """
map:
  input: printf 'a\\nb\\n'
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        until [ -e "$SHARED/go" ]; do sleep 0.05; done
"""
FAILING = '- shell: test -e "$SHARED/go" || { echo "first line" >&2; echo "second line" >&2; exit 4; }\n'


def stopped(project: Project) -> str:
    """A run whose process was killed before it ended."""
    killed = project.prodigy("run", project.workflow(GATED), env={"PRODIGY_FAULT": "after:agent_started"})
    assert killed.code == -signal.SIGKILL
    (project.folder / "go").touch()
    wait_until(lambda: not processes_of(project.folder), "the steps have ended")
    return project.run_id()


def test_a_call_that_is_refused_says_why_and_exits_as_in_the_foreground(project: Project) -> None:
    run_id = stopped(project)
    foreground = project.prodigy("dlq", "retry", run_id)
    for _ in range(2):  # what an earlier call left in the log is not this one's
        done = project.prodigy("dlq", "retry", run_id, "--detach")
        assert (done.code, done.out) == (foreground.code, "") == (2, ""), done
        assert "has not ended yet" in done.err
        assert f"prodigy resume {run_id} --include-dlq" in done.err
        assert done.err.count("Error:") == 1
        assert "goes on in the background" not in done.err


@pytest.mark.parametrize("again", [False, True])
def test_the_printed_summary_is_of_the_run_that_goes_on(project: Project, again: bool) -> None:
    call = ("resume", stopped(project)) if again else ("run", str(project.workflow(GATED)))
    (project.folder / "go").unlink(missing_ok=True)
    project.tally_file.unlink(missing_ok=True)
    done = project.prodigy(*call, "--detach", "--json")
    assert (done.code, done.json["status"]) == (0, "running"), done
    wait_until(lambda: sum(project.tally().values()) == 2, "the items run")
    (project.folder / "go").touch()
    assert project.prodigy("attach", project.run_id()).code == 0


def in_process(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The background is looked at only when the process there has ended."""
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)

    started: list[subprocess.Popen[bytes]] = []

    def popen(*args: Any, **how: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(*args, **how))
        return started[-1]

    def until_it_has_ended(_seconds: float) -> None:
        started[-1].wait(timeout=60)

    monkeypatch.setattr(background, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL))
    monkeypatch.setattr(background, "time", SimpleNamespace(monotonic=time.monotonic, sleep=until_it_has_ended))


def test_a_run_that_has_failed_at_once_is_told_with_its_exit_code(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.prodigy("run", project.workflow(FAILING)).code == 1
    in_process(project, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        drive_in_background(project.run_id(), as_json=False)
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (1, f"{project.run_id()}\n"), "stdout is the same, however it went"
    assert "failed (run " in shown.err
    assert "\nError: " in shown.err
    assert "second line" in shown.err
    assert "goes on in the background" not in shown.err


def test_a_run_that_has_completed_at_once_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert project.prodigy("run", project.workflow(FAILING)).code == 1
    (project.folder / "go").touch()
    in_process(project, monkeypatch)
    with pytest.raises(SystemExit) as ended:
        drive_in_background(project.run_id(), as_json=True)
    shown = capsys.readouterr()
    assert (ended.value.code, '"status": "completed"' in shown.out) == (0, True)


def test_a_process_that_dies_before_it_begins_is_no_success(project: Project) -> None:
    run_id = stopped(project)
    done = project.prodigy("resume", run_id, "--detach", env={"PRODIGY_FAULT": "before:job_resumed"})
    assert (done.code, done.out) == (128 + signal.SIGKILL, ""), done
    assert "coordinator.log" in done.err
