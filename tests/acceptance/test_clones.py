"""`isolation: clone`: each workspace has a git directory of its own, and what is committed there is collected."""

from __future__ import annotations

import shutil
import signal
import subprocess

import pytest

from support import Project, git, processes_of, wait_until

KILLED = -signal.SIGKILL
ITEMS = """'{"id":"a"}' '{"id":"b"}' '{"id":"c"}'"""
MAP = f"""
workspace: {{isolation: clone}}
map:
  input: printf '%s\\n' {ITEMS}
"""


def shared_state(project: Project) -> dict[str, object]:
    """What agents in worktrees would share, without what is the run's."""
    common = project.repo / ".git"
    refs = git(project.repo, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return {
        "refs": [ref for ref in refs if "prodigy/" not in ref and not ref.startswith("refs/heads/main ")],
        "config": (common / "config").read_text(),
        "hooks": sorted(path.name for path in (common / "hooks").iterdir()),
        "exclude": (common / "info" / "exclude").read_text(),
        "worktrees": (common / "worktrees").exists(),
    }


def test_what_is_committed_is_merged_and_nothing_else_gets_out(project: Project) -> None:
    before = shared_state(project)
    text = f"""{MAP}
  max_parallel: 3
  agent_template:
    - shell: |
        test -d .git
        test -z "$(git status --porcelain)"
        test -z "$(git stash list)"
        git config core.hooksPath evil
        git config user.nick nobody
        printf '#!/bin/sh\\n' > .git/hooks/pre-push
        echo junk >> .git/info/exclude
        git tag mine-${{item.id}}
        echo stashed >> shared.txt; git stash -q
        git switch -q -c topic
        echo ${{item.id}} > ${{item.id}}.txt; git add .; git commit -q -m "Add ${{item.id}}"
    - shell: echo loose > loose-${{item.id}}.txt
"""
    done = project.prodigy("run", project.workflow(text), "--yes")
    assert done.code == 0, done.err
    files = project.files("main")
    assert {"a.txt", "b.txt", "c.txt", "loose-a.txt", "loose-b.txt", "loose-c.txt"} <= files.keys()
    assert shared_state(project) == before
    project.assert_nothing_left()


def test_the_next_item_in_a_clone_finds_nothing_of_the_last(project: Project) -> None:
    text = f"""{MAP}
  max_parallel: 1
  agent_template:
    - shell: |
        test "$(git for-each-ref --format='%(refname)' | tr '\\n' ' ')" = "refs/heads/main refs/tags/v1 "
        test -z "$(git stash list)$(git config --get core.editor)"
        test ! -e .git/hooks/pre-commit -a ! -e .git/MERGE_HEAD
        echo x >> shared.txt; git stash -q; git tag left; git branch behind; git config core.editor vi
        touch .git/hooks/pre-commit; git rev-parse HEAD > .git/MERGE_HEAD
        mkdir deep; git init -q deep/inner
        rm .git/MERGE_HEAD; echo ${{item.id}} > ${{item.id}}.txt
        git add ${{item.id}}.txt; git commit -qm ${{item.id}} --no-verify
"""
    git(project.repo, "tag", "v1")
    done = project.prodigy("run", project.workflow(text), "--yes")
    assert done.code == 0, done.err
    assert {"a.txt", "b.txt", "c.txt"} <= project.files("main").keys()


def test_commits_have_the_name_that_the_repository_gives_and_remotes_no_password(project: Project) -> None:
    git(project.repo, "config", "user.name", "Local Name")
    git(project.repo, "config", "user.email", "local@example.org")
    git(project.repo, "remote", "add", "origin", "https://me:secret-token@example.org/it.git")
    text = """
workspace: {isolation: clone}
steps:
  - shell: |
      unset GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
      git remote get-url origin > url.txt; git add url.txt; git commit -q -m url
      git diff --stat main > diff.txt
"""
    done = project.prodigy("run", project.workflow(text), "--yes")
    assert done.code == 0, done.err
    files = project.files("main")
    assert files["url.txt"] == "https://example.org/it.git"
    assert "url.txt" in files["diff.txt"]
    assert "Local Name <local@example.org>" in git(project.repo, "log", "--format=%an <%ae>", "main")


def test_commits_that_a_step_left_behind_get_a_ref(project: Project) -> None:
    text = """
workspace: {isolation: clone}
steps:
  - shell: |
      echo one > one.txt; git add .; git commit -q -m one; git reset -q --hard HEAD^
      echo two > two.txt; git add .; git commit -q -m two
"""
    assert project.prodigy("run", project.workflow(text), "--yes").code == 0
    lost = git(project.repo, "log", "--all", "--format=%s").splitlines()
    assert "one" in lost
    assert "one.txt" not in project.files("main")


def test_what_other_refs_the_stash_and_worktrees_of_a_clone_hold_is_kept(project: Project) -> None:
    text = """
workspace: {isolation: clone}
map:
  input: echo x
  agent_template:
    - shell: |
        echo more >> README.md; git stash -q
        git worktree add -q -b side ../side; (cd ../side; echo s > s; git add s; git commit -qm "on a side branch")
        git worktree add -q --detach ../apart; (cd ../apart; echo a > a; git add a; git commit -qm "apart")
        git branch plumbed $(git commit-tree -m plumbed -p HEAD HEAD^{tree})
        git tag -a -m "a tag" tagged $(git commit-tree -m "under a tag" -p HEAD HEAD^{tree})
        git branch same; rm -rf ../side ../apart
        echo x > x.txt
"""
    done = project.prodigy("run", project.workflow(text), "--yes")
    assert done.code == 0, done.err
    held = git(project.repo, "log", "--all", "--format=%s")
    for subject in ("on a side branch", "apart", "plumbed", "under a tag", "WIP on (no branch)"):
        assert subject in held
    assert {"s", "a"}.isdisjoint(project.files("main"))


def test_one_fan_out_alone_may_have_clones(project: Project) -> None:
    text = f"""
steps:
  - shell: test -f .git
  - mapreduce:
      map:
        workspace: {{isolation: clone}}
        input: printf '%s\\n' {ITEMS}
        agent_template:
          - shell: test -d .git; echo x > ${{item.id}}.txt
  - mapreduce:
      map:
        input: printf '%s\\n' {ITEMS}
        agent_template:
          - shell: test -f .git; echo y > second-${{item.id}}.txt
  - shell: test -f .git
"""
    done = project.prodigy("run", project.workflow(text), "--yes")
    assert done.code == 0, done.err
    assert {"a.txt", "second-a.txt"} <= project.files("main").keys()
    project.assert_nothing_left()


@pytest.mark.parametrize("more", ["reuse: fresh", "name: desk", "keep_ignored: [cache]"])
def test_clones_are_had_in_every_way_that_worktrees_are(project: Project, more: str) -> None:
    project.write(".gitignore", "cache/\n")
    project.commit()
    text = f"""
workspace: {{isolation: clone, {more}}}
map:
  input: printf '%s\\n' {ITEMS}
  max_parallel: 1
  agent_template:
    - shell: |
        ls cache >> "$TALLY" || true
        mkdir -p cache; touch cache/${{item.id}}
        echo x > ${{item.id}}.txt
"""
    for _ in range(2):
        done = project.prodigy("run", project.workflow(text), "--no-merge")
        assert done.code == 0, done.err
    seen = sum(project.tally().values())
    assert {"reuse: fresh": seen == 0, "name: desk": seen == 12, "keep_ignored: [cache]": seen > 0}[more]


def test_a_clone_takes_the_place_of_a_worktree_with_the_same_name(project: Project) -> None:
    text = """
workspace: {name: desk%s}
map: {input: echo x, agent_template: [{shell: "test %s .git; echo x > f.txt"}]}
"""
    for more, kind in (("", "-f"), (", isolation: clone", "-d"), ("", "-f")):
        done = project.prodigy("run", project.workflow(text % (more, kind)), "--no-merge")
        assert done.code == 0, done.err


RESUMED = """
workspace: {isolation: clone}
map:
  input: printf '%s\\n' '{"id":"a"}' '{"id":"b"}'
  max_parallel: 1
  agent_template:
    - shell: echo ${item.id}-1 >> "$TALLY"; echo one > ${item.id}.txt; git add .; git commit -q -m "one ${item.id}"
    - shell: echo ${item.id}-2 >> "$TALLY"; echo two >> ${item.id}.txt
    - shell: |
        echo ${item.id}-3 >> "$TALLY"
        test "$(git log -1 --format=%s)" = "one ${item.id}"; echo 3 >> ${item.id}.txt
reduce:
  - shell: echo reduce >> "$TALLY"; ls *.txt > listing; git add .; git commit -q -m listing
"""


@pytest.mark.parametrize(
    "point", ["after:agent_started#2", "after:step_finished#3", "after:merging#1", "before:step_started#6"]
)
@pytest.mark.parametrize("gone", [False, True])
def test_a_killed_run_goes_on_and_repeats_nothing(project: Project, point: str, gone: bool) -> None:
    killed = project.prodigy("run", project.workflow(RESUMED), "--yes", env={"PRODIGY_FAULT": point})
    assert killed.code == KILLED
    if gone:
        shutil.rmtree(project.home / "worktrees")
    done = project.prodigy("resume", "--yes")
    assert done.code == 0, done.err
    assert project.files("main")["a.txt"] == "one\ntwo\n3"
    assert "listing" in project.files("main")
    repeated = sum(project.tally().values()) - len(project.tally())
    assert repeated <= (1 if gone else 0), "at most the step that ran when the workspace was taken away"
    project.assert_nothing_left()


def test_a_shallow_repository_can_be_worked_on(project: Project) -> None:
    for number in range(3):
        project.write("count.txt", str(number))
        project.commit(f"count {number}")
    whole = project.repo.rename(project.folder / "whole")
    git(project.folder, "clone", "-q", "--depth", "1", f"file://{whole}", str(project.repo))
    text = f"""{MAP}
  agent_template:
    - shell: git log --oneline | wc -l > ${{item.id}}.txt; git add .; git commit -q -m ${{item.id}}
"""
    done = project.prodigy("run", project.workflow(text), "--yes")
    assert done.code == 0, done.err
    assert project.files("main")["a.txt"].strip() == "1"


def test_a_repository_with_longer_object_names_can_be_worked_on(project: Project) -> None:
    shutil.rmtree(project.repo)
    project.repo.mkdir()
    git(project.repo, "init", "-q", "--object-format=sha256")
    project.write("f", "f")
    project.commit()
    text = f"{MAP}  agent_template: [{{shell: 'echo x > ${{item.id}}.txt; git add .; git commit -qm ${{item.id}}'}}]\n"
    done = project.prodigy("run", project.workflow(text), "--yes")
    assert done.code == 0, done.err
    assert {"a.txt", "b.txt"} <= project.files("main").keys()


def test_only_new_commits_are_fetched_from_a_long_history(project: Project) -> None:
    """Each fetch tells what the clone began with; else the whole history would come again, as a pack."""
    stream = "".join(
        f"commit refs/heads/main\ncommitter A <a@b> {number} +0000\ndata 1\nx\nM 100644 inline count.txt\n"
        f"data {len(str(number))}\n{number}\n"
        for number in range(500)
    )
    start = git(project.repo, "rev-parse", "main")
    stream = stream.replace("\nM 100644", f"\nfrom {start}\nM 100644", 1)
    subprocess.run(["git", "fast-import", "--quiet"], cwd=project.repo, input=stream.encode(), check=True)
    git(project.repo, "reset", "-q", "--hard", "main")
    git(project.repo, "gc", "-q")
    text = f"{MAP}  agent_template: [{{shell: 'echo x > ${{item.id}}.txt; git add .; git commit -qm ${{item.id}}'}}]\n"
    assert project.prodigy("run", project.workflow(text), "--yes").code == 0
    loose = list((project.repo / ".git" / "objects").glob("[0-9a-f][0-9a-f]/*"))
    assert len(loose) < 30, "a commit, a tree and a blob each, and the merges"
    packs = list((project.repo / ".git" / "objects" / "pack").glob("*.pack"))
    assert len(packs) == 1


@pytest.mark.parametrize("run_is_there", [True, False])
def test_what_only_a_clone_has_gets_a_ref_before_it_is_removed(project: Project, run_is_there: bool) -> None:
    text = """
workspace: {isolation: clone}
map:
  input: echo x
  agent_template:
    - shell: |
        echo one > one.txt; git add .; git commit -q -m "only here"
        echo two > two.txt; touch "$SHARED/started"
        until [ -e "$SHARED/go" ]; do sleep 0.05; done
"""
    running = project.start("run", project.workflow(text), "--yes")
    wait_until((project.folder / "started").exists, "the step has committed")
    running.kill()
    running.communicate()
    assert project.prodigy("cancel", "latest").code == 0
    wait_until(lambda: processes_of(project.folder) == [], "the step has ended")
    listed = project.prodigy("worktree", "ls", "--json").json
    assert sorted(row["slot"] for row in listed) == ["run", "s1"]
    if not run_is_there:
        shutil.rmtree(project.home / "runs")
    looked = project.prodigy("worktree", "clean", "--all", "--force", "--dry-run", "--json")
    assert looked.code == 0, looked.err
    assert "only here" not in git(project.repo, "log", "--all", "--format=%s")
    done = project.prodigy("worktree", "clean", "--all", "--force")
    assert done.code == 0, done.err
    assert not (project.home / "worktrees").exists() or not list((project.home / "worktrees").glob("*/*"))
    assert "only here" in git(project.repo, "log", "--all", "--format=%s")
    kept = git(project.repo, "for-each-ref", "--format=%(refname)", "refs/prodigy/").splitlines()
    assert any(git(project.repo, "ls-tree", "--name-only", ref).split()[-1] == "two.txt" for ref in kept)
