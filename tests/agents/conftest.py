"""Fixtures for tests with agent programs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.mock_anthropic import MockServer

MODULES = Path(__file__).parent / "node_modules"
_REAL = frozenset({"claude_program", "rig"})  # fixtures that are real programs


@pytest.fixture
def anthropic_api() -> Iterator[MockServer]:
    """The mock API, listening on a free loopback port."""
    server = MockServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def claude_program() -> str:
    """The real Claude Code, as `make agents` installs it."""
    if not (MODULES / ".ready").exists():
        pytest.skip("the claude program is not installed: make agents")
    return str(MODULES / ".bin" / "claude")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that run a real agent program are those of `make conformance`."""
    for item in items:
        if not _REAL.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.conformance)
