"""Every slot of every run of a home has ports of its own."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from prodigy.errors import EnvironmentProblem
from prodigy.store import ports
from prodigy.store.ports import BLOCKS, END, FIRST, SIZE, block_of, free_blocks


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRODIGY_HOME", str(tmp_path))
    return tmp_path


def alive(home: Path, run_id: str) -> None:
    """A run whose state nobody can read: it keeps what it has."""
    (home / "runs" / run_id).mkdir(parents=True)


def test_a_slot_keeps_its_block_and_no_other_one_has_it() -> None:
    found = {(run, slot): block_of(run, slot) for run in ("one", "two") for slot in ("run", "queue", "s1", "s2")}
    assert {(run, slot): block_of(run, slot) for run, slot in found} == found
    bases = sorted(block.base for block in found.values())
    assert all(later - earlier >= SIZE for earlier, later in pairwise(bases))
    assert all(base >= FIRST and base + SIZE <= END for base in bases)


def test_numbers_are_those_of_the_slots() -> None:
    slots = ("s3", "s1", "run", "queue", "dedicated-web-2", "dedicated-web-2-2")
    assert [block_of("one", slot).number for slot in slots] == [3, 1, 0, 0, 1, 2]


def test_processes_that_ask_at_once_get_different_ones() -> None:
    ask = "import sys; from prodigy.store.ports import block_of; print(block_of(sys.argv[1], 's1').base)"
    asking = [subprocess.Popen([sys.executable, "-c", ask, f"r{n}"], stdout=subprocess.PIPE) for n in range(6)]
    said = [process.communicate()[0] for process in asking]
    assert [process.returncode for process in asking] == [0] * 6
    assert len(set(said)) == 6


def test_when_blocks_run_out_those_of_runs_that_are_gone_are_given_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "BLOCKS", 3)
    for run in ("one", "two", "three"):
        alive(home, run)
    first = block_of("one", "s1")
    held = {block_of(run, "s1").base for run in ("two", "three")}
    with pytest.raises(EnvironmentProblem, match="all 3 blocks of ports of this home are taken"):
        block_of("four", "s1")
    (home / "runs" / "one").rmdir()
    assert block_of("four", "s1").base == first.base
    free_blocks("two")
    assert block_of("four", "s2").base in held
    assert block_of("three", "s1").base in held


def test_a_register_that_is_damaged_is_told_with_the_cure(home: Path) -> None:
    (home / "ports.db").write_text("this is no database, and long enough to be seen as none" * 40)
    with pytest.raises(EnvironmentProblem, match="the register of ports can't be used") as error:
        block_of("one", "s1")
    assert error.value.where == str(home / "ports.db")


def test_there_are_blocks_for_many_runs() -> None:
    assert BLOCKS == 600
