"""Agents that do to git what they should not. Each has one outcome, nobody else is harmed, and no work is lost.

What is proven elsewhere: a rewritten history, changed settings, six ways to wreck a worktree, an unreadable directory
and a file that is too large (acceptance/test_main_job.py); programs that an agent leaves for others to run
(security/test_git_attacks.py); `commit_required` (acceptance/test_main_job.py).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import Done, Project, git, make_project, wait_until


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_project(tmp_path)
    project.write("second.txt", "x\n")
    project.commit("second")
    project.env["CHECKOUT"] = str(project.repo)
    return project


@dataclass(frozen=True)
class Ended:
    """A run of an item that misbehaves and one that does not. letters: item -> its newest failure."""

    done: Done
    letters: dict[str, dict[str, Any]]
    branches: dict[str, str]


WORKFLOW = """
map:
  input: printf '{"id":"bad"}\\n{"id":"good"}\\n'
  max_parallel: 1
  agent_template:
    - shell: |
        if [ "$PRODIGY_ITEM_ID" = good ]; then
          git status --porcelain --ignored > "$SHARED/status-of-good"
          %s
          echo good > good.txt
          git add -A
          git commit -q -m good
          exit 0
        fi
        %s
"""


def misbehave(project: Project, body: str, meanwhile: str = "true", *options: str) -> Ended:
    """Run `body` as the first item, then the well-behaved one in the same worktree; it also does `meanwhile`."""
    workflow = project.workflow(WORKFLOW % (meanwhile, body.strip().replace("\n", "\n        ")))
    done = project.prodigy("run", workflow, "--json", *(options or ("--yes",)))
    letters = project.prodigy("dlq", "list", "--json").json
    return Ended(
        done,
        {letter["item_id"]: letter["failure_history"][-1] for letter in letters},
        {letter["item_id"]: letter["worktree_artifacts"]["branch_name"] for letter in letters},
    )


def misbehave_one_after_another(project: Project, bodies: dict[str, str]) -> Done:
    """Run each body as an item, and a well-behaved one after it in the same worktree."""
    folder = project.folder / "bodies"
    folder.mkdir()
    items = []
    for number, (name, body) in enumerate(bodies.items()):
        (folder / slug(name)).write_text(body)
        items += [slug(name), f"good-{number}" if number else "good"]
    workflow = project.workflow(f"""
map:
  input: printf '{{"id":"%s"}}\\n' {" ".join(items)}
  max_parallel: 1
  agent_template:
    - shell: |
        ID=$PRODIGY_ITEM_ID
        case $ID in
          good*)
            git status --porcelain --ignored >> "$SHARED/status-of-good"
            echo good > "$ID.txt"
            git add -A
            git commit -q -m good ;;
          *) . "$SHARED/bodies/$ID" ;;
        esac
""")
    done = project.prodigy("run", workflow, "--yes", "--json")
    assert {f"good-{number}.txt" for number in range(1, len(bodies))} <= merged(project), done.err
    return done


def slug(name: str) -> str:
    return name.replace(" ", "-").replace(".", "")


def assert_nobody_was_harmed(project: Project) -> None:
    """The other item began with a clean worktree and was merged; the checkout has the result and nothing else."""
    assert (project.folder / "status-of-good").read_text() == ""
    assert git(project.repo, "show", "main:good.txt") == "good"
    assert git(project.repo, "show", "main:second.txt") == "x"
    assert git(project.repo, "status", "--porcelain") == ""
    assert git(project.repo, "symbolic-ref", "HEAD") == "refs/heads/main"
    project.assert_nothing_left()


def reachable(project: Project) -> set[str]:
    """Subjects of all commits that a ref holds."""
    return set(git(project.repo, "log", "--all", "--format=%s").splitlines())


def merged(project: Project) -> set[str]:
    return set(git(project.repo, "ls-tree", "-r", "--name-only", "main").splitlines())


COMMIT = "echo 1 > a.txt; git add -A; git commit -q -m precious"
# The same, so that many items of one run do not fight over a file.
OWN = 'mkdir "$ID"; echo 1 > "$ID/a.txt"; git add -A; git commit -q -m "precious of $ID"'

DELETE_ALL = "git for-each-ref --format='delete %(refname)' refs/heads/prodigy refs/prodigy | git update-ref --stdin"

# name -> what the agent does, what it brings into main.
SUCCEED: dict[str, tuple[str, set[str]]] = {
    "commits nothing": ("true", set()),
    "amends its own commit": (f'{OWN}; echo 2 > "$ID/a.txt"; git commit -q -a --amend -m better', {"a.txt"}),
    "works on a branch of its own": (f"git switch -q -c feature-1; {OWN}", {"a.txt"}),
    "leaves its work on a branch of its own": (
        f"git switch -q -c feature-2; {OWN}; git switch -q --detach HEAD~1",
        set(),
    ),
    "removes the file .git": (f'{OWN}; echo more > "$ID/more.txt"; rm .git', {"a.txt", "more.txt"}),
    "prunes worktrees": (f"{OWN}; git worktree prune --expire=now", {"a.txt"}),
    "collects garbage": (f'{OWN}; echo more > "$ID/more.txt"; git gc -q --prune=now', {"a.txt", "more.txt"}),
    "deletes every ref of ours": (
        f"{OWN}; {DELETE_ALL}",
        {"a.txt"},
    ),
    "makes an empty commit": ("git commit -q --allow-empty -m 'nothing in it'", set()),
}


def test_agents_that_do_no_harm_succeed(project: Project) -> None:
    done = misbehave_one_after_another(project, {name: body for name, (body, _) in SUCCEED.items()})
    assert (done.code, done.json["dead_letters"]) == (0, 0), done.err
    for name, (_, brought) in SUCCEED.items():
        folder = f"{slug(name)}/"
        assert {path.removeprefix(folder) for path in merged(project) if path.startswith(folder)} == brought, name
    assert {"precious of leaves-its-work-on-a-branch-of-its-own", "nothing in it"} <= reachable(project)
    assert_nobody_was_harmed(project)


ELSEWHERE = "git switch -q -c theirs HEAD~1; git commit -q --allow-empty -m t; git switch -q --detach -"

# name -> what the agent does, the kind of its dead letter, words of the message.
FAIL = {
    "amends the commit it began at": (
        'mkdir "$ID"; echo 1 > "$ID/a.txt"; git add -A; git commit -q --amend -m "precious of $ID"',
        "history_rewritten",
        "does not descend from the commit the item began at",
    ),
    "rebases onto another branch": (
        f"{ELSEWHERE}; {OWN}; git rebase -q theirs",
        "history_rewritten",
        "history was rewritten",
    ),
    "goes back behind the commit it began at": ("git reset -q --hard HEAD~1", "history_rewritten", "rewritten"),
    "begins a history of its own": (f"git switch -q --orphan lone; {OWN}", "history_rewritten", "rewritten"),
    "removes its worktree": (
        f'{OWN}; git worktree remove --force "$PWD"',
        "command_failed",
        "use 'remove -f -f' to override or unlock first",
    ),
    "takes the branch of the user": (f"{OWN}; git checkout -f main", "command_failed", "exited with code 128"),
    "pushes to nowhere": (f"{OWN}; git push", "command_failed", "exited with code 128"),
}


def test_agents_that_do_harm_fail_alone_and_their_work_is_kept(project: Project) -> None:
    done = misbehave_one_after_another(project, {name: body for name, (body, _, _) in FAIL.items()})
    assert done.code == 3, done.err
    letters = {letter["item_id"]: letter for letter in project.prodigy("dlq", "list", "--json").json}
    assert letters.keys() == {slug(name) for name in FAIL}
    for name, (body, kind, words) in FAIL.items():
        letter = letters[slug(name)]
        assert letter["failure_history"][-1]["error_type"] == kind, name
        assert words in letter["failure_history"][-1]["error_message"], name
        if "precious" in body:
            subjects = git(project.repo, "log", "--format=%s", letter["worktree_artifacts"]["branch_name"])
            assert f"precious of {slug(name)}" in subjects.splitlines()
        assert not any(path.startswith(f"{slug(name)}/") for path in merged(project)), name
    assert_nobody_was_harmed(project)


def test_commits_that_an_agent_reset_or_amended_away_stay_reachable(project: Project) -> None:
    body = f"{COMMIT}; echo 2 > a.txt; git commit -q -a --amend -m amended; git reset -q --hard HEAD~1"
    ended = misbehave(project, body)
    assert ended.done.code == 0, ended.done.err
    assert "a.txt" not in merged(project)
    assert {"precious", "amended"} <= reachable(project)
    assert_nobody_was_harmed(project)


@pytest.mark.parametrize(
    "away",
    [
        "git switch -q -c other HEAD~1; git switch -q --detach -; git pull -q --rebase . other || git rebase --skip",
        "git update-ref HEAD HEAD~1",
        "git switch -q -c named; git branch -m z2; git reset -q --hard HEAD~1",
    ],
)
def test_commits_stay_reachable_whatever_the_way_they_were_left(project: Project, away: str) -> None:
    ended = misbehave(project, f"{COMMIT}; {away}")
    assert ended.done.code in (0, 3), ended.done.err
    assert "precious" in reachable(project)


def test_commits_stay_reachable_where_the_user_keeps_no_reflogs(project: Project) -> None:
    git(project.repo, "config", "core.logAllRefUpdates", "false")
    misbehave(project, f"{COMMIT}; echo 2 > a.txt; git commit -q -a --amend -m amended")
    assert {"precious", "amended"} <= reachable(project)


def test_commits_that_a_step_of_the_run_reset_away_stay_reachable(project: Project) -> None:
    workflow = project.workflow(f"steps:\n  - shell: {COMMIT}; git reset -q --hard HEAD~1\n")
    assert project.prodigy("run", workflow, "--yes").code == 0
    assert "precious" in reachable(project)
    assert "a.txt" not in merged(project)
    project.assert_nothing_left()


def test_what_an_agent_committed_before_it_removed_its_directory_is_kept(project: Project) -> None:
    ended = misbehave(project, f'{COMMIT}; cd /; rm -rf "$PRODIGY_WORKTREE"')
    assert ended.letters["bad"]["error_type"] == "worktree_error"
    assert "the directory does not exist" in ended.letters["bad"]["error_message"]
    assert git(project.repo, "show", f"{ended.branches['bad']}:a.txt") == "1"
    assert_nobody_was_harmed(project)


def test_an_agent_that_removes_its_worktree_by_force_harms_itself_alone(project: Project) -> None:
    ended = misbehave(project, 'cd /; git -C "$CHECKOUT" worktree remove --force --force "$PRODIGY_WORKTREE"')
    assert ended.letters["bad"]["error_type"] == "worktree_error"
    assert set(ended.letters) == {"bad"}
    assert_nobody_was_harmed(project)


CONFLICT = (
    "git switch -q -c theirs; echo x > shared.txt; git commit -q -a -m theirs\n"
    "git switch -q --detach HEAD~1; echo y > shared.txt; git commit -q -a -m precious\n"
)


@pytest.mark.parametrize("command", ["merge", "rebase", "cherry-pick"])
def test_an_operation_that_is_left_half_done_fails_the_item_and_its_markers_are_not_merged(
    project: Project, command: str
) -> None:
    ended = misbehave(project, f"{CONFLICT}git {command} theirs || true")
    assert ended.done.code == 3, ended.done.err
    assert ended.letters["bad"]["error_type"] == "worktree_error"
    assert f"a {command} half done" in ended.letters["bad"]["error_message"]
    assert git(project.repo, "show", "main:shared.txt") == "one\ntwo\nthree"
    assert {"precious", "theirs"} <= reachable(project)
    assert_nobody_was_harmed(project)


def test_an_operation_left_half_done_is_not_forgotten_with_its_worktree(project: Project) -> None:
    (project.folder / "body").write_text(f"{CONFLICT}git merge theirs || true")
    workflow = project.workflow("""
map:
  input: echo '{"id":"bad"}'
  agent_template:
    - shell: . "$SHARED/body"
    - shell: "true"
""")
    killed = project.prodigy("run", workflow, "--yes", env={"PRODIGY_FAULT": "after:step_finished#2"})
    assert killed.code == -9
    shutil.rmtree(project.home / "worktrees")
    git(project.repo, "worktree", "prune")
    before = git(project.repo, "show", "main:shared.txt")
    assert project.prodigy("resume", "latest", "--yes").code in (0, 3)
    assert git(project.repo, "show", "main:shared.txt") == before


REDUCE_IN_A_MERGE = """
map:
  input: echo '{"id":"a"}'
  agent_template: [{shell: echo a > a.txt}]
reduce:
  - shell: |
      git switch -q -c theirs HEAD; echo x > shared.txt; git commit -q -a -m theirs
      git switch -q --detach HEAD~1; echo y > shared.txt; git commit -q -a -m ours
      git merge theirs || true
"""


@pytest.mark.parametrize("lost", [False, True], ids=["worktree there", "worktree lost"])
def test_a_merge_that_reduce_left_half_done_stops_the_run_until_a_person_finished_it(
    project: Project, lost: bool
) -> None:
    before = git(project.repo, "show", "main:shared.txt")
    done = project.prodigy("run", project.workflow(REDUCE_IN_A_MERGE), "--yes")
    assert done.code == 1
    assert "left a merge half done" in done.err
    (worktree,) = (project.home / "worktrees").glob("*/*-run")
    if lost:
        shutil.rmtree(worktree)
        git(project.repo, "worktree", "prune")
    again = project.prodigy("resume", "latest", "--yes")
    assert again.code == 1, again.err
    assert git(project.repo, "show", "main:shared.txt") == before
    (worktree / "shared.txt").write_text("both\n")
    git(worktree, "commit", "-q", "-a", "-m", "resolved")
    assert project.prodigy("resume", "latest", "--yes").code == 0
    assert git(project.repo, "show", "main:shared.txt") == "both"


def test_a_revert_that_was_not_committed_is_no_operation_half_done(project: Project) -> None:
    project.write("wrong.txt", "wrong\n")
    project.commit("a mistake")
    workflow = project.workflow("""
map:
  input: echo '{"id":"a"}'
  agent_template: [{shell: git revert --no-commit HEAD}]
""")
    assert project.prodigy("run", workflow, "--yes").code == 0
    assert "wrong.txt" not in merged(project)


def test_an_operation_that_a_later_step_finishes_is_fine(project: Project) -> None:
    workflow = project.workflow(f"""
map:
  input: echo '{{"id":"a"}}'
  agent_template:
    - shell: |
        {CONFLICT.strip().replace(chr(10), chr(10) + "        ")}
        git merge theirs || true
    - shell: |
        echo both > shared.txt
        git commit -q -a -m resolved
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == 0, done.err
    assert git(project.repo, "show", "main:shared.txt") == "both"


def test_stashed_work_is_told_and_kept_even_when_another_agent_drops_it(project: Project) -> None:
    ended = misbehave(project, "echo precious > a.txt; git add -A; git stash -q", "git stash drop -q")
    assert ended.done.code == 0, ended.done.err
    assert "somebody stashed changes" in ended.done.err
    (kept,) = git(project.repo, "for-each-ref", "--format=%(refname)", "refs/prodigy/").splitlines()
    assert f"git stash apply {kept}" in ended.done.err
    assert git(project.repo, "show", f"{kept}:a.txt") == "precious"
    assert_nobody_was_harmed(project)
    git(project.repo, "stash", "apply", "-q", kept)
    assert (project.repo / "a.txt").read_text() == "precious\n"


def test_a_stash_of_the_user_stays_what_and_where_it_is(project: Project) -> None:
    project.write("README.md", "the user's\n")
    git(project.repo, "stash", "-q")
    stash = git(project.repo, "rev-parse", "refs/stash")
    ended = misbehave(project, "echo precious > a.txt; git add -A; git stash -q")
    assert ended.done.err.count("stash apply") == 1, "the user's stash is not an agent's"
    assert git(project.repo, "rev-parse", "stash@{1}") == stash


FAILS = f"{COMMIT}; echo half > half.txt; exit 1"


def test_the_branch_of_a_dead_item_comes_back_when_another_agent_deletes_it(project: Project) -> None:
    ended = misbehave(project, FAILS, DELETE_ALL)
    assert set(ended.letters) == {"bad"}
    branch = ended.branches["bad"]
    assert f"somebody deleted {branch}" in ended.done.err
    assert git(project.repo, "show", f"{branch}:a.txt") == "1"
    assert git(project.repo, "show", f"{branch}:half.txt") == "half"
    assert_nobody_was_harmed(project)


def test_work_that_is_gone_for_good_is_told_and_stops_nobody(project: Project) -> None:
    gone = f"{DELETE_ALL}; git reflog expire --expire=all --all; git gc -q --prune=now"
    ended = misbehave(project, FAILS, gone)
    assert ended.done.code == 3, ended.done.err
    assert ended.done.json["merged"] is True
    assert "can't be brought back" in ended.done.err
    assert_nobody_was_harmed(project)


def test_a_run_branch_that_the_user_has_checked_out_is_not_moved_under_the_checkout(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: seq 1 3
  max_parallel: 1
  agent_template:
    - shell: |
        echo ${item} > n${item}.txt
        if [ ${item} = 2 ]; then touch "$SHARED/second"; until [ -e "$SHARED/go" ]; do sleep 0.05; done; fi
""")
    running = project.start("run", workflow, "--yes")
    wait_until(lambda: (project.folder / "second").exists(), "the second item runs")
    git(project.repo, "checkout", "-q", project.run_branch())
    (project.folder / "go").touch()
    _, err = running.communicate()
    assert running.returncode == 5, err
    assert b"is checked out" in err
    assert b"git switch --detach" in err
    assert git(project.repo, "status", "--porcelain") == ""
    git(project.repo, "switch", "-q", "main")
    done = project.prodigy("resume", "latest", "--yes")
    assert done.code == 0, done.err
    assert {"n1.txt", "n2.txt", "n3.txt"} <= merged(project)
    project.assert_nothing_left()


def test_the_run_branch_comes_back_when_the_last_step_deletes_it(project: Project) -> None:
    workflow = project.workflow("""
steps:
  - shell: echo 1 > a.txt; git add -A; git commit -q -m precious
  - shell: git update-ref -d "refs/heads/prodigy/$PRODIGY_RUN_ID/run"
""")
    done = project.prodigy("run", workflow, "--no-merge", "--json")
    assert done.code == 0, done.err
    assert "the run branch is only ours to move, but somebody deleted it" in done.err
    assert "precious" in git(project.repo, "log", "--format=%s", done.json["branch"])


def test_a_run_branch_that_an_agent_moves_goes_on_from_where_we_left_it(project: Project) -> None:
    move = 'git update-ref "refs/heads/prodigy/$PRODIGY_RUN_ID/run" "$(git rev-parse HEAD)"'
    ended = misbehave(project, f"{COMMIT}; {move}; git reset -q --hard HEAD~1")
    assert ended.done.code == 0, ended.done.err
    assert "the run branch is only ours to move, but somebody moved it to" in ended.done.err
    assert "precious" in reachable(project)
    assert "a.txt" not in merged(project), "nothing gets in past the merge queue"
    assert_nobody_was_harmed(project)


def test_a_commit_on_the_users_branch_is_told(project: Project) -> None:
    body = f"git checkout -q --ignore-other-worktrees main; {COMMIT}"
    ended = misbehave(project, body)
    assert ended.done.code == 0, ended.done.err
    assert "while agents worked, refs/heads/main moved from" in ended.done.err
    assert {"a.txt", "good.txt"} <= merged(project)
    assert not (project.repo / "a.txt").exists(), "the checkout's own files are left alone"
    project.assert_nothing_left()


def test_a_repository_inside_the_worktree_is_named_and_does_not_stay(project: Project) -> None:
    inner = "git init -q inner; echo 1 > inner/a; git -C inner add -A; git -C inner commit -q -m inner"
    ended = misbehave(project, f"{inner}; echo o > outer.txt")
    assert ended.done.code == 0, ended.done.err
    assert "left inner/ uncommitted" in ended.done.err
    assert "outer.txt" in merged(project)
    assert not any(name.startswith("inner") for name in merged(project))
    assert_nobody_was_harmed(project)


def test_a_git_that_was_killed_does_not_block_the_next_try(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo '{"id":"a"}'
  agent_template:
    - shell: |
        echo try >> "$TALLY"
        git commit -q --allow-empty -m precious
        test "$(wc -l < "$TALLY")" -ge 2 || { touch "$(git rev-parse --git-dir)"/{index,HEAD}.lock; exit 1; }
        git commit -q --allow-empty -m second
      retry: {attempts: 2, backoff: fixed, initial_delay: 0}
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == 0, done.err + str(project.prodigy("dlq", "list").out)
    assert project.tally()["try"] == 2
