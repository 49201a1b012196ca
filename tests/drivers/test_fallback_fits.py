"""Fallback that fits: time kept free for a lighter model, and who is not asked because it would not finish."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any

import openai
import pytest

import hangtight
from hangtight.core.pace import Observation
from hangtight.drivers.standing import STANDING
from hangtight.testing.lab import Lab
from tests.acceptance.test_s1 import FOREVER, HEAVY, LIGHT, MESSAGES, TALKS, client, played, text_of
from tests.scripted_api import ScriptedApi, Step

THIRD = "tiny"
ENOUGH = 200
SAID = "def process(): ..."
Asked = list[tuple[str, float]]


@pytest.fixture(autouse=True)
def _a_process_of_its_own() -> Iterator[None]:
    STANDING.reset()
    yield
    STANDING.reset()


def teach(**seconds: float) -> None:
    for model, took in {
        {"light": LIGHT, "heavy": HEAVY, "third": THIRD}[name]: at for name, at in seconds.items()
    }.items():
        teach_of(model, took)


def teach_of(model: str, seconds: float) -> None:
    STANDING.paces.fill([Observation(model, "", 0, 1.0, 0.1, seconds, 10, "finished", "")] * ENOUGH)


def api_of(**scripts: list[Step]) -> ScriptedApi:
    silent: list[Step] = [FOREVER]
    return ScriptedApi({HEAVY: scripts.get("heavy", silent), LIGHT: scripts.get("light", TALKS), THIRD: TALKS})


async def seconds(work: Awaitable[Any]) -> float:
    loop = asyncio.get_running_loop()
    start = loop.time()
    await work
    return loop.time() - start


def asked(api: ScriptedApi, *, budget: float | None = None, wish: dict[str, Any] | None = None, **limits: Any) -> Asked:
    """Who was asked, and when, for an answer that somebody gave."""

    async def main() -> Asked:
        settings = {"fallback": [LIGHT], **limits}
        if budget is None:
            assert await text_of(client(api, **settings), **(wish or {})) == SAID
        else:
            with hangtight.budget(budget):
                assert await text_of(client(api, **settings), **(wish or {})) == SAID
        return api.asked

    found = played(main)
    start = found[0][1]
    return [(model, at - start) for model, at in found]


@pytest.mark.parametrize(
    ("limits", "wish", "total", "why"),
    [
        ({"total": 100}, {}, 100, "the allowance of a cold model comes on top of first_token, and is cut too"),
        ({"total": 60}, {}, 60, "first_token and its allowance are longer than all there is"),
        ({"total": 60, "first_token": 50}, {}, 60, "given in person"),
        ({"total": 100, "first_token": None}, {}, 100, "none is given"),
        ({"total": 100}, {"reasoning_effort": "high"}, 100, "thinking takes the place of first_token"),
        ({"mode": "deep", "first_token": 110}, {}, 120, "a mode's total"),
    ],
)
def test_whatever_limit_a_silent_model_has_the_lighter_one_still_fits(
    limits: dict[str, Any], wish: dict[str, Any], total: float, why: str
) -> None:
    teach(light=20)
    (heavy, _), (light, at) = asked(api_of(), wish=wish, **limits)
    assert (heavy, light) == (HEAVY, LIGHT)
    assert 0 < at <= total - 20, why
    assert at >= total - 24, "no more than a margin is kept beside it"


def test_an_answer_that_is_wanted_whole_keeps_the_time_free_too() -> None:
    async def main() -> Asked:
        api = api_of()
        teach(light=20)
        reply = await client(api, total=60, first_token=50, fallback=[LIGHT]).chat.completions.create(
            model=HEAVY, messages=MESSAGES
        )
        assert (reply.model, reply.choices[0].message.content) == (LIGHT, SAID)
        return api.asked

    assert 36 <= played(main)[1][1] <= 40


def test_inside_a_budget_the_time_is_kept_free_of_what_the_budget_has() -> None:
    teach(light=80)
    (_, _), (light, at) = asked(api_of(), budget=100)
    assert light == LIGHT
    assert 0 < at <= 20


def test_without_a_total_nothing_is_kept_free() -> None:
    teach(light=20)
    assert asked(api_of(heavy=[400.0, *TALKS]), total=None, first_token=None) == [(HEAVY, 0)]


def test_nothing_is_kept_free_for_a_model_that_nothing_is_known_of() -> None:
    assert asked(api_of(), total=100, first_token=90) == [(HEAVY, 0), (LIGHT, 90)]


def test_of_three_models_the_last_one_keeps_its_time_from_both_before_it() -> None:
    teach(light=20, third=30)
    found = asked(api_of(light=[FOREVER]), total=150, first_token=100, fallback=[LIGHT, THIRD])
    assert [model for model, _ in found] == [HEAVY, LIGHT, THIRD]
    assert found[1][1] <= 130
    assert 150 - 34 <= found[2][1] <= 150 - 30


def test_the_second_of_three_keeps_the_time_of_the_third_where_it_is_unknown_itself() -> None:
    teach(third=30)
    found = asked(api_of(light=[FOREVER]), total=200, first_token=90, fallback=[LIGHT, THIRD])
    assert found[:2] == [(HEAVY, 0), (LIGHT, 90)]
    assert found[2][0] == THIRD
    assert 200 - 34 <= found[2][1] <= 200 - 30


@pytest.mark.parametrize("budget", [30.0, None])
def test_a_first_model_that_cannot_finish_is_not_asked_where_the_second_can(budget: float | None) -> None:
    teach(heavy=60, light=5)
    limits: dict[str, Any] = {} if budget else {"total": 30}
    assert asked(api_of(heavy=TALKS), budget=budget, **limits) == [(LIGHT, 0)]


def test_where_no_model_is_known_to_fit_the_first_one_is_asked_all_the_same() -> None:
    teach(heavy=60, light=50)
    assert asked(api_of(heavy=TALKS), total=30) == [(HEAVY, 0)]


@pytest.mark.parametrize("budget", [100.0, None])
def test_a_model_that_talks_has_all_of_its_total(budget: float | None) -> None:
    async def main() -> float:
        teach(light=20)
        pairs: list[Step] = ["d", 5.0]
        asked_of = client(api_of(heavy=pairs * 40), fallback=[LIGHT], **({} if budget else {"total": 100}))
        loop = asyncio.get_running_loop()
        start = loop.time()
        with pytest.raises(hangtight.TotalTimeout):
            if budget is None:
                await text_of(asked_of)
            else:
                with hangtight.budget(budget):
                    await text_of(asked_of)
        return loop.time() - start

    assert played(main) == 100


def test_a_chain_of_a_watch_keeps_the_time_free_and_passes_over_too() -> None:
    async def main() -> None:
        teach(light=20, heavy=25)
        api = api_of()
        bare = client(api)

        def watched(total: float) -> Any:
            return hangtight.watch(
                lambda model: bare.chat.completions.create(model=model, messages=MESSAGES, stream=True),
                model=HEAVY,
                total=total,
                fallback=[LIGHT],
            )

        assert [chunk async for chunk in watched(60)]
        assert api.asked[0] == (HEAVY, 0)
        assert 36 <= api.asked[1][1] <= 40
        took = await seconds(_all(watched(22)))
        assert took < 1
        assert [model for model, _ in api.asked] == [HEAVY, LIGHT, LIGHT]

    played(main)


async def _all(watched: Any) -> None:
    async for _ in watched:
        pass


def test_the_error_says_who_was_not_asked_and_why() -> None:
    async def main() -> hangtight.GenerationTimeout:
        teach(light=200)
        with pytest.raises(hangtight.GenerationTimeout) as caught:
            await text_of(client(api_of(), total=100, first_token=60, fallback=[LIGHT]))
        return caught.value

    late = played(main)
    assert any("was not asked" in note and LIGHT in note for note in late.__notes__)


@pytest.mark.real
@pytest.mark.parametrize("door", ["client", "generate", "watch"])
def test_on_a_real_clock_the_lighter_model_has_the_time_that_was_kept_for_it(door: str) -> None:
    """The margin has to cover what it takes to end the first model's call."""
    light, heavy = "light,tokens=5,rate=100", "heavy,load=60"
    teach_of(light, 1.0)
    limits: dict[str, Any] = {"total": 4.0, "first_token": 3.9, "fallback": [light]}
    with Lab() as lab:
        url = f"{lab.url}/v1"
        if door == "generate":
            text = hangtight.generate("x", model=heavy, url=lab.url, **limits)
        elif door == "client":
            with openai.OpenAI(api_key="x", base_url=url, http_client=hangtight.http.client(**limits)) as ours:
                text = ours.chat.completions.create(model=heavy, messages=MESSAGES).choices[0].message.content or ""
        else:
            with openai.OpenAI(api_key="x", base_url=url) as bare:
                chunks = hangtight.watch(
                    lambda model: bare.chat.completions.create(model=model, messages=MESSAGES, stream=True),
                    model=heavy,
                    **limits,
                )
                text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert len(text.split()) == 5
        assert (lab.counts(heavy).asked, lab.counts(light).asked) == (1, 1)
