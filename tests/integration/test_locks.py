"""One process works on a run, and nothing of a dead one still acts."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prodigy.errors import RunLocked
from prodigy.store.lock import RunLock, is_held
from support import Project, wait_until

SLOW = """
name: slow
steps:
  - shell: |
      touch "$SHARED/started"
      until [ -e "$SHARED/go" ]; do sleep 0.02; done
"""


def started(project: Project) -> subprocess.Popen[bytes]:
    process = project.start("run", project.workflow(SLOW))
    wait_until(lambda: (project.folder / "started").exists(), "the step starts")
    return process


def test_a_second_process_is_refused_and_told_who_works(project: Project) -> None:
    first = started(project)
    try:
        done = project.prodigy("resume", "latest")
        assert done.code == 4
        assert f"process {first.pid}" in done.err
    finally:
        (project.folder / "go").touch()
        first.communicate()
    assert first.returncode == 0


def test_the_lock_is_free_as_soon_as_its_holder_is_killed(project: Project) -> None:
    first = started(project)
    directory = project.home / "runs" / project.run_id()
    assert is_held(directory)
    first.kill()
    first.communicate()
    assert not is_held(directory)
    (project.folder / "go").touch()
    assert project.prodigy("resume", "latest").code == 0


def test_a_step_cannot_resume_its_own_run(project: Project) -> None:
    workflow = project.workflow(f"""
steps:
  - shell: |
      set +e
      {sys.executable} -m prodigy.cli.main resume "$PRODIGY_RUN_ID" > "$SHARED/said" 2>&1
      echo $? > "$SHARED/code"
""")
    assert project.prodigy("run", workflow).code == 0
    assert (project.folder / "code").read_text().strip() == "4"
    assert "from inside one of its own steps" in (project.folder / "said").read_text()


def test_a_run_inside_a_step_is_a_run_of_its_own_with_a_warning(project: Project) -> None:
    inner = project.workflow("name: inner\nsteps:\n  - shell: 'true'\n", "inner.yml")
    outer = project.workflow(f"""
name: outer
steps:
  - shell: {sys.executable} -m prodigy.cli.main run "{inner}" 2> "$SHARED/said"
""")
    assert project.prodigy("run", outer).code == 0
    assert "a run of its own" in (project.folder / "said").read_text()
    names = {row["workflow"] for row in project.prodigy("status", "--json").json}
    assert names == {"inner", "outer"}


def test_a_lock_that_was_removed_under_the_waiting_does_not_count(tmp_path: Path) -> None:
    first, second, third = RunLock(tmp_path), RunLock(tmp_path), RunLock(tmp_path)
    first.acquire()
    with pytest.raises(RunLocked):
        second.acquire()
    first.release()
    assert not (tmp_path / "lock").exists()
    second.acquire()
    with pytest.raises(RunLocked):
        third.acquire()
    second.release()


def test_resume_waits_for_a_git_call_that_a_killed_coordinator_left(project: Project) -> None:
    """A helper of a dead coordinator is stood in for by a process that holds the helpers' lock, as git does."""
    first = started(project)
    first.kill()
    first.communicate()
    helpers = project.home / "runs" / project.run_id() / "helpers"
    descriptor = os.open(helpers, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    holder = subprocess.Popen(["sleep", "100"], pass_fds=[descriptor])
    os.close(descriptor)
    (project.folder / "go").touch()
    resumed = project.start("resume", "latest")
    with pytest.raises(subprocess.TimeoutExpired):
        resumed.wait(1.5)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    out, err = resumed.communicate()
    assert resumed.returncode == 0, (out, err)
