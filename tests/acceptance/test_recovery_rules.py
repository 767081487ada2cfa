"""Rules of recovery that are easily broken by one another: kills between two effects, wishes that must not last, and
edited workflows that must not get the results of others."""

from __future__ import annotations

import shutil
import signal
from collections import Counter

import pytest

from recovery_support import interrupt
from support import Project, git, wait_until

KILLED = -signal.SIGKILL


def events(project: Project, kind: str) -> list[str]:
    return project.prodigy("events", "ls", "latest", "--json", "--event-type", kind).out.splitlines()


# A step outside the items whose merge is done and whose end is not on record ---------------------------------

COMMITTING = (
    'echo reduce >> "$TALLY"; echo line >> out.txt; git add out.txt; git commit -qm red; echo loose >> loose.txt'
)
REDUCE = {
    "a check": f"validate: test -e out.txt\n    shell: {COMMITTING}",
    "a commit that must be there": f"commit_required: true\n    shell: {COMMITTING}",
    "a handler": f"on_success: 'true'\n    shell: {COMMITTING}",
}


@pytest.mark.parametrize("keys", REDUCE.values(), ids=REDUCE)
@pytest.mark.parametrize(
    "point", ["after:merging#2", "before:worktree_merged#2", "before:step_settled", "before:step_finished#3"]
)
def test_a_reduce_step_killed_between_its_merge_and_its_end_is_neither_failed_nor_repeated(
    project: Project, keys: str, point: str
) -> None:
    workflow = project.workflow(f"""
map:
  input: echo one
  agent_template: [{{shell: echo a > a.txt}}]
reduce:
  - {keys}
""")
    killed = project.prodigy("run", workflow, "--yes", env={"PRODIGY_FAULT": point})
    if killed.code == KILLED:
        done = project.prodigy("resume", "latest")
        assert done.code == 0, done.err
    else:
        assert killed.code == 0, "this workflow does not come to that point"
    assert project.tally() == {"reduce": 1}
    assert project.files("main")["out.txt"] == "line"
    assert project.files("main")["loose.txt"] == "loose"


def test_dead_letters_wait_while_a_step_outside_the_items_still_runs(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo one
  agent_template: [{shell: 'echo item >> "$TALLY"; test -e "$SHARED/mended"'}]
reduce:
  - shell: |
      echo line >> out.txt
      touch "$SHARED/reducing"
      until [ -e "$SHARED/go" ]; do sleep 0.05; done
      git add out.txt
      git commit -qm red
""")
    running = project.start("run", workflow, "--yes")
    wait_until(lambda: (project.folder / "reducing").exists(), "reduce runs")
    running.kill()
    running.communicate()
    (project.folder / "mended").touch()
    resumed = project.start("resume", "latest", "--include-dlq")
    wait_until(lambda: bool(events(project, "step_adopted")), "the step is taken up")
    (project.folder / "go").touch()
    _, err = resumed.communicate()
    assert resumed.returncode == 3, err
    assert b"dead letters are left alone" in err
    assert project.files("main")["out.txt"] == "line"
    assert project.prodigy("resume", "latest", "--include-dlq").code == 0
    assert project.tally() == {"item": 2}


# Wishes that must not last -----------------------------------------------------------------------------------


def test_from_start_counts_once_and_not_for_later_resumes(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo '{"id":"a"}'
  agent_template:
    - shell: echo first >> "$TALLY"
    - shell: |
        touch "$SHARED/second"
        until [ -e "$SHARED/go" ]; do sleep 0.05; done
""")
    for command in (("run", workflow), ("resume", "latest", "--from-start"), ("resume", "latest")):
        (project.folder / "second").unlink(missing_ok=True)
        running = project.start(*command)
        wait_until(lambda: (project.folder / "second").exists(), "the second step runs")
        interrupt(running)
    (project.folder / "go").touch()
    assert project.prodigy("resume", "latest").code == 0
    assert project.tally() == {"first": 2}


def test_an_item_that_is_skipped_leaves_the_queue(project: Project) -> None:
    """An item parked by another policy, and then retried under `skip`."""
    text = """
on_item_failure: dlq
map:
  input: echo '{"id":"a"}'
  agent_template: [{shell: exit 1}]
"""
    assert project.prodigy("run", project.workflow(text)).code == 3
    edited = project.workflow(text.replace("dlq", "skip"), "edited.yml")
    done = project.prodigy("dlq", "retry", "latest", "--workflow", edited, "--json")
    assert done.code == 0, done.err
    assert done.json["items"]["skipped"] == 1
    assert done.json["dead_letters"] == 0
    assert project.prodigy("dlq", "list", "--json").json == []


# Edited workflows ----------------------------------------------------------------------------------------------

TWO = """
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n'
  max_parallel: 1
  agent_template: [{shell: 'echo OLD > "$PRODIGY_ITEM_ID.txt"'}]
"""


def test_a_refused_retry_does_not_change_the_workflow_of_the_run(project: Project) -> None:
    killed = project.prodigy("run", project.workflow(TWO), "--yes", env={"PRODIGY_FAULT": "after:agent_completed"})
    assert killed.code == KILLED
    edited = project.workflow(TWO.replace("OLD", "NEW"), "edited.yml")
    assert project.prodigy("dlq", "retry", "latest", "--workflow", edited).code == 2
    with_agent = project.workflow(TWO.replace("{shell: 'echo", "{claude: 'echo"), "agent.yml")
    bare = project.folder / "bare"
    bare.mkdir()
    for name in ("git", "bash", "sh"):
        (bare / name).symlink_to(str(shutil.which(name)))
    assert project.prodigy("resume", "latest", "--workflow", with_agent, env={"PATH": str(bare)}).code == 5
    done = project.prodigy("resume", "latest")
    assert done.code == 0, done.err
    assert project.files("main")["b.txt"] == "OLD"


def test_an_input_command_that_has_run_can_not_be_edited(project: Project) -> None:
    killed = project.prodigy("run", project.workflow(TWO), env={"PRODIGY_FAULT": "before:items_planned"})
    assert killed.code == KILLED
    edited = project.workflow(TWO.replace('"id":"b"', '"id":"c"'), "edited.yml")
    done = project.prodigy("resume", "latest", "--workflow", edited)
    assert done.code == 2
    assert "has other items" in done.err


def test_an_action_whose_check_is_pending_can_not_be_edited(project: Project) -> None:
    text = "- shell: echo old > out.txt\n  validate: test -e out.txt\n"
    killed = project.prodigy("run", project.workflow(text), env={"PRODIGY_FAULT": "before:step_started#2"})
    assert killed.code == KILLED
    edited = project.workflow(text.replace("old", "new"), "edited.yml")
    done = project.prodigy("resume", "latest", "--workflow", edited)
    assert done.code == 2
    assert "has run already" in done.err


def test_a_step_that_was_skipped_is_refused_in_words_that_are_true(project: Project) -> None:
    text = "- shell: 'true'\n  id: first\n- shell: echo x\n  when: ${first.success} == false\n- shell: exit 1\n"
    assert project.prodigy("run", project.workflow(text)).code == 1
    edited = project.workflow(text.replace("echo x", "echo y"), "edited.yml")
    done = project.prodigy("resume", "latest", "--workflow", edited)
    assert done.code == 2
    assert "was skipped already" in done.err


def test_reduce_again_forgets_steps_that_the_edited_workflow_does_not_have(project: Project) -> None:
    def flow(*steps: str) -> str:
        return TWO + "reduce:\n" + "".join(f'  - shell: echo {step} >> "$TALLY"\n' for step in steps)

    assert project.prodigy("run", project.workflow(flow("r1", "r2"))).code == 0
    shorter = project.workflow(flow("r1"), "shorter.yml")
    assert project.prodigy("dlq", "retry", "latest", "--reduce", "--workflow", shorter).code == 0
    longer = project.workflow(flow("r1", "r3"), "longer.yml")
    done = project.prodigy("resume", "latest", "--workflow", longer)
    assert done.code == 0, done.err
    assert project.tally() == Counter({"r1": 2, "r2": 1, "r3": 1})


def test_a_retry_does_not_keep_the_work_of_a_step_that_was_edited(project: Project) -> None:
    def flow(letter: str) -> str:
        return f"""
map:
  input: echo '{{"id":"a"}}'
  agent_template:
    - shell: echo {letter} >> f.txt; git add f.txt; git commit -qm {letter}
    - shell: test -e "$SHARED/mended"
"""

    assert project.prodigy("run", project.workflow(flow("A")), "--yes").code == 3
    assert project.prodigy("dlq", "retry", "latest", "--from-failed-step").code == 3
    (project.folder / "mended").touch()
    edited = project.workflow(flow("B"), "edited.yml")
    done = project.prodigy("dlq", "retry", "latest", "--from-failed-step", "--workflow", edited)
    assert done.code == 0, done.err
    assert project.files(project.run_branch())["f.txt"] == "B"


def test_an_edited_set_up_of_worktrees_is_run_in_all_of_them(project: Project) -> None:
    def flow(version: str) -> str:
        return f"""
workspace:
  keep_ignored: [tool]
  setup: [{{shell: mkdir -p tool && echo {version} > tool/version}}]
map:
  input: printf '{{"id":"a"}}\\n{{"id":"b"}}\\n{{"id":"c"}}\\n'
  max_parallel: 1
  agent_template: [{{shell: 'cat tool/version > "$PRODIGY_ITEM_ID.txt"'}}]
"""

    project.write(".gitignore", "tool\n")
    project.commit("ignore")
    killed = project.prodigy(
        "run", project.workflow(flow("v1")), "--yes", env={"PRODIGY_FAULT": "after:agent_completed"}
    )
    assert killed.code == KILLED
    done = project.prodigy("resume", "latest", "--workflow", project.workflow(flow("v2"), "edited.yml"))
    assert done.code == 0, done.err
    files = project.files("main")
    assert [files[f"{item}.txt"] for item in "abc"] == ["v1", "v2", "v2"]


def test_a_run_that_fails_keeps_the_worktrees_of_attempts_in_flight(project: Project) -> None:
    text = """
- mapreduce: {map: {input: echo one, agent_template: [{shell: 'true'}]}REDUCE}
- mapreduce:
    map:
      input: echo '{"id":"late"}'
      agent_template:
        - shell: |
            echo late >> "$TALLY"
            touch "$SHARED/late"
            until [ -e "$SHARED/go" ]; do sleep 0.05; done
            echo x > late.txt
"""
    running = project.start("run", project.workflow(text.replace("REDUCE", "")), "--yes")
    wait_until(lambda: (project.folder / "late").exists(), "the item of the second map runs")
    running.kill()
    running.communicate()
    failing = project.workflow(text.replace("REDUCE", ", reduce: [{shell: 'test -e \"$SHARED/go\"'}]"), "edited.yml")
    assert project.prodigy("resume", "latest", "--workflow", failing).code == 1
    (project.folder / "go").touch()
    done = project.prodigy("resume", "latest")
    assert done.code == 0, done.err
    assert project.tally() == {"late": 1}
    assert git(project.repo, "show", "main:late.txt") == "x"
    project.assert_nothing_left()
