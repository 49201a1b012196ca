"""What the page knows, and how news change it: its own functions, called in a browser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui.looking import Window, live
from tests.ui.scenes import busy
from tests.ui.standin import Scene, StandIn, iso

pytestmark = [pytest.mark.real, pytest.mark.browser]
HELP = """
const { reduce, grown, visible, counted, phaseShown, NOTHING_KNOWN } = await import("./state.js");
const { EventReader } = await import("./connect.js");
const scale = await import("./scale.js");
const words = await import("./words.js");
const fields = ["id", "model", "phase", "elapsed", "tokens", "silence", "limit", "rings_in", "total"];
const flight = (...rows) => ({ fields, rows });
const after = (...news) => news.reduce((state, [kind, data, now]) => reduce(state, { kind, data, now }), NOTHING_KNOWN);
const spans = row => row.segments.map(each => [each.phase, each.from]);
"""


def found(page: Page, code: str) -> Any:
    """What this returns there."""
    return page.evaluate(f"async () => {{ {HELP} {code} }}")


def test_a_ribbon_is_made_of_the_phases_that_were_seen(inside: Page) -> None:
    told = """const row = (phase, elapsed, silence = 0.1) => ["a", "m", phase, elapsed, 0, silence, "idle", 45, null];
    const state = after(["flight", flight(row("queued", 0.2)), 0], ["flight", flight(row("loading", 4)), 4],
        ["flight", flight(row("streaming", 9)), 9], ["flight", flight(row("streaming", 15, 5)), 15],
        ["flight", flight(row("streaming", 16)), 16]);
    return spans(state.flying.get("a"));"""
    assert found(inside, told) == [
        ["queued", 0], ["loading", 4], ["writing", 9], ["silent", 10], ["writing", 16],
    ]  # fmt: skip


def test_what_was_before_one_looked_is_not_made_up(inside: Page) -> None:
    told = """const state = after(["flight", flight(["a", "m", "thinking", 80, 9, 0.1, "idle", 45, null]), 3]);
    return spans(state.flying.get("a"));"""
    assert found(inside, told) == [["before", 0], ["thinking", 80]]


def test_who_comes_while_one_looks_began_with_what_it_did_first(inside: Page) -> None:
    told = """const row = (id, elapsed) => [id, "m", "thinking", elapsed, 9, 0.1, "idle", 45, null];
    const state = after(["flight", flight(row("a", 80)), 3], ["flight", flight(row("a", 82), row("b", 2.4)), 5]);
    const away = after(["flight", flight(), 3], ["opened", {}, 4], ["flight", flight(row("c", 2.4)), 5]);
    return [spans(state.flying.get("b")), spans(away.flying.get("c"))];"""
    assert found(inside, told) == [[["thinking", 0]], [["before", 0], ["thinking", 2.4]]]


ORDER = """
const row = (id, silence, left = 45 - silence) => [id, "m", "streaming", 99, 9, silence, "idle", left, null];
const ids = state => visible(state).map(each => each.id).join("");
"""


def test_those_to_be_looked_at_stand_first_the_next_to_ring_on_top(inside: Page) -> None:
    told = f"""{ORDER}
    const rows = [row("a", 0.1), row("b", 7), row("c", 0.1), row("d", 30), row("e", 40, 5)];
    return ids(after(["flight", flight(...rows), 1]));"""
    assert found(inside, told) == "edbac"


def test_a_row_goes_up_at_once_and_down_when_it_has_been_well_for_a_while(inside: Page) -> None:
    told = f"""{ORDER}
    const at = (...all) => all.map((silence, at) => ["flight", flight(row("a", 0.1), row("b", silence)), at]);
    const all = [at(0.1, 2), at(0.1, 3), at(3, 0.1, 0.1), at(3, 0.1, 0.1, 0.1, 0.1, 0.1)];
    const both = [["flight", flight(row("a", 9), row("b", 40)), 1], ["flight", flight(row("a", 10), row("b", 0.1)), 2]];
    return [...all, both].map(news => ids(after(...news)));"""
    assert found(inside, told) == ["ab", "ba", "ba", "ab", "ab"], "who is in trouble now stands above who just was"


def test_two_that_ring_together_do_not_change_places(inside: Page) -> None:
    told = f"""{ORDER}
    const both = (one, other) => flight(row("a", 9, one), row("b", 9, other));
    const news = [["flight", both(36, 36.2), 1], ["flight", both(35.7, 35.3), 1.5], ["flight", both(35, 34.6), 2]];
    return news.map((_, at) => ids(after(...news.slice(0, at + 1))));"""
    assert found(inside, told) == ["ab", "ab", "ab"]


def test_an_alarm_says_when_it_rings_and_stands_still_while_tokens_come(inside: Page) -> None:
    told = """const row = { limit: "idle", rings_in: 5.93, silence: 0.07, raw: "streaming", at: 1 };
    const rows = [row, { ...row, rings_in: 5.61, silence: 0.39 }, { ...row, rings_in: 1.3, silence: 0.2 },
        { ...row, rings_in: 33.4, silence: 11.6 }, { ...row, rings_in: 0.94, silence: 5 }];
    const long = { ...row, limit: "thinking", rings_in: 299.4, silence: 9 };
    return [...rows.map(each => words.comes(each.limit, scale.leftSaid(each, 1))),
        words.comes("thinking", scale.leftSaid(long, 1)), words.comes("thinking", scale.leftSaid(long, 1), true)];"""
    assert found(inside, told) == [
        "idle in 6 s", "idle in 6 s", "idle in 1.5 s", "idle in 33 s", "idle in 0.9 s",
        "thinking in 4 min 59 s", "thinking in 4 min",
    ]  # fmt: skip


def test_heartbeats_one_after_the_other_are_one_line(inside: Page) -> None:
    told = """const { folded } = await import("./why.js");
    const beat = (after, tokens) => ({ after, kind: "heartbeat", words: "", phase: "streaming", tokens });
    const others = kind => ({ after: 0, kind, words: kind });
    const few = folded([others("armed"), beat(1, 3), beat(2, 5), others("rang")]);
    const many = folded([others("armed"), ...[3, 5, 9, 24].map((tokens, at) => beat(at, tokens)), others("rang")]);
    return [few.map(each => each.kind), many.map(each => each.words), new Set(few.map(each => each.key)).size];"""
    assert found(inside, told) == [
        ["armed", "heartbeat", "heartbeat", "rang"],
        ["armed", "4 heartbeats, writing, 3 to 24 tokens", "rang"],
        4,
    ]


def test_what_is_said_aloud_is_said_one_after_the_other(inside: Page) -> None:
    told = """const { asked, turned, NOTHING_SAID } = await import("./aloud.js");
    let queue = turned(asked(asked(NOTHING_SAID, "cancelling"), "ended badly"), 10);
    const heard = [queue.words];
    for (const now of [11, 13, 14, 16]) heard.push((queue = turned(queue, now)).words);
    return [heard, turned(asked(queue, "ended badly"), 20).words];"""
    assert found(inside, told) == [["cancelling", "cancelling", "ended badly", "ended badly", ""], "ended badly"]


def test_a_total_that_grows_is_a_jump_told_twice_and_counted_once(inside: Page) -> None:
    told = """const row = total => ["a", "m", "streaming", 3, 0, 0, "total", total - 3, total];
    const moved = { id: "a", before: 3, after: 13, why: "coding" };
    const state = after(["flight", flight(row(3)), 1], ["extended", moved, 1.2], ["flight", flight(row(13)), 1.5],
        ["extended", moved, 1.6]);
    const { extended, jump } = state.flying.get("a");
    return [extended, jump.by, jump.at];"""
    assert found(inside, told) == [10, 10, 1.2]


def test_who_ended_takes_along_what_was_seen_of_its_deadline(inside: Page) -> None:
    told = """const row = total => ["a", "m", "streaming", 3, 0, 0, "total", total - 3, total];
    const end = { id: "a", model: "m", outcome: "timeout", elapsed: 40, limit: "idle", waited: 9.5, tokens: 1 };
    const seen = { id: "a", found: "stopped", took: 0.1 };
    const state = after(["flight", flight(row(3)), 1], ["flight", flight(row(13)), 2], ["ended", end, 3],
        ["looked", seen, 4]);
    return [state.flying.size, words.fate(state.finished[0]), state.bad];"""
    assert found(inside, told) == [
        0,
        "idle rang after 9.5 s · deadline extended by 10 s · its server stopped after 0.1 s",
        {"number": 1, "words": "m ended badly: timeout"},
    ]


def test_the_list_is_the_truth_until_news_come(inside: Page) -> None:
    told = """const row = id => [id, "m", "streaming", 3, 0, 0, "idle", 45, null];
    const one = { id: "b", model: "m", phase: "streaming", elapsed: 4, tokens: 1, silence: 0, nearest: null };
    const end = { id: "a", model: "m", outcome: "finished", elapsed: 181 };
    const both = flight(row("a"), row("b"));
    const list = { generations: [one], finished: [end] };
    const state = after(["flight", both, 1], ["opened", {}, 2], ["list", list, 2.1]);
    const late = after(["opened", {}, 1], ["flight", both, 2], ["list", { generations: [], finished: [] }, 2.1]);
    if (late.flying.size !== 2) return "a list that comes late takes nothing back";
    return [[...state.flying.keys()], state.finished.map(words.fate)];"""
    assert found(inside, told) == [["b"], ["a 30 s timeout would have killed it at 16\u00a0%"]]


def test_in_the_demo_a_second_stands_for_many_and_all_that_is_near_is_nearer(inside: Page) -> None:
    told = """const end = { outcome: "finished", elapsed: 4 };
    const near = () => scale.isNear({ limit: "idle", silence: 1.4 }, 0.5);
    const all = () => [words.isSaved(end), words.fate(end), near(), scale.edgeAt(1)];
    const usual = all(), isNew = scale.standFor(30), demo = all(), isOld = scale.standFor(30);
    scale.standFor(undefined);
    return [usual, isNew, demo, isOld, all()];"""
    usual = [False, "in time", True, pytest.approx(1 / 26)]
    demo = [True, "a 30 s timeout would have killed it at 25\u00a0%", False, pytest.approx(30 / 55)]
    assert found(inside, told) == [usual, True, demo, False, usual]


def test_the_page_of_the_demo_says_so_and_what_ended_says_its_scene(browser: Browser) -> None:
    end = {"id": "a", "model": "m", "run": "2 a thinking model lives", "outcome": "finished", "elapsed": 4.0}
    pages = {
        "/health": {"status": "ok", "version": "0", "models": {}, "scale": 30.0},
        "/hangtight/generations": {"generations": [], "finished": [end]},
    }
    with StandIn(Scene(pages=pages)) as stand_in:
        page = browser.new_page()
        page.goto(stand_in.url)
        expect(page.locator("#scale")).to_have_text("This is the demo: one second here is 30 s of a real machine.")
        fate = "2 a thinking model lives · a 30 s timeout would have killed it at 25\u00a0%"
        expect(page.locator("#ends .fate")).to_have_text(fate)
        page.close()
    with StandIn(Scene()) as stand_in:
        page = browser.new_page()
        page.goto(stand_in.url)
        expect(page.locator("#version")).to_have_text("hangtight 0")
        expect(page.locator("#scale")).to_be_hidden()
        page.close()


def test_only_a_hundred_that_ended_are_kept(inside: Page) -> None:
    told = """const ends = Array.from({ length: 130 }, (_, at) => ["ended", { id: `${at}`, outcome: "finished" }, at]);
    const state = after(...ends);
    return [state.finished.length, state.finished[0].id];"""
    assert found(inside, told) == [100, "129"]


def test_the_state_before_is_never_changed(inside: Page) -> None:
    told = """const row = ["a", "m", "streaming", 3, 0, 0, "idle", 45, null];
    const before = after(["flight", flight(row), 1]);
    const copy = JSON.stringify([...before.flying]);
    for (const [kind, data] of [["heartbeat", { id: "a", elapsed: 9 }], ["ended", { id: "a", outcome: "failed" }],
        ["cancelling", { id: "a", words: "x" }], ["extended", { id: "a", before: 1, after: 9 }]])
      reduce(before, { kind, data, now: 2 });
    return JSON.stringify([...before.flying]) === copy && before.finished.length === 0;"""
    assert found(inside, told) is True


def test_news_of_a_kind_that_is_not_known_change_nothing(inside: Page) -> None:
    assert found(inside, "return after(['weather', {}, 1]) === NOTHING_KNOWN;") is True


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_events_are_the_same_however_the_stream_is_cut(inside: Page, size: int) -> None:
    stream = 'retry: 3000\n\nevent: a\ndata: {"x": 1}\n\n: sign\n\nevent: b\ndata: [2]\n\nevent: c'
    told = f"""const all = {json.dumps(stream)};
    const heard = [];
    const reader = new EventReader((name, data) => heard.push([name, data]));
    for (let at = 0; at < all.length; at += {size}) reader.take(all.slice(at, at + {size}));
    return heard;"""
    assert found(inside, told) == [["a", {"x": 1}], ["b", [2]]]


def test_an_alarm_that_tokens_put_back_does_not_come_closer_between_two_messages(inside: Page) -> None:
    told = """const row = { rings_in: 45, silence: 0.1, raw: "streaming", at: 10, limit: "idle" };
    const others = [{ ...row, silence: 4 }, { ...row, limit: "total" }];
    return [row, ...others].map(each => scale.ringsIn(each, 12));"""
    assert found(inside, told) == [45, 43, 43]


def test_the_edge_comes_from_the_far_end_to_now(inside: Page) -> None:
    places = found(inside, "return [3600, 45, 10, 1, 0].map(scale.edgeAt);")
    assert places == sorted(places, reverse=True)
    assert places[0] < 1
    assert places[-1] == 0


def test_an_alarm_is_near_when_more_of_its_time_has_passed_than_is_left(inside: Page) -> None:
    code = """
    const idle = (silence, left) => scale.isNear({ limit: "idle", silence, elapsed: 900 }, left);
    const total = (elapsed, left) => scale.isNear({ limit: "total", silence: 0, elapsed }, left);
    return [idle(40, 5), idle(0.1, 1.4), idle(30, 15), total(595, 5), total(2, 8), idle(40, null)];"""
    assert found(inside, code) == [True, False, False, True, False, False]


def test_a_step_of_a_run_says_what_its_budget_gives_it_and_one_without_says_none(window: Window) -> None:
    scene = busy()
    [*steps, last] = scene.pages["/hangtight/runs/nightly-docs"]["steps"]
    alone = {**last, "step": "alone", "began": iso(5), "allotted": None, "share": None}
    told = {**scene.pages["/hangtight/runs/nightly-docs"], "steps": [*steps, last, alone]}
    with StandIn(Scene(pages={**scene.pages, "/hangtight/runs/nightly-docs": told})) as stand_in:
        page = window.page()
        live(page, stand_in.url)
        rows = page.locator("#runs .step .words")
        expect(rows.nth(0)).to_contain_text("of 90 s · 30 % of the budget")
        expect(rows.nth(2)).to_contain_text("40 % of the budget")
        expect(rows.nth(3)).to_contain_text(" of 5 min")
        expect(rows.nth(3)).not_to_contain_text("budget")


def test_a_step_that_overdraws_its_share_says_so_in_a_warm_colour_and_those_to_come_are_there(window: Window) -> None:
    scene = busy()
    told = scene.pages["/hangtight/runs/nightly-docs"]
    done, late, last = told["steps"]
    steps = [done, {**late, "allotted": 59.0}, last]
    with StandIn(Scene(pages={**scene.pages, "/hangtight/runs/nightly-docs": {**told, "steps": steps}})) as stand_in:
        page = window.page()
        live(page, stand_in.url)
        rows = page.locator("#runs .step")
        expect(rows.nth(1).locator(".words")).to_contain_text(" over its share of 59 s · 30 % of the budget")
        expect(rows.nth(2).locator(".words")).to_have_text("to come · 2 min · 40 % of the budget")
        colour = "row => getComputedStyle(row.querySelector('.words')).color"
        warm, calm = (rows.nth(at).evaluate(colour) for at in (1, 0))
        assert warm != calm
        expect(page.locator("#runs .run > .words").first).to_contain_text(
            " left of 5 min · about 38 % of its work done"
        )


def test_a_run_that_its_budget_has_ended_says_so_on_its_card_and_its_steps_keep_their_shares(window: Window) -> None:
    scene = busy()
    end = {"status": "timeout", "outcome": "timeout", "elapsed": 300.0, "error": "[Budget exhausted] Task incomplete."}
    told = {**scene.pages["/hangtight/runs/nightly-docs"], **end}
    done, late, last = told["steps"]
    told["steps"] = [done, {**late, "elapsed": 119.0, "outcome": "timeout", "broken_limit": "total"}, last]
    with StandIn(Scene(pages={**scene.pages, "/hangtight/runs/nightly-docs": told})) as stand_in:
        page = window.page()
        live(page, stand_in.url)
        expect(page.locator("#runs .warning")).to_have_text("[Budget exhausted] Task incomplete.")
        expect(page.locator("#runs .run > .words").first).to_contain_text("timed out · 5 min of 5 min")
        rows = page.locator("#runs .step .words")
        expect(rows.nth(1)).to_contain_text("119 s, 29 s over its share of 90 s · 30 % of the budget")
        expect(rows.nth(2)).to_contain_text("not begun · 2 min · 40 % of the budget")


def test_of_many_steps_to_come_some_are_shown_and_the_others_are_counted(window: Window) -> None:
    scene = busy()
    told = scene.pages["/hangtight/runs/nightly-docs"]
    later = [{**told["steps"][2], "step": f"part {number}"} for number in range(40)]
    with StandIn(Scene(pages={**scene.pages, "/hangtight/runs/nightly-docs": {**told, "steps": later}})) as stand_in:
        page = window.page()
        live(page, stand_in.url)
        expect(page.locator("#runs .step")).to_have_count(12)
        expect(page.locator("#runs .run > .words").last).to_have_text("and 28 more steps")
