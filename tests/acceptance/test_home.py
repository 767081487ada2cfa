"""The directory where Prodigy keeps what steps printed is its owner's alone, whichever command makes it."""

from __future__ import annotations

import shutil

import pytest

from support import Project


@pytest.mark.parametrize("command", ["validate", "run"])
def test_nobody_else_can_read_the_home(project: Project, command: str) -> None:
    shutil.rmtree(project.home, ignore_errors=True)
    flow = project.workflow("- shell: echo ${workflow.name}\n")
    assert project.prodigy(command, flow).code == 0
    assert project.home.stat().st_mode & 0o777 == 0o700
    assert [path for path in project.home.iterdir() if path.is_dir() and path.stat().st_mode & 0o077] == []
