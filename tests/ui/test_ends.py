"""What the page says of those that have ended, and of the models: the same words live and after a reload."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from hangtight.testing.lab import Lab
from tests.gateway.kit import Served
from tests.gateway.watching import Asked
from tests.ui.looking import end_of, live, row_of
from tests.ui.standin import Scene, StandIn, row
from tests.ui.test_state import found

pytestmark = [pytest.mark.real, pytest.mark.browser]
SETTINGS = """\
heartbeat: 1
limits: {{cancel: 1}}
modes:
  brisk: {{total: 3, extend_to: 30}}
models:
  "first*": {{proxy: "{url}", fallback: ["second,tokens=2"]}}
  "*": {{proxy: "{url}"}}
"""
MODELS = """
const { modelsOf } = await import("./models.js");
const row = (phase, tokens, silence = 0.1) => [phase + tokens, "m", phase, 9, tokens, silence, "idle", 45, null];
const told = { running: 0, waiting: 0, circuit: "closed", last_progress: null, last_end: null };
const health = more => ["page", { name: "health", models: { m: { ...told, ...more } } }, 10];
const said = (...news) => modelsOf(after(...news), 20).map(each => [each.kind, each.words]);
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Lab() as lab:
        folder = tmp_path_factory.mktemp("served")
        with Served(folder, SETTINGS.format(url=lab.url), "--drain", "0.2") as served:
            yield served


def reloaded(page: Page, model: str) -> str:
    """What stands there of it, which a reload does not change."""
    before = end_of(page, model).locator(".fate").inner_text()
    page.reload()
    page.wait_for_selector("html[data-connection=live]")
    expect(end_of(page, model).locator(".fate")).to_have_text(before)
    return before


# -- finished --------------------------------------------------------------------------------------------------------


def test_a_deadline_that_was_moved_is_told_after_a_reload_too(served: Served, page: Page) -> None:
    model = "coder,healthy-code,rate=60"
    live(page, f"{served.url}/ui/")
    with Asked(served, model, x_hangtight_mode="brisk"):
        page.wait_for_selector(".row[data-jumped=away]")
    expect(end_of(page, model)).to_contain_text("its server stopped")
    assert "deadline extended by" in reloaded(page, model)


def test_what_its_server_did_is_told_after_a_reload_too(served: Served, page: Page) -> None:
    model = "hangs,tokens=4,mute=4"
    live(page, f"{served.url}/ui/")
    with Asked(served, model, x_hangtight_idle="1") as asked:
        asked.ended()
        expect(end_of(page, model)).to_contain_text("its server stopped")
    told = reloaded(page, model)
    assert told.startswith("idle rang after 1.0 s · 4 tokens kept · its server stopped")


def test_a_fallback_says_in_whose_place_it_stands_and_nothing_else_that_was_of_that_one(
    served: Served, page: Page
) -> None:
    live(page, f"{served.url}/ui/")
    with Asked(served, "first,silent", x_hangtight_first_token="2", x_hangtight_total="9") as asked:
        expect(row_of(page, "first,silent")).to_be_visible()
        asked.ended()
    words = "in time · in place of first,silent, which gave no first token"
    expect(end_of(page, "second").locator(".fate")).to_have_text(words)
    page.wait_for_timeout(1500)  # until its server was seen to stop
    assert reloaded(page, "second") == words


def test_what_is_left_for_another_model_is_no_deadline_that_was_shortened(inside: Page) -> None:
    code = """const row = (model, total) => ["a", model, "waiting", 3, 0, 0, "total", total, total];
    const state = after(["flight", flight(row("one", 10)), 1], ["flight", flight(row("two", 8.8)), 2]);
    return state.flying.get("a").extended;"""
    assert found(inside, code) == 0


def test_what_was_seen_at_the_server_of_one_model_is_not_told_of_the_next(inside: Page) -> None:
    code = """const of = (model, found) => ["looked", { id: "a", model, found, took: 0.2 }, 1];
    const end = { id: "a", model: "two", asked: "one", outcome: "timeout", limit: "idle", waited: 3,
        attempts: ["one", "two"].map(model => ({ model, fault: "timeout", limit: "idle" })) };
    const other = after(of("one", "running"), ["ended", end, 2], of("one", "stopped"));
    const own = after(of("one", "running"), of("two", "stopped"), ["ended", end, 2], of("one", "unknown"));
    return [other, own].map(state => words.fate(state.finished[0]));"""
    first = "idle rang after 3.0 s · in place of one, which fell silent"
    assert found(inside, code) == [first, f"{first} · its server stopped after 0.2 s"]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"outcome": "left"}, ["left", "its client left"]),
        ({"outcome": "failed", "error": "BudgetSpent"}, ["failed", "its budget was spent before it began"]),
        ({"outcome": "failed", "error": "HTTP 400"}, ["failed", "its server refused it (HTTP 400)"]),
        ({"outcome": "failed", "error": "HTTP 502"}, ["failed", "its server failed (HTTP 502)"]),
        ({"outcome": "failed", "error": "HTTP 429"}, ["failed", "its server has too much to do (HTTP 429)"]),
        ({"outcome": "failed", "error": "not_running"}, ["failed", "its server was not running"]),
        ({"outcome": "failed", "error": "of_tomorrow"}, ["failed", "of tomorrow"]),
        ({"outcome": "truncated"}, ["cut off", "its server broke off in the middle"]),
        (
            {"outcome": "looping", "streams": True, "tokens": 24},
            ["looping", "it said the same again and again · 24 tokens kept"],
        ),
        ({"outcome": "timeout", "limit": "idle", "waited": 45, "tokens": 24}, ["timed out", "idle rang after 45 s"]),
        (
            {"outcome": "finished", "model": "small", "asked": "large"},
            ["finished", "in time · in place of large, which would have taken too long"],
        ),
    ],
)
def test_each_end_has_its_reason_in_words(inside: Page, told: dict[str, Any], words: list[str]) -> None:
    code = f"const told = {json.dumps(told)}; return [words.outcome(told), words.fate(told)];"
    assert found(inside, code) == words


# -- models ----------------------------------------------------------------------------------------------------------


def test_a_model_that_gives_nothing_is_never_called_one_that_nobody_has_asked(inside: Page) -> None:
    code = """const end = more => ({ last_end: { outcome: "left", limit: null, error: "", ago: 20, ...more } });
    const ends = [{}, { outcome: "timeout", limit: "first_token" }, { outcome: "failed", error: "HTTP 500" },
        { outcome: "failed", error: "HTTP 404" }, { outcome: "failed", error: "HTTP 400" }, { outcome: "finished" }];
    return [health({}), ...ends.map(each => health(end(each)))].map(page => said(page)[0]);"""
    assert found(inside, MODELS + code) == [
        ["stopped", "not asked yet"],
        ["stopped", "asked, nothing has come yet"],
        ["silent", "last: first token rang, 30 s ago"],
        ["silent", "last: its server failed (HTTP 500), 30 s ago"],
        ["silent", "last: its server does not know it (HTTP 404), 30 s ago"],
        ["stopped", "asked, nothing has come yet"],
        ["ready", "ready"],
    ]


def test_what_a_model_does_is_told_from_what_is_in_flight_and_not_from_an_old_page(inside: Page) -> None:
    code = """const old = health({ running: 1, last_progress: "2026-11-21T08:30:00Z" });
    const flights = [[], [row("streaming", 4)], [row("streaming", 4, 9)], [row("streaming", 4, 9), row("thinking", 5)],
        [row("streaming", 4, 9), row("queued", 0)]];
    return [said(old)[0], ...flights.map(rows => said(old, ["flight", flight(...rows), 12])[0])];"""
    assert found(inside, MODELS + code) == [
        ["ready", "1 running"],
        ["ready", "ready"],
        ["ready", "1 running"],
        ["silent", "1 silent"],
        ["ready", "1 running · 1 silent"],
        ["silent", "1 silent · 1 waiting"],
    ]


def test_a_model_that_we_run_is_told_of_in_the_same_way(inside: Page) -> None:
    code = """const ours = { model: "m", phase: "ready", for: 60, rings_in: null, requests: 1, waiting: 0, why: "" };
    const page = ["page", { name: "models", models: [ours] }, 10];
    const last = { outcome: "timeout", limit: "idle", error: "", ago: 5 };
    const flown = (...rows) => ["flight", flight(...rows), 12];
    return [said(page)[0], said(page, flown())[0], said(page, flown(row("streaming", 4, 9)))[0],
        said(page, health({ last_end: last }), flown())[0]];"""
    assert found(inside, MODELS + code) == [
        ["ready", "ready · 1 request"],
        ["ready", "ready · for 70 s"],
        ["silent", "ready · 1 silent"],
        ["silent", "ready · for 70 s · last: idle rang, 15 s ago"],
    ]


def test_the_lamp_of_a_silent_model_is_warm_and_so_are_its_words(page: Page) -> None:
    rows = [row("a1", "quiet", "streaming", 30.0, tokens=9, silence=9.0)]
    health = {"status": "ok", "version": "0", "models": {"quiet": {"last_progress": "2026-11-21T08:30:00Z"}}}
    with StandIn(Scene(rows=lambda since: rows, pages={"/health": health})) as stand_in:
        live(page, stand_in.url)
        model = page.locator("#models li")
        expect(model.locator(".words")).to_have_text("1 silent")
        warm = page.evaluate("""() => {
            const probe = document.body.appendChild(document.createElement("i"));
            const colour = name => (probe.style.color = `var(${name})`, getComputedStyle(probe).color);
            return ["--silent", "--warm"].map(colour);
        }""")
        lamp = model.locator(".lamp").evaluate("element => getComputedStyle(element).backgroundColor")
        words = model.locator(".words").evaluate("element => getComputedStyle(element).color")
        assert [lamp, words] == warm
