"""What is told of an item against what was done with it, with real git."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from prodigy.engine.next_try import NextTry, next_try
from prodigy.report.item_diff import Diff, attempt_diff
from prodigy.report.item_story import command_of, story
from prodigy.report.slots import slots
from prodigy.store.paths import run_directory
from prodigy.store.store import Store
from support import Project, wait_until

FLOW = """
name: facts
mode: mapreduce
map:
  input: [one]
  agent_template:
    - shell: echo "first $PRODIGY_ITEM_ID" >> "$TALLY"; echo 1 > first.txt; git add -A; git commit -qm first
    - shell: |
        echo second >> "$TALLY"; printf 'old\\nnew\\n' > shared.txt; printf '\\0\\1' > "bin $(printf 'a\\tb').dat"
        rm README.md; git add -A; git commit -qm second
        echo kept > left.txt
        echo "it is wrong" >&2; [ -e "$SHARED/mended" ]
"""


@pytest.fixture
def failed(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("PRODIGY_HOME", str(project.home))
    done = project.prodigy("run", project.workflow(FLOW), "--no-merge")
    assert done.code == 3, done.err
    return project


def ask(project: Project) -> tuple[NextTry | None, Diff | None]:
    with closing(Store.open(run_directory(project.run_id()))) as store:
        row = store.item("it1/1", 1)
        return next_try(store, "it1/1", 1, is_driven=False), attempt_diff(store, "it1/1", 1, row.attempt)


def test_the_diff_is_what_the_attempt_changed_committed_or_not(failed: Project) -> None:
    _, diff = ask(failed)
    assert diff is not None
    files = {file.path: file for file in diff.files}
    assert files.keys() == {"first.txt", "shared.txt", "bin a\\tb.dat", "README.md", "left.txt"}
    assert (files["bin a\\tb.dat"].added, files["bin a\\tb.dat"].lines) == (None, ())
    assert (files["README.md"].added, files["README.md"].removed) == (0, 1)
    shown = [(line.sign, line.old, line.new, line.text) for line in files["shared.txt"].lines]
    assert shown[0][0] == "@"
    assert shown[1:] == [
        ("-", 1, None, "one"), ("-", 2, None, "two"), ("-", 3, None, "three"),
        ("+", None, 1, "old"), ("+", None, 2, "new"),
    ]  # fmt: skip
    assert (diff.added, diff.removed, diff.files_left, diff.problem) == (4, 4, 0, None)


def test_what_can_not_be_told_says_why(failed: Project) -> None:
    failed.repo.rename(failed.folder / "moved")
    try:
        following, diff = ask(failed)
        assert diff is not None
        assert diff.problem
        assert following is not None
        assert following.problem
        assert following.number == 2
    finally:
        (failed.folder / "moved").rename(failed.repo)


@pytest.mark.parametrize("option", [None, "--from-failed-step"])
def test_the_next_try_gets_what_was_told(failed: Project, option: str | None) -> None:
    following, _ = ask(failed)
    assert following is not None
    assert (following.when, following.number, following.continues, following.kind) == (
        "retry",
        2,
        None,
        "command_failed",
    )
    assert following.told is not None
    assert "it is wrong" in following.told
    assert "+new" in following.told  # what it had changed, which is not there any more
    (failed.folder / "mended").touch()
    done = failed.prodigy("dlq", "retry", failed.run_id(), "--no-merge", *([option] if option else []))
    assert done.code == 0, done.err
    with closing(Store.open(run_directory(failed.run_id()))) as store:
        second, first = story(store, "it1/1", 1)
        assert next_try(store, "it1/1", 1, is_driven=False) is None
    assert (second.number, second.state, first.state) == (2, "succeeded", "failed")
    if option is None:
        assert second.base == following.base
        assert not second.continues
        assert failed.tally()["second"] == 2
        assert [step.taken for step in second.steps] == [False, False]
    else:
        assert second.continues
        assert [step.taken for step in second.steps] == [True, False]


def test_an_interrupted_item_is_told_to_go_on_and_does(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODIGY_HOME", str(project.home))
    wait = 'touch "$SHARED/there"; while [ ! -e "$SHARED/go" ]; do sleep 0.05; done; '
    flow = FLOW.replace("printf 'old", f"{wait}printf 'old")
    running = project.start("run", project.workflow(flow), "--no-merge")
    wait_until(lambda: (project.folder / "there").exists(), "the second step runs")
    project.prodigy("cancel", project.run_id())
    running.communicate()
    following, _ = ask(project)
    assert following is not None
    assert (following.when, following.number, following.continues) == ("resume", 2, 1)
    assert 1 in following.taken
    assert following.told is None  # it did not fail
    for name in ("go", "mended"):
        (project.folder / name).touch()
    assert project.prodigy("resume", "--no-merge").code == 0
    with closing(Store.open(run_directory(project.run_id()))) as store:
        second = story(store, "it1/1", 1)[0]
        assert second.continues
        assert second.steps[0].taken
        assert second.steps[0].cost_usd is None
        found = slots(store, 4_000_000_000.0)
    assert [bar.state for lane in found.lanes for bar in lane.bars if bar.state != "merging"].count("succeeded") == 1
    assert sum(key.startswith("first") for key in project.tally().elements()) == 1


def test_a_step_is_told_with_what_was_run_and_without_secrets(failed: Project) -> None:
    with closing(Store.open(run_directory(failed.run_id()))) as store:
        (attempt,) = story(store, "it1/1", 1)
        first, second = attempt.steps
        assert (first.state, second.state, second.kind, second.exit_code) == ("ok", "failed", "command_failed", 1)
        assert first.label.startswith("echo")
        command = command_of(store.directory / "steps" / second.log)
    assert command is not None
    assert "echo second" in command.script
    assert command.words[0].endswith(("bash", "sh"))
    assert command_of(Path("/nowhere")) is None
