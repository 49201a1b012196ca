"""HTTP with the installed command: as old and odd clients speak it, and as it is spoken to deceive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.gateway.kit import Served, all_at
from tests.gateway.rude import (
    ANSWER,
    CHAT,
    JSON,
    LAST,
    Caller,
    Heard,
    Puppet,
    Says,
    always,
    asked,
    beginning,
    chunk,
    delta,
    once,
    request,
    saying,
    streamed,
    whole,
)

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def served(puppet: Puppet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = all_at(puppet.url) + "circuit: false\ngateway: {body: 50000}\n"
    with Served(tmp_path_factory.mktemp("served"), settings) as served:
        yield served
        assert "Traceback" not in served.said


# -- one request stays one ------------------------------------------------------------------------------------

HIDDEN = b"GET /hangtight/stats HTTP/1.1\r\nHost: localhost\r\n\r\n"
SMUGGLED = [
    request("POST", CHAT, b"Transfer-Encoding: chunked", body=LAST + HIDDEN),
    request("POST", CHAT, b"Content-Length: 3", body=b"abcd" + HIDDEN),
    request("POST", CHAT, b"Content-Length: 4", b"Content-Length: 4") + b"abcd",
    request("POST", CHAT, b"Content-Length: 4, 4") + b"abcd",
    request("POST", CHAT, b"Content-Length: +4") + b"abcd",
    request("POST", CHAT, b"Content-Length: 0x4") + b"abcd",
    request("POST", CHAT, b"Content-Length : 4") + b"abcd",
    request("POST", CHAT, b" Content-Length: 4") + b"abcd",
    request("POST", CHAT, b"Transfer-Encoding: xchunked") + LAST,
    request("POST", CHAT, b"Transfer-Encoding: chunked, identity") + LAST,
    request("POST", CHAT, b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + LAST,
    request("POST", CHAT, b"Transfer-Encoding:\x0bchunked") + LAST,
    request("POST", CHAT, b"Transfer-Encoding: chunked") + b"0x1\r\na\r\n" + LAST,
    request("POST", CHAT, b"Transfer-Encoding: chunked") + b"-1\r\na\r\n" + LAST,
    request("POST", CHAT, b"Transfer-Encoding: chunked") + b"2\r\naaa\r\n" + LAST,
    request("POST", CHAT, b"Transfer-Encoding: chunked") + b"1\na\n0\n\n",
    request("POST", CHAT, b"X-A: b\r\n c: d", body=b"{}"),
    request("POST", CHAT, b"X-A: b\nX-C: d", body=b"{}"),
    request("POST", CHAT, b"X-A: b\rX-C: d", body=b"{}"),
    request("POST", CHAT, b"X-A: b\0", body=b"{}"),
    request("POST", CHAT, b"X A: b", body=b"{}"),
    b"POST /v1/x HTTP/1.1\nHost: localhost\nContent-Length: 13\n\n" + b'{"model":"m"}',
    b"GET /v1/x?model=m HTTP/1.1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /v1/x y?model=m HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
]


@pytest.mark.parametrize("data", SMUGGLED, ids=range(len(SMUGGLED)))
def test_what_two_could_read_in_two_ways_is_refused_and_the_connection_closed(
    served: Served, server: Puppet, data: bytes
) -> None:
    with Caller(served.url) as caller:
        assert caller.say(data).answer().status == 400
        assert caller.rest() == b""
    assert server.heard == []


# -- HTTP as it is spoken -------------------------------------------------------------------------------------


def test_a_client_of_http_1_0_is_answered_and_the_connection_closed(served: Served, server: Puppet) -> None:
    with Caller(served.url) as caller:
        answer = caller.say(asked(CHAT, saying()).replace(b"HTTP/1.1", b"HTTP/1.0", 1)).answer()
        assert (answer.status, answer[b"connection"], caller.rest()) == (200, b"close", b"")


def test_a_stream_for_a_client_of_http_1_0_is_not_in_chunks(served: Served, server: Puppet) -> None:
    server.says = always(streamed(), chunk(delta("a")), chunk(delta(None)), LAST)
    answer = once(served.url, asked(CHAT, saying(stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    assert b"transfer-encoding" not in answer
    assert answer.body == delta("a") + delta(None)


def test_a_client_that_wants_to_be_told_to_go_on_is_told(served: Served, server: Puppet) -> None:
    head, _, body = asked(CHAT, saying(), b"Expect: 100-continue").partition(b"\r\n\r\n")
    with Caller(served.url) as caller:
        assert caller.say(head + b"\r\n\r\n").head().status == 100
        assert caller.say(body).answer().status == 200
        refused = request("POST", CHAT, b"Expect: 100-continue", b"Content-Length: 60000")
        assert caller.say(refused).head().status == 413
    assert b"expect" not in server.heard[0].head


def test_head_has_the_head_alone(served: Served, server: Puppet) -> None:
    server.says = always(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\nx-a: b\r\n\r\n")
    with Caller(served.url) as caller:
        answer = caller.say(request("HEAD", "/v1/x?model=m")).answer(bodiless=True)
        assert (answer.status, answer[b"x-a"]) == (200, b"b")
        assert caller.say(request("HEAD", "/metrics")).answer(bodiless=True).status == 200
        assert caller.say(request("GET", "/health")).answer().status == 200


def test_requests_in_one_breath_are_answered_in_order(served: Served, server: Puppet) -> None:
    async def echo(heard: Heard) -> AsyncIterator[bytes]:
        yield whole(heard.body, JSON)

    server.says = echo
    bodies = [saying(stream=True, number=number) for number in range(20)]
    with Caller(served.url) as caller:
        caller.say(b"".join(asked(CHAT, body) for body in bodies))
        assert [caller.answer().told for _ in bodies] == bodies


def test_a_connection_lives_on_after_each_kind_of_error(served: Served, server: Puppet) -> None:
    errors: list[tuple[bytes, Says]] = [
        (asked(CHAT, saying(), b"Origin: http://evil.example"), always()),
        (asked(CHAT, {"messages": []}), always()),
        (asked(CHAT, saying("a\0")), always()),
        (asked(CHAT, saying(), b"X-Hangtight-Total: x"), always()),
        (asked(CHAT, saying(), b"X-Hangtight-Mode: none-such"), always()),
        (request("POST", CHAT, body=b"{nonsense"), always()),
        (request("POST", "/v1/../x", body=b"{}"), always()),
        (request("PUT", "/metrics"), always()),
        (request("GET", "/hangtight/none"), always()),
        (asked(CHAT, saying()), always()),
        (asked(CHAT, saying()), always(b"rubbish")),
        (asked(CHAT, saying(stream=True)), always(streamed(), chunk(delta("a")))),
        (asked(CHAT, saying(stream=True), b"X-Hangtight-First-Token: 0.1"), beginning()),
    ]
    with Caller(served.url) as caller:
        for data, says in errors:
            server.says = says
            failed = caller.say(data).answer()
            assert failed.status >= 400 or b'"error"' in failed.body, data
            server.says = always(ANSWER)
            assert caller.say(asked(CHAT, saying())).answer().status == 200, data
