"""`worktree ls|merge|clean`: on real runs, interrupted ones too."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support import Project, git, processes_of, wait_until

TWO_ITEMS = """
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n'
  agent_template:
    - shell: echo ${item.id} > ${item.id}.txt
"""

# The second step of every item waits until the test opens the gate.
WAITS = """
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n'
  max_parallel: 2
  agent_template:
    - shell: echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"; echo one > ${item.id}.one
    - shell: |
        echo "$PRODIGY_ITEM_ID 2" >> "$TALLY"
        echo half > ${item.id}.half
        until test -e "$SHARED/gate"; do sleep 0.05; done
        echo two > ${item.id}.two
"""


def interrupted(project: Project, workflow: Path) -> str:
    """A run that was ended in its items' second step; nothing of it runs any more."""
    running = project.start("run", workflow, "--no-merge")
    wait_until(lambda: sum(project.tally()[f"{item} 2"] for item in "ab") == 2, "both items are in their second step")
    assert project.prodigy("cancel", project.run_id()).code == 0
    running.communicate()
    assert processes_of(project.folder) == []
    return project.run_id()


def our_worktrees(project: Project) -> list[str]:
    return [row["path"] for row in project.prodigy("worktree", "ls", "--json").json]


def test_ls_says_whose_a_worktree_is_and_how_large(project: Project) -> None:
    run_id = interrupted(project, project.workflow(WAITS))
    rows = project.prodigy("worktree", "ls", "--json", "-d").json
    assert {row["slot"] for row in rows} >= {"run", "s1", "s2"}
    for row in rows:
        assert (row["run_id"], row["status"], row["merged"]) == (run_id, "cancelled", False)
        assert row["size_bytes"] > 0
        assert Path(row["path"]).is_dir()
        assert git(Path(row["path"]), "rev-parse", "HEAD") == row["head"]
    text = project.prodigy("worktree", "list", "--detailed").out
    assert f"{run_id}  s1   cancelled" in text
    assert "last active" in text


def test_ls_works_where_no_run_could_start(project: Project) -> None:
    git(project.repo, "branch", "prodigy")
    done = project.prodigy("worktree", "ls")
    assert (done.code, done.out) == (0, "no worktrees of Prodigy here\n")


def test_merge_does_the_final_merge_later(project: Project) -> None:
    assert project.prodigy("run", project.workflow(TWO_ITEMS), "--no-merge").code == 0
    assert not (project.repo / "a.txt").exists()
    done = project.prodigy("worktree", "merge")
    assert done.code == 0, done.err
    assert "merged into main" in done.out
    assert {"a.txt", "b.txt"} <= set(project.files("main"))
    assert (project.repo / "a.txt").read_text() == "a\n"
    assert git(project.repo, "status", "--porcelain") == ""
    again = project.prodigy("worktree", "merge", project.run_id())
    assert (again.code, again.out) == (0, f"run {project.run_id()} is merged into main\n")
    project.assert_nothing_left()


def test_merge_overwrites_nothing_in_the_checkout(project: Project) -> None:
    assert project.prodigy("run", project.workflow(TWO_ITEMS), "--no-merge").code == 0
    project.write("a.txt", "mine\n")
    done = project.prodigy("worktree", "merge", "latest")
    assert done.code == 3
    assert "not merged: your checkout has changes in a.txt" in done.out
    assert (project.repo / "a.txt").read_text() == "mine\n"


def test_merge_all_merges_every_ended_run_oldest_first(project: Project) -> None:
    for number in (1, 2):
        text = TWO_ITEMS.replace("> ${item.id}.txt", f"> {number}-${{item.id}}.txt")
        assert project.prodigy("run", project.workflow(text), "--no-merge").code == 0
    failed = project.workflow("steps:\n  - shell: exit 7\n", "failed.yml")
    assert project.prodigy("run", failed, "--no-merge").code == 1
    done = project.prodigy("worktree", "merge", "--all")
    assert done.code == 0, done.err
    assert done.out.count("merged into main") == 2
    assert {"1-a.txt", "1-b.txt", "2-a.txt", "2-b.txt"} <= set(project.files("main"))
    runs = [row for row in reversed(project.prodigy("status", "--json").json) if row["merged"]]
    merges = git(project.repo, "log", "--reverse", "--first-parent", "--format=%H", "main").splitlines()
    tips = [git(project.repo, "rev-parse", f"prodigy/{row['run_id']}/run") for row in runs]
    contained = [
        next(
            n for n, merge in enumerate(merges)
            if tip in git(project.repo, "rev-list", merge).splitlines()
        )
        for tip in tips
    ]  # fmt: skip
    assert contained == sorted(contained)
    nothing = project.prodigy("worktree", "merge", "--all")
    assert (nothing.code, nothing.out) == (0, "no run of this repository waits to be merged\n")


def test_merge_all_goes_on_after_a_run_that_can_not_be_merged(project: Project) -> None:
    for number in (1, 2):
        text = TWO_ITEMS.replace("> ${item.id}.txt", f"> {number}-${{item.id}}.txt")
        assert project.prodigy("run", project.workflow(text), "--no-merge").code == 0
    project.write("1-a.txt", "mine\n")
    done = project.prodigy("worktree", "merge", "--all")
    assert done.code == 3
    assert (project.repo / "1-a.txt").read_text() == "mine\n"
    assert (project.repo / "2-a.txt").exists()


def test_merge_refuses_a_run_that_has_not_ended(project: Project) -> None:
    run_id = interrupted(project, project.workflow(WAITS))
    done = project.prodigy("worktree", "merge", run_id)
    assert done.code == 2
    assert f"prodigy resume {run_id}" in done.err
    assert project.prodigy("worktree", "merge", "--all").out == "no run of this repository waits to be merged\n"
    assert project.prodigy("worktree", "merge", run_id, "--all").code == 2


def test_merge_of_a_run_without_a_branch_says_what_to_do(project: Project) -> None:
    git(project.repo, "switch", "-q", "--detach")
    assert project.prodigy("run", project.workflow(TWO_ITEMS)).code == 0
    done = project.prodigy("worktree", "merge")
    assert done.code == 2
    assert f"git merge prodigy/{project.run_id()}/run" in done.err


def test_nothing_of_a_live_run_is_merged_or_removed(project: Project) -> None:
    running = project.start("run", project.workflow(WAITS), "--no-merge")
    wait_until(lambda: sum(project.tally()[f"{item} 2"] for item in "ab") == 2, "both items are in their second step")
    before = our_worktrees(project)
    assert project.prodigy("worktree", "merge").code == 4
    for extra in ((), ("--force",), ("--dry-run", "--force")):
        done = project.prodigy("worktree", "clean", "--all", *extra, "--json")
        assert done.code == 0
        assert [row["would_remove"] for row in done.json] == [False] * len(before)
    named = project.prodigy("worktree", "clean", project.run_id(), "--force")
    assert named.code == 1
    assert "kept" in named.out
    assert our_worktrees(project) == before
    (project.folder / "gate").touch()
    running.communicate()
    assert running.returncode == 0
    project.assert_nothing_left()


def test_a_step_that_outlived_its_coordinator_keeps_its_worktree(project: Project) -> None:
    running = project.start("run", project.workflow(WAITS), "--no-merge")
    wait_until(lambda: sum(project.tally()[f"{item} 2"] for item in "ab") == 2, "both items are in their second step")
    running.kill()
    running.communicate()
    before = our_worktrees(project)
    done = project.prodigy("worktree", "clean", "--force")
    assert "still runs" in done.out
    assert our_worktrees(project) == before
    (project.folder / "gate").touch()
    done = project.prodigy("resume", "latest", "--yes", "--json")
    assert done.code == 0, done.err
    assert {"a.two", "b.two"} <= set(project.files("main"))
    assert set(project.tally().values()) == {1}


def test_an_interrupted_run_loses_its_worktrees_by_force_only_and_is_resumed_without_them(project: Project) -> None:
    run_id = interrupted(project, project.workflow(WAITS))
    before = our_worktrees(project)
    kept = project.prodigy("worktree", "clean", run_id)
    assert kept.code == 1
    assert f"prodigy resume {run_id}" in kept.out
    assert "last finished step" in kept.out
    assert our_worktrees(project) == before
    planned = project.prodigy("worktree", "clean", run_id, "--force", "--dry-run")
    assert planned.out.count("would remove") == len(before)
    assert our_worktrees(project) == before
    done = project.prodigy("worktree", "clean", run_id, "--force")
    assert done.code == 0, done.err
    assert "last finished step" in done.err
    assert our_worktrees(project) == []
    assert not any((project.home / "worktrees").iterdir())
    (project.folder / "gate").touch()
    done = project.prodigy("resume", run_id, "--yes", "--json")
    assert done.code == 0, done.err
    assert {"a.one", "a.two", "b.one", "b.two"} <= set(project.files("main"))
    assert [project.tally()[f"{item} 1"] for item in "ab"] == [1, 1]  # taken from the snapshots
    project.assert_nothing_left()


def test_a_commit_that_only_a_worktree_holds_is_kept(project: Project) -> None:
    run_id = interrupted(project, project.workflow(WAITS))
    (tree,) = (path for path in our_worktrees(project) if path.endswith("-s1"))
    project.env["GIT_CONFIG_NOSYSTEM"] = "1"
    git(Path(tree), "commit", "-q", "--allow-empty", "-m", "in the middle of a step")
    commit = git(Path(tree), "rev-parse", "HEAD")
    assert git(project.repo, "for-each-ref", "--contains", commit) == ""
    assert project.prodigy("worktree", "clean", run_id, "--force").code == 0
    assert f"refs/prodigy/{run_id}/kept/{commit}" in git(project.repo, "for-each-ref", "--contains", commit)


def test_clean_takes_away_what_a_failed_run_left(project: Project) -> None:
    workflow = project.workflow("steps:\n  - shell: echo kept > made.txt\n  - shell: exit 7\n")
    assert project.prodigy("run", workflow).code == 1
    (tree,) = our_worktrees(project)
    branches = git(project.repo, "for-each-ref")
    assert project.prodigy("worktree", "clean", "--merged-only").out == "no worktrees to remove\n"
    assert project.prodigy("worktree", "clean", "--older-than", "1h").out == "no worktrees to remove\n"
    done = project.prodigy("worktree", "clean", "--older-than", "0s", "--json")
    assert [(row["path"], row["removed"]) for row in done.json] == [(tree, True)]
    assert not Path(tree).exists()
    assert git(project.repo, "for-each-ref") == branches
    project.assert_nothing_left()


def test_worktrees_of_runs_that_are_gone_are_removed(project: Project) -> None:
    run_id = interrupted(project, project.workflow(WAITS))
    before = our_worktrees(project)
    shutil.rmtree(project.home / "runs" / run_id)
    stray = Path(before[0]).with_name("20200101-000000-gone-s1")
    stray.mkdir()
    not_ours = stray.with_name("notes")
    not_ours.mkdir()
    rows = project.prodigy("worktree", "ls", "--json").json
    assert {row["status"] for row in rows} == {"orphaned"}
    assert str(stray) in {row["path"] for row in rows}
    planned = project.prodigy("worktree", "clean-orphaned", "--dry-run")
    assert planned.out.count("would remove") == len(before) + 1
    done = project.prodigy("worktree", "clean-orphaned", "-f")
    assert done.code == 0, done.err
    assert our_worktrees(project) == []
    assert not_ours.is_dir()
    not_ours.rmdir()
    project.assert_nothing_left()


def test_clean_by_a_run_that_is_gone_removes_only_its_worktrees(project: Project) -> None:
    run_id = interrupted(project, project.workflow(WAITS))
    folder = Path(our_worktrees(project)[0]).parent
    for name in ("20200101-000000-gone-s1", "20200101-000000-left-s1"):
        (folder / name).mkdir()
    assert project.prodigy("worktree", "clean", "20200101-000000-gone").code == 0
    names = {Path(path).name for path in our_worktrees(project)}
    assert "20200101-000000-left-s1" in names
    assert f"{run_id}-s1" in names
    assert "20200101-000000-gone-s1" not in names


def test_worktrees_of_a_run_that_can_not_be_read_go_by_force_only(project: Project) -> None:
    run_id = interrupted(project, project.workflow(WAITS))
    for name in ("run.db", "run.db-wal", "run.db-shm"):
        (project.home / "runs" / run_id / name).unlink(missing_ok=True)
    (project.home / "runs" / run_id / "run.db").write_bytes(b"no database" * 1000)
    before = our_worktrees(project)
    assert {row["status"] for row in project.prodigy("worktree", "ls", "--json").json} == {"unreadable"}
    assert "can't be read" in project.prodigy("worktree", "clean").out
    assert our_worktrees(project) == before
    assert "removed" in project.prodigy("worktree", "clean", "--force").out
    assert our_worktrees(project) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_a_worktree_that_can_not_be_removed_is_named(project: Project) -> None:
    interrupted(project, project.workflow(WAITS))
    folder = Path(our_worktrees(project)[0]).parent
    folder.chmod(0o500)
    try:
        done = project.prodigy("worktree", "clean", "--force")
    finally:
        folder.chmod(0o700)
    assert "can't be removed" in done.out


@pytest.mark.parametrize("age", ["", "7", "-1d", "seven days", "1y"])
def test_an_age_is_a_duration(project: Project, age: str) -> None:
    done = project.prodigy("worktree", "clean", "--older-than", age)
    assert done.code == (0 if age == "7" else 2)
