"""The strategies of worktrees, their limits, what stays behind and what takes it away."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from recovery_support import events, kill_when, letters, wait_for_lines, warnings
from support import Project, git

COMPLETED_WITH_FAILURES = 3


@pytest.fixture(autouse=True)
def ignored(project: Project) -> None:
    project.write(".gitignore", "built/\n")
    project.commit("ignore")


def worktrees(project: Project) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = project.prodigy("worktree", "ls", "--json").json
    return rows


def run_of(project: Project, text: str, name: str = "flow.yml") -> str:
    """Start a workflow, and the id of its run when it has completed."""
    done = project.prodigy("run", project.workflow(text, name), "--yes", "--json")
    assert done.code in (0, COMPLETED_WITH_FAILURES), done.err
    return str(done.json["run_id"])


def test_fresh_worktrees_share_nothing_and_are_gone_behind_the_attempt(project: Project) -> None:
    """Also what a map says beats the workflow key by key, and the next fan-out has its worktrees its own way."""
    text = """
workspace: {keep_ignored: [built], teardown: ['echo down >> "$TALLY"']}
steps:
  - mapreduce:
      map:
        input: seq 1 3
        max_parallel: 1
        workspace: {reuse: fresh}
        agent_template:
          - shell: |
              test ! -e built
              mkdir built
              ls -d "$(dirname "$PWD")"/*-s[0-9] | wc -l | sed 's/^ */there: /' >> "$TALLY"
  - mapreduce:
      map:
        input: seq 4 6
        max_parallel: 1
        agent_template:
          - shell: |
              if [ -e built/x ]; then echo warm >> "$TALLY"; fi
              mkdir -p built; touch built/x
"""
    run_of(project, text)
    # Down: for each attempt of the first map, for each of the second's two worktrees, and for the run's own.
    assert project.tally() == {"there: 1": 3, "warm": 1, "down": 3 + 2 + 1}
    project.assert_nothing_left()


def test_a_worktree_with_a_name_stays_for_the_next_run_with_what_was_built_there(project: Project) -> None:
    text = """
workspace: {name: warm, setup: ['echo setup >> "$TALLY"']}
map:
  input: printf 'NAMES'
  agent_template:
    - shell: |
        basename "$PWD" >> "$TALLY"
        if [ -e built/x ]; then echo warm >> "$TALLY"; fi
        mkdir -p built; touch built/x stray
        test ! -e stray-${item}
        echo ${item} > ${item}.txt
"""
    run_of(project, text.replace("NAMES", "a\\n"))
    (left,) = worktrees(project)
    assert (left["slot"], left["status"]) == ("dedicated-warm", "named")
    assert Path(left["path"]).name == "warm"
    run_of(project, text.replace("NAMES", "b\\nc\\n"), "second.yml")
    # One setup in it, and one in the own worktree of each run.
    assert project.tally() == {"warm": 3 + 2, "setup": 1 + 2}
    assert {"a.txt", "b.txt", "c.txt", "stray"} <= set(project.files("main"))
    assert "kept" in project.prodigy("worktree", "clean").out
    assert len(worktrees(project)) == 1
    assert "removed" in project.prodigy("worktree", "clean", "--force").out
    assert worktrees(project) == []
    assert len(git(project.repo, "worktree", "list").splitlines()) == 1


def test_a_named_worktree_in_the_middle_of_a_killed_run_is_not_given_to_another_one(project: Project) -> None:
    text = """
workspace: {name: warm}
map:
  input: printf 'a\\n'
  agent_template:
    - shell: echo began >> "$TALLY"; echo precious > work.txt; until [ -e "$SHARED/go" ]; do sleep 0.05; done
"""
    running = project.start("run", project.workflow(text), "--yes")
    kill_when(project, running, "began")
    first = project.run_id()
    other = project.workflow(text.replace("began", "other"), "other.yml")
    refused = project.prodigy("run", other, "--yes", "--json")
    assert refused.code == 5, refused.err
    assert f"run {first} was interrupted while it worked in the worktree warm" in refused.err
    assert "kept" in project.prodigy("worktree", "clean", "--force", first).out
    (project.folder / "go").touch()
    done = project.prodigy("resume", first, "--yes")
    assert done.code == 0, done.err
    assert project.files("main")["work.txt"] == "precious"
    again = project.prodigy("resume", refused.json["run_id"], "--yes")
    assert again.code == 0, again.err
    assert project.tally() == {"began": 1, "other": 1}


FAILS = """
workspace: {keep_failed: 2, teardown: ['echo "$PRODIGY_ITEM_ID" down >> "$TALLY"']}
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n{"id":"c"}\\n{"id":"good"}\\n'
  max_parallel: 1
  agent_template:
    - shell: |
        mkdir built; echo log > built/log; echo half > half.txt
        if [ ! -e "$SHARED/mended" ]; then test "$PRODIGY_ITEM_ID" = good; fi
"""


def test_the_worktrees_of_the_newest_failed_items_stay_to_be_looked_at(project: Project) -> None:
    run_id = run_of(project, FAILS)
    kept = {row["item_id"]: row for row in worktrees(project)}
    assert set(kept) == {"b", "c"}
    for item, letter in letters(project).items():
        path = letter["worktree_artifacts"]["worktree_path"]
        assert path == (kept[item]["path"] if item in kept else None)
    assert (Path(kept["b"]["path"]) / "built/log").read_text() == "log\n"
    assert (Path(kept["b"]["path"]) / "half.txt").read_text() == "half\n"
    # After each item, also those that failed, and at the end in the run's own worktree.
    assert project.tally() == {f"{item} down": 1 for item in ("a", "b", "c", "good")} | {" down": 1}
    assert kept["b"]["path"] in project.prodigy("dlq", "inspect", "b").out
    assert "kept for the failed item b" in project.prodigy("worktree", "ls").out
    # Somebody tries something there, and then cleans up: nothing of it is lost.
    (Path(kept["b"]["path"]) / "tried.txt").write_text("by hand\n")
    (project.folder / "mended").touch()
    retried = project.prodigy("dlq", "retry", run_id, "--item", "c", "--yes")
    assert retried.code == COMPLETED_WITH_FAILURES, retried.err
    assert [row["item_id"] for row in worktrees(project)] == ["b"]
    assert project.prodigy("worktree", "clean", run_id).code == 0
    assert worktrees(project) == []
    refs = git(project.repo, "for-each-ref", "--format=%(refname)", f"refs/prodigy/{run_id}/kept").splitlines()
    assert [text for ref in refs if (text := project.files(ref).get("tried.txt"))] == ["by hand"]
    assert letters(project)["b"]["worktree_artifacts"]["worktree_path"] is None
    project.assert_nothing_left()


def test_of_a_failed_worktree_that_has_to_make_room_a_bundle_stays(project: Project) -> None:
    base = git(project.repo, "rev-parse", "HEAD")
    text = FAILS.replace(
        "echo half > half.txt", "echo half > half.txt; git add -A; git commit -q -m c; echo late > late"
    )
    run_id = run_of(project, text.replace("mkdir built", "echo built > .gitignore; mkdir built"))
    found = {item: letter["worktree_artifacts"] for item, letter in letters(project).items()}
    assert {item for item, work in found.items() if work["bundle"]} == {"a"}
    bundle = Path(found["a"]["bundle"])
    assert bundle.name == "0001-a.bundle"
    assert bundle.parent == project.home / "runs" / run_id / "bundles"
    assert bundle.stat().st_mode & 0o077 == 0
    shown = project.prodigy("dlq", "inspect", "a").out
    assert str(bundle) in shown
    assert found["a"]["base"][:12] in shown
    # Also where nothing but the commit is known at which the item began.
    other = project.folder / "other"
    git(project.folder, "clone", "-q", "--no-local", "--single-branch", str(project.repo), str(other))
    assert git(other, "rev-parse", f"{base}^{{commit}}") == base
    git(other, "fetch", "-q", str(bundle), found["a"]["branch_name"])
    names = git(other, "ls-tree", "-r", "--name-only", "FETCH_HEAD").splitlines()
    assert {"half.txt", "late"} <= set(names)
    assert "built/log" not in names  # ignored
    assert git(project.repo, "rev-parse", found["a"]["branch_name"]) == git(other, "rev-parse", "FETCH_HEAD")
    # Purged is purged.
    assert project.prodigy("dlq", "clear", run_id, "--yes").code == 0
    assert not bundle.exists()


def test_what_a_person_did_in_a_failed_worktree_is_in_its_bundle(project: Project) -> None:
    text = """
workspace: {keep_failed: 1}
map:
  input: printf '{"id":"b"}\\n{"id":"waits"}\\n'
  max_parallel: 1
  agent_template:
    - shell: |
        echo half > half.txt; echo "$PRODIGY_ITEM_ID" >> "$TALLY"
        if [ "$PRODIGY_ITEM_ID" = waits ]; then until [ -e "$SHARED/go" ]; do sleep 0.02; done; fi
        false
"""
    running = project.start("run", project.workflow(text), "--no-merge")
    wait_for_lines(project, "waits")
    (kept,) = (row for row in worktrees(project) if row["item_id"] == "b")
    (Path(kept["path"]) / "tried.txt").write_text("by hand\n")
    (project.folder / "go").touch()
    running.communicate()
    assert running.returncode == COMPLETED_WITH_FAILURES
    bundle = letters(project)["b"]["worktree_artifacts"]["bundle"]
    heads = [line.split(" ")[0] for line in git(project.repo, "bundle", "list-heads", bundle).splitlines()]
    assert [files["tried.txt"] for head in heads if "tried.txt" in (files := project.files(head))] == ["by hand"]


def test_no_item_starts_below_the_floor_of_free_space(project: Project) -> None:
    text = """
map:
  input: printf 'a\\nb\\n'
  LIMITS
  agent_template: [{shell: 'echo ran >> "$TALLY"; echo x > ${item}.txt'}]
"""
    floor = project.workflow(text.replace("LIMITS", "workspace: {limits: {min_free_disk_mb: 900000000}}"))
    done = project.prodigy("run", floor, "--yes", "--json")
    assert done.code == 6, done.err
    assert (done.json["status"], done.json["items"]["pending"], done.json["dead_letters"]) == ("paused", 2, 0)
    assert "min_free_disk_mb, 900,000,000" in done.json["error"]
    assert done.err.count("nothing more starts: ") == 1
    assert str(project.home) in done.err
    assert not project.tally_file.exists()
    mended = project.workflow(text.replace("LIMITS", ""))
    done = project.prodigy("resume", done.json["run_id"], "--workflow", mended, "--yes")
    assert done.code == 0, done.err
    assert {"a.txt", "b.txt"} <= project.files("main").keys()
    project.assert_nothing_left()


@pytest.mark.parametrize("point", ["after:dlq_item_added#3", "before:dlq_item_added#2"])
def test_a_kill_where_failed_worktrees_are_kept_loses_none_and_leaves_no_more(project: Project, point: str) -> None:
    workflow = project.workflow(FAILS)
    assert project.prodigy("run", workflow, "--yes", env={"PRODIGY_FAULT": point}).code == -9
    done = project.prodigy("resume", "latest", "--yes")
    assert done.code == COMPLETED_WITH_FAILURES, done.err
    kept = {row["item_id"]: row["path"] for row in worktrees(project)}
    assert set(kept) == {"b", "c"}
    assert all((Path(path) / "half.txt").exists() for path in kept.values())
    project.prodigy("worktree", "clean")
    project.assert_nothing_left()


@pytest.mark.parametrize(
    ("how", "times", "owners"),
    [
        # Of the item, which is not repeated, and of the run's own worktree.
        ("reuse: fresh", 2, {"run", "it1/1/i0001/a1"}),
        # Of the pool's worktree, once more after the kill, and of the run's own.
        ("keep_ignored: [built]", 3, {"run", "it1/1/i0001/a1"}),
    ],
)
def test_a_teardown_that_fails_is_warned_of_and_one_that_was_killed_leaves_nothing_behind(
    project: Project, how: str, times: int, owners: set[str]
) -> None:
    text = """
workspace:
  HOW
  setup: ['echo "up $PWD" >> "$TALLY"']
  teardown:
    - shell: |
        echo down >> "$TALLY"
        if [ -e "$SHARED/quick" ]; then exit 7; fi
        sleep 600
map: {input: printf 'a\\n', agent_template: [{shell: echo x > x.txt}]}
"""
    running = project.start("run", project.workflow(text.replace("HOW", how)), "--yes")
    kill_when(project, running, "down")
    (project.folder / "quick").touch()
    done = project.prodigy("resume", "latest", "--yes")
    assert done.code == 0, done.err
    assert [text for text in warnings(project) if "workspace.teardown failed" in text and "code 7" in text]
    assert project.tally()["down"] == times
    paths = [event["path"] for event in events(project, "step_started") if "/workspace" in event["path"]]
    assert {path.partition("/workspace")[0] for path in paths} == owners
    assert project.files("main")["x.txt"] == "x"
    project.assert_nothing_left()


def test_limits_make_fewer_items_run_at_a_time(project: Project) -> None:
    """Of the run, of memory, of disk, and of all runs of this home together."""
    text = """
workspace: {limits: LIMITS}
map:
  input: seq 1 4
  max_parallel: 4
  agent_template: [{shell: 'ls -d "$(dirname "$PWD")"/*-s[0-9] | wc -l | sed "s/^ */there: /" >> "$TALLY"; sleep 0.2'}]
"""
    stale = project.home / "worktrees" / "other-0123456789"
    for number in range(3):
        (stale / f"20200101-000000-aaaa-s{number}").mkdir(parents=True)
    big = project.write("big.bin", "")
    big.write_bytes(os.urandom(1 << 20))
    project.commit("big")
    for limits, warned in (
        ("{per_run: 1}", ""),
        ("{max_memory_mb: 100, memory_per_item_mb: 90}", "max_memory_mb is enough for 1 (100; each needs about 90 MB)"),
        ("{max_disk_mb: 2}", "a worktree takes 1 MB, and max_disk_mb is 2, so the run gets 1"),
        ("{total: 5}", "there are 4 already and 5 may be in all, so the run gets 1"),
    ):
        project.tally_file.unlink(missing_ok=True)
        done = project.prodigy("run", project.workflow(text.replace("LIMITS", limits)), "--yes")
        assert done.code == 0, done.err
        assert warned in done.err
        most = 2 if "memory" in limits else 1  # less memory is no reason to have no worktree more, made fresh meanwhile
        assert max(int(line.removeprefix("there: ")) for line in project.tally()) <= most, limits
    full = project.prodigy("run", project.workflow(text.replace("LIMITS", "{total: 3}")), "--yes")
    assert full.code == 5
    assert "there are 3 worktrees already, and 3 may be in all" in full.err
    assert str(stale) in full.err
    floor = project.prodigy("run", project.workflow(text.replace("LIMITS", "{min_free_disk_mb: 900000000}")), "--yes")
    assert floor.code == 5
    assert "900000000 MB are needed" in floor.err


def test_worktrees_stay_when_they_are_to_and_go_when_they_are_old(project: Project) -> None:
    text = """
workspace: {keep: true}
map: {input: printf 'a\\n', agent_template: [{shell: mkdir built}]}
"""
    first = run_of(project, text)
    assert {row["slot"] for row in worktrees(project)} == {"run", "s1"}
    young = run_of(project, "workspace: {max_age: 1h}\nsteps: [{shell: 'true'}]\n", "young.yml")
    assert {row["run_id"] for row in worktrees(project)} == {first}
    old = project.prodigy("run", project.workflow("workspace: {max_age: 1ms}\nsteps: [{shell: 'true'}]\n"), "--yes")
    assert f"of run {first} was older than max_age: removed" in old.err
    assert worktrees(project) == []
    assert young != first
    project.assert_nothing_left()
