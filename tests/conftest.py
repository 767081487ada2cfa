"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from support import Project, end_processes_of, in_memory, make_project

# Claude Code, and what stands in for it, skips no permissions as root without it.
os.environ["IS_SANDBOX"] = "1"
# Where `make sandbox` puts bubblewrap on a machine without it.
os.environ["PATH"] += os.pathsep + str(Path(sys.prefix) / "bin")

# A suite that a shell runs in the background ignores Ctrl-C, and so would every program that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The suite says the same each time; `make fuzz` looks for what it does not know yet.
# How long an example takes says more of the machine than of the code.
_ANY_TIME: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, **_ANY_TIME)
settings.register_profile("fuzz", settings.get_profile("default"), max_examples=1000, **_ANY_TIME)
settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    """Repositories, worktrees and databases of tests are made in memory where there is room."""
    if config.option.basetemp is None and (memory := in_memory()) is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """They go when all is over and well. After each test would be too early: what the test let go, or killed, may still
    look for a file there, and would do so for ever."""
    if exitstatus == 0 and session.config.option.basetemp is None:
        factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
        shutil.rmtree(factory.getbasetemp(), ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing that is collected is garbage; to look for some in it, again and again, takes a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def nothing_runs_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Steps outlive their coordinator, so those of a test that failed would wait for ever, and look for what they wait
    for twenty times a second."""
    yield
    if Path("/proc").exists():
        end_processes_of(tmp_path_factory.getbasetemp())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A repository with one commit, and a home of its own."""
    return make_project(tmp_path)


@pytest.fixture
def let_go(project: Project) -> Iterator[None]:
    """Steps that wait for the file `go` do not wait for ever when a test fails."""
    yield
    (project.folder / "go").touch()
