"""`clean`: on real runs. What goes, what stays and is named, and that no work is lost with any of it."""

from __future__ import annotations

import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from recovery_support import flow, interrupt, items, kill, put, wait_for_lines
from support import Project, git, make_project

EVERY_FORM = ("all", "worktrees", "sessions", "logs", "state", "events", "dlq")

ONE_FILE = """
steps:
  - shell: echo made > NAME.txt; git add -A; git commit -q -m NAME
"""

# Item `b` fails: with an edit of its own, or without.
ONE_FAILS = """
map:
  input: printf '{"id":"a"}\\n{"id":"b"}\\n'
  agent_template:
    - shell: echo "$PRODIGY_ITEM_ID 1" >> "$TALLY"; printf 'first of %s' "$PRODIGY_ITEM_ID"
      id: first
      capture_output: said
    - shell: EDITif [ ${item.id} = b ] && ! [ -e "$SHARED/mended" ]; then exit 7; fi; echo ${said} > ${item.id}.txt
"""


def merged(project: Project, name: str = "one") -> str:
    """A run that is over and merged."""
    return _run(project, ONE_FILE.replace("NAME", name), "--yes")


def unmerged(project: Project, name: str = "one") -> str:
    return _run(project, ONE_FILE.replace("NAME", name), "--no-merge")


def with_dead_letter(project: Project, edit: str = "echo mine > mine.txt; ") -> str:
    return _run(project, ONE_FAILS.replace("EDIT", edit), "--yes", code=3)


def _run(project: Project, text: str, *options: str, code: int = 0) -> str:
    done = project.prodigy("run", project.workflow(text), "--json", *options)
    assert done.code == code, done.err
    return str(done.json["run_id"])


def clean(project: Project, *args: str) -> list[dict[str, Any]]:
    done = project.prodigy("clean", *args, "--json")
    assert done.code == 0, done.err
    rows: list[dict[str, Any]] = done.json
    return rows


def refs(project: Project) -> dict[str, str]:
    lines = git(project.repo, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split(" ") for line in lines)


def refs_of(project: Project, run_id: str) -> set[str]:
    return {
        name for name in refs(project) if name.startswith((f"refs/heads/prodigy/{run_id}/", f"refs/prodigy/{run_id}/"))
    }


def state(project: Project) -> tuple[object, ...]:
    """Everything that a clean might change."""
    files = sorted(
        (str(path.relative_to(project.home)), path.stat().st_size)
        for path in project.home.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm")) and path.parent.name != "scripts"
    )
    objects = sorted(path for path in (project.repo / ".git" / "objects").rglob("*"))
    return files, objects, refs(project)


def tables(project: Project, run_id: str) -> dict[str, list[object]]:
    with closing(sqlite3.connect(project.home / "runs" / run_id / "run.db")) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in names if name != "event"}


# What goes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["all", "state", "sessions"])
def test_a_run_that_is_over_and_merged_goes_whole(project: Project, form: str) -> None:
    run_id = merged(project)
    (row,) = clean(project, form, "--yes")
    assert (row["part"], row["run_id"], row["removed"], row["refs"]) == ("runs", run_id, True, [])
    assert row["size_bytes"] > 0
    assert list((project.home / "runs").iterdir()) == []
    assert list(refs(project)) == ["refs/heads/main"]
    assert project.prodigy("status", "--json").json == []
    assert project.prodigy("clean", form).out == "nothing to remove\n"
    assert project.files("main")["one.txt"] == "made"
    project.assert_nothing_left()


def test_a_run_that_the_user_merged_by_hand_goes_too(project: Project) -> None:
    run_id = unmerged(project)
    git(project.repo, "merge", "-q", f"prodigy/{run_id}/run")
    (row,) = clean(project, "state", "--yes")
    assert (row["run_id"], row["removed"], row["refs"]) == (run_id, True, [])
    assert list(refs(project)) == ["refs/heads/main"]


def test_work_that_was_merged_in_another_form_is_not_taken_for_lost(project: Project) -> None:
    text = """
map:
  input: echo a
  merge: {strategy: squash}
  agent_template:
    - shell: for n in 1 2; do echo $n > $n.txt; git add -A; git commit -q -m $n; done
"""
    run_id = _run(project, text, "--yes")
    assert {name for name in refs_of(project, run_id) if "/attempts/" in name or "/kept/" in name}
    (row,) = clean(project, "state", "--yes")
    assert (row["run_id"], row["removed"], row["refs"]) == (run_id, True, [])
    assert list(refs(project)) == ["refs/heads/main"]


def test_the_output_of_a_run_that_is_over_goes_and_the_rest_stays(project: Project) -> None:
    run_id = merged(project)
    steps = project.home / "runs" / run_id / "steps"
    before = tables(project, run_id)
    (row,) = clean(project, "logs", "--yes")
    assert (row["part"], row["run_id"], row["count"], row["removed"]) == ("logs", run_id, 1, True)
    assert not steps.exists()
    assert tables(project, run_id) == before
    assert clean(project, "logs", "--yes") == []
    shown = project.prodigy("logs", run_id)
    assert (shown.code, "bug" in shown.err) == (0, False), shown.err
    assert project.prodigy("resume", run_id).code == 0
    assert project.prodigy("export", run_id, project.folder / "run.tar.gz").code == 0


def test_the_events_of_a_run_that_is_over_go_and_its_tables_and_summary_stay(project: Project) -> None:
    run_id = _run(project, ONE_FAILS.replace("EDIT", "").replace("exit 7", "true"), "--yes")
    before, summary = tables(project, run_id), project.prodigy("status", run_id, "--json").json
    lines = project.prodigy("events", "ls", run_id, "--json").out.splitlines()
    (row,) = clean(project, "events", "--yes")
    assert (row["part"], row["removed"]) == ("events", True)
    assert 0 < row["count"] < len(lines)
    after = project.prodigy("events", "ls", run_id, "--json").out.splitlines()
    assert len(after) == len(lines) - row["count"] + 1
    assert '"run_cleaned"' in after[-1]
    assert "step_started" not in "".join(after)
    assert tables(project, run_id) == before
    assert project.prodigy("status", run_id, "--json").json == summary
    assert clean(project, "events", "--yes") == []
    assert project.prodigy("resume", run_id).code == 0  # also its last event is not missed


def test_worktrees_go_and_those_of_items_alone_when_they_are_wanted(project: Project) -> None:
    text = "workspace: {keep: true}\n" + ONE_FAILS.replace("EDIT", "").replace("exit 7", "true")
    run_id = _run(project, text, "--yes")
    rows = project.prodigy("worktree", "ls", "--json").json
    assert {row["slot"] for row in rows} == {"run", "s1", "s2"}
    assert {Path(row["what"]).name for row in clean(project, "worktrees", "--mapreduce", "--yes")} == {
        f"{run_id}-s1", f"{run_id}-s2"
    }  # fmt: skip
    (row,) = clean(project, "worktrees", "--yes")
    assert (Path(row["what"]).name, row["removed"]) == (f"{run_id}-run", True)
    assert row["size_bytes"] > 0
    project.assert_nothing_left()


def test_only_what_is_old_enough_goes(project: Project) -> None:
    merged(project)
    for form in ("all", "state", "logs", "events"):
        assert clean(project, form, "--yes", "--older-than", "1h") == []
    letters = with_dead_letter(project, "")
    assert clean(project, "dlq", "--yes", "--older-than", "1h") == []
    (row,) = clean(project, "dlq", "--yes", "--older-than", "0s")
    assert (row["run_id"], row["removed"]) == (letters, True)
    assert [row["removed"] for row in clean(project, "state", "--yes", "--older-than", "0s")] == [True, True]


def test_a_clean_does_not_make_a_run_younger(project: Project) -> None:
    run_id = merged(project)
    with closing(sqlite3.connect(project.home / "runs" / run_id / "run.db")) as db, db:
        db.execute("UPDATE event SET at = '2020-01-01T00:00:00.000Z'")
    assert [row["part"] for row in clean(project, "logs", "--yes", "--older-than", "30d")] == ["logs"]
    assert [row["part"] for row in clean(project, "state", "--yes", "--older-than", "30d")] == ["runs"]


def test_runs_of_other_repositories_go_when_all_are_meant(project: Project, tmp_path: Path) -> None:
    mine = merged(project)
    other = make_project(tmp_path / "other")
    other.env["PRODIGY_HOME"] = str(project.home)
    done = other.prodigy("run", other.workflow(ONE_FILE), "--yes", "--json")
    theirs = done.json["run_id"]
    assert [row["run_id"] for row in clean(project, "state", "--dry-run")] == [mine]
    assert {row["run_id"] for row in clean(project, "all", "--all-repos", "--yes")} == {mine, theirs}
    assert list((project.home / "runs").iterdir()) == []
    assert list(refs(other)) == ["refs/heads/main"]


def test_a_removal_that_was_killed_is_finished_by_the_next(project: Project) -> None:
    run_id = merged(project)
    directory = project.home / "runs" / run_id
    going = directory.with_name(f".{run_id}.gone")
    directory.rename(going)
    assert project.prodigy("status", "--json").json == []
    assert project.prodigy("clean", "state", "--dry-run").out == "nothing to remove\n"
    assert going.exists()
    clean(project, "state", "--yes")
    assert not going.exists()


# Looking and asking ----------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_go_and_changes_nothing(project: Project) -> None:
    running = project.start("run", flow(project, items("ab"), parallel=2), "--no-merge")
    put(project, "hold-a", "hold-b")
    wait_for_lines(project, "a 2", "b 2")
    interrupt(running)
    for row in project.prodigy("worktree", "ls", "--json").json:
        Path(row["path"], "half.txt").write_text("half a thought\n")
    merged(project)
    with_dead_letter(project)
    before = state(project)
    for form in EVERY_FORM:
        for force in ((), ("--force",)):
            done = project.prodigy("clean", form, "--dry-run", *force)
            assert done.code == 0, done.err
            assert not [line for line in done.out.splitlines() if line.startswith("removed")]
            assert state(project) == before, form
    text = project.prodigy("clean", "all", "--dry-run", "--force").out
    planned = clean(project, "all", "--dry-run", "--force")
    assert text.count("would remove") == len(planned) == 6  # three worktrees, three runs
    assert text.count("iB)") == 6
    assert [row["removed"] for row in planned] == [False] * 6
    gone = clean(project, "all", "--force")
    assert [(row["part"], row["what"]) for row in gone] == [(row["part"], row["what"]) for row in planned]
    assert [row["removed"] for row in gone] == [True] * 6


@pytest.mark.parametrize("form", EVERY_FORM)
def test_off_a_terminal_nothing_goes_unless_it_is_said(project: Project, form: str) -> None:
    text = "workspace: {keep: true}\n" + ONE_FILE.replace("NAME", "one")
    _run(project, text, "--yes")
    with_dead_letter(project, "")
    before = state(project)
    done = project.prodigy("clean", form)
    assert (done.code, done.out) == (2, "")
    assert "would go for good" in done.err
    assert "--dry-run lists it; --yes removes it" in done.err
    assert state(project) == before


@pytest.mark.parametrize(("answer", "goes"), [("n\n", False), ("y\n", True)])
def test_on_a_terminal_it_asks(project: Project, answer: str, goes: bool) -> None:
    run_id = merged(project)
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb+", buffering=0) as terminal:
        argv = [sys.executable, "-m", "prodigy.cli.main", "clean", "state"]
        running = subprocess.Popen(
            argv, cwd=project.repo, env=project.environment(), stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
        )
        os.close(theirs)
        terminal.write(answer.encode())
        out, _ = running.communicate()
    assert running.returncode == 0
    assert (project.home / "runs" / run_id).exists() is not goes
    assert (b"removed run" in out) is goes


def test_outside_of_a_repository_all_of_them_have_to_be_meant(project: Project) -> None:
    run_id = merged(project)
    done = project.prodigy("clean", "state", "--yes", where=project.folder)
    assert done.code == 5
    assert (project.home / "runs" / run_id).exists()
    assert project.prodigy("clean", "state", "--yes", "--all-repos", where=project.folder).code == 0
    assert not (project.home / "runs" / run_id).exists()


# What stays ------------------------------------------------------------------------------------------------


def test_work_that_no_branch_of_the_user_has_stays_or_gets_a_ref_first(project: Project) -> None:
    run_id = unmerged(project)
    tip = git(project.repo, "rev-parse", f"prodigy/{run_id}/run")
    git(project.repo, "branch", "prodigy/mine", tip)  # in our part of the names, so it may go as ours
    for form in ("all", "state", "logs", "events"):
        rows = clean(project, form, "--yes")
        assert [(row["run_id"], row["removed"]) for row in rows] == [(run_id, False)]
        assert f"prodigy worktree merge {run_id}" in rows[0]["reason"]
    assert (project.home / "runs" / run_id / "steps").is_dir()
    assert f"prodigy/{run_id}/run" in clean(project, "state", "--yes")[0]["reason"]
    (row,) = clean(project, "state", "--force")
    kept = f"refs/prodigy/kept/{run_id}/{tip[:12]}"
    assert (row["removed"], row["refs"]) == (True, [kept])
    assert refs(project)[kept] == tip
    assert refs_of(project, run_id) == set()
    assert project.files(kept)["one.txt"] == "made"


def test_a_run_is_left_alone_while_somebody_works_on_it(project: Project) -> None:
    running = project.start("run", flow(project, items("ab"), parallel=2), "--no-merge")
    put(project, "hold-a", "hold-b")
    wait_for_lines(project, "a 2", "b 2")
    worktrees = project.prodigy("worktree", "ls", "--json").json
    before = refs(project)
    for form in EVERY_FORM:
        for how in ("--force", "--yes", "--dry-run"):
            rows = clean(project, form, how)
            assert rows, form
            assert not [row for row in rows if row["would_remove"]]
    assert (project.prodigy("worktree", "ls", "--json").json, refs(project)) == (worktrees, before)
    put(project, "go")
    running.communicate()
    assert running.returncode == 0


def test_a_run_is_left_alone_while_a_step_has_outlived_its_coordinator(project: Project) -> None:
    running = project.start("run", flow(project, items("a")), "--no-merge")
    put(project, "hold-a")
    wait_for_lines(project, "a 2")
    kill(running)
    for form in ("all", "state", "logs", "events", "worktrees", "dlq"):
        rows = clean(project, form, "--force")
        assert not [row for row in rows if row["would_remove"]]
        assert all("still runs" in row["reason"] for row in rows)
    put(project, "go")
    done = project.prodigy("resume", "latest", "--yes", "--json")
    assert done.code == 0, done.err
    assert project.tally()["a 2"] == 1


def test_a_run_that_can_go_on_stays_unless_it_is_forced_and_nothing_of_its_work_is_lost(project: Project) -> None:
    running = project.start("run", flow(project, items("ab"), parallel=2), "--no-merge")
    put(project, "hold-a", "hold-b")
    wait_for_lines(project, "a 2", "b 2")
    interrupt(running)
    run_id = project.run_id()
    (tree,) = (row["path"] for row in project.prodigy("worktree", "ls", "--json").json if row["slot"] == "s1")
    Path(tree, "half.txt").write_text("half a thought\n")
    before = tables(project, run_id)
    for form in EVERY_FORM:
        for how in ("--yes", "--force") if form in ("logs", "events") else ("--yes",):
            rows = clean(project, form, how)
            assert not [row for row in rows if row["removed"]]
            assert all(f"prodigy resume {run_id}" in row["reason"] for row in rows)
            assert all("--force" in row["reason"] for row in rows)
    assert tables(project, run_id) == before
    rows = clean(project, "state", "--force")
    (row,) = rows
    assert (row["run_id"], row["removed"]) == (run_id, True)
    kept = [project.files(name) for name in row["refs"]]
    assert set(row["refs"]) == {name for name in refs(project) if name != "refs/heads/main"}
    assert all(name.startswith(f"refs/prodigy/kept/{run_id}/") for name in row["refs"])
    assert {text for files in kept for name, text in files.items() if name in ("a.txt", "b.txt")} == {"one"}
    assert [files["half.txt"] for files in kept if "half.txt" in files] == ["half a thought"]
    project.assert_nothing_left()


def test_an_interrupted_run_goes_on_after_every_clean_that_is_not_of_itself(project: Project) -> None:
    running = project.start("run", flow(project, items("ab"), parallel=2), "--no-merge")
    put(project, "hold-a", "hold-b")
    wait_for_lines(project, "a 2", "b 2")
    interrupt(running)
    for form in ("logs", "events", "worktrees", "dlq"):
        clean(project, form, "--force")
    put(project, "go")
    done = project.prodigy("resume", "latest", "--yes", "--json")
    assert done.code == 0, done.err
    assert [project.tally()[f"{item} 1"] for item in "ab"] == [1, 1]
    project.assert_nothing_left()


def test_changes_that_only_a_worktree_has_keep_it_or_get_a_ref(project: Project) -> None:
    text = "workspace: {keep: true}\n" + ONE_FILE.replace("NAME", "one")
    run_id = _run(project, text, "--yes")
    (tree,) = (row["path"] for row in project.prodigy("worktree", "ls", "--json").json)
    Path(tree, "new.txt").write_text("mine\n")
    (row,) = clean(project, "worktrees", "--yes")
    assert (row["removed"], "--force" in row["reason"]) == (False, True)
    (run,) = clean(project, "state", "--yes")
    assert (run["removed"], tree in run["reason"]) == (False, True)
    shutil.rmtree(project.home / "runs" / run_id)  # also when its run is gone
    (row,) = clean(project, "worktrees", "--yes")
    assert row["removed"] is False
    (row,) = clean(project, "worktrees", "--force")
    (kept,) = row["refs"]
    assert kept.startswith(f"refs/prodigy/kept/{run_id}/")
    assert project.files(kept)["new.txt"] == "mine"
    project.assert_nothing_left()


def test_a_dead_letter_keeps_its_run_and_what_a_retry_needs(project: Project) -> None:
    run_id = with_dead_letter(project)
    before = tables(project, run_id)
    for form in ("all", "state", "logs", "events", "dlq"):
        for how in ("--yes", "--force") if form in ("logs", "events") else ("--yes",):
            rows = clean(project, form, how)
            assert rows
            assert not [row for row in rows if row["removed"]]
    assert tables(project, run_id) == before
    (project.folder / "mended").touch()
    done = project.prodigy("dlq", "retry", run_id, "--from-failed-step", "--yes", "--json")
    assert done.code == 0, done.err
    assert project.files("main")["b.txt"] == "first of b"
    assert project.tally()["b 1"] == 1


def test_dead_letters_go_when_their_work_is_elsewhere_or_by_force(project: Project) -> None:
    run_id = with_dead_letter(project)
    branch = f"prodigy/{run_id}/items/0002-b"
    work = git(project.repo, "rev-parse", branch)
    (row,) = clean(project, "dlq", "--yes")
    assert (row["removed"], branch in row["reason"]) == (False, True)
    (row,) = clean(project, "dlq", "--force")
    assert (row["count"], row["removed"]) == (1, True)
    (kept,) = row["refs"]
    assert git(project.repo, "rev-list", f"{work}..{kept}", f"{kept}..{work}") == ""
    assert project.files(kept)["mine.txt"] == "mine"
    assert project.prodigy("dlq", "list", run_id, "--json").json == []
    assert branch not in git(project.repo, "branch", "--list", "prodigy/*")

    again = with_dead_letter(project, "echo again > mine.txt; ")
    git(project.repo, "branch", "saved", f"prodigy/{again}/items/0002-b")
    (row,) = clean(project, "dlq", "--yes")
    assert (row["run_id"], row["removed"], row["refs"]) == (again, True, [])


def test_a_branch_of_the_run_that_is_checked_out_keeps_it(project: Project) -> None:
    run_id = merged(project)
    git(project.repo, "worktree", "add", "-q", str(project.folder / "mine"), f"prodigy/{run_id}/run")
    (row,) = clean(project, "state", "--force")
    assert row["removed"] is False
    assert "checked out in" in row["reason"]


def test_a_run_that_can_not_be_read_is_named_and_left(project: Project) -> None:
    good = merged(project)
    bad = merged(project, "two")
    for suffix in ("-wal", "-shm"):
        (project.home / "runs" / bad / f"run.db{suffix}").unlink(missing_ok=True)
    (project.home / "runs" / bad / "run.db").write_bytes(b"no database" * 1000)
    empty = project.home / "runs" / "20200101-000000-none"
    empty.mkdir()
    rows = {row["run_id"]: row for row in clean(project, "all", "--force")}
    assert rows[good]["removed"] is True
    for run_id in (bad, empty.name):
        assert rows[run_id]["removed"] is False
        assert "it is left as it is" in rows[run_id]["reason"]
        assert (project.home / "runs" / run_id).is_dir()
    assert refs_of(project, bad)


def test_a_run_whose_repository_is_gone_stays_unless_it_is_forced(project: Project) -> None:
    run_id = merged(project)
    project.repo.rename(project.folder / "elsewhere")
    where = project.folder
    done = project.prodigy("clean", "all", "--all-repos", "--yes", where=where)
    assert (done.code, f"kept run {run_id}: its repository is not where it was" in done.out) == (0, True)
    done = project.prodigy("clean", "all", "--all-repos", "--force", where=where)
    assert (done.code, f"removed run {run_id}" in done.out) == (0, True)
    assert not run_directory_exists(project)


def run_directory_exists(project: Project) -> bool:
    return any((project.home / "runs").iterdir())
