"""The page before a real gateway with the lab behind it: what runs is seen, and what is done reaches the server."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hangtight.testing.lab import Lab
from tests.gateway.kit import Served, all_at
from tests.gateway.watching import Asked
from tests.ui.looking import Window, end_of, live, row_of, shift

pytestmark = [pytest.mark.real, pytest.mark.browser]
SETTINGS = """\
heartbeat: 1
limits: {cancel: 1}
modes:
  brisk: {total: 3, extend_to: 30}
"""
CODER = "coder,healthy-code,rate=60"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), SETTINGS + all_at(lab.url), "--drain", "0.2") as served:
        yield served


def test_nothing_in_flight_shows_a_line_to_try(served: Served, page: Page) -> None:
    live(page, f"{served.url}/ui")
    expect(page.get_by_text("Nothing is in flight.")).to_be_visible()
    expect(page.locator("#try")).to_contain_text(f"{served.url}/v1/chat/completions")
    expect(page.locator("#receipt")).not_to_be_empty()


def test_a_ribbon_moves_while_a_model_writes_and_bears_its_heartbeats(served: Served, page: Page) -> None:
    model = "writer,tokens=900,rate=60"
    live(page, f"{served.url}/ui/")
    with Asked(served, model):
        row = row_of(page, model)
        expect(row.locator(".state")).to_have_text("writing")
        before = shift(row, ".strip")
        first = row.locator(".tokens").inner_text()
        expect(row.locator(".tokens")).not_to_have_text(first)
        assert shift(row, ".strip") < before, "what has passed goes to the left"
        expect(row.locator(".part[data-phase=writing]")).to_have_count(1)
        expect(row.locator(".beat").nth(1)).to_be_attached()
        told = row.locator(".track").get_attribute("aria-label") or ""
        assert re.search(rf"{re.escape(model)}, writing, [0-9,]+ tokens, .* s, idle rings in 4[0-9] s", told)
    expect(end_of(page, model)).to_contain_text("its client left")


def test_a_silent_model_is_seen_its_alarm_comes_closer_and_rings(served: Served, page: Page) -> None:
    model = "hangs,tokens=40,mute=20"
    live(page, f"{served.url}/ui/")
    with Asked(served, model, x_hangtight_idle="6"):
        row = row_of(page, model)
        expect(row.locator(".state")).to_have_text(re.compile(r"^silent [345] s$"))
        expect(row.locator(".edge-label")).to_have_text(re.compile(r"^idle in [0-5](\.[0-9])? s$"))
        before = shift(row, ".edge")
        expect(page.locator(".row[data-near]")).to_have_count(1)
        end = end_of(page, model)
        page.wait_for_timeout(600)
        assert shift(row, ".edge") < before
        expect(end).to_contain_text("idle rang after 6")
    expect(end).to_have_attribute("data-kind", "bad")
    expect(page.locator("#aloud")).to_contain_text("ended badly: timeout")


JUMPS = """() => new Promise((resolve) => {
  let nearest = Infinity;
  const look = () => {
    const row = document.querySelector(".row");
    const at = new DOMMatrix(getComputedStyle(row.querySelector(".edge")).transform).m41;
    nearest = Math.min(nearest, at);
    if (row.dataset.jumped === "away" && at - nearest > 3) resolve(at - nearest);
    else requestAnimationFrame(look);
  };
  look();
})"""


def test_the_edge_jumps_away_when_what_is_written_moves_the_deadline(served: Served, page: Page) -> None:
    live(page, f"{served.url}/ui/")
    with Asked(served, CODER, x_hangtight_mode="brisk"):
        row = row_of(page, CODER)
        expect(row.locator(".edge-label")).to_contain_text("total")
        assert page.evaluate(JUMPS) > 3, "it stands further away than it did before"
        expect(row.locator(".moved")).to_contain_text("+")
        expect(row.locator(".state")).to_have_text("writing")
    expect(end_of(page, CODER)).to_contain_text("deadline extended by")


def test_cancel_reaches_the_server_and_what_was_seen_there_is_told(served: Served, lab: Lab, page: Page) -> None:
    model = "endless,runaway,rate=30"
    live(page, f"{served.url}/ui/")
    with Asked(served, model) as asked:
        row = row_of(page, model)
        expect(row.locator(".state")).to_have_text("writing")
        row.get_by_role("button", name="Cancel").click()
        asked.ended()
        assert lab.settled(model).cancelled == 1
    expect(end_of(page, model)).to_contain_text("its server stopped")
    expect(end_of(page, model)).to_contain_text("cancelled")


def test_why_it_is_as_it_is_stands_beside_it(served: Served, page: Page) -> None:
    model = "asked-why,tokens=900,rate=30"
    live(page, f"{served.url}/ui/")
    with Asked(served, model, x_hangtight_idle="17"):
        row_of(page, model).locator(".name").click()
        panel = page.get_by_role("dialog")
        expect(panel.locator("#why-explain")).to_contain_text("X-Hangtight-Idle")
        expect(panel.locator("#why-log li").first).to_contain_text("armed")
        expect(panel.locator("#why-ruling")).to_be_hidden()
        page.keyboard.press("Escape")
        expect(panel).to_be_hidden()


def test_of_a_timeout_the_error_stands_first_then_what_happened_and_its_limits_last(served: Served, page: Page) -> None:
    model = "rings,tokens=40,mute=4"
    live(page, f"{served.url}/ui/")
    with Asked(served, model, x_hangtight_idle="4") as asked:
        asked.ended()
    end_of(page, model).locator(".name").click()
    panel = page.get_by_role("dialog")
    expect(panel.locator("#why-verdict")).to_have_text(re.compile(r"^IdleTimeout: rings.* stuck - no output for 4s "))
    expect(panel.locator("#why-change")).to_contain_text("idle = 4 comes from X-Hangtight-Idle")
    expect(panel.locator("#why-change")).to_contain_text("to wait longer:")
    expect(panel.locator("#why-change")).to_contain_text("why: hangtight log")
    expect(panel.locator("#why-page")).to_have_text("docs/errors/idle-timeout.md")
    summary = panel.get_by_text(re.compile(r"^\d heartbeats, writing, 4 tokens$"))
    summary.click()
    expect(panel.locator(".folded li").first).to_be_visible()
    tops = [panel.locator(part).bounding_box() for part in ("#why-ruling", "#why-happened", "#why-limits")]
    heights = [box["y"] for box in tops if box is not None]
    assert len(heights) == 3
    assert heights == sorted(heights)


def test_by_keyboard_alone_one_is_found_looked_at_and_cancelled(served: Served, lab: Lab, page: Page) -> None:
    model = "by-hand,runaway,rate=30"
    live(page, f"{served.url}/ui/")
    with Asked(served, model) as asked:
        expect(row_of(page, model)).to_be_visible()
        page.keyboard.press("/")
        expect(page.locator("#find")).to_be_focused()
        page.keyboard.type("by-hand")
        expect(page).to_have_url(re.compile("#find=by-hand$"))
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.className") == "name":
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        expect(page.locator("#why-title")).to_contain_text("by-hand")
        page.keyboard.press("Escape")
        expect(row_of(page, model).locator(".name")).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        asked.ended()
    assert lab.settled(model).cancelled == 1


def test_the_name_of_a_model_is_text_whatever_stands_in_it(served: Served, page: Page) -> None:
    model = "<img onerror>שלום" + "a" * 200 + ",tokens=200,rate=30"
    live(page, f"{served.url}/ui/")
    with Asked(served, model):
        expect(page.locator(".row .name").first).to_contain_text("<img onerror>")
        assert page.locator("main img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_where_the_gateway_has_keys_one_is_asked_for_once(lab: Lab, tmp_path: Path, window: Window) -> None:
    page = window.page()
    with Served(tmp_path, "apiKeys: [open-sesame]\n" + all_at(lab.url), "--drain", "0.2") as served:
        page.goto(f"{served.url}/ui/")
        expect(page.get_by_role("heading", name="Key needed")).to_be_visible()
        field = page.get_by_label("Key of the gateway")
        expect(field).to_be_focused()
        field.fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_text("This key was not accepted.")).to_be_visible()
        field.fill("open-sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("html[data-connection=live]")
        page.reload()
        page.wait_for_selector("html[data-connection=live]")


def test_it_comes_back_by_itself_when_the_gateway_does(lab: Lab, tmp_path: Path, window: Window) -> None:
    page, port = window.page(), _free()
    with Served(tmp_path, all_at(lab.url), "--drain", "0.2", "--port", str(port)) as served:
        live(page, f"{served.url}/ui/")
    expect(page.get_by_role("heading", name="The gateway is away")).to_be_visible()
    expect(page.locator("#away")).to_contain_text("Reconnecting in")
    with Served(tmp_path, all_at(lab.url), "--drain", "0.2", "--port", str(port)) as served:
        page.wait_for_selector("html[data-connection=live]")
        expect(page.locator("#away")).to_be_hidden()
        with Asked(served, "back,tokens=200,rate=30"):
            expect(row_of(page, "back")).to_be_visible()


def _free() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
