"""Where a deadline could be missed: foreign calls, pools, redirects, retries, dead addresses."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import httpx2
import pytest

import hangtight
from hangtight.testing import jumping
from hangtight.testing.lab import Lab
from tests.clients.kit import (
    MESSAGES,
    NO_TLS,
    OPENAI,
    SDKS,
    BareTimer,
    How,
    async_client,
    nothing_left,
    one_lab,
    sync_client,
)
from tests.clients.peer import HELLO, Peer, Said
from tests.clients.wild import LONG, WORDS, Line, Wild

pytestmark = pytest.mark.real

SOON = 0.2
HELD = LONG / SOON / 4
"""Who is that late, against a timer of `SOON`, was held."""
CHAT: dict[str, Any] = {"model": "m", "messages": MESSAGES}
VECTOR = b'{"object":"list","model":"m","data":[],"usage":{"prompt_tokens":1,"total_tokens":1}}'
CALLS = {
    "embeddings": lambda client, **more: client.embeddings.create(model="m", input="x", **more),
    "models": lambda client, **more: client.models.list(**more),
    "reasoning": lambda client, **more: client.chat.completions.create(**CHAT, reasoning_effort="low", **more),
    "audio": lambda client, **more: client.chat.completions.create(
        **CHAT, modalities=["text", "audio"], audio={"voice": "a", "format": "wav"}, **more
    ),
    "streamed": lambda client, **more: client.chat.completions.create(**CHAT, stream=True, **more),
    "unstreamed": lambda client, **more: client.chat.completions.create(**CHAT, **more),
}
each_sdk = pytest.mark.parametrize("sdk", SDKS)
both_ways = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "unstreamed"])


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with one_lab() as lab:
        yield lab


@pytest.fixture(autouse=True)
def _clean(shared: Lab) -> Iterator[None]:
    with nothing_left(shared):
        yield


def silent(line: Line) -> None:
    line.hold()


def error_of(call: str, asynchronous: bool, url: str, ours: dict[str, Any], **more: Any) -> BaseException | None:
    """What one of the calls above raises."""

    async def ask() -> Any:
        async with async_client(OPENAI, url, ours, max_retries=0) as client:
            return await CALLS[call](client, **more)

    try:
        if asynchronous:
            asyncio.run(ask())
        else:
            with sync_client(OPENAI, url, ours, max_retries=0) as client:
                CALLS[call](client, **more)
    except Exception as error:
        return error
    return None


# -- a timeout that was given to the client library ---------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
@both_ways
def test_a_timeout_of_the_sdk_ends_whatever_call_it_was_given_for(call: str, asynchronous: bool) -> None:
    with Wild(silent) as server:
        timer = BareTimer(SOON)
        error = error_of(call, asynchronous, server.url, {}, timeout=SOON)
        assert isinstance(error, hangtight.GenerationTimeout)
        assert error.source == f"timeout={SOON} of the client library"
        assert timer.lateness() < HELD
        assert len(server.asked) == 1


def test_a_timeout_of_five_seconds_means_five_seconds_though_httpx_has_the_same_default() -> None:
    with Peer(Said(VECTOR)) as peer, sync_client(OPENAI, peer.url, {}) as client:
        answer = client.embeddings.with_raw_response.create(model="m", input="x", encoding_format="float", timeout=5)
        assert clocks_of(answer.http_response).unstreamed == 5
    with Peer(HELLO) as peer, sync_client(OPENAI, peer.url, {}) as client:
        answer = client.chat.completions.with_raw_response.create(**CHAT, timeout=5)
        assert (clocks_of(answer.http_response).first_token, clocks_of(answer.http_response).idle) == (5, 5)


def test_the_default_of_httpx_around_our_transport_says_nothing() -> None:
    usual, body = hangtight.Limits(), {"model": "m", "input": "x"}
    with Peer(Said(VECTOR)) as peer:
        for library in (httpx, httpx2):
            with library.Client(transport=hangtight.http.transport(lib=library.__name__, verify=NO_TLS)) as client:
                assert clocks_of(client.post(f"{peer.url}/v1/embeddings", json=body)).unstreamed == 600
                chat = client.post(f"{peer.url}/v1/chat/completions", json=CHAT)
                assert chat.extensions["hangtight"].resolved.limits == usual


def clocks_of(response: Any) -> Any:
    return response.extensions["hangtight"].resolved.clocks


def test_embeddings_have_the_time_that_the_sdks_give_them_unless_somebody_gave_another() -> None:
    for ours, seconds in (({}, 600), ({"idle": 3, "first_token": 3}, 600), ({"unstreamed": 7}, 7)):
        with Peer(Said(VECTOR)) as peer, sync_client(OPENAI, peer.url, ours) as client:
            answer = client.embeddings.with_raw_response.create(model="m", input="x", encoding_format="float")
            assert clocks_of(answer.http_response).unstreamed == seconds


@both_ways
def test_embeddings_outlive_the_limits_of_generations_and_keep_the_one_of_their_own(asynchronous: bool) -> None:
    def late(line: Line) -> None:
        line.hold(2 * SOON)
        line.whole(VECTOR)

    with Wild(late) as server:
        ours = {"idle": SOON, "first_token": SOON}
        assert error_of("embeddings", asynchronous, server.url, ours, encoding_format="float") is None
        error = error_of("embeddings", asynchronous, server.url, {"unstreamed": SOON}, encoding_format="float")
        assert isinstance(error, hangtight.TotalTimeout)
        assert error.limit == "unstreamed"


def test_embeddings_may_take_ten_minutes_and_no_longer() -> None:
    async def asked(seconds: float) -> BaseException | None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(seconds)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
            writer.close()

        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1/embeddings"
        async with listening, hangtight.http.async_client(verify=NO_TLS) as client:
            try:
                await client.post(url, json={"model": "m", "input": "x"})
            except hangtight.GenerationTimeout as error:
                await asyncio.sleep(seconds)
                return error
        return None

    assert jumping(asked(500)) is None
    late = jumping(asked(700))
    assert isinstance(late, hangtight.TotalTimeout)
    assert (late.limit, round(late.elapsed)) == ("unstreamed", 600)


# -- before anything is sent --------------------------------------------------------------------------------------


def test_waiting_for_a_connection_of_the_pool_has_the_clocks() -> None:
    with Wild(half) as server, hangtight.http.client(total=SOON, limits=httpx2.Limits(max_connections=1)) as client:
        body = {**CHAT, "stream": True}
        with client.stream("POST", f"{server.url}/v1/chat/completions", json=body) as first:
            pieces = first.iter_bytes()
            next(pieces)  # a slow reader: it keeps the only connection
            timer = BareTimer(SOON)
            with pytest.raises(hangtight.TotalTimeout):
                client.post(f"{server.url}/v1/chat/completions", json=body)
            assert timer.lateness() < HELD


def test_waiting_for_a_connection_of_the_pool_in_a_loop_has_the_clocks() -> None:
    async def ask(url: str) -> None:
        body = {**CHAT, "stream": True}
        only = httpx2.Limits(max_connections=1)
        async with (
            hangtight.http.async_client(total=SOON, limits=only) as client,
            client.stream("POST", f"{url}/v1/chat/completions", json=body) as first,
        ):
            pieces = aiter(first.aiter_bytes())
            await anext(pieces)
            timer = BareTimer(SOON)
            with pytest.raises(hangtight.TotalTimeout):
                await client.post(f"{url}/v1/chat/completions", json=body)
            assert timer.lateness() < HELD

    with Wild(half) as server:
        asyncio.run(ask(server.url))


def half(line: Line) -> None:
    line.head()
    line.say(*WORDS[OPENAI].hello)
    line.hold()


@contextmanager
def deaf_addresses(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a name with three addresses of this machine; none of them lets anybody in."""
    with ExitStack() as stack:
        port = 0
        for host in (hosts := ("127.0.0.2", "127.0.0.3", "127.0.0.4")):
            listener = stack.enter_context(socket.socket())
            listener.bind((host, port))
            listener.listen(0)
            port = listener.getsockname()[1]
            for _ in range(3):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex((host, port))
        real = socket.getaddrinfo

        def three(name: Any, *args: Any, **named: Any) -> Any:
            if name not in ("many.test", b"many.test"):
                return real(name, *args, **named)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]

        monkeypatch.setattr(socket, "getaddrinfo", three)
        yield f"http://many.test:{port}"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only 127.0.0.1 is of this machine")
@both_ways
def test_several_silent_addresses_share_what_is_left(asynchronous: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    total = 2 * SOON
    with deaf_addresses(monkeypatch) as url:
        timer = BareTimer(total)
        seen = How(OPENAI, asynchronous, ours={"total": total}, theirs={"max_retries": 0}).call(url, "m")
        assert timer.lateness() < 2
        assert seen.late.limit == "total"


# -- several requests, one call -----------------------------------------------------------------------------------


@both_ways
@streamed_or_not
def test_a_redirect_that_leads_round_in_circles_has_one_deadline(asynchronous: bool, streamed: bool) -> None:
    def elsewhere(line: Line) -> None:
        line.hold(SOON / 2)
        line.whole(status="307 Temporary Redirect", location=f"/v1/chat/completions?{len(line.server.asked)}")

    with Wild(elsewhere) as server:
        timer = BareTimer(2 * SOON)
        how = How(OPENAI, asynchronous, streamed, {"total": 2 * SOON}, theirs={"max_retries": 0})
        assert how.call(server.url, "m").late.limit == "total"
        assert timer.lateness() < 4
        assert len(server.asked) > 1


@both_ways
@streamed_or_not
def test_nothing_is_sent_after_the_deadline(asynchronous: bool, streamed: bool) -> None:
    later = {"retry-after-ms": str(4 * SOON * 1000)}
    with Peer(Said(b'{"error":{"message":"slowly"}}', status=429, headers=later)) as peer:
        seen = How(OPENAI, asynchronous, streamed, {"total": 2 * SOON}).call(peer.url, "m")
        assert isinstance(seen.error, hangtight.TotalTimeout)
        assert len(peer.asked) == 1
