"""`map.merge`: what is merged was tested first; who breaks it goes back with the reason; nobody waits for anybody."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from agent_support import script, stand_in_path
from support import Project, git

# Each is right alone: the sum of all numbers must stay below 100.
SUM = """
map:
  input: printf '{{"id":"%s"}}\\n' {items}
  max_parallel: {parallel}
  merge:
    check:
      - shell: |
          echo "${{check.items:csv}}" >> "$SHARED/checks"
          echo "the sum is $(cat n-* 2>/dev/null | paste -sd+ | bc)"
          test "$(cat n-* 2>/dev/null | paste -sd+ | bc)" -lt 100
    {more}
  agent_template:
    - shell: |
        echo "${{item.id}} try" >> "$TALLY"
        echo ${{item.id}} > n-${{item.id}}; git add -A; git commit -qm "n ${{item.id}}"
"""


def checks(project: Project) -> list[list[str]]:
    """The items of each check that was made."""
    return [line.split(",") if line else [] for line in (project.folder / "checks").read_text().splitlines()]


def events(project: Project, kind: str) -> list[dict[str, Any]]:
    lines = project.prodigy("events", "ls", "--json").out.splitlines()
    found = [json.loads(line)["event"] for line in lines]
    return [event for event in found if event["event_type"] == kind]


def branch_states(project: Project) -> list[int]:
    """The sum in every commit that the run branch has ever been."""
    commits = git(project.repo, "log", "--first-parent", "--format=%H", project.run_branch()).split()
    files = (project.files(commit) for commit in commits)
    return [sum(int(text) for name, text in each.items() if name.startswith("n-")) for each in files]


@pytest.fixture(autouse=True)
def needs_bc(project: Project) -> None:
    project.write("bin/bc", '#!/usr/bin/env python3\nimport sys\nprint(eval(sys.stdin.read().strip() or "0"))\n').chmod(
        0o755
    )
    project.commit()
    project.env["PATH"] = f"{project.repo / 'bin'}:{project.environment()['PATH']}"


def test_agents_that_are_right_alone_and_wrong_together_are_not_merged_together(project: Project) -> None:
    flow = SUM.format(items="60 61", parallel=2, more="batch: 8\n    on_reject: dlq")
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 3, done.err
    assert (done.json["items"]["successful"], done.json["dead_letters"]) == (1, 1)
    assert max(branch_states(project)) in (60, 61)
    (letter,) = project.prodigy("dlq", "list", "--json").json
    assert letter["failure_history"][-1]["error_type"] == "check_rejected"
    assert "the sum is 121" in json.dumps(letter)


def test_whoever_breaks_it_is_tried_once_more_then_dead(project: Project) -> None:
    flow = SUM.format(items="1 2 200 3", parallel=1, more="batch: 1")
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 3, done.err
    assert project.tally() == {"1 try": 1, "2 try": 1, "3 try": 1, "200 try": 2}
    assert [event["kind"] for event in events(project, "agent_failed")] == ["check_rejected"] * 2
    assert sum(branch_states(project)[:1]) == 6
    project.assert_nothing_left()


def test_a_dead_letter_of_a_rejected_merge_can_be_retried(project: Project) -> None:
    flow = SUM.format(items="1 200", parallel=1, more="on_reject: dlq")
    assert project.prodigy("run", project.workflow(flow), "--yes").code == 3
    mended = project.workflow(flow.replace("-lt 100", "-lt 1000"))
    done = project.prodigy("dlq", "retry", "latest", "--workflow", mended, "--yes", "--json")
    assert done.code == 0, done.err
    assert {"n-1", "n-200"} <= project.files("main").keys()
    project.assert_nothing_left()


def test_the_agent_of_the_second_attempt_is_told_what_the_check_said_and_what_it_had_done(project: Project) -> None:
    project.env |= {
        "PATH": f"{stand_in_path(project.folder)}:{project.env['PATH']}",
        "CLAUDE_STAND_IN_LOG": str(project.folder / "calls"),
    }
    first = {"sh": 'if [ -e "$SHARED/second" ]; then echo 5 > n-5; else echo 500 > n-5; fi; touch "$SHARED/second"'}
    commit = {"sh": "git add -A && git commit -qm five"}
    flow = f"""
env: {{SHARED: "{project.folder}", CLAUDE_STAND_IN_LOG: "{project.folder / "calls"}"}}
map:
  input: echo five
  merge: {{check: 'test ! -e n-5 || {{ echo "too much: $(cat n-5)"; test "$(cat n-5)" -lt 100; }}'}}
  agent_template:
    - claude: 'Add. {script(first, commit, {"text": "done"})}'
"""
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 0, done.err
    calls = [json.loads(line)["prompt"] for line in (project.folder / "calls").read_text().splitlines()]
    assert len(calls) == 2
    for words in ("earlier attempt", "the check of merges fails", "too much: 500", "+500", "n-5"):
        assert words in calls[1]
    assert project.files("main")["n-5"] == "5"


def test_a_batch_is_checked_together_and_its_first_bad_one_found_by_halving(project: Project) -> None:
    """The first check waits until eight more are in the queue, a batch: the one that works behind them shows it."""
    held = """test -e "$SHARED/all" || until [ "$(ls "$SHARED" | grep -c '^done-')" = 10 ]; do sleep 0.05; done
          touch "$SHARED/all"
          echo"""
    flow = SUM.format(items="1 2 3 4 5 200 7 8 9 10", parallel=1, more="batch: 8\n    on_reject: dlq")
    flow = flow.replace('echo "${check', f'{held} "${{check', 1).replace(
        "git commit -qm", 'touch "$SHARED/done-${item.id}"; git commit -qm'
    )
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 3, done.err
    assert checks(project) == [
        ["1"], ["2", "3", "4", "5", "200", "7", "8", "9"], ["2", "3", "4", "5"], ["200", "7"], ["200"],
        ["7", "8", "9", "10"],
    ]  # fmt: skip
    assert sum(branch_states(project)[:1]) == 1 + 2 + 3 + 4 + 5 + 7 + 8 + 9 + 10
    assert max(branch_states(project)) < 100


def test_when_the_branch_itself_fails_nobody_is_blamed_and_the_run_pauses(project: Project) -> None:
    flow = SUM.format(items="1 2", parallel=2, more="batch: 4").replace("-lt 100", "-lt 0")
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 6, done.err
    assert (done.json["status"], done.json["stop_reason"], done.json["dead_letters"]) == ("paused", None, 0)
    assert "fails on the run branch itself" in done.json["error"]
    assert done.json["merge_queue"]["waiting"] == 2
    told = project.prodigy("resume")
    assert told.code == 6, told.err
    assert "  error: the check of merges fails on the run branch itself" in told.out
    mended = project.workflow(flow.replace("-lt 0", "-lt 100"))
    done = project.prodigy("resume", "--workflow", mended, "--yes", "--json")
    assert done.code == 0, done.err
    assert project.tally() == {"1 try": 1, "2 try": 1}
    assert {"n-1", "n-2"} <= project.files("main").keys()
    project.assert_nothing_left()


def test_agents_go_on_while_a_check_runs_and_status_says_what_waits_and_why(project: Project) -> None:
    """One slot, and a check that ends when the test has seen the third item in the queue behind it."""
    flow = SUM.format(items="1 2 3", parallel=1, more="batch: 1")
    held = 'touch "$SHARED/checking"; until [ -e "$SHARED/go" ]; do sleep 0.05; done; echo'
    flow = flow.replace('echo "${check', f'{held} "${{check', 1)
    process = project.start("run", project.workflow(flow), "--yes", "--json")
    try:
        queue = until(lambda: project.prodigy("status", "latest", "--json").json["merge_queue"], waiting=3)
        assert queue["checking"] == 1
        assert [item["state"] for item in queue["items"]] == ["checking", "waiting", "waiting"]
        assert queue["items"][2]["why"] == "2 are before it"
        told = project.prodigy("status", "latest").out
        assert "merge queue: 3 waiting, 1 of them being checked" in told
        assert "check 1 runs" in told
    finally:
        (project.folder / "go").touch()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    assert json.loads(out)["items"]["successful"] == 3


def until(look: Callable[[], dict[str, Any]], *, waiting: int) -> dict[str, Any]:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        try:
            queue = look()
        except json.JSONDecodeError:
            continue  # the run does not exist yet
        if queue["waiting"] == waiting and queue["checking"]:
            return queue
    raise AssertionError("it did not come to that")


def test_the_queue_keeps_what_a_build_has_made_from_one_check_to_the_next(project: Project) -> None:
    project.write(".gitignore", "cache\n")
    project.commit()
    flow = SUM.format(items="1 2 3", parallel=1, more="batch: 1")
    flow = flow.replace('echo "${check', 'echo x >> cache; cp cache "$SHARED/cache"; touch junk; echo "${check', 1)
    flow = flow.replace("-lt 100", "-lt 100; test ! -e seen-junk; touch seen-junk")
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 0, done.err
    assert len((project.folder / "cache").read_text().splitlines()) == len(checks(project))
    assert not {"junk", "cache", "seen-junk"} & project.files("main").keys()
    project.assert_nothing_left()


@pytest.mark.parametrize("strategy", ["merge", "rebase", "squash"])
def test_strategies(project: Project, strategy: str) -> None:
    flow = SUM.format(items="1 2 3", parallel=3, more=f"strategy: {strategy}\n    batch: 8").replace(
        'git commit -qm "n ${item.id}"',
        'git commit -qm "n ${item.id}"; echo more >> more-${item.id}; git add -A; git commit -qm "more ${item.id}"',
    )
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 0, done.err
    base = git(project.repo, "rev-list", "--max-parents=0", "main")
    subjects = git(project.repo, "log", "--format=%s", f"{base}..{project.run_branch()}").splitlines()
    merges = git(project.repo, "rev-list", "--merges", f"{base}..{project.run_branch()}").split()
    own = [subject for subject in subjects if subject.startswith(("n ", "more "))]
    assert len(own) == (0 if strategy == "squash" else 6)
    assert len(merges) == (3 if strategy == "merge" else 0)
    assert {f"n-{n}" for n in (1, 2, 3)} | {f"more-{n}" for n in (1, 2, 3)} <= project.files("main").keys()
    project.assert_nothing_left()


def test_strategies_without_a_check(project: Project) -> None:
    flow = SUM.format(items="1 2 3", parallel=3, more="strategy: squash")
    before, _, rest = flow.partition("    check:")
    flow = before + "    strategy: squash\n  agent_template:" + rest.partition("agent_template:")[2]
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 0, done.err
    assert git(project.repo, "rev-list", "--merges", project.run_branch()) == ""
    assert {"n-1", "n-2", "n-3"} <= project.files("main").keys()


def test_priority_says_who_starts_and_merges_first(project: Project) -> None:
    flow = """
map:
  input: printf '{"id":"low","p":1}\\n{"id":"none"}\\n{"id":"high","p":7}\\n{"id":"mid","p":2.5}\\n'
  max_parallel: 1
  priority: p
  agent_template:
    - shell: 'echo "${item.id}" >> "$SHARED/order"'
"""
    done = project.prodigy("run", project.workflow(flow), "--json")
    assert done.code == 0, done.err
    assert (project.folder / "order").read_text().split() == ["high", "mid", "low", "none"]


def test_the_queue_merges_a_higher_priority_first(project: Project) -> None:
    """While the first is checked, the others come in: the last of them goes first."""
    flow = SUM.format(items="5 1 2 3", parallel=1, more="batch: 1").replace(
        "  max_parallel", "  priority: \"id == '5' || id == '3'\"\n  max_parallel"
    )
    held = """until [ "$(ls "$SHARED" | grep -c '^done-')" = 4 ]; do sleep 0.05; done; echo"""
    flow = flow.replace('echo "${check', f'{held} "${{check', 1).replace(
        "git commit -qm", 'touch "$SHARED/done-${item.id}"; git commit -qm'
    )
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 0, done.err
    order = [check[0] for check in checks(project)]
    assert order[0] in ("5", "3")
    assert set(order[:2]) == {"5", "3"}


CONFLICT = """
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n'
  max_parallel: 2
  merge:
    check: |
      until [ "$(ls "$SHARED" | grep -c ^done-)" = 2 ]; do sleep 0.05; done
      echo "${check.items:csv}" >> "$SHARED/checks"
    batch: 8
    on_conflict: WHO
  agent_template:
    - shell: |
        printf 'one\\ntwo %s\\nthree\\n' ${item.id} > shared.txt
        touch "$SHARED/in-${item.id}"
        until [ -e "$SHARED/in-a" ] && [ -e "$SHARED/in-b" ]; do sleep 0.05; done
        echo x >> "$TALLY"
        git commit -qam "Say ${item.id}"
    - shell: touch "$SHARED/done-${item.id}"
"""


def test_what_conflicts_with_others_in_the_queue_is_resolved_and_checked_again(project: Project) -> None:
    who = """[{shell: 'echo r >> "$TALLY"; printf "one\\ntwo a and b\\nthree\\n" > shared.txt'}]"""
    done = project.prodigy("run", project.workflow(CONFLICT.replace("WHO", who)), "--yes", "--json")
    assert done.code == 0, done.err
    assert project.files("main")["shared.txt"] == "one\ntwo a and b\nthree"
    assert project.tally() == {"x": 2, "r": 1}
    assert sorted(itertools.chain(*checks(project))) == ["a", "b"]
    project.assert_nothing_left()


def test_what_conflicts_with_others_in_the_queue_is_a_dead_letter_otherwise(project: Project) -> None:
    done = project.prodigy("run", project.workflow(CONFLICT.replace("WHO", "dlq")), "--yes", "--json")
    assert done.code == 3, done.err
    assert [event["kind"] for event in events(project, "agent_failed")] == ["merge_conflict"]
    project.assert_nothing_left()


def test_a_check_prepares_its_worktree_as_items_do_theirs(project: Project) -> None:
    project.write(".gitignore", "tools\n")
    project.commit()
    flow = SUM.format(items="1", parallel=1, more="batch: 1").replace("-lt 100", "-lt 100 && test -e tools")
    flow = 'workspace: {setup: ["touch tools"], teardown: [\'pwd >> "$SHARED/torn"\']}\n' + flow
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 0, done.err
    assert any(line.endswith("-queue") for line in (project.folder / "torn").read_text().splitlines())


def test_a_setup_that_fails_for_the_check_blames_no_item(project: Project) -> None:
    flow = SUM.format(items="1", parallel=1, more="batch: 1")
    flow = "workspace: {setup: ['case \"$PWD\" in *-queue) exit 7;; esac']}\n" + flow
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 6, done.err
    assert "merges can't be checked" in done.json["error"]
    assert done.json["dead_letters"] == 0


def test_items_without_commits_are_not_checked(project: Project) -> None:
    flow = SUM.format(items="1 2", parallel=1, more="batch: 8").replace(
        "echo ${item.id} > n-${item.id}; git add -A; git commit -qm", "true"
    )
    done = project.prodigy("run", project.workflow(flow), "--yes", "--json")
    assert done.code == 0, done.err
    assert not (project.folder / "checks").exists()
