"""The page and a gateway that is silent, away, or lets nobody in; and a browser that opens six connections, no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.ui.looking import Window, live, row_of
from tests.ui.scenes import EXPLAINED
from tests.ui.standin import Members, Scene, StandIn, row

pytestmark = [pytest.mark.real, pytest.mark.browser]
CONNECTIONS = 6  # that a browser opens to one address
HIDE = """is => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => is });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
ALONE = """
const { Gateway } = await import("./connect.js");
const { cardOf } = await import("./training.js");
const news = [];
const gateway = new Gateway((kind, data) => news.push(kind));
"""
ONE = "0000000000aa"


def one(since: float) -> list[Members]:
    return [row(ONE, "m", "streaming", since)]


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with StandIn(Scene(rows=one)) as stand_in:
        yield stand_in


def found(page: Page, code: str) -> Any:
    """What this returns in the page, with a gateway of its own."""
    return page.evaluate(f"async () => {{ {ALONE} {code} }}")


def test_windows_that_nobody_sees_leave_their_connection_to_the_others(stand_in: StandIn, page: Page) -> None:
    windows = [page, *(page.context.new_page() for _ in range(CONNECTIONS))]
    for each in windows:
        live(each, stand_in.url)
        each.evaluate(HIDE, True)
        expect(each.locator("html")).not_to_have_attribute("data-connection", "live")
    page.evaluate(HIDE, False)
    page.wait_for_selector("html[data-connection=live]")
    page.wait_for_timeout(1200)  # a server sees that one has left when it says something
    assert stand_in.listening == 1


def test_a_gateway_that_falls_silent_is_not_shown_as_live(stand_in: StandIn, page: Page) -> None:
    live(page, stand_in.url)
    row_of(page, "m").wait_for()
    stand_in.is_silent = True
    page.get_by_role("heading", name="The gateway is silent").wait_for()
    expect(page.locator("#connection")).to_have_text("no news")
    expect(page.locator("#away-words")).to_contain_text("No news for")
    stand_in.is_silent = False
    page.wait_for_selector("html[data-connection=live]")
    expect(page.locator("#away")).to_be_hidden()
    assert sum("events" in each for each in stand_in.asked) == 1, "the connection was good"


def test_after_a_while_it_is_asked_anew_and_the_sooner_the_more_there_was_to_hear(
    stand_in: StandIn, page: Page
) -> None:
    live(page, stand_in.url)
    told = """const { signal } = gateway.watched();
    const after = seconds => { gateway.heardAt -= seconds; gateway.look(); return [news.splice(0), signal.aborted]; };
    const busy = [after(4), after(2), after(7)];
    gateway.opened();
    news.splice(0);
    const idle = after(13);
    clearInterval(gateway.watch);
    return [...busy, idle, gateway.silence];"""
    *busy, idle, words = found(page, told)
    assert busy == [[[], False], [["quiet"], False], [[], True]]
    assert idle[0] == []
    assert words == "no news for 13 s"


def test_while_one_tries_again_it_is_still_said_to_be_away(stand_in: StandIn, page: Page) -> None:
    live(page, stand_in.url)
    page.route("**/hangtight/events*", lambda route: None)  # taken, and never answered
    page.evaluate(HIDE, True)
    page.evaluate(HIDE, False)
    page.get_by_role("heading", name="The gateway is silent").wait_for()
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#away-retry")).to_have_text("Reconnecting now.")
    expect(page.locator("#away")).to_be_visible()


def test_an_answer_that_does_not_come_is_not_waited_for(stand_in: StandIn, page: Page) -> None:
    live(page, stand_in.url)
    page.route("**/hangtight/receipt", lambda route: None)
    told = """try { await gateway.get("hangtight/receipt", {}, 0.2); }
    catch (error) { return [error.status, error.message]; }"""
    assert found(page, told) == [0, "the gateway gave no answer within 0.2 s"]


# -- the key ----------------------------------------------------------------------------------------------------------


def test_every_wrong_key_is_told_and_one_that_cannot_be_sent_locks_nothing(window: Window) -> None:
    page = window.page()
    with StandIn(Scene(key="secret")) as stand_in:
        page.goto(stand_in.url)
        field, words = page.get_by_label("Key of the gateway"), page.locator("#key-words")
        heard = set()
        for wrong, said in (("日本", "cannot be a key"), ("no", "not accepted."), ("never", "not accepted either")):
            field.fill(wrong)
            page.keyboard.press("Enter")
            expect(words).to_contain_text(said)
            expect(field).to_have_value("")
            expect(field).to_be_focused()
            heard.add(words.inner_text())
        assert len(heard) == 3
        expect(words).to_have_attribute("role", "status")
        field.fill("secret")
        page.keyboard.press("Enter")
        page.wait_for_selector("html[data-connection=live]")
        expect(page.locator("#locked")).to_be_hidden()


def test_a_kept_key_that_cannot_be_sent_is_dropped(window: Window) -> None:
    page = window.page()
    page.add_init_script("sessionStorage.setItem('hangtight-key', '日本')")
    with StandIn(Scene(key="secret")) as stand_in:
        page.goto(stand_in.url)
        expect(page.get_by_role("heading", name="Key needed")).to_be_visible()
        assert page.evaluate("sessionStorage.getItem('hangtight-key')") is None


# -- what is asked and does not come about ----------------------------------------------------------------------------


def test_a_cancel_that_fails_is_told_in_its_row_and_the_focus_stays(stand_in: StandIn, page: Page) -> None:
    live(page, stand_in.url)
    held: list[Any] = []
    page.route(f"**/generations/{ONE}", lambda route: held.append(route))
    cancel = row_of(page, "m").locator("button.quiet")
    cancel.focus()
    page.keyboard.press("Enter")
    expect(cancel).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("Enter")
    expect(cancel).to_be_focused()
    page.wait_for_timeout(300)
    assert len(held) == 1, "asked once"
    held[0].fulfill(status=502, body=json.dumps({"error": {"message": "its server is away"}}))
    expect(row_of(page, "m").locator(".trouble")).to_have_text("not cancelled: its server is away")
    expect(cancel).to_be_focused()
    expect(cancel).to_have_text("Cancel")
    expect(cancel).not_to_have_attribute("aria-disabled", "true")
    page.wait_for_timeout(700)  # the next rows
    expect(row_of(page, "m").locator(".trouble")).to_be_visible()


def test_why_says_that_no_gateway_answers_and_keeps_what_was_known(stand_in: StandIn, page: Page) -> None:
    live(page, stand_in.url)
    page.route("**/why", lambda route: route.abort())
    row_of(page, "m").locator(".name").click()
    expect(page.locator("#why-title")).to_have_text("The gateway is away")
    expect(page.locator("#why-about")).to_have_text("no gateway answers at this address")
    page.unroute("**/why")
    about = {
        "id": ONE,
        "model": "m",
        "phase": "streaming",
        "tokens": 1,
        "elapsed": 2.0,
        "mode": "",
        "run": "",
        "step": "",
    }
    told = json.dumps({"about": about, "explain": EXPLAINED, "log": []})
    page.route("**/why", lambda route: route.fulfill(body=told))
    expect(page.locator("#why-title")).to_have_text("m")
    page.unroute("**/why")
    page.route("**/why", lambda route: route.abort())
    expect(page.locator("#why-hint")).to_contain_text("last known")
    expect(page.locator("#why-explain")).to_contain_text("hangtight.yaml:3")


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_an_empty_list_says_since_when_it_is_empty(stand_in: StandIn, page: Page) -> None:
    live(page, stand_in.url)
    expect(page.locator("#ends-empty")).to_contain_text("Nothing has ended since this gateway started")
    expect(page.locator("#ends-empty")).to_contain_text("hangtight log")


def test_a_card_reckons_with_nothing_that_is_no_number(stand_in: StandIn, page: Page) -> None:
    live(page, stand_in.url)
    odd: list[Members] = [
        {"current_step": "12", "total_steps": 40},
        {"current_step": 5, "total_steps": "many", "loss": [1], "eta": {}, "evaluations": "x", "timeouts": None,
         "fresh": "now", "doing": {"a": 1}, "error": {"b": 2}},
        {"current_step": 5, "total_steps": 0, "evaluations": 3, "timeouts": {"rate": "0.5", "count": []}},
    ]  # fmt: skip
    cards = found(page, f"return {json.dumps(odd)}.map(card => cardOf(card, 1));")
    assert [card["head"] for card in cards] == ["nothing to show", "step 5", "step 5"]
    assert [card["share"] for card in cards] == [None, None, None]
    assert [card["warning"] for card in cards] == ["", "", ""]
    assert cards[1]["kind"] == "training"
    assert cards[1]["words"] == "written 1.0 s ago"
    assert cards[2]["words"].startswith("3 evaluations, 0 timed out")


def test_on_the_smallest_telephone_the_head_breaks_between_its_parts(window: Window) -> None:
    page = window.page((320, 640))
    with StandIn(Scene(key="secret")) as stand_in:
        page.goto(stand_in.url)
        expect(page.locator("#connection")).to_have_text("key needed")
        page.evaluate("document.getElementById('connection').textContent = 'reconnecting'")
        lines = "element => element.getBoundingClientRect().height / parseFloat(getComputedStyle(element).lineHeight)"
        for part in ("h1", ".standing", "#connection"):
            assert page.locator(part).evaluate(lines) < 1.6, part
        assert page.locator("#theme").evaluate("element => element.clientHeight") < 40
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
