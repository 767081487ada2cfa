"""Shell texts that were in order are not checked again; whatever the file says, nothing else changes by it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prodigy.store.checked import MAX_KEYS, CheckedScripts
from prodigy.workflow.catalogue import available
from prodigy.workflow.load import parse
from prodigy.workflow.shell_words import forget
from support import Project

TEXT = '- shell: echo ${run.id}\n- {shell: "echo hi", id: x}\n- shell: echo ${x} ${raw:run.id}\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODIGY_HOME", str(tmp_path / "home"))


def test_a_second_look_at_a_file_starts_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    parse("- shell: echo ${run.id}\n- shell: ls\n", "w.yml", CheckedScripts())
    forget()

    def refuse(argv: list[str], **_: object) -> None:
        raise AssertionError(f"{argv} was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    parse("- shell: echo ${run.id}\n- shell: ls\n", "w.yml", CheckedScripts())


def test_what_is_wrong_or_raw_is_told_every_time(tmp_path: Path) -> None:
    for _ in range(2):
        known = CheckedScripts(tmp_path / "scripts")
        assert len(parse(TEXT, "w.yml", known).remarks) == 1
        forget()


def test_the_file_never_grows_without_end_and_may_hold_anything(tmp_path: Path) -> None:
    file = tmp_path / "scripts"
    file.write_bytes(b"\xff\0 junk\n" + b"\n".join(b"%d" % number for number in range(MAX_KEYS)))
    known = CheckedScripts(file)
    known.add(["new"])
    assert "new" in CheckedScripts(file)
    assert len(file.read_text().split()) == 1


def test_a_forged_entry_makes_nothing_run(project: Project) -> None:
    """What runs is compiled anew: a text that is refused fails its step, whatever the file of known texts says."""
    bad = "map: {input: \"echo '$(touch pwned)'\", agent_template: [{shell: 'eval ${item}'}]}\n"
    good = "map: {input: \"echo '$(touch pwned)'\", agent_template: [{shell: 'echo ${item}'}]}\n"
    assert project.prodigy("run", project.workflow(good)).code == 0
    assert project.prodigy("run", project.workflow(bad)).code == 2
    from prodigy.workflow.scripts import _key

    with (project.home / "cache" / "scripts").open("a") as file:
        file.write(_key("eval ${item}", available("map"), check_plain=True) + "\n")
    done = project.prodigy("run", project.workflow(bad), "--yes")
    assert done.code == 3
    assert "eval" in done.err
    assert not list(project.folder.rglob("pwned"))
