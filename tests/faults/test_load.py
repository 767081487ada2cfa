"""Many items at once: nothing leaks, and memory has a bound."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support import Project, git

MB = 1 << 20
COORDINATOR_MB = 200
TOGETHER_MB = 500


def load(project: Project, items: int) -> dict[str, float]:
    """Run so many tiny items, 64 at a time; the most memory seen, in MB, of the coordinator and of everything."""
    workflow = project.workflow(f"""
name: load
map:
  input: seq 1 {items}
  max_parallel: 64
  agent_template:
    - shell: echo ${{item}} >> "$TALLY"; [ $(( ${{item}} % 50 )) -ne 0 ]
    - shell: echo x > ${{item}}.txt; git add -A; git commit -qm ${{item}}
""")
    running = project.start("run", workflow, "--yes", "--json")
    peak = {"coordinator": 0.0, "together": 0.0, "descriptors": 0.0}
    assert running.stdout is not None
    assert running.stderr is not None
    with (project.folder / "err").open("wb") as errors:
        os.set_blocking(running.stderr.fileno(), False)
        while running.poll() is None:
            for name, value in memory_of(running.pid).items():
                peak[name] = max(peak[name], value)
            errors.write(running.stderr.read() or b"")
    out, _ = running.communicate()
    assert running.returncode == 3, (project.folder / "err").read_text()[-2000:]
    assert f'"successful": {items - items // 50}' in out.decode()
    return peak


def memory_of(pid: int) -> dict[str, float]:
    """Proportional memory in MB (what is shared counts once) of a process, and of it with all below it."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        own = proportional_mb(process)
        together = own + sum(proportional_mb(one) for one in family[1:])
        return {"coordinator": own, "together": together, "descriptors": process.num_fds()}
    except psutil.Error:
        return {}


def proportional_mb(process: psutil.Process) -> float:
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0  # it ended while we looked
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def check(project: Project, items: int, record_property: Callable[[str, object], None]) -> None:
    peak = load(project, items)
    for name, value in peak.items():
        record_property(f"peak {name}", round(value))
    assert project.tally() == Counter(str(number) for number in range(1, items + 1))
    project.assert_nothing_left()
    branches = git(project.repo, "branch", "--list", "--format=%(refname:short)", "prodigy/*").splitlines()
    assert len(branches) == 1 + items // 50, "the run's branch, and one for each dead letter"
    assert not list((project.home / "worktrees").glob("*/*")), "a worktree is left"
    assert peak["coordinator"] < COORDINATOR_MB
    assert peak["together"] < TOGETHER_MB
    assert peak["descriptors"] < 400


@pytest.mark.chaos
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's smaps_rollup")
def test_a_hundred_and_fifty_items_at_64_wide_leave_nothing_and_stay_small(
    project: Project, record_property: Callable[[str, object], None]
) -> None:
    check(project, 150, record_property)


@pytest.mark.chaos
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's smaps_rollup")
def test_two_thousand_items_at_64_wide_leave_nothing_and_stay_small(
    project: Project, record_property: Callable[[str, object], None]
) -> None:
    check(project, 2000, record_property)
