"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import Project, make_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A repository with one commit, and a home of its own."""
    return make_project(tmp_path)


@pytest.fixture
def let_go(project: Project) -> Iterator[None]:
    """Steps that wait for the file `go` do not wait for ever when a test fails."""
    yield
    (project.folder / "go").touch()
