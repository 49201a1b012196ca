"""`fallback` of a client of ours: when another model answers, when none may, and what is told of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import httpcore2
import httpx2
import pytest

import hangtight
from hangtight.testing.lab import Lab, text_of
from tests.clients.kit import (
    APIS,
    OLLAMA,
    OPENAI,
    SDKS,
    BareTimer,
    How,
    async_client,
    in_use,
    nothing_left,
    one_lab,
    sync_client,
)

pytestmark = pytest.mark.real

SOON = 0.2
STAND_IN = "tokens=3,rate=400"
both_ways = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])
each_sdk = pytest.mark.parametrize("sdk", SDKS)


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with one_lab() as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    with nothing_left(shared):
        yield shared


def with_fallback(sdk: str, asynchronous: bool, streamed: bool, *models: str, **ours: Any) -> How:
    return How(sdk, asynchronous, streamed, {"first_token": SOON, "fallback": models, **ours})


@pytest.mark.parametrize(
    "first", ["silent", "mute=0", "status=500", "status=429", "status=404", "error=0", "disconnect=0"]
)
@streamed_or_not
@both_ways
@each_sdk
def test_another_model_answers_when_one_fails_before_its_first_token(
    sdk: str, asynchronous: bool, streamed: bool, first: str, lab: Lab
) -> None:
    seen = with_fallback(sdk, asynchronous, streamed, STAND_IN).call(lab.url, first)
    assert (seen.error, seen.text) == (None, text_of(STAND_IN))
    assert (lab.settled(first).asked, lab.settled(STAND_IN).asked) == (1, 1)
    assert lab.counts(first).cancelled == (first in ("silent", "mute=0"))


@pytest.mark.parametrize("first", ["mute=3,rate=400", "error=3,rate=400", "disconnect=3,rate=400"])
@both_ways
@each_sdk
def test_nobody_else_is_asked_once_a_token_was_delivered(sdk: str, asynchronous: bool, first: str, lab: Lab) -> None:
    theirs: dict[str, Any] = {} if sdk == OLLAMA else {"max_retries": 0}
    ours = {"idle": SOON, "fallback": [STAND_IN]}
    seen = How(sdk, asynchronous, ours=ours, theirs=theirs).call(lab.url, first)
    assert seen.error is not None
    assert seen.text == text_of(first)[: len(seen.text)] != ""
    assert (lab.counts(first).asked, lab.counts(STAND_IN).asked) == (1, 0)


@both_ways
@each_sdk
def test_nothing_of_an_unstreamed_answer_was_delivered_so_another_model_may_give_it(
    sdk: str, asynchronous: bool, lab: Lab
) -> None:
    seen = with_fallback(sdk, asynchronous, False, STAND_IN, idle=SOON).call(lab.url, "mute=3,rate=400")
    assert (seen.error, seen.text) == (None, text_of(STAND_IN))


@pytest.mark.parametrize("status", [400, 401, 422])
@each_sdk
def test_a_request_that_nobody_would_take_is_not_taken_elsewhere(sdk: str, status: int, lab: Lab) -> None:
    model = f"status={status}"
    seen = with_fallback(sdk, False, True, STAND_IN).call(lab.url, model)
    bare = How(sdk, ours=None).call(lab.url, model)
    assert type(seen.error) is type(bare.error)
    assert str(seen.error) == str(bare.error)
    assert lab.counts(STAND_IN).asked == 0


@both_ways
@streamed_or_not
@each_sdk
def test_all_attempts_are_told_in_the_error_of_the_last(sdk: str, streamed: bool, asynchronous: bool, lab: Lab) -> None:
    late = with_fallback(sdk, asynchronous, streamed, "b,status=500", "c,mute=0").call(lab.url, "a,silent").late
    attempts: Any = late.attempts
    assert [attempt.model for attempt in attempts] == ["a,silent", "b,status=500", "c,mute=0"]
    assert [attempt.limit for attempt in attempts] == ["first_token", "", "first_token"]
    assert all(attempt.reason for attempt in attempts)
    assert late.model == "c,mute=0"
    assert "a,silent" in "".join(late.__notes__)
    assert [lab.counts(attempt.model).asked for attempt in attempts] == [1, 1, 1]


@both_ways
@streamed_or_not
def test_a_fallback_gets_what_is_left_of_total_and_never_more(streamed: bool, asynchronous: bool, lab: Lab) -> None:
    total = 0.4
    timer = BareTimer(total)
    late = with_fallback(OPENAI, asynchronous, streamed, "b,runaway,rate=400", total=total).call(lab.url, "a,silent")
    assert timer.lateness() < (SOON + total) / total
    assert late.late.limit == "total"
    assert late.late.elapsed >= total
    assert late.late.model == "b,runaway,rate=400"


def test_a_model_that_was_silent_is_not_asked_again_in_the_same_call(lab: Lab) -> None:
    seen = with_fallback(OPENAI, False, True, "silent", STAND_IN).call(lab.url, "silent")
    assert (seen.error, lab.counts("silent").asked) == (None, 1)


def test_the_last_refusal_reaches_the_caller_as_the_error_of_the_sdk(lab: Lab) -> None:
    how = How(OPENAI, ours={"fallback": ["b,status=503"]}, theirs={"max_retries": 0})
    seen = how.call(lab.url, "a,status=500")
    assert type(seen.error).__name__ == "InternalServerError"
    assert getattr(seen.error, "status_code", None) == 503


class RefusesOnce(httpcore2.NetworkBackend):
    """Nobody listens at the first time."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.tries = 0

    def connect_tcp(self, *args: Any, **named: Any) -> Any:
        self.tries += 1
        if self.tries == 1:
            raise httpcore2.ConnectError("connection refused")
        return self.inner.connect_tcp(*args, **named)


class ARefusesOnce(httpcore2.AsyncNetworkBackend):
    """The same, to be awaited."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.tries = 0

    async def connect_tcp(self, *args: Any, **named: Any) -> Any:
        self.tries += 1
        if self.tries == 1:
            raise httpcore2.ConnectError("connection refused")
        return await self.inner.connect_tcp(*args, **named)


@both_ways
@streamed_or_not
def test_a_connection_that_is_refused_is_a_reason_to_ask_another(streamed: bool, asynchronous: bool, lab: Lab) -> None:
    if asynchronous:

        async def ask() -> str:
            client = async_client(OPENAI, lab.url, {"fallback": [STAND_IN]}, max_retries=0)
            pool = client._client._transport.inner._pool
            pool._network_backend = ARefusesOnce(pool._network_backend)
            answer = await APIS[OPENAI].ask(client, "a,silent", streamed)
            text = "".join([APIS[OPENAI].piece(item) async for item in answer]) if streamed else ""
            assert in_use(client) == []
            await client.close()
            return text or APIS[OPENAI].whole(answer)

        text = asyncio.run(ask())
    else:
        client = sync_client(OPENAI, lab.url, {"fallback": [STAND_IN]}, max_retries=0)
        pool = client._client._transport.inner._pool
        pool._network_backend = RefusesOnce(pool._network_backend)
        answer = APIS[OPENAI].ask(client, "a,silent", streamed)
        text = "".join(map(APIS[OPENAI].piece, answer)) if streamed else APIS[OPENAI].whole(answer)
        assert in_use(client) == []
        client.close()
    assert text == text_of(STAND_IN)
    assert (lab.counts("a,silent").asked, lab.counts(STAND_IN).asked) == (0, 1)


@both_ways
@each_sdk
def test_where_nobody_listens_the_error_is_the_one_of_the_sdk(sdk: str, asynchronous: bool, lab: Lab) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        theirs: dict[str, Any] = {} if sdk == OLLAMA else {"max_retries": 0}
        ours = How(sdk, asynchronous, ours={"fallback": ["b"]}, theirs=theirs).call(url, "a")
        bare = How(sdk, asynchronous, ours=None, theirs=theirs).call(url, "a")
    assert type(ours.error) is type(bare.error)
    assert ours.error is not None


def test_what_is_not_a_generation_has_no_fallback(lab: Lab) -> None:
    with hangtight.http.client(fallback=[STAND_IN]) as client:
        answer: httpx2.Response = client.post(f"{lab.url}/v1/embeddings", json={"model": "m", "input": "a"})
        assert answer.status_code == 404
    assert lab.counts(STAND_IN).asked == 0
