"""Agents that ask several models under one watch, and models that stand in: who is asked, what is told, who rings."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import hangtight
from hangtight.testing.lab import Lab, text_of
from tests.clients.kit import (
    ANTHROPIC,
    APIS,
    FAST,
    MESSAGES,
    OPENAI,
    BareTimer,
    How,
    async_client,
    nothing_left,
    one_lab,
    sync_client,
)
from tests.clients.peer import HELLO, Peer, Said
from tests.clients.wild import LONG, Line, Wild

pytestmark = pytest.mark.real

SOON = 0.2
SHORT = "tokens=3,rate=400"
MUTE = "mute=3,rate=400"
BROKEN = Said(b'{"error":{"message":"broken"}}', status=500)
both_ways = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with one_lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    with nothing_left(shared):
        yield shared


# -- an agent under a watch ---------------------------------------------------------------------------------------

Wrap = Callable[[BaseException], BaseException]


class Agent:
    """Asks one model after the other and hands on what they say, as a generator that a framework would have."""

    def __init__(self, url: str, *models: str, rests: float = 0.0, streamed: bool = True) -> None:
        self.url = url
        self.models = models
        self.rests = rests
        self.streamed = streamed
        self.wrap: Wrap | None = None
        self.released = threading.Event()
        """Set when the test is over: a thread cannot be cancelled in its rest."""

    def sync(self) -> Iterator[str]:
        api = APIS[OPENAI]
        with sync_client(OPENAI, self.url, {}) as client:
            for model in self.models:
                try:
                    answer = api.ask(client, model, self.streamed)
                    if self.streamed:
                        yield from map(api.piece, answer)
                    else:
                        yield api.whole(answer)
                except TimeoutError as error:
                    raise (self.wrap(error) if self.wrap else error) from error
                if self.released.wait(self.rests):
                    return

    async def asynchronous(self) -> AsyncIterator[str]:
        api = APIS[OPENAI]
        async with async_client(OPENAI, self.url, {}) as client:
            for model in self.models:
                try:
                    answer = await api.ask(client, model, self.streamed)
                    if self.streamed:
                        async for chunk in answer:
                            yield api.piece(chunk)
                    else:
                        yield api.whole(answer)
                except TimeoutError as error:
                    raise (self.wrap(error) if self.wrap else error) from error
                await asyncio.sleep(self.rests)


def watched(agent: Agent, asynchronous: bool, **limits: Any) -> tuple[hangtight.Watch[Any], str, BaseException | None]:
    """The watch over an agent at its end, what its reader got, and the error."""
    heard: list[str] = []

    async def read(watch: hangtight.Watch[Any]) -> None:
        async with watch:
            async for text in watch:
                heard.append(text)  # noqa: PERF401 - what was heard before an error counts

    watch: hangtight.Watch[Any]
    try:
        if asynchronous:
            watch = hangtight.watch(agent.asynchronous(), **limits)
            asyncio.run(read(watch))
        else:
            watch = hangtight.watch(agent.sync(), **limits)
            with watch:
                heard.extend(watch)
    except Exception as error:
        return watch, "".join(heard), error
    return watch, "".join(heard), None


@streamed_or_not
@both_ways
def test_the_report_of_an_agent_counts_all_its_calls_and_each_text_once(
    asynchronous: bool, streamed: bool, lab: Lab
) -> None:
    watch, heard, error = watched(Agent(lab.url, FAST, SHORT, streamed=streamed), asynchronous)
    assert error is None
    assert heard == watch.partial == text_of(FAST) + text_of(SHORT)
    assert watch.outcome == "finished"
    if streamed:
        assert watch.tokens == 8


@streamed_or_not
@both_ways
def test_the_limits_around_an_agent_hold_in_its_second_call_too(asynchronous: bool, streamed: bool, lab: Lab) -> None:
    timer = BareTimer(SOON)
    watch, heard, error = watched(Agent(lab.url, FAST, MUTE, streamed=streamed), asynchronous, idle=SOON)
    assert isinstance(error, hangtight.IdleTimeout)
    assert timer.lateness() < LONG / SOON / 4
    assert (error.source, watch.outcome) == ("the call", "timeout")
    assert heard.startswith(text_of(FAST))
    assert lab.when(MUTE, lambda counts: counts.cancelled == 1).asked == 1


@both_ways
def test_an_agent_that_falls_silent_between_its_calls_is_idle_and_not_finished(asynchronous: bool, lab: Lab) -> None:
    timer = BareTimer(SOON)
    agent = Agent(lab.url, FAST, SHORT, rests=LONG)
    watch, heard, error = watched(agent, asynchronous, idle=SOON)
    assert isinstance(error, hangtight.IdleTimeout)
    assert timer.lateness() < LONG / SOON / 4
    agent.released.set()
    assert (watch.outcome, heard, error.partial) == ("timeout", text_of(FAST), text_of(FAST))
    assert lab.counts(SHORT).asked == 0


class TheirTimeout(TimeoutError):
    """What a framework makes of a timeout."""


@both_ways
def test_a_framework_that_makes_its_own_error_of_a_timeout_does_not_hide_ours(asynchronous: bool, lab: Lab) -> None:
    agent = Agent(lab.url, FAST, MUTE)
    agent.wrap = lambda error: TheirTimeout("they say nothing")
    watch, _, error = watched(agent, asynchronous, idle=SOON)
    assert isinstance(error, hangtight.IdleTimeout)
    assert (error.limit, watch.outcome) == ("idle", "timeout")


# -- models that stand in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sdk", [OPENAI, ANTHROPIC])
@streamed_or_not
@both_ways
def test_a_chain_that_failed_to_its_end_is_not_begun_anew_by_the_sdk(
    sdk: str, asynchronous: bool, streamed: bool, lab: Lab
) -> None:
    with Peer(BROKEN) as peer:
        seen = How(sdk, asynchronous, streamed, {"fallback": ["b", "c"]}).call(peer.url, "a")
        assert getattr(seen.error, "status_code", None) == 500
        assert [json.loads(asked.body)["model"] for asked in peer.asked] == ["a", "b", "c"]


@both_ways
def test_a_watch_with_a_chain_over_a_client_with_a_chain_asks_each_model_once(asynchronous: bool, lab: Lab) -> None:
    async def ask(url: str) -> None:
        async with async_client(OPENAI, url, {"fallback": ["b"]}, max_retries=0) as client:
            opening = lambda model: APIS[OPENAI].ask(client, model, True)  # noqa: E731
            async for _ in hangtight.watch(opening, model="a", fallback=["b"]):
                pass

    with Peer(BROKEN) as peer:
        with pytest.raises(Exception, match="broken"):
            if asynchronous:
                asyncio.run(ask(peer.url))
            else:
                with sync_client(OPENAI, peer.url, {"fallback": ["b"]}, max_retries=0) as client:
                    opening = lambda model: APIS[OPENAI].ask(client, model, True)  # noqa: E731
                    list(hangtight.watch(opening, model="a", fallback=["b"]))
        assert [json.loads(asked.body)["model"] for asked in peer.asked] == ["a", "b"]


@streamed_or_not
@both_ways
def test_the_answer_of_another_model_says_who_gave_it(asynchronous: bool, streamed: bool, lab: Lab) -> None:
    asked: Any = {"messages": MESSAGES, "stream": streamed}

    async def headers_of(model: str) -> Any:
        async with async_client(OPENAI, lab.url, {"fallback": [SHORT]}) as client:
            answer = await client.chat.completions.with_raw_response.create(model=model, **asked)
            await answer.http_response.aread()
            return answer.headers

    for model, named in (("status=500", SHORT), (FAST, None)):
        if asynchronous:
            headers = asyncio.run(headers_of(model))
        else:
            with sync_client(OPENAI, lab.url, {"fallback": [SHORT]}) as client:
                answer = client.chat.completions.with_raw_response.create(model=model, **asked)
                answer.http_response.read()
                headers = answer.headers
        assert headers.get("X-Hangtight-Model") == named


# -- a question without a client ----------------------------------------------------------------------------------


def ask(asynchronous: bool, prompt: Any = "Why?", **asked: Any) -> str:
    return asyncio.run(hangtight.agenerate(prompt, **asked)) if asynchronous else hangtight.generate(prompt, **asked)


@both_ways
def test_a_server_that_shows_nothing_of_itself_takes_of_the_same_total(asynchronous: bool, lab: Lab) -> None:
    with Wild(lambda line: line.hold()) as server:
        timer = BareTimer(2 * SOON)
        with pytest.raises(hangtight.TotalTimeout):
            ask(asynchronous, model="m", url=server.url, total=2 * SOON)
        assert timer.lateness() < LONG / SOON / 4


@pytest.mark.parametrize(
    "prompt", [b"hi", {"role": "user", "content": "x"}, iter([]), [1], ["a"], range(3), {"a"}, [], None], ids=repr
)
def test_a_prompt_that_cannot_be_meant_is_refused_and_nothing_is_asked(prompt: Any, lab: Lab) -> None:
    with pytest.raises(hangtight.SettingsError) as caught:
        hangtight.generate(prompt, model=FAST, url=lab.url)
    assert caught.value.name == "prompt"
    assert lab.counts(FAST).asked == 0


@pytest.mark.parametrize(
    ("name", "asked"), [("url", {"url": 5}), ("fallback", {"fallback": ["b"]}), ("total", {"total": 0})]
)
@both_ways
def test_a_setting_that_cannot_be_meant_is_refused_by_its_name(
    asynchronous: bool, name: str, asked: dict[str, Any], lab: Lab
) -> None:
    with pytest.raises(hangtight.SettingsError) as caught:
        ask(asynchronous, **{"url": lab.url, **asked})
    assert caught.value.name == name


@both_ways
def test_every_status_of_success_is_one(asynchronous: bool, lab: Lab) -> None:
    def created(line: Line) -> None:
        if line.asked.method == "GET":
            line.whole(status="404 Not Found")
        else:
            line.head(status="201 Created")
            line.say(*b"".join(HELLO.pieces).splitlines(keepends=True))
            line.end()

    with Wild(created) as server:
        assert ask(asynchronous, model="m", url=f"{server.url}/v1") == "hello"


@both_ways
def test_another_model_gives_the_answer_where_one_falls_silent_in_the_middle(asynchronous: bool, lab: Lab) -> None:
    assert ask(asynchronous, model=MUTE, fallback=[FAST], url=lab.url, idle=SOON) == text_of(FAST)
    assert (lab.counts(MUTE).asked, lab.counts(FAST).asked) == (1, 1)
