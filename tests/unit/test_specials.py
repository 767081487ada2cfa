"""Values that come from files: whatever an agent put under a name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prodigy.engine.specials import NoSuchValue, Specials


def test_a_file_of_the_worktree_is_read(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("hello")
    assert Specials(tmp_path)("file", "notes.md") == "hello"


def test_a_pipe_does_not_make_us_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "notes.md")
    with pytest.raises(NoSuchValue, match="no plain file"):
        Specials(tmp_path)("file", "notes.md")


@pytest.mark.parametrize("target", ["/etc/hostname", "/dev/zero", "../outside.txt"])
def test_a_link_does_not_lead_out_of_the_worktree(target: str, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (tmp_path / "outside.txt").write_text("secret")
    (root / "notes.md").symlink_to(target)
    with pytest.raises(NoSuchValue, match="leads out of the worktree"):
        Specials(root)("file", "notes.md")


def test_a_file_that_the_author_names_in_full_is_read(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("mine")
    assert Specials(tmp_path / "tree")("file", str(tmp_path / "own.txt")) == "mine"


def test_a_value_is_the_same_each_time(tmp_path: Path) -> None:
    specials = Specials(tmp_path)
    assert specials("uuid", "") == specials("uuid", "")
