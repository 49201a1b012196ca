"""Draws the pictures of the dashboard, `docs/images/ui-*.png`, of a made-up busy moment in a real browser.

Run it where a chromium is installed, after a change to the page. No test holds the pictures to it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.ui.looking import FLAGS, PHONE  # noqa: E402
from tests.ui.scenes import busy  # noqa: E402
from tests.ui.standin import StandIn  # noqa: E402

IMAGES = ROOT / "docs" / "images"
LARGEST = 200_000  # bytes
MOVED = 9000  # milliseconds: a row that was near its alarm has gone back to its place by then
PICTURES = {
    "light": ((1280, 1000), {"color_scheme": "light"}, ""),
    "dark": ((1280, 1000), {"color_scheme": "dark"}, ""),
    "phone": (PHONE, {"color_scheme": "light"}, ""),
    "phone-dark": (PHONE, {"color_scheme": "dark"}, ""),
    "why": ((1280, 760), {"color_scheme": "light"}, ".row .name"),
}


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no chromium is installed here, and nothing else draws a page")
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for name in PICTURES:
            draw(browser, name)
        browser.close()


def draw(browser: Browser, name: str) -> None:
    """A scene of its own for each, so that all show the same moment."""
    (width, height), settings, click = PICTURES[name]
    file = IMAGES / f"ui-{name}.png"
    with StandIn(busy()) as stand_in:
        page = browser.new_page(viewport={"width": width, "height": height}, **settings)  # type: ignore[arg-type]
        page.goto(stand_in.url)
        page.wait_for_selector(".row")
        if click:
            page.click(click)
            page.wait_for_selector("#why-log li")
        page.wait_for_timeout(MOVED)
        page.screenshot(path=file)
        page.close()
    if file.stat().st_size > LARGEST:
        sys.exit(f"{file} has {file.stat().st_size:,} bytes: more than a page of the docs should load")


if __name__ == "__main__":
    main()
