"""How these tests look at the page: what stands in it, and where."""

from __future__ import annotations

from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page

FLAGS: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE = 15_000.0  # milliseconds: a bound for what hangs, never a measurement
WIDE, PHONE = (1280, 860), (390, 844)
AWAY = ("ERR_", "Failed to load resource")
"""What a browser says itself where a server is away, or refuses."""


class Window:
    """Opens pages; `.troubles` is what they complained of."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.troubles: list[str] = []

    def page(self, size: tuple[int, int] = WIDE, **settings: Any) -> Page:
        viewport = {"width": size[0], "height": size[1]}
        context = self._browser.new_context(viewport=viewport, **settings)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", self._heard)
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(word in message.text for word in AWAY):
            self.troubles.append(message.text)

    def close(self) -> None:
        for context in self._contexts:
            context.close()
        assert self.troubles == []


def live(page: Page, url: str) -> None:
    """The page is there, and hears of the gateway."""
    page.goto(url)
    page.wait_for_selector("html[data-connection=live]")


def row_of(page: Page, model: str) -> Locator:
    """The ribbon of this model."""
    return page.locator(".row").filter(has=page.get_by_role("button", name=model, exact=False)).first


def end_of(page: Page, model: str) -> Locator:
    return page.locator(".end").filter(has=page.get_by_role("button", name=model, exact=False)).first


def shift(found: Locator, part: str) -> float:
    """How far a part of a ribbon stands from its beginning, in pixels."""
    moved = "element => new DOMMatrix(getComputedStyle(element).transform).m41"
    return float(found.locator(part).evaluate(moved))
