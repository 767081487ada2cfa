"""What a crash, a resume or an older version leaves in the middle of retries, checks, handlers and worktree setup."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from contextlib import closing

import pytest

from prodigy.store.database import migrate
from prodigy.store.store import Store
from support import Project, git, wait_until

KILLED = -signal.SIGKILL


def worktree(project: Project, slot: str) -> None:
    """Take a worktree away, as a clean-up of the disk would."""
    (tree,) = (path for path in (project.home / "worktrees").glob(f"*/*-{slot}"))
    shutil.rmtree(tree)


def test_work_that_a_check_still_decides_about_survives_a_crash_and_the_loss_of_the_worktree(project: Project) -> None:
    text = """
- shell: echo step >> "$TALLY"; echo made > made.txt; git add made.txt; git commit -qm made
  validate: echo check >> "$TALLY"; test -e made.txt
- shell: cp made.txt copy.txt
"""
    killed = project.prodigy("run", project.workflow(text), "--yes", env={"PRODIGY_FAULT": "after:step_finished#1"})
    assert killed.code == KILLED
    worktree(project, "run")
    assert project.prodigy("resume", "--yes").code == 0
    assert project.tally() == {"step": 1, "check": 1}
    assert project.files("main")["copy.txt"] == "made"


def test_a_resume_that_is_killed_at_once_still_takes_back_what_the_failed_step_left(project: Project) -> None:
    text = """- shell: echo x >> log.txt; git add log.txt; git commit -qm log; test -e "$SHARED/go"\n"""
    assert project.prodigy("run", project.workflow(text), "--yes").code == 1
    (project.folder / "go").touch()
    assert project.prodigy("resume", env={"PRODIGY_FAULT": "after:job_resumed#1"}).code == KILLED
    assert project.prodigy("resume", "--yes").code == 0
    assert project.files("main")["log.txt"] == "x"


def test_worktree_setup_goes_on_where_it_was_and_begins_again_in_a_new_worktree(project: Project) -> None:
    text = """
workspace:
  keep_ignored: [cache]
  setup:
    - shell: mkdir -p cache; echo one >> "$TALLY"; touch cache/one
    - shell: echo two >> "$TALLY"; test -e cache/one; touch cache/two
steps:
  - shell: test -e cache/one; test -e cache/two
"""
    project.write(".gitignore", "cache/\n")
    project.commit()
    workflow = project.workflow(text)
    assert project.prodigy("run", workflow, env={"PRODIGY_FAULT": "after:step_finished#2"}).code == KILLED
    assert project.prodigy("resume", env={"PRODIGY_FAULT": "before:step_started#1"}).code == KILLED
    assert project.tally() == {"one": 1, "two": 1}
    worktree(project, "run")
    assert project.prodigy("resume", env={"PRODIGY_FAULT": "after:step_finished#1"}).code == KILLED
    worktree(project, "run")
    assert project.prodigy("resume", "--yes").code == 0
    assert project.tally() == {"one": 3, "two": 2}


def test_setup_runs_for_every_item_when_nothing_of_it_is_kept(project: Project) -> None:
    project.write(".gitignore", "cache/\n")
    project.commit()
    text = """
workspace: {setup: [{shell: mkdir cache; touch cache/x}]}
map:
  input: seq 1 5
  max_parallel: 1
  agent_template: [{shell: test -e cache/x; rm -r cache}]
"""
    done = project.prodigy("run", project.workflow(text), "--yes", "--json")
    assert done.json["items"]["successful"] == 5, done.err


def test_a_completed_run_is_resumed_without_preparing_anything(project: Project) -> None:
    text = """
workspace: {setup: [{shell: test ! -e "$SHARED/broken"}]}
steps: [{shell: echo x > x.txt}]
""".replace('{shell: test ! -e "$SHARED/broken"}', "{shell: 'test ! -e \"$SHARED/broken\"'}")
    assert project.prodigy("run", project.workflow(text), "--no-merge").code == 0
    (project.folder / "broken").touch()
    done = project.prodigy("resume", "--yes", "--json")
    assert (done.code, done.json["merged"]) == (0, True), done.err


def test_input_that_could_not_be_used_is_taken_anew_on_resume(project: Project) -> None:
    text = """
map:
  input: if [ -e "$SHARED/go" ]; then echo good; else printf '{"id":""}'; fi
  agent_template: [{shell: "echo x > ${item}.txt"}]
"""
    assert project.prodigy("run", project.workflow(text), "--yes").code == 2
    (project.folder / "go").touch()
    assert project.prodigy("resume", "--yes").code == 0
    assert "good.txt" in project.files("main")


def test_a_request_made_while_the_lock_is_held_is_heard(project: Project) -> None:
    text = """- shell: echo ran >> "$TALLY"; sleep 60\n"""
    assert project.prodigy("run", project.workflow(text), env={"PRODIGY_FAULT": "after:job_started#1"}).code == KILLED
    directory = project.home / "runs" / project.run_id()
    with closing(Store.open(directory)) as store:
        store.add_request("cancel")  # to a coordinator that is gone: not for the next one
    running = project.start("resume")
    wait_until(lambda: project.tally() == {"ran": 1}, "the step runs")
    assert project.prodigy("cancel", "latest").code == 0
    running.communicate(timeout=60)
    assert running.returncode == 130


def test_values_that_fit_no_path_fail_their_item_alone(project: Project) -> None:
    items = [{"id": "nul", "v": "a\0b"}, {"id": "ok", "v": "d"}]
    (project.folder / "items.json").write_text(json.dumps(items))
    text = """
map:
  input: cat "$SHARED/items.json"
  agent_template:
    - shell: mkdir -p d-d; echo x > d-d/x
    - {shell: pwd, working_dir: "d-${item.v}", env: {V: "${item.v}"}}
"""
    done = project.prodigy("run", project.workflow(text), "--yes", "--json")
    assert done.code == 3, done.err
    assert done.json["items"]["successful"] == 1


def test_a_step_that_could_not_be_started_has_an_empty_capture(project: Project) -> None:
    text = """
map:
  input: printf '{"id":"a","n":"x"}'
  agent_template:
    - shell: echo $(( ${item.n} ))
      id: sum
      on_failure: true
    - shell: echo "[${sum.output}]" > out.txt
"""
    assert project.prodigy("run", project.workflow(text), "--yes").code == 0
    assert project.files("main")["out.txt"] == "[]"


def test_an_exit_code_speaks_for_the_action_and_not_for_its_check(project: Project) -> None:
    text = """
- shell: echo fine
  validate: exit 1
  on_exit_code: {0: echo zero}
"""
    assert project.prodigy("run", project.workflow(text)).code == 1


def test_untracked_files_of_setup_stay_out_when_the_fan_out_is_skipped(project: Project) -> None:
    text = """
steps:
  - shell: echo 0 > count.txt; cat count.txt
    id: count
    capture_format: number
  - when: "${count} > 0"
    mapreduce: {map: {input: echo x, agent_template: [{shell: echo}]}}
  - shell: test -e count.txt; echo later > later.txt
"""
    assert project.prodigy("run", project.workflow(text), "--yes").code == 0
    assert "later.txt" in project.files("main")
    assert "count.txt" not in project.files("main")


def test_what_an_iteration_leaves_is_in_the_result(project: Project) -> None:
    text = """
map: {input: "echo ${workflow.iteration}", agent_template: [{shell: "echo ${item} > item-${item}.txt"}]}
reduce: [{shell: "echo ${map.total} > report-${workflow.iteration}.txt"}]
"""
    assert project.prodigy("run", project.workflow(text), "--yes", "-n", "2").code == 0
    assert {"item-1.txt", "item-2.txt", "report-1.txt", "report-2.txt"} <= project.files("main").keys()


def test_the_input_command_has_arguments_and_shell_options_too(project: Project) -> None:
    text = """
shell_options: [-u]
map: {input: 'false; echo "$ARG"', agent_template: [{shell: 'echo x > ${item}.txt'}]}
"""
    done = project.prodigy("run", project.workflow(text), "--yes", "--args", "given")
    assert done.code == 0, done.err
    assert "given.txt" in project.files("main")


def test_a_run_of_the_first_schema_is_shown_as_it_is_and_goes_on(project: Project) -> None:
    text = """
map:
  input: printf 'a\\n'
  max_parallel: 1
  agent_template:
    - shell: echo one >> "$TALLY"; echo 1 > one.txt; git add .; git commit -qm one
    - shell: echo two >> "$TALLY"; echo 2 > two.txt; git add .; git commit -qm two
    - shell: echo three >> "$TALLY"; echo 3 > three.txt
"""
    killed = project.prodigy("run", project.workflow(text), "--yes", env={"PRODIGY_FAULT": "before:step_started#4"})
    assert killed.code == KILLED
    assert project.tally() == {"one": 1, "two": 1}
    _downgrade(project)
    assert project.prodigy("status", "latest", "--json").json["items"]["running"] == 1
    with sqlite3.connect(project.home / "runs" / project.run_id() / "run.db") as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 1
    db.close()
    shutil.rmtree(next((project.home / "worktrees").glob("*/*-s1")))
    done = project.prodigy("resume", "--yes")
    assert done.code == 0, done.err
    assert project.tally() == {"one": 1, "two": 1, "three": 1}
    assert {"one.txt", "two.txt", "three.txt"} <= project.files("main").keys()


def test_a_failed_run_of_the_first_schema_can_be_resumed(project: Project) -> None:
    text = """- shell: echo x >> log.txt; test -e "$SHARED/go"\n"""
    assert project.prodigy("run", project.workflow(text), "--yes").code == 1
    _downgrade(project)
    (project.folder / "go").touch()
    assert project.prodigy("resume", "--yes").code == 0
    assert project.files("main")["log.txt"] == "x"


def _downgrade(project: Project) -> None:
    """Make the run's database what the first version of the schema would hold."""
    path = project.home / "runs" / project.run_id() / "run.db"
    with sqlite3.connect(path) as db:
        db.execute("DROP INDEX step_reused")
        db.execute("DROP TABLE usage")
        for column in (
            *("ended", "skipped", "settled", "cost_usd", "tokens", "agent", "session", "unfinished"),
            *("before_head", "before_snapshot", "adapter", "reserved_usd", "reserved_tokens", "estimated"),
        ):
            db.execute(f"ALTER TABLE step DROP COLUMN {column}")
        for column in ("start_head", "start_snapshot", "retry_delay_s"):
            db.execute(f"ALTER TABLE attempt DROP COLUMN {column}")
        db.execute("ALTER TABLE dead_letter DROP COLUMN snapshot")
        for column in ("failed_path", "held_by", "held_at"):
            db.execute(f"ALTER TABLE run DROP COLUMN {column}")
        db.execute("DROP TABLE gate")
        db.execute("DROP TABLE merge_check")
        db.execute("DROP INDEX attempt_queued")
        db.execute("ALTER TABLE item DROP COLUMN priority")
        for column in ("queued", "queued_at", "turn"):
            db.execute(f"ALTER TABLE attempt DROP COLUMN {column}")
        db.execute("UPDATE workflow_version SET workflow = json_set(workflow, '$.agents', json('[]'))")
        db.execute("PRAGMA user_version = 1")
    db.close()


def test_the_migrations_lead_from_nothing_to_today(project: Project) -> None:
    project.prodigy("run", project.workflow("- shell: 'true'\n"))
    with closing(Store.open(project.home / "runs" / project.run_id())) as store:
        assert store.run().status == "completed"
    with sqlite3.connect(":memory:") as db:
        migrate(db)
    db.close()
    assert git(project.repo, "status", "--porcelain") == ""


def test_setup_that_was_interrupted_begins_again_when_the_worktree_is_made_fresh(project: Project) -> None:
    project.write(".gitignore", "cache/\nother/\n")
    project.write("items.json", '["x"]')
    project.commit()
    text = """
workspace:
  keep_ignored: [cache]
  setup:
    - shell: mkdir -p cache other; echo one >> "$TALLY"
    - shell: echo two >> "$TALLY"; until [ -e "$SHARED/go" ]; do sleep 0.05; done; test -d other; touch cache/ready
map:
  input: items.json
  agent_template: [{shell: test -e cache/ready}]
"""
    running = project.start("run", project.workflow(text), "--yes")
    wait_until(lambda: project.tally()["two"] == 1, "setup runs in the item's worktree")
    assert project.prodigy("cancel", "latest").code == 0
    running.communicate(timeout=60)
    (project.folder / "go").touch()
    done = project.prodigy("resume", "--yes")
    assert done.code == 0, done.err
    assert project.tally() == {"one": 2, "two": 2}


@pytest.mark.parametrize("point", ["after:merging", "after:worktree_merged", "before:step_finished"])
def test_a_step_whose_worktree_is_lost_does_not_find_its_own_commits_when_it_runs_again(
    project: Project, point: str
) -> None:
    workflow = project.workflow("""
- shell: |
    echo ran >> "$TALLY"
    test ! -e made.txt
    echo made > made.txt
    git add made.txt
    git commit -qm 'make it'
""")
    killed = project.prodigy("run", workflow, "--yes", env={"PRODIGY_FAULT": point})
    assert killed.code == -signal.SIGKILL
    shutil.rmtree(project.home / "worktrees")
    done = project.prodigy("resume", "latest")
    assert done.code == 0, done.err
    assert project.tally() == {"ran": 2}
    assert project.files("main")["made.txt"] == "made"
    assert git(project.repo, "log", "--format=%s", "main").splitlines().count("make it") == 1
    project.assert_nothing_left()
