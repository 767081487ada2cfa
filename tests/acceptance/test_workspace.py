"""What worktrees get beside the files of their commit: copies, setup steps, kept build products."""

from __future__ import annotations

import pytest

from support import Project, git


@pytest.fixture(autouse=True)
def ignored_files(project: Project) -> None:
    project.write(".gitignore", ".env\nnode_modules/\ncache/\n")
    project.commit("ignore")
    project.write(".env", "SECRET=1\n")


def test_included_files_are_in_every_worktree_and_never_in_the_result(project: Project) -> None:
    project.write("local/settings.json", "{}")
    text = """
workspace: {include: [.env, local]}
setup: [{shell: "cp .env seen-by-setup.txt; git add -A; git commit -qm seen"}]
map:
  input: printf 'a\\nb\\nc\\n'
  max_parallel: 1
  agent_template:
    - shell: cat .env local/settings.json > ${item}.txt; echo spoilt > .env; echo extra > local/extra
reduce: [{shell: test -e local/settings.json}]
"""
    done = project.prodigy("run", project.workflow(text), "--yes")
    assert done.code == 0, done.err
    assert {name: project.files("main")[name] for name in ("a.txt", "b.txt", "c.txt")} == dict.fromkeys(
        ("a.txt", "b.txt", "c.txt"), "SECRET=1\n{}"
    )
    assert not [name for name in project.files("main") if name.startswith((".env", "local"))]
    assert (project.repo / ".env").read_text() == "SECRET=1\n"
    assert (project.repo / "local/settings.json").read_text() == "{}"


def test_an_included_file_that_is_not_there_is_told_before_the_run(project: Project) -> None:
    done = project.prodigy("run", project.workflow("workspace: {include: [.envv]}\nsteps: [{shell: a}]\n"))
    assert done.code == 2
    assert "`workspace.include` names .envv, which your checkout does not have" in done.err


def test_ignored_files_that_look_needed_are_named_unless_they_are_provided(project: Project) -> None:
    (project.repo / "node_modules").mkdir()
    project.write("cache/x", "")
    said = project.prodigy("run", project.workflow("- shell: 'true'\n"), "--yes").err
    assert "git ignores .env, node_modules, so no worktree has them" in said
    text = "workspace: {include: [.env], keep_ignored: [node_modules]}\nsteps: [{shell: 'true'}]\n"
    assert "git ignores" not in project.prodigy("run", project.workflow(text), "--yes").err


def test_setup_runs_once_in_each_worktree_and_only_ignored_files_of_it_stay(project: Project) -> None:
    text = """
workspace:
  keep_ignored: [node_modules]
  setup:
    - shell: |
        echo setup >> "$TALLY"
        mkdir -p node_modules; echo dep > node_modules/dep
        echo stray > stray.txt; echo changed >> shared.txt
map:
  input: seq 1 6
  max_parallel: 1
  agent_template:
    - shell: |
        cat node_modules/dep > ${item}.txt
        test ! -e stray.txt
        if grep -q changed shared.txt; then exit 1; fi
        echo x > cache
"""
    project.write("cache-note", "")
    done = project.prodigy("run", project.workflow(text), "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json["items"]["successful"] == 6
    # The run's own worktree, and the two of a pool for one agent at a time.
    assert project.tally() == {"setup": 3}
    assert "stray.txt" not in project.files("main")
    project.assert_nothing_left()


def test_a_failing_setup_fails_the_run_with_its_output(project: Project) -> None:
    text = """
workspace: {setup: [{shell: echo no network >&2; test -e "$SHARED/go"}]}
steps: [{shell: echo ran >> "$TALLY"}]
"""
    text = text.replace(
        '{shell: echo no network >&2; test -e "$SHARED/go"}', "{shell: 'echo no network >&2; test -e \"$SHARED/go\"'}"
    )
    text = text.replace('{shell: echo ran >> "$TALLY"}', "{shell: 'echo ran >> \"$TALLY\"'}")
    done = project.prodigy("run", project.workflow(text), "--yes")
    assert done.code == 1
    assert "workspace.setup failed: exited with code 1: no network" in done.err
    (project.folder / "go").touch()
    assert project.prodigy("resume", "--yes").code == 0
    assert project.tally() == {"ran": 1}


def test_build_products_are_gone_for_the_next_item_unless_they_are_kept(project: Project) -> None:
    text = """
workspace: {keep_ignored: [cache]}
map:
  input: seq 1 4
  max_parallel: 1
  agent_template:
    - shell: |
        mkdir -p cache node_modules
        if [ -e cache/built ]; then echo warm >> "$TALLY"; fi
        if [ -e node_modules/built ]; then echo leaked >> "$TALLY"; fi
        touch cache/built node_modules/built
"""
    assert project.prodigy("run", project.workflow(text), "--yes").code == 0
    assert project.tally() == {"warm": 2}
    assert git(project.repo, "status", "--porcelain") == ""
