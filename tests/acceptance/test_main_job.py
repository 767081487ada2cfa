"""The main job, end to end: the real command line, real git, real processes."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest

from support import Project, git, processes_of, wait_until

MAP_SHAPE = """
name: both
setup:
  - shell: printf '[{"id":"a","n":1},{"id":"b","n":2}]' > items.json
map:
  input: items.json
  json_path: "$[*]"
  agent_template:
    - shell: echo $(( ${item.n} * 10 )) > ${item.id}.txt
reduce:
  - shell: cat a.txt b.txt > all.txt
"""
STEPS_SHAPE = """
name: both
steps:
  - shell: printf '[{"id":"a","n":1},{"id":"b","n":2}]' > items.json
  - mapreduce:
      map:
        input: items.json
        json_path: "$[*]"
        agent_template:
          commands:
            - shell: echo $(( ${item.n} * 10 )) > ${item.id}.txt
      reduce:
        - shell: cat a.txt b.txt > all.txt
"""


@pytest.mark.parametrize("text", [MAP_SHAPE, STEPS_SHAPE])
def test_both_shapes_do_the_same(project: Project, text: str) -> None:
    done = project.prodigy("run", project.workflow(text), "--yes", "--json")
    assert done.code == 0, done.err
    summary = done.json
    assert summary["status"] == "completed"
    assert summary["merged"] is True
    assert summary["items"] == {"total": 2, "successful": 2, "failed": 0, "skipped": 0, "running": 0, "pending": 0}
    assert (summary["steps_run"], summary["steps_reused"], summary["dead_letters"]) == (4, 0, 0)
    assert (project.repo / "all.txt").read_text() == "10\n20\n"
    assert git(project.repo, "status", "--porcelain") == ""
    project.assert_nothing_left()


def test_a_map_of_forty_items_killed_in_the_middle_loses_and_repeats_nothing(project: Project) -> None:
    """kill -9 in the middle, every step appends to a tally: afterwards all items are there and no line twice."""
    workflow = project.workflow("""
map:
  input: seq -f '{"id":"n%g"}' 1 40
  max_parallel: 4
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"
        echo ${item.id} > ${item.id}.txt
    - shell: |
        echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
        git add -A
        git commit -q -m "Add "${item.id}
      commit_required: true
""")
    running = project.start("run", workflow, "--yes")
    wait_until(lambda: len(project.tally()) >= 30, "some items are done")
    running.kill()
    running.communicate()
    before = len(project.tally())
    assert before < 80, "the kill came too late to mean anything"
    done = project.prodigy("resume", "latest", "--json")
    assert done.code == 0, done.err
    assert done.json["items"]["successful"] == 40
    assert project.tally() == Counter(f"n{item} {step}" for item in range(1, 41) for step in (1, 2))
    assert {f"n{item}.txt" for item in range(1, 41)} <= set(project.files("main"))
    project.assert_nothing_left()


def test_values_arrive_byte_for_byte_whatever_they_are(project: Project) -> None:
    nasty = ["$(touch pwned)", "`touch pwned`", "a b  c", "'quoted'", '"double"', "*", "é\n", "; touch pwned", "~", ""]
    project.write("items.json", json.dumps([{"id": f"v{n}", "text": text} for n, text in enumerate(nasty)]))
    project.commit()
    workflow = project.workflow("""
map:
  input: items.json
  agent_template:
    - shell: |
        printf '%s|%s|%s' ${item.text} "${item.text}" '${item.text}' > ${item.id}.out
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == 0, done.err
    for number, text in enumerate(nasty):
        assert (project.repo / f"v{number}.out").read_text() == "|".join([text] * 3)
    assert not list(project.folder.rglob("pwned"))


def test_dead_letters_are_retried_with_true_attempt_numbers(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: printf '{"id":"good"}\\n{"id":"bad"}\\n{"id":"worse"}\\n'
  agent_template:
    - shell: |
        echo work > ${item.id}.txt
        test ${item.id} = good || test -e "$SHARED/mended-"${item.id} || { echo "not yet" >&2; exit 3; }
""")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert done.code == 3, done.err
    assert done.json["status"] == "completed_with_failures"
    letters = {letter["item_id"]: letter for letter in project.prodigy("dlq", "list", "--json").json}
    assert sorted(letters) == ["bad", "worse"]
    bad = letters["bad"]
    assert bad["item_data"] == {"id": "bad"}
    assert bad["failure_history"][0]["error_message"] == "exited with code 3: not yet"
    assert bad["error_signature"] == letters["worse"]["error_signature"]
    branch = bad["worktree_artifacts"]["branch_name"]
    assert git(project.repo, "show", f"{branch}:bad.txt") == "work"

    (project.folder / "mended-bad").touch()
    project.write("meanwhile.txt", "the user goes on")
    project.commit()
    again = project.prodigy("dlq", "retry", "latest", "--json")
    assert again.code == 3, again.err
    (left,) = project.prodigy("dlq", "list", "--json").json
    assert left["item_id"] == "worse"
    assert [failure["attempt_number"] for failure in left["failure_history"]] == [1, 2]
    assert left["failure_count"] == 2
    assert (project.repo / "bad.txt").exists(), "what succeeded is merged, also after the run's final merge"
    assert branch not in git(project.repo, "branch", "--list", "prodigy/*")

    (project.folder / "mended-worse").touch()
    assert project.prodigy("dlq", "retry", "latest", "--item", "worse").code == 0
    assert project.prodigy("dlq", "list", "--json").json == []
    assert project.prodigy("status", "latest", "--json").json["status"] == "completed"
    project.assert_nothing_left()


def test_an_interrupted_retry_resumes_like_any_run(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: printf '{"id":"x"}\\n{"id":"y"}\\n'
  agent_template:
    - shell: |
        echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        test -e "$SHARED/mended"
        echo done > ${item.id}
""")
    assert project.prodigy("run", workflow, "--yes").code == 3
    (project.folder / "mended").touch()
    killed = project.prodigy("dlq", "retry", "latest", env={"PRODIGY_FAULT": "after:agent_started#1"})
    assert killed.code == -9
    assert project.prodigy("resume", "latest").code == 0
    assert project.tally() == Counter({"x": 2, "y": 2})
    assert {"x", "y"} <= set(project.files("main"))


def test_a_retry_of_an_unknown_item_changes_nothing(project: Project) -> None:
    workflow = project.workflow('map: {input: "echo \'{\\"id\\":\\"x\\"}\'", agent_template: [{shell: \'false\'}]}')
    assert project.prodigy("run", workflow).code == 3
    done = project.prodigy("dlq", "retry", "latest", "--item", "nobody")
    assert done.code == 2
    assert "no dead letter for nobody" in done.err
    assert project.prodigy("status", "latest", "--json").json["status"] == "completed_with_failures"


def test_an_item_without_its_required_commit_fails(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo '{"id":"lazy"}'
  agent_template:
    - shell: echo nothing to do
      commit_required: true
""")
    assert project.prodigy("run", workflow).code == 3
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert letter["failure_history"][0]["error_type"] == "commit_validation_failed"
    assert letter["manual_review_required"] is True


def test_an_agent_that_rewrites_history_fails_and_its_head_is_kept(project: Project) -> None:
    project.write("second.txt", "x")
    project.commit("second")
    workflow = project.workflow("""
map:
  input: echo '{"id":"rewriter"}'
  agent_template:
    - shell: |
        git reset -q --hard HEAD~1
        echo mine > mine.txt
        git add -A
        git commit -q -m rewritten
""")
    assert project.prodigy("run", workflow, "--yes").code == 3
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert letter["failure_history"][0]["error_type"] == "history_rewritten"
    assert git(project.repo, "show", f"{letter['worktree_artifacts']['branch_name']}:mine.txt") == "mine"
    assert "second.txt" in project.files("main")


def test_an_agent_that_changes_the_shared_configuration_is_caught(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo '{"id":"tamperer"}'
  agent_template:
    - shell: git config core.hooksPath /tmp/evil
""")
    assert project.prodigy("run", workflow, "--yes").code == 3
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert letter["failure_history"][0]["error_type"] == "tampered"
    assert "core.hookspath" in letter["failure_history"][0]["error_message"].lower()


def test_a_failing_setup_stops_the_run_and_resume_tries_it_again_from_a_clean_state(project: Project) -> None:
    workflow = project.workflow("""
setup:
  - shell: |
      echo one >> "$TALLY"
      echo kept > kept.txt
  - shell: |
      echo two >> "$TALLY"
      test ! -e debris.txt
      echo debris > debris.txt
      git add debris.txt
      git commit -q -m debris
      rm debris.txt
      test -e "$SHARED/mended"
map:
  input: echo '{"id":"x"}'
  agent_template:
    - shell: test ! -e kept.txt
""")
    first = project.prodigy("run", workflow, "--yes", "--json")
    assert first.code == 1
    assert first.json["status"] == "failed"
    assert "setup" in first.err
    (project.folder / "mended").touch()
    again = project.prodigy("resume", "latest", "--json")
    assert again.code == 0, again.err
    assert project.tally() == Counter({"one": 1, "two": 2})


def test_untracked_files_of_setup_are_visible_to_reduce_and_never_committed(project: Project) -> None:
    workflow = project.workflow("""
setup:
  - shell: echo secret > from-setup.txt; echo edited >> README.md
map:
  input: echo '{"id":"x"}'
  agent_template:
    - shell: grep -q edited README.md; test ! -e from-setup.txt; echo x > x.txt
reduce:
  - shell: cat from-setup.txt x.txt > from-reduce.txt
""")
    assert project.prodigy("run", workflow, "--yes").code == 0
    files = project.files("main")
    assert files["from-reduce.txt"] == "secret\nx"
    assert "edited" in files["README.md"]
    assert "from-setup.txt" not in files


def test_a_merged_file_that_setup_had_left_untracked_wins_and_the_other_is_kept_aside(project: Project) -> None:
    workflow = project.workflow("""
setup:
  - shell: echo from setup > both.txt
map:
  input: echo '{"id":"x"}'
  agent_template:
    - shell: echo from item > both.txt
reduce:
  - shell: cp both.txt seen.txt
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == 0, done.err
    assert project.files("main")["seen.txt"] == "from item"
    aside = project.home / "runs" / project.run_id() / "displaced" / "both.txt"
    assert aside.read_text() == "from setup\n"
    assert "both.txt" in done.err


def test_no_merge_leaves_the_branch_and_resume_yes_merges_it(project: Project) -> None:
    workflow = project.workflow(MAP_SHAPE)
    done = project.prodigy("run", workflow, "--no-merge", "--json")
    assert (done.code, done.json["merged"]) == (0, False)
    assert "all.txt" not in project.files("main")
    assert "all.txt" in project.files(project.run_branch())
    later = project.prodigy("resume", "latest", "--yes", "--json")
    assert (later.code, later.json["merged"]) == (0, True)
    assert later.json["steps_run"] == 0
    assert "all.txt" in project.files("main")


def test_off_a_terminal_nothing_is_merged_unasked(project: Project) -> None:
    done = project.prodigy("run", project.workflow(MAP_SHAPE), "--json")
    assert (done.code, done.json["merged"], done.json["merge_problem"]) == (0, False, None)
    assert "all.txt" not in project.files("main")


def test_the_final_merge_is_refused_when_it_would_cost_the_user_anything(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo '{"id":"x"}'
  agent_template:
    - shell: echo changed > README.md; echo new > new.txt
""")
    project.write("README.md", "the user's own edit\n")
    project.write("new.txt", "the user's own file\n")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert done.code == 3
    assert done.json["merged"] is False
    assert "README.md" in done.json["merge_problem"]
    assert "new.txt" in done.json["merge_problem"]
    assert "2 changed or untracked files" in done.err
    assert (project.repo / "README.md").read_text() == "the user's own edit\n"
    assert (project.repo / "new.txt").read_text() == "the user's own file\n"
    git(project.repo, "stash", "-u")
    assert project.prodigy("resume", "latest").code == 0
    assert (project.repo / "README.md").read_text() == "changed\n"


def test_a_target_that_moved_is_merged_and_a_conflict_is_told(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo '{"id":"x"}'
  agent_template:
    - shell: |
        echo from the run > README.md
        git -C "$CHECKOUT" commit -q --allow-empty -m "the user works on"
""")
    project.env["CHECKOUT"] = str(project.repo)
    assert project.prodigy("run", workflow, "--yes").code == 0
    assert project.files("main")["README.md"] == "from the run"
    assert "the user works on" in git(project.repo, "log", "--format=%s")

    conflicting = project.workflow(
        """
map:
  input: echo '{"id":"x"}'
  agent_template:
    - shell: |
        echo from the second run > README.md
        cd "$CHECKOUT" && echo from the user > README.md && git commit -q -a -m "the user was first"
""",
        "second.yml",
    )
    done = project.prodigy("run", conflicting, "--yes", "--json")
    assert done.code == 3
    assert "README.md" in done.json["merge_problem"]
    assert (project.repo / "README.md").read_text() == "from the user\n"


def test_duplicates_are_dropped_counted_and_told(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: printf 'a\\nb\\na\\n'
  agent_template:
    - shell: echo ${item} > ${item}
""")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert done.code == 0
    assert (done.json["items"]["total"], done.json["duplicates"]) == (2, 1)


def test_empty_input_is_a_finished_run_with_a_warning(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo '[]'
  agent_template:
    - shell: echo ${item}
reduce:
  - shell: echo reduced >> "$TALLY"
""")
    done = project.prodigy("run", workflow, "--json")
    assert (done.code, done.json["status"], done.json["items"]["total"]) == (0, "completed", 0)
    assert "no items" in done.err
    assert project.tally() == Counter()


def test_max_parallel_is_never_exceeded(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: seq -f '{"id":"n%g"}' 1 9
  max_parallel: 3
  agent_template:
    - shell: |
        mkdir "$SHARED/running-"${item.id}
        ls "$SHARED" | grep -c '^running-' >> "$TALLY"
        sleep 0.05
        rmdir "$SHARED/running-"${item.id}
""")
    assert project.prodigy("run", workflow).code == 0
    seen = {int(line) for line in project.tally()}
    assert max(seen) <= 3
    assert max(seen) > 1, "nothing ran in parallel"


def test_events_status_and_worktrees_are_readable_by_machine(project: Project) -> None:
    assert project.prodigy("run", project.workflow(MAP_SHAPE), "--yes").code == 0
    records = [json.loads(line) for line in project.prodigy("events", "ls", "latest", "--json").out.splitlines()]
    assert records[0]["event"]["event_type"] == "job_started"
    assert records[-1]["event"]["event_type"] == "job_completed"
    assert {"id", "timestamp", "correlation_id", "event"} <= set(records[0])
    started = next(r["event"] for r in records if r["event"]["event_type"] == "agent_started")
    assert {"agent_id", "item_id", "worktree", "attempt"} <= set(started)
    assert project.prodigy("worktree", "ls", "--json").json == []
    (row,) = project.prodigy("status", "--json").json
    assert row["status"] == "completed"


@pytest.mark.parametrize(
    "damage",
    [
        'cd /; rm -rf "$PRODIGY_WORKTREE"',
        "rm -rf .git; echo nonsense > .git",
        'echo nonsense > "$(git rev-parse --git-dir)/HEAD"',
        'rm -rf "$(git rev-parse --git-dir)"',
        "git init -q .; rm .git; mkdir .git",
        'chmod -R a-w .; chmod 0 "$PRODIGY_WORKTREE"',
    ],
)
def test_an_agent_that_wrecks_its_worktree_harms_nobody_else(project: Project, damage: str) -> None:
    workflow = project.workflow(f"""
map:
  input: printf '{{"id":"wrecker"}}\\n{{"id":"next"}}\\n{{"id":"last"}}\\n'
  max_parallel: 1
  agent_template:
    - shell: |
        if [ "$PRODIGY_ITEM_ID" = wrecker ]; then {damage}; exit 0; fi
        git status --porcelain > "$SHARED/status-"${{item.id}}
        echo fine > ${{item.id}}.txt
        git add -A
        git commit -q -m fine
""")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert done.code in (0, 3), done.err
    assert {"next.txt", "last.txt", "README.md", "shared.txt"} <= set(project.files("main"))
    assert (project.folder / "status-next").read_text() == ""
    project.assert_nothing_left()


def test_two_runs_on_one_repository_do_not_disturb_each_other(project: Project) -> None:
    def workflow(name: str) -> str:
        return (
            f'name: {name}\nmap:\n  input: seq -f \'{{"id":"{name}%g"}}\' 1 6\n  max_parallel: 3\n'
            "  agent_template:\n    - shell: echo x > ${item.id}; git add -A; git commit -q -m x\n"
        )

    runs = [
        project.start("run", project.workflow(workflow(name), f"{name}.yml"), "--no-merge", "--json")
        for name in ("left", "right")
    ]
    for name, process in zip(("left", "right"), runs, strict=True):
        out, err = process.communicate()
        assert process.returncode == 0, err
        branch = json.loads(out)["branch"]
        assert {f"{name}{number}" for number in range(1, 7)} <= set(project.files(branch))
    project.assert_nothing_left()


def test_what_is_too_large_to_keep_is_named(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo '{"id":"x"}'
  agent_template:
    - shell: head -c 11000000 /dev/zero > large.bin; echo small > small.txt
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == 0, done.err
    assert "large.bin" in done.err
    assert "small.txt" in project.files("main")


@pytest.mark.parametrize("reduce", ["reduce: [{shell: cat *.item > reduced.txt}]", "reduce: []"])
def test_steps_behind_a_fan_out_see_what_it_merged_and_how_it_went(project: Project, reduce: str) -> None:
    workflow = project.workflow(f"""
- shell: echo first > first.txt; git add -A; git commit -q -m first
- mapreduce:
    map:
      input: printf '{{"id":"a"}}\\n{{"id":"b"}}\\n'
      agent_template: [{{shell: "echo x > ${{item.id}}.item"}}]
    {reduce}
- shell: ls *.item > seen.txt; git add -A; git commit -q -m seen
- shell: echo "${{map.successful}}/${{map.total}}" > tally.txt
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == 0, done.err
    files = project.files("main")
    assert files["seen.txt"] == "a.item\nb.item"
    assert files["tally.txt"] == "2/2"


def test_a_failing_reduce_names_its_own_line(project: Project) -> None:
    workflow = project.workflow("""map:
  input: echo '{"id":"a"}'
  agent_template:
    - shell: echo a > a.txt
reduce:
  - shell: echo one >> "$TALLY"
  - shell: echo two >> "$TALLY"; echo debris > debris.txt; echo broken >&2; test -e "$SHARED/mended"
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == 1
    assert "flow.yml:7: reduce: exited with code 1: broken" in done.err
    (project.folder / "mended").touch()
    assert project.prodigy("resume", "latest").code == 0
    assert project.tally() == Counter({"one": 1, "two": 2})
    project.assert_nothing_left()


def test_file_names_of_another_encoding_are_no_trouble(project: Project) -> None:
    workflow = project.workflow(r"""
setup:
  - shell: printf x > $'left-\377.txt'
map:
  input: printf '{"id":"a"}\n{"id":"b"}\n'
  max_parallel: 2
  agent_template:
    - shell: |
        touch "$SHARED/started-$PRODIGY_ITEM_ID"
        until [ -e "$SHARED/started-a" ] && [ -e "$SHARED/started-b" ]; do sleep 0.05; done
        printf %s ${item.id} > $'fought-\377.txt'
reduce:
  - shell: test -e $'left-\377.txt'
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == 3, done.err
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert "fought-" in letter["failure_history"][0]["error_message"]
    tracked = git(project.repo, "-c", "core.quotePath=true", "ls-tree", "-r", "--name-only", "main")
    assert "fought-\\377.txt" in tracked
    assert "left-" not in tracked


ONE_DEAD = """
map:
  input: printf '{"id":"good"}\\n{"id":"bad"}\\n'
  agent_template:
    - shell: test ${item.id} = good || test -e "$SHARED/mended"; echo x > ${item.id}.txt
"""


def test_a_retry_does_not_take_a_half_removed_worktree_for_work(project: Project) -> None:
    killed = project.prodigy("run", project.workflow(ONE_DEAD), "--yes", env={"PRODIGY_FAULT": "after:job_completed"})
    assert killed.code == -9
    (worktree,) = (project.home / "worktrees").glob("*/*-run")
    (worktree / "README.md").unlink()
    (worktree / "shared.txt").unlink()
    (project.folder / "mended").touch()
    assert project.prodigy("dlq", "retry", "latest", "--yes").code == 0
    assert {"README.md", "shared.txt", "good.txt", "bad.txt"} <= set(project.files("main"))
    project.assert_nothing_left()


def test_an_interrupted_final_merge_leaves_another_branch_alone(project: Project) -> None:
    fault = {"PRODIGY_FAULT": "after:final_merge_started"}
    assert project.prodigy("run", project.workflow(MAP_SHAPE), "--yes", env=fault).code == -9
    git(project.repo, "switch", "-q", "-c", "feature")
    done = project.prodigy("resume", "latest", "--json")
    assert (done.code, done.json["merged"]) == (0, True), done.err
    assert git(project.repo, "status", "--porcelain") == ""
    assert "all.txt" not in project.files("feature")
    assert "all.txt" in project.files("main")


def test_a_final_merge_interrupted_before_the_user_went_on_is_planned_anew(project: Project) -> None:
    fault = {"PRODIGY_FAULT": "after:final_merge_started"}
    assert project.prodigy("run", project.workflow(MAP_SHAPE), "--yes", env=fault).code == -9
    project.write("more.txt", "the user goes on")
    project.commit()
    done = project.prodigy("resume", "latest", "--json")
    assert (done.code, done.json["merged"], done.json["merge_problem"]) == (0, True, None), done.err
    assert {"all.txt", "more.txt"} <= set(project.files("main"))


def test_a_step_whose_worktree_is_lost_with_its_work_runs_again(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo '{"id":"a"}'
  agent_template:
    - shell: |
        echo one >> "$TALLY"
        echo draft > draft.txt
    - shell: |
        echo two >> "$TALLY"
        touch "$SHARED/inside"
        until [ -e "$SHARED/go" ]; do sleep 0.05; done
        echo more >> draft.txt
        git add -A
        git commit -q -m work
""")
    first = project.start("run", workflow, "--yes")
    wait_until(lambda: (project.folder / "inside").exists(), "the second step runs")
    first.kill()
    first.communicate()
    (project.folder / "go").touch()
    wait_until(lambda: not processes_of(project.folder), "the step ends without its coordinator")
    for worktree in (project.home / "worktrees").glob("*/*-s[0-9]"):
        shutil.rmtree(worktree)
    done = project.prodigy("resume", "latest")
    assert done.code == 0, done.err
    assert project.tally() == Counter({"one": 1, "two": 2})
    assert project.files("main")["draft.txt"] == "draft\nmore"


@pytest.mark.parametrize("rewriting_step", [1, 2])
def test_a_step_of_the_run_that_rewrites_history_fails_it_and_is_tried_again(
    project: Project, rewriting_step: int
) -> None:
    rewrite = (
        'echo "$STEP" >> "$TALLY"; [ -e "$SHARED/mended" ] || git commit -q --amend --allow-empty -m rewritten;'
        ' echo "$STEP" > "step-$STEP.txt"; git add -A; git commit -q -m "$STEP"'
    )
    plain = 'echo "$STEP" >> "$TALLY"; echo x > "step-$STEP.txt"; git add -A; git commit -q -m x'
    steps = [f"  - shell: STEP={n}; {rewrite if n == rewriting_step else plain}" for n in (1, 2)]
    workflow = project.workflow("steps:\n" + "\n".join(steps) + "\n")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert (done.code, done.json["status"]) == (1, "failed"), done.err
    assert "does not descend" in done.err
    (project.folder / "mended").touch()
    again = project.prodigy("resume", "latest")
    assert again.code == 0, again.err
    assert {"step-1.txt", "step-2.txt", "README.md"} <= set(project.files("main"))
    assert project.tally()[str(rewriting_step)] == 2


def test_what_an_interrupted_agent_had_committed_stays_reachable(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo '{"id":"a"}'
  agent_template:
    - shell: |
        echo precious > precious.txt
        git add -A
        git commit -q -m precious
        touch "$SHARED/inside"
        sleep 600
""")
    first = project.start("run", workflow)
    wait_until(lambda: (project.folder / "inside").exists(), "the commit is made")
    assert project.prodigy("cancel", "latest").code == 0
    first.communicate()
    assert "precious" in git(project.repo, "log", "--all", "--format=%s", "--glob=refs/prodigy")


def test_an_agent_that_leaves_an_unreadable_directory_fails_or_succeeds_alone(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n'
  max_parallel: 1
  agent_template:
    - shell: |
        if [ "$PRODIGY_ITEM_ID" = a ]; then mkdir d; echo x > d/f; chmod 444 d; fi
        echo x > ${item.id}.txt
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code in (0, 3), done.err
    assert "b.txt" in project.files("main")
    project.assert_nothing_left()


def test_a_retry_that_is_not_merged_does_not_call_itself_merged(project: Project) -> None:
    assert project.prodigy("run", project.workflow(ONE_DEAD), "--yes").code == 3
    (project.folder / "mended").touch()
    done = project.prodigy("dlq", "retry", "latest", "--no-merge", "--json")
    assert (done.code, done.json["merged"]) == (0, False)
    assert "bad.txt" not in project.files("main")
    later = project.prodigy("resume", "latest", "--yes", "--json")
    assert (later.code, later.json["merged"]) == (0, True)
    assert "bad.txt" in project.files("main")


def test_a_target_that_is_gone_is_a_merge_problem(project: Project) -> None:
    assert project.prodigy("run", project.workflow(MAP_SHAPE), "--no-merge").code == 0
    git(project.repo, "switch", "-q", "-c", "other")
    git(project.repo, "branch", "-q", "-D", "main")
    done = project.prodigy("resume", "latest", "--yes", "--json")
    assert done.code == 3
    assert "main is gone" in done.json["merge_problem"]
