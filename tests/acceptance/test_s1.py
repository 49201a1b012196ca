"""S1, the four-phase system of a coding agent: streaming limits by mode, and a lighter model on timeout.

On virtual time through the real openai client; the synchronous client against a real server, scaled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx2
import ollama
import openai
import pytest

import hangtight
from hangtight.testing import jumping
from hangtight.testing.lab import Lab
from tests.scripted_api import ScriptedApi, Step

T = TypeVar("T")
LIGHT, HEAVY = "qwen3:1.7b", "qwen3-coder"
MESSAGES: list[Any] = [{"role": "user", "content": "Write process()."}]
FOREVER = 100_000.0
TALKS: list[Step] = ["def ", "process", "(): ", "..."]


def client(api: ScriptedApi, **settings: Any) -> openai.AsyncOpenAI:
    transport = hangtight.http.async_transport(lib="httpx2", inner=api, **settings)
    http = httpx2.AsyncClient(transport=transport, timeout=None)
    return openai.AsyncOpenAI(api_key="none", base_url="http://model.local/v1", http_client=http)


async def text_of(api: openai.AsyncOpenAI, model: str = HEAVY, **more: Any) -> str:
    stream = await api.chat.completions.create(model=model, messages=MESSAGES, stream=True, **more)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def timed(work: Awaitable[Any]) -> tuple[float, hangtight.GenerationTimeout]:
    """How long it took to its timeout, on the loop's clock."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(hangtight.GenerationTimeout) as caught:
        await work
    return loop.time() - start, caught.value


def played(main: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        result = await main()
        await asyncio.sleep(1)  # openai leaves a generator of its own to the loop to close
        return result

    return jumping(run())


async def warm(api: openai.AsyncOpenAI) -> None:
    """A model that answered just now needs no allowance for a load."""
    assert await text_of(api, LIGHT)


MODES = [("deep", 30, 15, 120), ("fast", 9, 6, 30), ("search", 18, 12, 60), (None, 45, 45, 600)]


@pytest.mark.parametrize(("mode", "first_token", "idle", "total"), MODES)
def test_the_limits_by_mode_hold_beneath_the_client(
    mode: str | None, first_token: float, idle: float, total: float
) -> None:
    async def main() -> list[tuple[str, float]]:
        api = ScriptedApi({LIGHT: TALKS})
        asked = client(api, mode=mode)
        seen = []
        scripts: list[list[Step]] = [[FOREVER], ["def ", FOREVER], ["def ", 5.0] * 200]
        for script in scripts:
            api.scripts = {LIGHT: TALKS}
            await warm(asked)
            api.scripts = {LIGHT: script}
            took, late = await timed(text_of(asked, LIGHT))
            seen.append((late.limit, took))
        return seen

    assert played(main) == [("first_token", first_token), ("idle", idle), ("total", total)]


def test_first_token_30_and_idle_15_given_to_the_client_are_meant() -> None:
    async def main() -> None:
        api = ScriptedApi({HEAVY: [FOREVER], LIGHT: ["def ", FOREVER]})
        asked = client(api, first_token=30, idle=15)
        took, late = await timed(text_of(asked, HEAVY))
        assert (took, late.limit, late.partial) == (30, "first_token", "")
        took, late = await timed(text_of(asked, LIGHT))
        assert (took, late.limit, late.partial) == (15, "idle", "def ")
        assert api.closed == [HEAVY, LIGHT]

    played(main)


@pytest.mark.parametrize("stream", [True, False])
def test_a_timeout_falls_back_to_a_lighter_model_by_itself(stream: bool) -> None:
    async def main() -> None:
        api = ScriptedApi({HEAVY: [FOREVER], LIGHT: TALKS})
        asked = client(api, first_token=30, idle=15, fallback=[LIGHT])
        if stream:
            assert await text_of(asked) == "def process(): ..."
        else:
            answer = await asked.chat.completions.create(model=HEAVY, messages=MESSAGES)
            assert (answer.choices[0].message.content, answer.model) == ("def process(): ...", LIGHT)
        assert api.asked == [(HEAVY, 0), (LIGHT, 30)]
        assert api.closed[0] == HEAVY, "first it is told to stop, then the next one is asked"

    played(main)


def test_once_a_token_was_delivered_there_is_no_other_model() -> None:
    async def main() -> None:
        api = ScriptedApi({HEAVY: ["def ", FOREVER], LIGHT: TALKS})
        took, late = await timed(text_of(client(api, first_token=30, idle=15, fallback=[LIGHT])))
        assert (took, late.partial, api.asked) == (15, "def ", [(HEAVY, 0)])

    played(main)


def test_an_answer_that_nobody_has_seen_may_still_come_from_the_lighter_model() -> None:
    async def main() -> None:
        api = ScriptedApi({HEAVY: ["def ", FOREVER], LIGHT: TALKS})
        asked = client(api, first_token=30, idle=15, fallback=[LIGHT])
        answer = await asked.chat.completions.create(model=HEAVY, messages=MESSAGES)
        assert (answer.choices[0].message.content, api.asked) == ("def process(): ...", [(HEAVY, 0), (LIGHT, 15)])

    played(main)


@pytest.mark.parametrize(("settings", "ends_at"), [({"total": 50}, 50), ({"mode": "fast"}, 30)])
def test_a_fallback_never_extends_the_total(settings: dict[str, Any], ends_at: float) -> None:
    async def main() -> None:
        api = ScriptedApi({HEAVY: [FOREVER], LIGHT: ["def ", 1.0] * 1000})
        took, late = await timed(text_of(client(api, first_token=20, fallback=[LIGHT], **settings)))
        assert (took, late.limit) == (ends_at, "total")
        assert [attempt.model for attempt in late.attempts] == [HEAVY, LIGHT]
        assert late.elapsed == ends_at

    played(main)


def test_inside_a_mode_the_lighter_model_shares_out_what_the_first_one_left() -> None:
    """deep: 120 s; after 90 s there are 30 left, and 0.3 and 0.2 of that are 9 and 6."""

    async def main() -> None:
        api = ScriptedApi({HEAVY: [FOREVER], LIGHT: [FOREVER]})
        took, late = await timed(text_of(client(api, first_token=90, mode="deep", fallback=[LIGHT])))
        assert (late.limit, late.waited) == ("first_token", 9)
        assert took == 90 + 9

    played(main)


def test_watch_falls_back_too_with_a_function_that_takes_the_model() -> None:
    async def main() -> None:
        api = ScriptedApi({HEAVY: [FOREVER], LIGHT: TALKS})
        asked = client(api)
        watched = hangtight.watch(
            lambda model: asked.chat.completions.create(model=model, messages=MESSAGES, stream=True),
            model=HEAVY,
            fallback=[LIGHT],
            first_token=30,
            idle=15,
        )
        pieces = [chunk.choices[0].delta.content or "" async for chunk in watched]
        assert "".join(pieces) == watched.partial == "def process(): ..."
        assert [(attempt.model, attempt.limit, attempt.elapsed) for attempt in watched.attempts] == [
            (HEAVY, "first_token", 30)
        ]

    played(main)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.mark.real
def test_a_synchronous_client_falls_back_too(lab: Lab) -> None:
    http = hangtight.http.client(lib="httpx2", first_token=0.3, idle=0.15, fallback=["light,tokens=4,rate=400"])
    with openai.OpenAI(api_key="none", base_url=f"{lab.url}/v1", http_client=http) as api:
        answer = api.chat.completions.create(model="heavy,silent", messages=MESSAGES)
        assert answer.model == "light,tokens=4,rate=400"
        stream = api.chat.completions.create(model="heavy,mute=0", messages=MESSAGES, stream=True)
        assert {chunk.model for chunk in stream} == {"light,tokens=4,rate=400"}
    for model in ("heavy,silent", "heavy,mute=0"):
        assert lab.when(model, lambda counts: counts.cancelled == 1).asked == 1


@pytest.mark.real
def test_first_token_and_idle_beneath_a_synchronous_ollama_client(lab: Lab) -> None:
    with ollama.Client(host=lab.url, transport=hangtight.http.transport(lib="httpx", idle=0.3)) as api:
        start = time.monotonic()
        with pytest.raises(hangtight.IdleTimeout) as caught:
            list(api.chat(model="mute=3,rate=400", messages=MESSAGES, stream=True))
        took = time.monotonic() - start
        assert caught.value.tokens == 3
        assert caught.value.waited == pytest.approx(0.3)
        assert took < 20  # a bound for what hangs: when it rang is in the line above
