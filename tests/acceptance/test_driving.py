"""Ways to start and to steer a run: inputs on the command line, generated workflows, the background."""

from __future__ import annotations

import json
import signal
from contextlib import closing

from prodigy.store.lock import holder
from prodigy.store.store import Store
from support import Project, git, processes_of, wait_until

GATED = """
map:
  input: printf 'a\\nb\\nc\\n'
  max_parallel: 2
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        touch "$SHARED/started"
        until [ -e "$SHARED/go" ]; do sleep 0.05; done
        echo done > ${item}.txt
"""


def test_args_run_the_workflow_once_each(project: Project) -> None:
    text = """
- shell: echo "$ARG ${ARG} ${workflow.iteration}" >> "$TALLY"; echo x >> out.txt
"""
    done = project.prodigy("run", project.workflow(text), "--yes", "--args", "one", "--args", "$(two)", "-n", "2")
    assert done.code == 0, done.err
    assert sorted(project.tally()) == ["$(two) $(two) 2", "$(two) $(two) 4", "one one 1", "one one 3"]
    assert (project.repo / "out.txt").read_text() == "x\n" * 4


def test_map_runs_the_workflow_once_for_each_file(project: Project) -> None:
    for name in ("a.py", "b.py", "sub/c.py"):
        project.write(name, "")
    project.commit()
    text = '- shell: echo "$FILE" >> "$TALLY"\n'
    done = project.prodigy("run", project.workflow(text), "--yes", "--map", "**/*.py")
    assert done.code == 0, done.err
    assert project.tally() == {"a.py": 1, "b.py": 1, "sub/c.py": 1}


def test_iterations_resume_where_they_stood(project: Project) -> None:
    text = """
- shell: echo "first $ARG" >> "$TALLY"; echo "$ARG" > file-$ARG.txt
- shell: test "$ARG" != two || test -e "$SHARED/go"
"""
    workflow = project.workflow(text)
    assert project.prodigy("run", workflow, "--yes", "--args", "one", "--args", "two", "--args", "three").code == 1
    (project.folder / "go").touch()
    assert project.prodigy("resume", "--yes").code == 0
    assert project.tally() == {"first one": 1, "first two": 1, "first three": 1}
    assert (project.repo / "file-three.txt").exists()


def test_map_patterns_that_match_nothing_are_told_before_anything_is_made(project: Project) -> None:
    done = project.prodigy("run", project.workflow("- shell: a\n"), "--map", "*.nothing")
    assert done.code == 2
    assert "no file matches *.nothing" in done.err
    assert not (project.home / "runs").exists()


def test_a_dry_run_shows_steps_and_items_and_makes_nothing(project: Project) -> None:
    project.write("items.json", '["alpha", "beta"]')
    project.commit()
    text = """
map:
  input: items.json
  agent_template: [{shell: "echo ${item}", retry: 2, when: "${item} != 'x'"}]
reduce: [{shell: make report}]
"""
    done = project.prodigy("run", project.workflow(text), "--dry-run")
    assert done.code == 0, done.err
    for line in (
        "2 items",
        "alpha",
        "beta",
        "shell: echo ${item}, up to 2 tries  (when ${item} != 'x')",
        "make report",
    ):
        assert line in done.out
    assert [
        item["label"] for item in project.prodigy("run", project.workflow(text), "--dry-run", "--json").json["items"]
    ]
    assert not (project.home / "runs").exists()
    assert git(project.repo, "worktree", "list").count("\n") == 0


def test_exec_runs_one_step_and_merges_it(project: Project) -> None:
    done = project.prodigy("exec", "shell: echo made > made.txt")
    assert done.code == 0, done.err
    assert (project.repo / "made.txt").read_text() == "made\n"
    shown = project.prodigy("exec", "shell: make test", "--retry", "3", "--timeout", "5m", "--dry-run")
    assert shown.out == "name: exec\nsteps:\n- shell: make test\n  retry: 3\n  timeout: 5m\n"
    assert "does not say what is to run it" in project.prodigy("exec", "make test").err


def test_batch_runs_one_step_for_each_file(project: Project) -> None:
    for name in ("a.txt", "b c.txt"):
        project.write(f"in/{name}", name)
    project.commit()
    done = project.prodigy(
        "batch", "in/*.txt", "--command", 'shell: tr a-z A-Z < ${item} > "$FILE.up"', "--parallel", "2"
    )
    assert done.code == 0, done.err
    assert (project.repo / "in/b c.txt.up").read_text() == "B C.TXT"
    assert project.prodigy("batch", "nope/*", "--command", "shell: x").code == 2


def test_a_detached_run_goes_on_and_can_be_watched(project: Project) -> None:
    done = project.prodigy("run", project.workflow(GATED), "--yes", "--detach")
    assert done.code == 0, done.err
    run_id = done.out.strip()
    assert run_id == project.run_id()
    wait_until(lambda: (project.folder / "started").exists(), "an item runs")
    (project.folder / "go").touch()
    watched = project.prodigy("attach", run_id)
    assert watched.code == 0, watched.err
    assert (project.repo / "c.txt").read_text() == "done\n"
    assert sum(project.tally().values()) == 3
    wait_until(lambda: not processes_of(project.folder), "the process in the background has gone")
    project.assert_nothing_left()


def test_detach_moves_a_run_into_the_background_while_its_steps_go_on(project: Project) -> None:
    running = project.start("run", project.workflow(GATED), "--yes")
    wait_until(lambda: sum(project.tally().values()) == 2, "two items run")
    done = project.prodigy("detach", project.run_id())
    assert done.code == 0, done.err
    running.communicate(timeout=60)
    assert running.returncode == 0
    record = holder(project.home / "runs" / project.run_id())
    assert record is not None
    assert record.pid != running.pid
    (project.folder / "go").touch()
    assert project.prodigy("attach").code == 0
    assert sum(project.tally().values()) == 3
    assert (project.repo / "c.txt").exists()
    wait_until(lambda: not processes_of(project.folder), "the process in the background has gone")
    project.assert_nothing_left()


def test_cancel_reaches_a_run_in_the_background(project: Project) -> None:
    run_id = project.prodigy("run", project.workflow(GATED), "--detach").out.strip()
    wait_until(lambda: (project.folder / "started").exists(), "an item runs")
    assert project.prodigy("cancel", run_id).code == 0
    assert project.prodigy("attach", run_id).code == 130
    assert project.prodigy("status", run_id, "--json").json["status"] == "cancelled"


def test_sigterm_during_a_retry_pause_leaves_a_run_that_resumes_in_the_same_try(project: Project) -> None:
    text = """
- shell: echo try >> "$TALLY"; test -e "$SHARED/go"
  retry: {attempts: 2, backoff: fixed, initial_delay: 2s}
"""
    running = project.start("run", project.workflow(text), "--yes")
    wait_until(lambda: "again" in _events(project), "a pause has begun")
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 143
    (project.folder / "go").touch()
    assert project.prodigy("resume", "--yes").code == 0
    assert project.tally() == {"try": 2}


def _events(project: Project) -> str:
    runs = list((project.home / "runs").glob("2*")) if (project.home / "runs").exists() else []
    if not runs:
        return ""
    with closing(Store.open(runs[0])) as store:
        kinds = [json.dumps(record["event"]) for record in store.events()]
    return "again" if any("step_retrying" in kind for kind in kinds) else ""


def test_resume_says_that_the_workflow_file_has_changed_and_goes_on_with_the_stored_one(project: Project) -> None:
    text = '- shell: test -e "$SHARED/go"\n'
    workflow = project.workflow(text)
    assert project.prodigy("run", workflow).code == 1
    (project.folder / "go").touch()
    workflow.write_text(text + '- shell: echo new >> "$TALLY"\n')
    done = project.prodigy("resume")
    assert done.code == 0, done.err
    assert "flow.yml has changed; the run goes on with the workflow it was started with" in done.err
    assert project.tally() == {}
    workflow.write_text("- shel: x\n")
    assert project.prodigy("resume").code == 0
