"""The list of all runs: found, filtered, in pages, and read again only when something happened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from prodigy.state import events as ev
from prodigy.store import index
from prodigy.store.paths import run_directory
from prodigy.store.rows import RunRow
from prodigy.store.store import Store
from prodigy.web import runs_list
from prodigy.web.runs_list import PAGE, RunList

RUNS = 120


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """So many runs: every third is over, the others have lost their process."""
    folder = tmp_path_factory.mktemp("home")
    before, os.environ["PRODIGY_HOME"] = os.environ.get("PRODIGY_HOME"), str(folder)
    for number in range(RUNS):
        row = RunRow(
            id=f"20260101-{number:06d}-test", workflow=f"Flow {number % 4}", file=None, repo=f"/repos/r{number % 2}",
            common_dir=f"/repos/r{number % 2}/.git", base="0" * 40, branch="refs/heads/b", target=None, options="{}",
            created_at=f"2026-01-01T{number // 60:02d}:{number % 60:02d}:00.000Z", tip="0" * 40,
        )  # fmt: skip
        with closing(Store.create(run_directory(row.id), row, "{}")) as store:
            store.record(ev.JobStarted(workflow=row.workflow, base=row.base, branch=row.branch, target=None))
            if number % 3 == 0:
                store.record(ev.JobCompleted(status="completed"))
            index.note(store.run())
    yield folder
    if before is None:
        del os.environ["PRODIGY_HOME"]
    else:
        os.environ["PRODIGY_HOME"] = before


def test_the_newest_come_first_and_every_run_is_on_one_page() -> None:
    known = RunList()
    first = known.page()
    assert (first.total, first.all, first.pages) == (RUNS, RUNS, 3)
    assert first.lines[0].id == f"20260101-{RUNS - 1:06d}-test"
    shown = [line.id for number in (1, 2, 3) for line in known.page(number=number).lines]
    assert len(set(shown)) == len(shown) == RUNS
    assert len(first.lines) == PAGE
    assert known.page(number=99).number == 3


def test_states_are_those_that_the_runs_have_now_and_can_be_asked_for() -> None:
    known = RunList()
    assert dict(known.page().states) == {"completed": 40, "interrupted": 80}
    assert known.page(state="interrupted").total == 80
    assert known.page(search="flow 1").total == 30
    assert known.page(search="FLOW 1", state="completed").total == 10
    assert known.page(search="000042").lines[0].id == "20260101-000042-test"
    assert known.page(search="repos/r1").total == 60
    assert known.page(search="nothing").lines == ()


def test_a_run_is_read_once_until_something_happens_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known = RunList()
    known.page()
    read: list[str] = []
    really = Store.open

    def opened(directory: Path) -> Store:
        read.append(directory.name)
        return really(directory)

    monkeypatch.setattr(Store, "open", opened)
    known.page()
    assert read == []
    changed = f"20260101-{RUNS - 1:06d}-test"
    with closing(really(run_directory(changed))) as store:
        store.record(ev.JobFailed(error="it broke", path=None))
    monkeypatch.setattr(runs_list, "SHARE", 0.0)
    known._known = {name: type(one)(one.summary, one.mark, 0.0) for name, one in known._known.items()}
    line = known.page().lines[0]
    assert line.summary is not None
    assert line.summary["status"] == "failed"
    assert read == [changed]


def test_one_that_can_not_be_read_does_not_hide_the_others() -> None:
    broken = run_directory("20260101-000050-test") / "run.db"
    whole = broken.read_bytes()
    broken.write_bytes(b"no database" * 500)
    try:
        lines = {line.id: line for line in RunList().page(number=2).lines}
        assert "not a database" in (lines["20260101-000050-test"].problem or "")
        assert sum(line.summary is not None for line in lines.values()) == PAGE - 1
    finally:
        broken.write_bytes(whole)
