"""Odd things around git: locks left behind, branches that others move, dirty checkouts, unusual repositories and files.

What is proven elsewhere: what is in the way of the final merge, one kind at a time, and a merge cut off anywhere
(integration/test_git_final_merge.py); a target that moved, conflicts or is gone, and another branch checked out
(acceptance/test_main_job.py); repositories that are refused (integration/test_git_context.py); settings of the user
that count (integration/test_git_tree.py).
"""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from support import Project, git, make_project, wait_until

KILLED = -9


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


ITEMS = """
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n'
  max_parallel: 1
  agent_template:
    - shell: |
        echo ${item.id} >> "$TALLY"
        echo ${item.id} > ${item.id}.txt
        echo ${item.id} > README.md
        git add -A
        git commit -q -m "work on $PRODIGY_ITEM_ID"
"""
ONCE = Counter({"a": 1, "b": 1})


def unmerged_run(project: Project, text: str = ITEMS) -> str:
    """A run that has ended and waits to be merged; its branch."""
    done = project.prodigy("run", project.workflow(text), "--no-merge", "--json")
    assert done.code == 0, done.err
    return str(done.json["branch"])


def merge_later(project: Project, code: int = 0) -> str | None:
    """`resume --yes` of a run that has ended; its merge problem."""
    done = project.prodigy("resume", "latest", "--yes", "--json")
    assert done.code == code, done.out + done.err
    assert done.json["merged"] is (code == 0)
    assert done.json["status"] == "completed"
    problem = done.json["merge_problem"]
    assert problem is None or problem in done.err
    return None if problem is None else str(problem)


def names(project: Project, revision: str = "main") -> set[str]:
    return set(git(project.repo, "ls-tree", "-r", "--name-only", revision).splitlines())


def try_git(project: Project, *args: str) -> None:
    """Run git in the checkout, whatever becomes of it."""
    subprocess.run(["git", *args], cwd=project.repo, env=project.environment(), capture_output=True, check=False)


# Locks left behind -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_a_lock_left_in_the_checkout_refuses_the_final_merge_before_a_file_is_touched(
    project: Project, name: str
) -> None:
    unmerged_run(project)
    lock = project.repo / ".git" / name
    lock.touch()
    problem = merge_later(project, code=3)
    assert problem is not None
    assert str(lock) in problem
    assert "delete" in problem
    lock.unlink()
    assert git(project.repo, "status", "--porcelain") == ""
    assert (project.repo / "README.md").read_text() == "hello\n"
    assert merge_later(project) is None
    assert {"a.txt", "b.txt"} <= names(project)
    assert project.tally() == ONCE
    project.assert_nothing_left()


def test_a_lock_left_on_the_packed_refs_stops_the_run_with_its_name_and_resume_repeats_nothing(
    project: Project,
) -> None:
    lock = project.repo / ".git" / "packed-refs.lock"
    lock.touch()
    done = project.prodigy("run", project.workflow(ITEMS), "--yes", "--json")
    assert (done.code, done.json["status"]) == (5, "interrupted"), done.err
    assert str(lock) in done.err
    assert "delete the file, then resume the run" in done.err
    lock.unlink()
    assert merge_later(project) is None
    assert {"a.txt", "b.txt"} <= names(project)
    assert project.tally() == ONCE
    project.assert_nothing_left()


def test_a_lock_left_on_the_configuration_hinders_nothing(project: Project) -> None:
    lock = project.repo / ".git" / "config.lock"
    lock.touch()
    done = project.prodigy("run", project.workflow(ITEMS), "--yes")
    assert done.code == 0, done.err
    lock.unlink()
    project.assert_nothing_left()


# Branches that others move ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "moved back", "moved elsewhere"])
def test_a_run_branch_that_somebody_moved_between_kill_and_resume_is_put_back(project: Project, how: str) -> None:
    killed = project.prodigy("run", project.workflow(ITEMS), env={"PRODIGY_FAULT": "after:agent_completed"})
    assert killed.code == KILLED, killed.err
    branch = project.run_branch()
    git(project.repo, "switch", "-q", "-c", "mine")
    project.write("mine.txt", "mine\n")
    project.commit("the user's")
    git(project.repo, "switch", "-q", "main")
    match how:
        case "deleted":
            git(project.repo, "branch", "-q", "-D", branch)
        case "moved back":
            git(project.repo, "branch", "-q", "-f", branch, "main")
        case "moved elsewhere":
            git(project.repo, "branch", "-q", "-f", branch, "mine")
            git(project.repo, "branch", "-q", "-D", "mine")
    done = project.prodigy("resume", "latest", "--yes")
    assert done.code == 0, done.err
    assert "the run branch is only ours to move, but somebody " + how.split()[0] in done.err
    assert names(project) == {"README.md", "shared.txt", "a.txt", "b.txt"}
    assert "the user's" in git(project.repo, "log", "--all", "--format=%s")
    assert project.tally() == ONCE
    project.assert_nothing_left()


def test_an_unmerged_run_whose_branch_was_deleted_gets_it_back_on_resume(project: Project) -> None:
    branch = unmerged_run(project)
    git(project.repo, "branch", "-q", "-D", branch)
    done = project.prodigy("resume", "latest", "--no-merge")
    assert done.code == 0, done.err
    assert "somebody deleted it" in done.err
    assert "a.txt" in names(project, branch)


def test_a_merged_run_whose_branch_the_user_deleted_is_left_in_peace(project: Project) -> None:
    branch = unmerged_run(project)
    assert merge_later(project) is None
    git(project.repo, "branch", "-q", "-D", branch)
    done = project.prodigy("resume", "latest")
    assert done.code == 0, done.err
    assert "somebody" not in done.err
    assert git(project.repo, "for-each-ref", "refs/heads/prodigy") == ""


def test_a_conflict_that_the_user_resolves_in_the_target_ends_as_merged(project: Project) -> None:
    branch = unmerged_run(project)
    project.write("README.md", "mine\n")
    ours = project.commit("mine")
    problem = merge_later(project, code=3)
    assert problem is not None
    assert "conflicts with main in README.md" in problem
    assert f"git merge {branch}" in problem
    assert f"prodigy resume {project.run_id()}" in problem
    assert git(project.repo, "rev-parse", "main") == ours
    assert git(project.repo, "status", "--porcelain") == ""
    assert "a.txt" in names(project, branch)
    command = project.prodigy("worktree", "merge", project.run_id())
    assert command.code == 3
    assert f"git merge {branch}" in command.out
    try_git(project, "merge", "-q", branch)
    project.write("README.md", "both\n")
    project.commit("resolved")
    assert merge_later(project) is None
    assert git(project.repo, "log", "-1", "--format=%s") == "resolved"
    assert project.prodigy("worktree", "merge", project.run_id()).out == f"run {project.run_id()} is merged into main\n"
    project.assert_nothing_left()


def test_a_conflict_that_the_user_resolves_in_the_run_branch_is_taken_up(project: Project) -> None:
    branch = unmerged_run(project)
    project.write("README.md", "mine\n")
    project.commit("mine")
    git(project.repo, "switch", "-q", branch)
    try_git(project, "merge", "-q", "main")
    project.write("README.md", "both\n")
    resolved = project.commit("resolved")
    git(project.repo, "switch", "-q", "main")
    assert merge_later(project) is None
    assert git(project.repo, "rev-parse", "main") == resolved
    assert (project.repo / "README.md").read_text() == "both\n"
    assert git(project.repo, "status", "--porcelain") == ""
    project.assert_nothing_left()


def test_a_target_that_was_replaced_by_another_history_is_a_merge_problem(project: Project) -> None:
    branch = unmerged_run(project)
    git(project.repo, "switch", "-q", "--orphan", "other")
    project.write("other.txt", "other\n")
    other = project.commit("another history")
    git(project.repo, "branch", "-q", "-M", "other", "main")
    problem = merge_later(project, code=3)
    assert problem is not None
    assert "main was replaced: it has no commit in common with the run" in problem
    assert f"git merge --allow-unrelated-histories {branch}" in problem
    assert git(project.repo, "rev-parse", "main") == other
    assert git(project.repo, "status", "--porcelain") == ""
    git(project.repo, "merge", "-q", "--allow-unrelated-histories", "-m", "by hand", branch)
    assert merge_later(project) is None


def test_what_a_person_commits_on_the_branch_of_a_dead_item_outlives_its_retry(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: echo '{"id":"a"}'
  agent_template:
    - shell: |
        echo ${item.id} > ${item.id}.txt
        git add -A
        git commit -q -m work
        test -e "$SHARED/mended"
""")
    assert project.prodigy("run", workflow, "--no-merge").code == 3
    (letter,) = project.prodigy("dlq", "list", "--json").json
    git(project.repo, "switch", "-q", letter["worktree_artifacts"]["branch_name"])
    project.write("hint.txt", "by hand\n")
    project.commit("the user's")
    git(project.repo, "switch", "-q", "main")
    (project.folder / "mended").touch()
    assert project.prodigy("dlq", "retry", "latest", "--yes").code == 0
    assert "the user's" in git(project.repo, "log", "--all", "--format=%s")


# Dirty checkouts -------------------------------------------------------------------------------------------

MANY_FILES = """
steps:
  - shell: |
      for name in edited staged deleted mode; do echo from the run > $name.txt; done
      echo from the run > untracked.txt
      mkdir -p build
      echo from the run > build/ignored.txt
      git add -A --force
      git commit -q -m files
"""


def make_dirty(project: Project) -> dict[str, bytes]:
    """One of each kind in the way of MANY_FILES; what is in the checkout then."""
    project.write("edited.txt", "the user's\n")
    project.write("staged.txt", "the user's\n")
    git(project.repo, "add", "staged.txt")
    (project.repo / "deleted.txt").unlink()
    (project.repo / "mode.txt").chmod(0o755)
    project.write("untracked.txt", "the user's\n")
    project.write("build/ignored.txt", "the user's\n")
    return contents(project.repo)


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


def test_everything_in_the_way_of_the_final_merge_is_named_and_nothing_is_touched(project: Project) -> None:
    for name in ("edited", "staged", "deleted", "mode"):
        project.write(f"{name}.txt", "before\n")
    project.write(".gitignore", "build/\n")
    project.commit("files")
    unmerged_run(project, MANY_FILES)
    before, status = make_dirty(project), git(project.repo, "status", "--porcelain")
    problem = merge_later(project, code=3)
    assert problem == (
        "your checkout has changes in build/ignored.txt, deleted.txt, edited.txt, mode.txt, staged.txt and 1 more,"
        " which the merge would overwrite: commit, move or delete them"
    )
    assert contents(project.repo) == before
    assert git(project.repo, "status", "--porcelain") == status
    git(project.repo, "reset", "-q", "--hard")
    (project.repo / "untracked.txt").unlink()
    (project.repo / "build/ignored.txt").unlink()
    assert merge_later(project) is None
    assert {content for name, content in contents(project.repo).items() if name in before} >= {b"from the run\n"}
    assert git(project.repo, "status", "--porcelain") == ""


def dirty_beside(project: Project) -> dict[str, bytes]:
    """Changes of every kind that are in nobody's way; the checkout's files then."""
    for name in ("other", "staged", "deleted", "mode"):
        project.write(f"{name}.txt", "before\n")
    project.write(".gitignore", "*.log\n")
    project.commit("files")
    project.write("staged.txt", "staged\n")
    git(project.repo, "add", "staged.txt")
    project.write("staged.txt", "and edited again\n")
    project.write("other.txt", "edited\n")
    (project.repo / "deleted.txt").unlink()
    (project.repo / "mode.txt").chmod(0o755)
    project.write("new.txt", "untracked\n")
    project.write("x.log", "ignored\n")
    return contents(project.repo)


def beside(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without what the run changes."""
    return {name: content for name, content in files.items() if name not in ("README.md", "a.txt", "b.txt")}


@pytest.mark.parametrize(
    "point",
    [
        "before:final_merge_started",
        "after:final_merge_started",
        "final_merge:checked_out",
        "after:final_merge_finished",
    ],
)
def test_a_kill_in_the_final_merge_of_a_dirty_checkout_is_finished_and_keeps_every_byte(
    project: Project, point: str
) -> None:
    before = dirty_beside(project)
    status = git(project.repo, "status", "--porcelain")
    killed = project.prodigy("run", project.workflow(ITEMS), "--yes", env={"PRODIGY_FAULT": point})
    assert killed.code == KILLED, killed.err
    assert merge_later(project) is None
    after = contents(project.repo)
    assert (after["README.md"], after["a.txt"]) == (b"b\n", b"a\n")
    assert beside(after) == beside(before)
    assert (project.repo / "mode.txt").stat().st_mode & 0o100
    assert git(project.repo, "status", "--porcelain") == status
    assert project.tally() == ONCE


@pytest.mark.parametrize("point", ["after:final_merge_started", "final_merge:checked_out"])
def test_an_edit_made_after_a_kill_in_the_final_merge_is_named_and_kept(project: Project, point: str) -> None:
    before = dirty_beside(project)
    killed = project.prodigy("run", project.workflow(ITEMS), "--yes", env={"PRODIGY_FAULT": point})
    assert killed.code == KILLED, killed.err
    project.write("README.md", "the user's\n")
    held = contents(project.repo)
    done = project.prodigy("resume", "latest", "--json")
    assert (done.code, done.json["merged"]) == (5, False), done.err
    assert "local changes are in the way: README.md" in done.err
    assert "commit, move or delete them" in done.err
    assert contents(project.repo) == held
    git(project.repo, "checkout", "-q", "HEAD", "--", "README.md")
    assert merge_later(project) is None
    after = contents(project.repo)
    assert after["README.md"] == b"b\n"
    assert beside(after) == beside(before)


def test_a_merge_or_a_rebase_in_progress_refuses_the_final_merge_until_it_is_over(project: Project) -> None:
    unmerged_run(project)
    git(project.repo, "switch", "-q", "-c", "other")
    project.write("shared.txt", "theirs\n")
    project.commit("theirs")
    git(project.repo, "switch", "-q", "main")
    project.write("shared.txt", "mine\n")
    project.commit("mine")
    for operation in ("merge", "rebase"):
        try_git(project, operation, "other")
        held = contents(project.repo)
        problem = merge_later(project, code=3)
        assert problem is not None
        assert f"a {operation} is in progress" in problem
        assert "finish or abort it" in problem
        assert contents(project.repo) == held
        git(project.repo, operation, "--abort")
    assert merge_later(project) is None
    assert {"a.txt", "b.txt"} <= names(project)


# Kinds of files --------------------------------------------------------------------------------------------

KINDS = r"""
map:
  input: printf '{"id":"first"}\n{"id":"second"}\n'
  max_parallel: 1
  agent_template:
    - shell: |
        if [ "$PRODIGY_ITEM_ID" = second ]; then
          rm was-link/x; rmdir was-link; ln -s dir was-link
          rm becomes-dir; mkdir becomes-dir; echo x > becomes-dir/x
          git commit -q --allow-empty -m "nothing in it"
          exit 0
        fi
        printf 'c\r\nd\r\n' > crlf.txt
        chmod -x program; chmod +x plain
        ln -sfn shared.txt link; ln -s nowhere dangling
        rm was-link; mkdir was-link; echo x > was-link/x
        ln -s dir becomes-dir
        rm -r was-dir; echo file > was-dir
        git mv Case.txt case.txt
        printf 1 > $'new\nline'; printf 2 > 'quo"te'; printf 3 > "apos'"; printf 4 > ./-dash
        printf 5 > $'bytes-\377'; printf 6 > ' lead'; printf 7 > 'trail '; printf 8 > 'back\slash'
        printf 9 > ':(top)magic'; printf 10 > '*glob?['; printf 11 > $'tab\tx'; : > empty
        printf 12 > "$(printf 'l%.0s' $(seq 1 250))"
        deep=$(printf 'long%.0s' $(seq 1 50)); mkdir -p $deep/$deep/$deep; printf 13 > $deep/$deep/$deep/f
        cp -a --parents -- * "$SHARED/expected"
"""


def test_every_kind_of_file_goes_through_map_merge_and_final_merge_unchanged(project: Project) -> None:
    repo = project.repo
    (repo / "crlf.txt").write_bytes(b"a\r\n")
    project.write("program", "x").chmod(0o755)
    project.write("plain", "x")
    project.write("dir/f", "f")
    project.write("was-dir/x", "x")
    project.write("Case.txt", "case")
    (repo / "link").symlink_to("README.md")
    (repo / "was-link").symlink_to("dir")
    project.commit("kinds")
    expected = project.folder / "expected"
    expected.mkdir()
    done = project.prodigy("run", project.workflow(KINDS), "--yes")
    assert done.code == 0, done.err
    # What the second item made of the first one's.
    (expected / "was-link/x").unlink()
    (expected / "was-link").rmdir()
    (expected / "was-link").symlink_to("dir")
    (expected / "becomes-dir").unlink()
    (expected / "becomes-dir").mkdir()
    (expected / "becomes-dir/x").write_text("x\n")
    assert looks_of(repo) == looks_of(expected)
    assert len(looks_of(repo)) > 25
    assert git(repo, "status", "--porcelain") == ""
    assert "nothing in it" in git(repo, "log", "--format=%s")
    project.assert_nothing_left()


def looks_of(root: Path) -> dict[bytes, tuple[str, bytes]]:
    """path -> (kind, content) of everything below a directory but .git, as bytes."""
    found = {}
    for directory, inner, leaves in os.walk(os.fsencode(root)):
        if b".git" in inner:
            inner.remove(b".git")
        for name in (*leaves, *(entry for entry in inner if os.path.islink(os.path.join(directory, entry)))):  # noqa: PTH114, PTH118
            path = os.path.join(directory, name)  # noqa: PTH118
            if os.path.islink(path):  # noqa: PTH114
                look = ("link", os.readlink(path))  # noqa: PTH115
            else:
                with open(path, "rb") as file:  # noqa: PTH123
                    look = ("program" if os.access(path, os.X_OK) else "file", file.read())
            found[os.path.relpath(path, os.fsencode(root))] = look
    return found


@pytest.mark.parametrize("by", ["attributes", "autocrlf"])
def test_line_ends_are_converted_as_the_repository_has_it(project: Project, by: str) -> None:
    if by == "attributes":
        project.write(".gitattributes", "*.txt text eol=crlf\n*.bin -text\n")
    else:
        git(project.repo, "config", "core.autocrlf", "true")
    (project.repo / "a.txt").write_bytes(b"1\r\n2\r\n")
    project.commit("lines")
    workflow = project.workflow(r"""
map:
  input: printf '{"id":"a"}\n{"id":"b"}\n'
  max_parallel: 1
  agent_template:
    - shell: |
        git status --porcelain >> "$SHARED/status"
        printf '%s\r\n' ${item.id} >> a.txt
        printf 'new\r\n' > ${item.id}-new.txt
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == 0, done.err
    assert (project.folder / "status").read_text() == ""
    assert (project.repo / "a.txt").read_bytes() == b"1\r\n2\r\na\r\nb\r\n"
    assert (project.repo / "a-new.txt").read_bytes() == b"new\r\n"
    assert git(project.repo, "cat-file", "-s", "main:a.txt") == "8", "in commits a line ends with one byte"
    assert git(project.repo, "status", "--porcelain") == ""


def test_an_lfs_pointer_stays_a_pointer_where_lfs_is_not_installed(project: Project) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize 12345\n"
    project.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    project.write("big.bin", pointer)
    project.commit("a pointer")
    workflow = project.workflow(f"""
map:
  input: printf '{{"id":"a"}}\\n{{"id":"b"}}\\n'
  agent_template:
    - shell: |
        cp big.bin "$SHARED/seen-${{item.id}}"
        printf '%s' {pointer.replace(chr(10), "X")!r} | tr X '\\n' > ${{item.id}}.bin
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == 0, done.err
    assert {(project.folder / f"seen-{item}").read_text() for item in "ab"} == {pointer}
    for name in ("big.bin", "a.bin", "b.bin"):
        assert (project.repo / name).read_text() == pointer
        assert git(project.repo, "show", f"main:{name}") == pointer.strip()


def test_a_submodule_is_usable_in_every_phase_and_an_agents_update_of_it_is_merged(project: Project) -> None:
    library = project.folder / "library"
    library.mkdir()
    git(library, "init", "-q")
    git(library, "commit", "-q", "--allow-empty", "-m", "one")
    git(project.repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "sub")
    project.commit("a submodule")
    old = git(library, "rev-parse", "HEAD")
    git(library, "commit", "-q", "--allow-empty", "-m", "two")
    allow = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always"}
    project.env.update(allow)
    workflow = project.workflow("""
setup:
  - shell: git submodule update -q --init; echo edited >> README.md
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n'
  max_parallel: 1
  agent_template:
    - shell: |
        test -z "$(ls sub)"
        git submodule update -q --init
        if [ "$PRODIGY_ITEM_ID" = a ]; then
          git -C sub fetch -q
          git -C sub checkout -q FETCH_HEAD
          git add sub
          git commit -q -m update
        else
          echo b > b.txt
        fi
    - shell: git -C sub log -1 --format=%s >> "$SHARED/seen"
reduce:
  - shell: |
      git -C sub rev-parse HEAD > "$SHARED/reduce"
      git submodule update -q
      git -C sub log -1 --format=%s >> "$SHARED/seen"
""")
    done = project.prodigy("run", workflow, "--yes")
    assert done.code == 0, done.err
    assert (project.folder / "seen").read_text() == "two\ntwo\ntwo\n"
    assert (project.folder / "reduce").read_text() == f"{old}\n"
    assert git(project.repo, "rev-parse", "main:sub") == git(library, "rev-parse", "HEAD")
    assert git(project.repo / "sub", "rev-parse", "HEAD") == old, "the checkout's submodule is the user's"
    assert names(project) >= {"b.txt", "sub"}
    project.assert_nothing_left()


# Unusual repositories --------------------------------------------------------------------------------------


def test_a_shallow_clone_runs_and_merges(project: Project) -> None:
    project.write("more.txt", "more\n")
    project.commit("more")
    origin = project.folder / "origin"
    project.repo.rename(origin)
    git(project.folder, "clone", "-q", "--depth", "1", origin.as_uri(), str(project.repo))
    done = project.prodigy("run", project.workflow(ITEMS), "--yes")
    assert done.code == 0, done.err
    assert {"more.txt", "a.txt", "b.txt"} <= names(project)
    assert git(project.repo, "rev-parse", "--is-shallow-repository") == "true"
    project.assert_nothing_left()


def test_a_detached_head_keeps_the_result_on_the_run_branch_and_stays_detached(project: Project) -> None:
    git(project.repo, "checkout", "-q", "--detach")
    refused = project.prodigy("run", project.workflow(ITEMS), "--yes")
    assert refused.code == 2
    assert "HEAD is detached" in refused.err
    branch = unmerged_run(project)
    assert {"a.txt", "b.txt"} <= names(project, branch)
    assert git(project.repo, "rev-parse", "--abbrev-ref", "HEAD") == "HEAD"
    assert git(project.repo, "status", "--porcelain") == ""
    merge = project.prodigy("worktree", "merge", "latest")
    assert merge.code == 2
    assert f"git merge {branch}" in merge.err


def test_a_worktree_of_the_user_is_the_checkout_that_is_merged_into_and_others_stay_as_they_are(
    project: Project,
) -> None:
    mine, other = project.folder / "mine", project.folder / "other"
    git(project.repo, "worktree", "add", "-q", str(mine), "-b", "mine")
    git(project.repo, "worktree", "add", "-q", str(other), "-b", "other")
    (other / "untracked.txt").write_text("the user's\n")
    done = project.prodigy("run", project.workflow(ITEMS), "--yes", "--json", where=mine)
    assert (done.code, done.json["target"]) == (0, "mine"), done.err
    assert (mine / "README.md").read_text() == "b\n"
    assert git(mine, "status", "--porcelain") == ""
    assert names(project) == {"README.md", "shared.txt"}
    assert git(project.repo, "status", "--porcelain") == ""
    assert git(other, "status", "--porcelain") == "?? untracked.txt"
    assert len(git(project.repo, "worktree", "list").splitlines()) == 3


@pytest.mark.parametrize("place", ["hooks", "core.hooksPath"])
def test_hooks_of_the_user_run_for_agents_commits_and_for_nothing_of_ours(project: Project, place: str) -> None:
    directory = project.repo / (".git/hooks" if place == "hooks" else "my-hooks")
    directory.mkdir(exist_ok=True)
    for name in (
        "pre-commit",
        "post-commit",
        "post-checkout",
        "post-merge",
        "pre-merge-commit",
        "reference-transaction",
    ):
        (directory / name).write_text(f'#!/bin/sh\necho "{name} $PRODIGY_ITEM_ID" >> "$SHARED/hooks"\n')
        (directory / name).chmod(0o755)
    if place != "hooks":
        git(project.repo, "config", "core.hooksPath", "my-hooks")
        git(project.repo, "-c", "core.hooksPath=/dev/null", "add", "-A")
        git(project.repo, "-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "hooks")
    (project.folder / "hooks").unlink(missing_ok=True)
    done = project.prodigy("run", project.workflow(ITEMS), "--yes")
    assert done.code == 0, done.err
    ran = Counter((project.folder / "hooks").read_text().splitlines())
    assert ran.keys() == {
        f"{name} {item}" for name in ("pre-commit", "post-commit", "reference-transaction") for item in "ab"
    }
    assert ran["pre-commit a"] == ran["post-commit b"] == 1


def test_a_hook_that_refuses_a_commit_fails_the_item_with_its_words_and_the_work_is_kept(project: Project) -> None:
    hook = project.repo / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho 'no tabs please' >&2\nexit 1\n")
    hook.chmod(0o755)
    done = project.prodigy("run", project.workflow(ITEMS), "--yes")
    assert done.code == 3, done.err
    letters = {letter["item_id"]: letter for letter in project.prodigy("dlq", "list", "--json").json}
    assert letters.keys() == {"a", "b"}
    for item, letter in letters.items():
        assert letter["failure_history"][-1]["error_type"] == "command_failed"
        assert "no tabs please" in letter["failure_history"][-1]["error_message"]
        assert f"{item}.txt" in names(project, letter["worktree_artifacts"]["branch_name"])


def test_in_a_sparse_checkout_agents_see_all_files_and_the_final_merge_waits(project: Project) -> None:
    project.write("inside/x", "x\n")
    project.write("outside/y", "y\n")
    project.commit("directories")
    git(project.repo, "sparse-checkout", "set", "inside")
    unmerged_run(project, ITEMS.replace("echo ${item.id} >>", "test -e outside/y; echo ${item.id} >>"))
    problem = merge_later(project, code=3)
    assert problem is not None
    assert "sparse" in problem
    assert "git sparse-checkout disable" in problem
    assert not (project.repo / "outside").exists()
    git(project.repo, "sparse-checkout", "disable")
    assert merge_later(project) is None
    assert names(project) >= {"a.txt", "outside/y", "inside/x"}
    assert git(project.repo, "status", "--porcelain") == ""


def test_a_branch_in_the_way_of_ours_is_told_before_anything_is_made(project: Project) -> None:
    git(project.repo, "branch", "prodigy")
    done = project.prodigy("run", project.workflow(ITEMS), "--yes")
    assert done.code == 5
    assert "the branch 'prodigy' is in the way" in done.err
    assert "git branch -m prodigy another-name" in done.err
    assert not (project.home / "runs").exists()
    assert project.tally() == Counter()


def test_what_the_user_stashes_while_agents_work_does_not_leave_the_machine_with_an_export(project: Project) -> None:
    workflow = project.workflow("""
map:
  input: printf 'one\\ntwo\\n'
  max_parallel: 1
  agent_template:
    - shell: |
        echo x > ${item}.txt
        if [ ${item} = one ]; then
          touch "$SHARED/runs"
          until [ -e "$SHARED/go" ]; do sleep 0.05; done
        fi
""")
    running = project.start("run", workflow, "--no-merge")
    wait_until(lambda: (project.folder / "runs").exists(), "the first item runs")
    project.write("README.md", "a secret of mine\n")
    git(project.repo, "stash", "push", "-q", "-m", "private")
    (project.folder / "go").touch()
    _, err = running.communicate()
    assert running.returncode == 0, err
    assert b"stashed changes" in err
    kept = git(project.repo, "for-each-ref", "--format=%(refname)", "refs/prodigy/").splitlines()
    assert any("/stashed/" in name for name in kept)
    assert project.prodigy("export", "latest", project.folder / "run.tgz").code == 0
    with tarfile.open(project.folder / "run.tgz") as archive:
        members = [archive.extractfile(member) for member in archive if member.isfile()]
        bundles = [data for member in members if member and (data := member.read()).startswith(b"# v2 git bundle")]
    assert len(bundles) == 1
    assert b"stash" not in bundles[0].split(b"PACK")[0]
