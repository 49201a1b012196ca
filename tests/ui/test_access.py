"""The page is for everybody: by eye in both themes, on a telephone, by screen reader, without motion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from tests.ui.looking import PHONE, WIDE, Window, live, row_of, shift
from tests.ui.scenes import busy
from tests.ui.standin import Members, Scene, StandIn, row

pytestmark = [pytest.mark.real, pytest.mark.browser]
SERIOUS = ("serious", "critical")
SIZES = {"wide": WIDE, "phone": PHONE}


@pytest.fixture(scope="module")
def busy_one() -> Iterator[StandIn]:
    with StandIn(busy()) as stand_in:
        yield stand_in


def findings(page: Page) -> list[str]:
    """What is found wrong with it, and is serious."""
    told: Any = Axe().run(page).response["violations"]
    places = {each["id"]: [node["html"][:160] for node in each["nodes"]] for each in told if each["impact"] in SERIOUS}
    return [f"{name}: {found}" for name, found in places.items()]


@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    busy_one: StandIn, window: Window, theme: Literal["light", "dark"], size: str
) -> None:
    page = window.page(SIZES[size], color_scheme=theme, bypass_csp=True)  # axe puts itself into the page
    live(page, busy_one.url)
    row_of(page, "qwen3-coder").wait_for()
    expect(page.locator(".card")).to_be_visible()
    assert findings(page) == []
    row_of(page, "qwen3-coder").locator(".name").click()
    expect(page.locator("#why-log li").first).to_be_visible()
    assert findings(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nor_where_nothing_is_to_be_seen_or_a_key_is_needed(window: Window, theme: Literal["light", "dark"]) -> None:
    for scene, title in ((Scene(), "Nothing is in flight."), (Scene(key="secret"), "Key needed")):
        with StandIn(scene) as stand_in:
            page = window.page(color_scheme=theme, bypass_csp=True)
            page.goto(stand_in.url)
            expect(page.get_by_text(title, exact=True)).to_be_visible()
            assert findings(page) == []
            page.goto("about:blank")


@pytest.mark.parametrize("size", list(SIZES))
def test_letters_twice_as_large_take_the_page_with_them(busy_one: StandIn, window: Window, size: str) -> None:
    page = window.page(SIZES[size], bypass_csp=True)
    live(page, busy_one.url)
    row = row_of(page, "qwen3-coder")
    row.wait_for()
    heights = "element => [element.offsetHeight, element.scrollHeight - element.clientHeight]"
    before, hidden = row.evaluate(heights)
    assert hidden == 0
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    page.wait_for_function(f"document.querySelector('#ribbons').offsetHeight >= 2 * {before}")
    after, hidden = row.evaluate(heights)
    assert after <= 3 * before, "on a telephone Cancel stands below its numbers"
    assert hidden == 0
    tops = page.locator(".row").evaluate_all("rows => rows.map((row) => row.getBoundingClientRect().top)")
    steps = {round(after - before) for before, after in zip(sorted(tops), sorted(tops)[1:], strict=False)}
    assert steps == {after}, "the rows stand below each other"
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]


def test_on_a_telephone_nothing_goes_beyond_its_edge(busy_one: StandIn, window: Window) -> None:
    page = window.page(PHONE)
    live(page, busy_one.url)
    row_of(page, "qwen3-coder").wait_for()
    expect(page.locator(".card")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    row_of(page, "qwen3-coder").locator(".name").click()
    expect(page.locator("#why-log li").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


@pytest.mark.parametrize("size", list(SIZES))
def test_no_label_of_an_edge_goes_beyond_now_or_the_end(window: Window, size: str) -> None:
    lefts = (0.0, 0.4, 3.0, 11.0, 25.0, 299.0, 3599.0)

    def rows(_: float) -> list[Members]:
        alarms = [(limit, left) for limit in ("first_token", "thinking") for left in lefts]
        return [
            row(f"{at}", "m", "waiting", 3.0, limit=limit, rings_in=left) for at, (limit, left) in enumerate(alarms)
        ]

    page = window.page(SIZES[size])
    with StandIn(Scene(rows=rows)) as stand_in:
        live(page, stand_in.url)
        page.locator(".row").nth(5).wait_for()
        page.wait_for_timeout(700)
        labels = page.locator(".edge-label")
        beyond = """labels => labels.map((label) => {
          const [own, room] = [label, label.parentElement].map((element) => element.getBoundingClientRect());
          return Math.max(room.left - own.left, own.right - room.right, label.scrollWidth - label.clientWidth);
        })"""
        assert max(labels.evaluate_all(beyond)) <= 1, labels.all_inner_texts()
        page.evaluate("document.getElementById('lane').scrollTop = 1e9")
        last = page.locator(".row[aria-posinset='14']")
        line = "element => getComputedStyle(element, '::after').content"
        assert last.evaluate(line) == "none"
        assert page.locator(".row[aria-posinset='13']").evaluate(line) != "none"


def test_the_theme_is_turned_by_hand_and_kept(busy_one: StandIn, window: Window) -> None:
    page = window.page(color_scheme="light")
    live(page, busy_one.url)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Theme: auto").click()
    page.get_by_role("button", name="Theme: light").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate(ground) == dark


def test_who_wants_no_motion_sees_the_numbers_and_no_sliding(busy_one: StandIn, window: Window) -> None:
    page = window.page(reduced_motion="reduce")
    live(page, busy_one.url)
    row = row_of(page, "qwen3-coder")
    row.wait_for()
    places = set()
    for _ in range(20):
        places.add(shift(row, ".strip"))
        page.wait_for_timeout(50)
    assert 1 <= len(places) <= 5, "only as often as news come"


def test_what_is_seen_is_also_said(busy_one: StandIn, page: Page) -> None:
    live(page, busy_one.url)
    silent = page.get_by_role("img", name="gpt-oss-20b, silent").first
    expect(silent).to_be_visible()
    assert "pings, no content for" in (silent.get_attribute("aria-label") or "")
    for name in ("In flight", "Finished", "Models", "Runs of flows", "Training"):
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    roles: list[Any] = ["banner", "main", "complementary", "contentinfo", "search"]
    for role in roles:
        assert page.get_by_role(role).count() == 1


def test_phases_are_told_apart_without_their_colours(busy_one: StandIn, page: Page) -> None:
    live(page, busy_one.url)
    row_of(page, "qwen3-coder").wait_for()
    names = ["queued", "loading", "reading", "thinking", "writing", "silent"]
    look = "name => getComputedStyle(document.querySelector(`.chip [data-phase=${name}]`)).backgroundImage"
    patterns = [page.evaluate(look, name).replace("rgb", "").split("(")[0] for name in names]
    assert patterns.count("none") == 1, "one is plain"
    whole = {page.evaluate(look, name) for name in names}
    assert len(whole) == len(names)
