"""A run is steered while it goes on: paused and released, made wider, given another budget, its dead items retried."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest

from support import Project, Running, wait_until

# Each item says that it began, and waits until it may end.
ITEMS = """
map:
  input: printf '%s\\n' one two three four
  max_parallel: 1
  agent_template:
    - shell: |
        touch "$SHARED/began-"${item}
        until [ -e "$SHARED/end-"${item} ] || [ -e "$SHARED/go" ]; do sleep 0.02; done
    - shell: touch "$SHARED/second-"${item}; echo ${item} > ${item}
"""


@pytest.fixture
def started(project: Project, let_go: None) -> Iterator[Running]:
    running = project.start("run", project.workflow(ITEMS), "--no-merge")
    begun(project, "one")
    yield running
    (project.folder / "go").touch()
    if running.poll() is None:
        running.communicate()


def begun(project: Project, item: str, mark: str = "began") -> None:
    wait_until((project.folder / f"{mark}-{item}").exists, f"{mark}-{item}")


def has_begun(project: Project, item: str, mark: str = "began") -> bool:
    return (project.folder / f"{mark}-{item}").exists()


def end(project: Project, item: str) -> None:
    (project.folder / f"end-{item}").touch()


def steps_ended(project: Project) -> int:
    return len(project.prodigy("events", "ls", "--event-type", "step_finished", "--json").out.splitlines())


def test_a_paused_run_starts_nothing_until_it_is_resumed(project: Project, started: Running) -> None:
    paused = project.prodigy("pause")
    assert paused.code == 0
    assert "is paused; what runs may finish. Go on: prodigy resume" in paused.err
    end(project, "one")
    wait_until(lambda: steps_ended(project) == 2, "the end of the first step")  # the input command's and this one's
    told = project.prodigy("status", "latest", "--json").json
    assert (told["status"], told["stop_reason"]) == ("paused", "user")
    assert re.fullmatch(r".+@.+ via terminal", told["held"]["by"])
    shown = project.prodigy("status", "latest").out
    assert "paused by " in shown
    assert "go on with: prodigy resume" in shown
    assert not has_begun(project, "one", "second")
    assert not has_begun(project, "two")
    resumed = project.prodigy("resume", "--json")
    assert resumed.code == 0
    assert (resumed.json["status"], resumed.json["held"]) == ("running", None)
    assert "goes on; watch it: prodigy attach" in resumed.err
    begun(project, "two")
    assert has_begun(project, "one", "second")
    (project.folder / "go").touch()
    started.communicate()
    assert started.returncode == 0
    assert project.prodigy("status", "latest", "--json").json["held"] is None
    events = project.prodigy("events", "ls", "--json").out
    assert '"event_type": "job_held"' in events
    assert '"event_type": "job_released"' in events


def test_a_paused_run_stays_paused_when_its_process_is_killed_and_goes_on_with_resume(
    project: Project, started: Running
) -> None:
    project.prodigy("pause")
    os.kill(started.pid, signal.SIGKILL)
    started.communicate()
    told = project.prodigy("status", "latest", "--json").json
    assert (told["status"], told["stop_reason"]) == ("paused", "user")
    (project.folder / "go").touch()
    resumed = project.prodigy("resume", "--json")
    assert resumed.code == 0
    assert resumed.json["items"]["successful"] == 4
    assert resumed.json["held"] is None


def test_a_paused_run_stays_paused_when_it_is_detached(project: Project, started: Running) -> None:
    project.prodigy("pause")
    assert project.prodigy("detach").code == 0
    started.communicate()
    assert project.prodigy("status", "latest", "--json").json["status"] == "paused"
    end(project, "one")
    wait_until(lambda: steps_ended(project) == 2, "the end of the first step")
    assert not has_begun(project, "two")
    (project.folder / "go").touch()
    project.prodigy("resume")
    assert project.prodigy("attach").code == 0


def test_more_items_run_at_once_when_they_may_and_fewer_later(project: Project, started: Running) -> None:
    assert not has_begun(project, "two")
    assert project.prodigy("steer", "--max-parallel", "3").code == 0
    begun(project, "two")
    begun(project, "three")
    assert not has_begun(project, "four")
    assert project.prodigy("steer", "--max-parallel", "1").code == 0
    end(project, "one")
    end(project, "two")
    wait_until(lambda: project.prodigy("status", "latest", "--json").json["items"]["successful"] == 2, "two items")
    assert not has_begun(project, "four")  # three still runs, and that is one
    end(project, "three")
    begun(project, "four")
    (project.folder / "go").touch()
    started.communicate()
    assert started.returncode == 0


def test_what_was_chosen_while_it_ran_holds_when_it_is_resumed(project: Project, started: Running) -> None:
    project.prodigy("steer", "--max-parallel", "2")
    begun(project, "two")
    os.kill(started.pid, signal.SIGKILL)
    started.communicate()
    again = project.start("resume")
    end(project, "one")
    begun(project, "three")  # beside two, which still runs
    (project.folder / "go").touch()
    again.communicate()
    assert again.returncode == 0


RETRIED = """
map:
  input: printf '%s\\n' bad slow
  max_parallel: 2
  agent_template:
    - shell: touch "$SHARED/began-"${item}
    - shell: test ${item} != bad || test -e "$SHARED/mended"
    - shell: test ${item} = bad || until [ -e "$SHARED/go" ]; do sleep 0.02; done
"""


def test_a_dead_item_runs_again_while_the_others_go_on(project: Project, let_go: None) -> None:
    running = project.start("run", project.workflow(RETRIED), "--no-merge")
    begun(project, "slow")
    wait_until(lambda: project.prodigy("status", "latest", "--json").json["dead_letters"] == 1, "a dead letter")
    (project.folder / "mended").touch()
    typo = project.prodigy("steer", "--retry", "bd")
    assert typo.code == 2
    assert "Did you mean bad?" in typo.err
    steered = project.prodigy("steer", "--retry", "bad")
    assert steered.code == 0
    assert "asked to run 1 item again" in steered.err
    wait_until(lambda: project.prodigy("status", "latest", "--json").json["dead_letters"] == 0, "its success")
    (project.folder / "go").touch()
    running.communicate()
    assert running.returncode == 0
    assert project.prodigy("steer", "--retry-all").code == 2


def test_a_budget_that_is_raised_counts_from_then_on(project: Project, started: Running) -> None:
    steered = project.prodigy("steer", "--budget", "12.5")
    assert "a budget of 12.5 USD" in steered.err
    (event,) = project.prodigy("events", "ls", "--event-type", "job_steered", "--json").out.splitlines()
    assert '"budget_usd\\": 12.5' in event


def test_a_paused_run_that_is_cancelled_is_cancelled(project: Project, started: Running) -> None:
    project.prodigy("pause")
    project.prodigy("cancel", "latest")
    started.communicate()
    told = project.prodigy("status", "latest", "--json").json
    assert (told["status"], told["held"]) == ("cancelled", None)
    (project.folder / "go").touch()
    assert project.prodigy("resume").code == 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["pause"], "Nothing of it runs. `prodigy resume` goes on with it."),
        (["steer", "--max-parallel", "3"], "Give it when you go on: prodigy resume"),
        (["steer", "--budget", "3"], "Give it when you go on: prodigy resume"),
    ],
)
def test_a_run_that_nobody_drives_can_not_be_steered(project: Project, words: list[str], hint: str) -> None:
    project.prodigy("run", project.workflow("- shell: 'true'\n"))
    done = project.prodigy(*words)
    assert done.code == 2
    assert "no process drives run" in done.err
    assert hint in done.err


def test_a_call_that_steers_nothing_is_refused(project: Project, started: Running) -> None:
    done = project.prodigy("steer")
    assert done.code == 2
    assert "Give --max-parallel, --budget, --retry or --retry-all." in done.err
