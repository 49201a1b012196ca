"""Who is told what the text says, who may take over, and what goes from one call of an agent to the next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import chain as joined
from itertools import repeat
from typing import Any

import pytest

import hangtight
from hangtight.core.facts import Content, Reasoning
from hangtight.core.pace import Observation
from hangtight.drivers.attention import Attention
from hangtight.drivers.clock import OURS
from hangtight.drivers.given import given
from hangtight.drivers.session import Session
from hangtight.drivers.standing import STANDING
from hangtight.drivers.terms import terms_of
from hangtight.drivers.watch import DOOR
from hangtight.intent import tools
from hangtight.intent.findings import Act, Channel, Finding, Rule
from hangtight.testing import Said, ScriptedModel, jumping
from tests.acceptance.test_s1 import HEAVY, LIGHT, MESSAGES, TALKS, client, played, text_of, warm
from tests.drivers.test_intent import CODE, DRIFT, ENDLESS, FALLS_BACK, LOOP, watched
from tests.scripted_api import ScriptedApi, Step

# -- who is told, and when --------------------------------------------------------------------------------------


def beats_of(ladder: list[str]) -> tuple[list[float], list[str]]:
    seen = watched(Said(DRIFT, every=0.25), heartbeat=50, intent={"ladder": ladder})
    return [beat.elapsed for beat in seen.told], [str(beat) for beat in seen.told]


def test_with_the_rung_notify_the_suspicion_is_told_at_once() -> None:
    at, said = beats_of(["notify"])
    assert at == [50, pytest.approx(72, abs=2)]
    assert said[1].endswith("characters but for a counter, 30 times in a row")


def test_without_it_it_is_told_when_the_next_heartbeat_is_due() -> None:
    at, said = beats_of([])
    assert at == [50, 100]
    assert ", it may be stuck: the same 34 characters but for a counter" in said[1]


def test_a_step_is_extended_within_what_was_allotted_to_it_and_takes_nothing_from_the_next() -> None:
    async def main() -> tuple[float, float]:
        with hangtight.budget(300, steps={"plan": 1, "do": "critical"}) as task:
            with task.step("plan"):
                watching = hangtight.watch(ScriptedModel(Said(CODE, every=0.5)), model="m", mode="deep", cold=None)
                allotted = task.allotted("plan")
                with pytest.raises(hangtight.TotalTimeout):
                    async for _ in watching:
                        pass
            return watching.elapsed, allotted

    took, allotted = jumping(main())
    assert 120 < allotted < 240
    assert took == pytest.approx(allotted)


# -- two readers, several channels ----------------------------------------------------------------------------


def reader(**wanted: Any) -> Session:
    """A session whose text is read along."""
    terms = terms_of(given({"cold": None, **wanted}, "deep"), door=DOOR)
    return Session(terms, OURS, model="m").begin()


def test_what_an_earlier_reading_found_is_not_told_behind_a_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    session, decided = reader(intent={"ladder": []}), Attention.decided
    overtaken: list[Finding] = []

    def slow(attention: Attention, found: Finding, **how: Any) -> Finding:
        if found.act is Act.EXTEND and not overtaken:
            overtaken.append(found)
            session.parts.extend(LOOP)
            session.look()  # by the other thread
        return decided(attention, found, **how)

    monkeypatch.setattr(Attention, "decided", slow)
    for text in CODE[:200]:
        if not overtaken:
            session.receive(Content, text, False)
    assert overtaken
    assert session.machine.deadline.advice.act is Act.HOLD


@pytest.mark.parametrize(("flows", "act"), [(Content, Act.EXTEND), (Reasoning, Act.HOLD)])
def test_the_advice_is_about_what_flows_now(flows: Any, act: Act) -> None:
    attention = reader(intent={"ladder": []}).attention
    assert attention is not None
    attention.thoughts.extend(DRIFT[:400])
    assert attention.read(CODE[:400], 0.0, flows).found.act is act


FOUND = Finding(act=Act.CUT, rule=Rule.EXACT, channel=Channel.ANSWER, start=0, period=32, copies=20)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({}, False),
        ({"copies": 30}, False),
        ({"copies": 40}, True),
        ({"start": 900}, True),
        ({"period": 48}, True),
        ({"rule": Rule.COUNTER}, True),
        ({"channel": Channel.CALLS}, True),
    ],
)
def test_a_loop_that_was_let_go_on_is_known_by_all_that_it_is(change: dict[str, Any], again: bool) -> None:
    asked: list[Finding] = []

    def lets(found: Finding) -> bool:
        asked.append(found)
        return True

    attention = reader(on_loop=lets).attention
    assert attention is not None
    other = replace(FOUND, **change)
    for found in (FOUND, other):
        assert attention.decided(found, may_ask=True, others=False).act is Act.HOLD
        assert attention.lets_go_on(found)
    assert asked == ([FOUND, other] if again else [FOUND])


# -- who may take over, and a history with pictures -----------------------------------------------------------


@pytest.mark.parametrize(("seconds", "fits"), [(20.0, True), (None, True), (200.0, False)])
def test_a_ladder_without_cut_ends_nothing_for_a_model_that_does_not_fit(seconds: float | None, fits: bool) -> None:
    STANDING.reset()
    if seconds is not None:
        STANDING.paces.fill([Observation(LIGHT, "", 0, 1.0, 0.1, seconds, 10, "finished", "")] * 200)

    async def main() -> Any:
        scripts: dict[str, list[Step]] = {HEAVY: list(joined.from_iterable(zip(ENDLESS, repeat(0.1)))), LIGHT: TALKS}
        asked = client(ScriptedApi(scripts), mode="deep", intent=FALLS_BACK, fallback=[LIGHT], cold=None)
        try:
            return (await asked.chat.completions.create(model=HEAVY, messages=MESSAGES)).model
        except hangtight.GenerationTimeout as error:
            return error

    came = played(main)
    STANDING.reset()
    if fits:
        assert came == LIGHT
    else:
        assert (type(came), came.limit) == (hangtight.TotalTimeout, "total")


def picture(*, middle: str = "A") -> list[dict[str, Any]]:
    data = "iVBOR" + "x" * 500_000 + middle * 500_000 + "QmCC"
    return [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]


def test_a_large_picture_is_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths, digest = [], tools._digest

    def read(text: str) -> bytes:
        lengths.append(len(text))
        return digest(text)

    monkeypatch.setattr(tools, "_digest", read)
    calls = tools.Tools()
    for _ in range(6):
        calls.call("screenshot", {}, picture())
    found = calls.finding()
    assert found is not None
    assert (found.act, found.copies) == (Act.CUT, 6)
    assert max(lengths) < 10_000


def test_pictures_that_differ_anywhere_differ_and_so_do_long_texts_in_one_character() -> None:
    pictures = [picture(middle=one) for one in "ABCDEF"]
    logs = ["a line of a log " * 5000 + one + "." for one in "ABCDEF"]
    for results in (pictures, logs):
        calls = tools.Tools()
        for result in results:
            calls.call("look", {}, result)
        found = calls.finding()
        assert found is None or found.rule is not Rule.TOOLS


# -- the calls of an agent ------------------------------------------------------------------------------------


def test_a_call_that_begins_at_the_very_end_of_total_has_the_time_that_the_others_have_earned() -> None:
    async def main() -> tuple[str | None, float, list[str]]:
        api = ScriptedApi({LIGHT: TALKS})
        asked = client(api, cold=None)
        await warm(asked)

        async def agent() -> AsyncIterator[str]:
            api.scripts = {LIGHT: list(joined.from_iterable(zip(CODE[:239], repeat(0.5))))}
            yield await text_of(asked, LIGHT)
            await asyncio.sleep(0.5)
            api.scripts = {LIGHT: [1.0, *TALKS]}
            yield await text_of(asked, LIGHT)

        watching = hangtight.watch(agent(), mode="deep", cold=None)
        said = [text async for text in watching]
        return watching.outcome, round(watching.elapsed, 2), said[1:]

    assert played(main) == ("finished", 121, ["def process(): ..."])


@pytest.mark.parametrize(
    ("answer", "kind"), [(False, hangtight.Looping), (True, hangtight.TotalTimeout), (None, hangtight.TotalTimeout)]
)
def test_a_ladder_that_only_asks_ends_what_is_not_to_go_on(answer: bool | None, kind: type[Exception]) -> None:
    seen = watched(Said(ENDLESS, every=0.1), intent={"ladder": ["ask"]}, on_loop=lambda _: answer)
    assert type(seen.error) is kind
