"""One process works on a run, whichever command it is, and whoever comes second is told enough to act."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from prodigy.store.lock import Holder, holder, is_held, read_holder
from support import Done, Project, Running, wait_until

# Every item waits for the file `go`: as long as it is not there, whoever works on the run goes on working.
GATED = """
name: gated
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n{"id":"c"}\\n'
  max_parallel: 2
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        until [ -e "$SHARED/go" ]; do sleep 0.05; done
        echo done > ${item.id}.txt
"""
ONCE_EACH = Counter({"a": 1, "b": 1, "c": 1})
ONE_FAILS = """
map:
  input: printf '{"id":"bad"}\\n{"id":"good"}\\n'
  max_parallel: 1
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        test ${item.id} = good
        until [ -e "$SHARED/go" ]; do sleep 0.05; done
"""
# Fails at first; a retry waits for the file `go`.
FAILS_ONCE = """
map:
  input: printf '{"id":"x"}\\n'
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        test -e "$SHARED/mended"
        until [ -e "$SHARED/go" ]; do sleep 0.05; done
        echo done > ${item.id}.txt
"""


def directory_of(project: Project) -> Path:
    return project.home / "runs" / project.run_id()


def gated_run_that_was_killed(project: Project) -> Path:
    """The directory of a run whose coordinator was ended by kill -9 while two items, which live on, wait for `go`."""
    running = project.start("run", project.workflow(GATED), "--yes")
    wait_until(lambda: sum(project.tally().values()) == 2, "two items run")
    running.kill()
    running.communicate()
    return directory_of(project)


@contextlib.contextmanager
def holding(project: Project, process: Running, code: int = 0) -> Iterator[Holder]:
    """While a command, which was just started, works on the run; in the end it is let go, and exits with `code`."""
    try:
        yield holder_of(project, process)
    finally:
        (project.folder / "go").touch()
        _, err = process.communicate()
    assert process.returncode == code, err.decode()


def holder_of(project: Project, process: Running) -> Holder:
    directory = directory_of(project)

    def found() -> Holder | None:
        record = holder(directory)
        return record if record is not None and record.pid == process.pid else None

    wait_until(lambda: process.poll() is not None or found() is not None, "the command works on the run")
    record = found()
    assert record is not None, process.communicate()
    return record


def assert_refused(done: Done, record: Holder, run_id: str) -> None:
    """Exit code 4, with everything that somebody needs to know who works there, and what can be done."""
    assert done.code == 4, (done.out, done.err)
    assert done.out == ""
    who = f"process {record.pid} on {socket.gethostname()} since {record.acquired_at} (`{record.command}`)"
    assert f"run {run_id} is being worked on by {who}" in done.err
    for what_to_do in (f"prodigy attach {run_id}", "wait for it to end", f"prodigy cancel {run_id}"):
        assert what_to_do in done.err


def assert_refused_for_elsewhere(done: Done, record: Holder, run_id: str) -> None:
    """Exit code 4, with who holds the run where, how it can be taken all the same, and what that breaks."""
    assert done.code == 4, (done.out, done.err)
    who = f"process {record.pid} on {record.host} since {record.acquired_at} (`{record.command}`)"
    assert f"run {run_id} is held by {who}" in done.err
    assert f"`prodigy resume {run_id} --force`" in done.err
    assert "both work on the run, and steps may run twice" in done.err


def test_of_five_resumes_at_once_one_works_and_four_are_told_who(project: Project) -> None:
    directory = gated_run_that_was_killed(project)
    resumes = [project.start("resume", directory.name) for _ in range(5)]
    wait_until(lambda: sum(process.poll() is not None for process in resumes) == 4, "four resumes have ended")
    (winner,) = (process for process in resumes if process.poll() is None)
    with holding(project, winner) as record:
        assert record.command == f"prodigy resume {directory.name}"
        for process in resumes:
            if process is not winner:
                out, err = process.communicate()
                assert_refused(Done(process.wait(), out.decode(), err.decode()), record, directory.name)
    assert project.tally() == ONCE_EACH
    assert {"a.txt", "b.txt", "c.txt"} <= set(project.files("main"))
    project.assert_nothing_left()


def test_resumes_one_after_the_other_all_succeed_and_run_nothing_again(project: Project) -> None:
    gated_run_that_was_killed(project)
    (project.folder / "go").touch()
    for _ in range(3):
        done = project.prodigy("resume", "latest", "--json")
        assert done.code == 0, done.err
        assert done.json["status"] == "completed"
        assert project.tally() == ONCE_EACH
    project.assert_nothing_left()


def test_while_run_works_resume_and_dlq_retry_are_refused(project: Project) -> None:
    """One item has failed already, so that a retry would have something to do."""
    running = project.start("run", project.workflow(ONE_FAILS), "--yes")
    wait_until(lambda: project.tally() == {"bad": 1, "good": 1}, "the second item runs")
    with holding(project, running, code=3) as record:
        assert record.command == f"prodigy run '{project.folder}/flow.yml' --yes"
        run_id = project.run_id()
        assert_refused(project.prodigy("resume", run_id), record, run_id)
        assert_refused(project.prodigy("resume", "latest", "--json"), record, run_id)
        assert_refused(project.prodigy("dlq", "retry", run_id), record, run_id)
    assert project.tally() == {"bad": 1, "good": 1}
    project.assert_nothing_left()


def test_while_dlq_retry_works_resume_and_another_retry_are_refused(project: Project) -> None:
    assert project.prodigy("run", project.workflow(FAILS_ONCE), "--yes").code == 3
    (project.folder / "mended").touch()
    run_id = project.run_id()
    with holding(project, project.start("dlq", "retry", run_id)) as record:
        assert record.command == f"prodigy dlq retry {run_id}"
        assert_refused(project.prodigy("resume", run_id), record, run_id)
        assert_refused(project.prodigy("dlq", "retry", run_id), record, run_id)
        wait_until(lambda: project.tally() == {"x": 2}, "the retry runs its item")
        assert_refused(project.prodigy("dlq", "retry", run_id, "--item", "x"), record, run_id)
    assert project.tally() == {"x": 2}
    project.assert_nothing_left()


def test_while_resume_works_dlq_retry_is_refused(project: Project) -> None:
    """The retry is killed before its item has begun, so that a resume and a retry both have something to do."""
    assert project.prodigy("run", project.workflow(FAILS_ONCE), "--yes").code == 3
    (project.folder / "mended").touch()
    run_id = project.run_id()
    killed = project.prodigy("dlq", "retry", run_id, env={"PRODIGY_FAULT": "after:agent_started#1"})
    assert killed.code == -9
    with holding(project, project.start("resume", run_id)) as record:
        assert_refused(project.prodigy("dlq", "retry", run_id, "--all"), record, run_id)
        assert_refused(project.prodigy("resume", run_id), record, run_id)
    assert project.tally() == {"x": 2}
    project.assert_nothing_left()


def test_force_does_not_break_into_a_run_that_a_process_of_this_host_works_on(project: Project) -> None:
    running = project.start("run", project.workflow(GATED), "--yes")
    wait_until(lambda: sum(project.tally().values()) == 2, "two items run")
    with holding(project, running) as record:
        refused = project.prodigy("resume", project.run_id(), "--force")
        assert_refused(refused, record, project.run_id())
        assert "--force does not take a run from a process that lives" in refused.err
        assert f"`kill {running.pid}`" in refused.err
        in_background = project.prodigy("resume", project.run_id(), "--detach")
        assert_refused(in_background, record, project.run_id())
    assert project.tally() == ONCE_EACH


def test_what_a_killed_process_of_this_host_left_is_taken_over_silently(project: Project) -> None:
    directory = gated_run_that_was_killed(project)
    assert read_holder(directory / "lock") is not None
    assert not is_held(directory)
    (project.folder / "go").touch()
    done = project.prodigy("resume", directory.name)
    assert done.code == 0, done.err
    assert "lock" not in done.err
    assert "Warning" not in done.err
    assert project.tally() == ONCE_EACH
    project.assert_nothing_left()


def test_a_pid_that_was_given_to_another_process_stops_nobody(project: Project) -> None:
    directory = gated_run_that_was_killed(project)
    (project.folder / "go").touch()
    foreign = subprocess.Popen(["sleep", "100"])
    try:
        rewrite_record(directory, pid=foreign.pid)
        assert project.prodigy("resume", directory.name).code == 0
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()
    assert project.tally() == ONCE_EACH


def test_a_record_that_no_version_wrote_stops_nobody(project: Project) -> None:
    directory = gated_run_that_was_killed(project)
    (project.folder / "go").touch()
    (directory / "lock").write_bytes(b"\xff{")
    done = project.prodigy("resume", directory.name)
    assert done.code == 0, done.err
    assert project.tally() == ONCE_EACH


def test_a_run_of_another_host_is_refused_until_it_is_taken_with_force(project: Project) -> None:
    """A home that two hosts share is stood in for by a record that names another host."""
    directory = gated_run_that_was_killed(project)
    (project.folder / "go").touch()
    record = rewrite_record(directory, host="elsewhere")
    refused = project.prodigy("resume", directory.name)
    assert_refused_for_elsewhere(refused, record, directory.name)
    assert sum(project.tally().values()) == 2, "nothing was started"

    forced = project.prodigy("resume", directory.name, "--force")
    assert forced.code == 0, forced.err
    assert project.tally() == ONCE_EACH
    events = project.prodigy("events", "ls", directory.name, "--json").out.splitlines()
    (warning,) = (event for event in events if "elsewhere" in event)  # what was broken is on record, once
    assert f"process {record.pid}" in warning
    assert project.prodigy("resume", directory.name).code == 0
    project.assert_nothing_left()


def test_dlq_retry_takes_a_run_of_another_host_with_force_only(project: Project) -> None:
    assert project.prodigy("run", project.workflow(FAILS_ONCE), "--yes").code == 3
    for name in ("mended", "go"):
        (project.folder / name).touch()
    run_id = project.run_id()
    record = Holder(77, "elsewhere", "2026-03-14T10:15:00+00:00", f"prodigy dlq retry {run_id}")
    (directory_of(project) / "lock").write_text(json.dumps(asdict(record)))
    assert_refused_for_elsewhere(project.prodigy("dlq", "retry", run_id), record, run_id)
    assert project.tally() == {"x": 1}
    forced = project.prodigy("dlq", "retry", run_id, "--force")
    assert forced.code == 0, forced.err
    assert project.tally() == {"x": 2}
    project.assert_nothing_left()


def test_force_takes_over_also_in_the_background(project: Project) -> None:
    directory = gated_run_that_was_killed(project)
    rewrite_record(directory, host="elsewhere")
    refused = project.prodigy("resume", directory.name, "--detach")
    assert refused.code == 4
    assert "elsewhere" in refused.err
    done = project.prodigy("resume", directory.name, "--detach", "--force")
    assert done.code == 0, done.err
    (project.folder / "go").touch()
    assert project.prodigy("attach", directory.name).code == 0
    wait_until(lambda: not is_held(directory), "the process in the background has gone")
    assert project.tally() == ONCE_EACH


def test_a_lock_that_is_no_file_is_told_without_a_traceback(project: Project) -> None:
    directory = gated_run_that_was_killed(project)
    (directory / "lock").unlink()
    (directory / "lock").mkdir()
    done = project.prodigy("resume", directory.name)
    assert done.code == 5
    assert f"{directory}/lock: the run's lock can't be opened: Is a directory" in done.err
    (directory / "lock").rmdir()
    (project.folder / "go").touch()
    assert project.prodigy("resume", directory.name).code == 0
    assert project.tally() == ONCE_EACH


def test_two_runs_of_one_repository_do_not_block_each_other(project: Project) -> None:
    def gated(name: str) -> Path:
        text = f"""
- shell: |
    echo {name} >> "$TALLY"
    until [ -e "$SHARED/go-{name}" ]; do sleep 0.05; done
    echo {name} > {name}.txt
"""
        return project.workflow(text, f"{name}.yml")

    one, two = project.start("run", gated("one"), "--yes"), project.start("run", gated("two"), "--yes")
    wait_until(lambda: project.tally() == {"one": 1, "two": 1}, "both runs are in the middle of a step")
    (project.folder / "go-two").touch()
    _, err = two.communicate()
    assert two.returncode == 0, err.decode()
    assert one.poll() is None
    (project.folder / "go-one").touch()
    _, err = one.communicate()
    assert one.returncode == 0, err.decode()
    assert {"one.txt", "two.txt"} <= set(project.files("main"))
    project.assert_nothing_left()


def rewrite_record(directory: Path, **changed: object) -> Holder:
    """Change what a killed process left behind."""
    path = directory / "lock"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    record = read_holder(path)
    assert record is not None
    return record
