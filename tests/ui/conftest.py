"""A real browser for these tests; skipped by name where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.ui.looking import FLAGS, Window
from tests.ui.standin import Scene, StandIn


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not longer than a module: while it is there, no other loop runs in this thread."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium is installed here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def window(browser: Browser) -> Iterator[Window]:
    """What opens pages, and holds at the end that nothing went wrong in one."""
    window = Window(browser)
    yield window
    window.close()


@pytest.fixture
def page(window: Window) -> Page:
    return window.page()


@pytest.fixture(scope="module")
def inside(browser: Browser) -> Iterator[Page]:
    """A page in which the functions are at hand."""
    with StandIn(Scene()) as stand_in:
        page = browser.new_page()
        page.goto(stand_in.url)
        yield page
        page.close()
