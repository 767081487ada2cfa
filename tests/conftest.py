"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support import Project, make_project

# The suite says the same each time; `make fuzz` looks for what it does not know yet.
settings.register_profile("same", derandomize=True)
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=1000)
settings.load_profile("same")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A repository with one commit, and a home of its own."""
    return make_project(tmp_path)


@pytest.fixture
def let_go(project: Project) -> Iterator[None]:
    """Steps that wait for the file `go` do not wait for ever when a test fails."""
    yield
    (project.folder / "go").touch()
