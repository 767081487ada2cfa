"""A real browser: Debian's Chromium, driven by Playwright, which downloads nothing here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from dashboard_support import Dashboard
from support import Project, end_processes_of, make_project

expect.set_options(timeout=30_000)  # other tests run at the same time
PROGRAM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if PROGRAM is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox", "--disable-quic"])
        yield browser
        browser.close()


@pytest.fixture
def project(tmp_path: Any) -> Iterator[Project]:
    made = make_project(tmp_path)
    yield made
    end_processes_of(tmp_path)


@pytest.fixture
def dashboard(project: Project) -> Iterator[Dashboard]:
    served = Dashboard(project)
    yield served
    served.close()


# What a browser says of a server that went away.
AWAY = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED", "ERR_CONTENT_LENGTH", "htmx:")

Open = Callable[..., Page]


@pytest.fixture
def opened(chromium: Browser) -> Iterator[Open]:
    """Opens a dashboard in a new profile. What the page complains about fails the test: errors of scripts, refused
    resources, questions that nobody expects."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(dashboard: Dashboard, path: str = "/", *, again: Page | None = None, **options: Any) -> Page:
        if again is None:
            context = chromium.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
            contexts.append(context)
        else:
            context = again.context
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: _listen(message.type, message.text, complaints))
        if again is None:
            page.goto(dashboard.another_link())
        page.goto(dashboard.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


def _listen(kind: str, text: str, complaints: list[str]) -> None:
    """A server that is away is no complaint: the page says so itself."""
    is_away = any(sign in text for sign in AWAY)
    if kind == "error" and not is_away:
        complaints.append(text)
