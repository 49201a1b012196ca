"""The lab's HTTP: what it reads, what it refuses, and how connections are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from hangtight.testing.lab import Lab, text_of
from hangtight.testing.lab.http import MAX_BODY, MAX_HEAD
from hangtight.testing.lab.raw import Raw, unchunked

MODEL = "m,tokens=2,rate=9999"
BODY = json.dumps({"model": MODEL, "stream": True}).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: lab\r\n"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


@pytest.fixture
def raw(lab: Lab) -> Iterator[Raw]:
    with Raw(lab.url) as raw:
        yield raw


def test_a_connection_serves_one_request_after_the_other(raw: Raw) -> None:
    for number in (1, 2, 3):
        raw.ask("/v1/chat/completions", model=MODEL, stream=True)
        raw.until(lambda seen, number=number: seen.count(b"0\r\n\r\n") == number)  # type: ignore[misc]


def test_a_request_that_was_sent_too_early_is_served_in_its_turn(raw: Raw) -> None:
    request = POST + b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
    raw.send(request + request)
    raw.until(lambda seen: seen.count(b"0\r\n\r\n") == 2)


def test_a_body_may_come_in_chunks_with_extensions_and_trailers(raw: Raw) -> None:
    half = len(BODY) // 2
    raw.send(POST + b"Transfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%s\r\n" % (half, BODY[:half]))
    raw.send(b"%x\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(BODY) - half, BODY[half:]))
    assert b"[DONE]" in raw.whole()


def test_a_client_that_expects_a_hundred_gets_it(raw: Raw) -> None:
    raw.send(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
    raw.until(b"100 Continue")
    raw.send(BODY).until(b"[DONE]")


def test_who_says_close_is_closed_after_the_answer(raw: Raw) -> None:
    raw.send(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)).rest()
    assert raw.is_whole
    assert "connection: close" in raw.head


def test_a_client_of_http_1_0_gets_a_body_without_chunks(raw: Raw) -> None:
    raw.send(POST.replace(b"1.1", b"1.0") + b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)).rest()
    assert "transfer-encoding" not in raw.head
    assert raw.seen.endswith(b"data: [DONE]\n\n")
    assert text_of(MODEL).split()[0].encode() in raw.seen


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / SPDY/3\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nname : x\r\n\r\n", 400),
        (POST + b"Content-Length: -5\r\n\r\n", 400),
        (POST + b"Content-Length: ten\r\n\r\n", 400),
        (POST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1), 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (MAX_BODY + 1), 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (POST + b"X: " + b"x" * (MAX_HEAD + 10) + b"\r\n\r\n", 431),
    ],
)
def test_what_cannot_be_read_is_refused_and_the_connection_closed(raw: Raw, request_bytes: bytes, status: int) -> None:
    raw.send(request_bytes)
    raw.until(b"\r\n\r\n")
    assert raw.status == status
    assert json.loads(raw.whole())["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"5", b'{"model": ""}', b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_request_is_a_400(raw: Raw, body: bytes) -> None:
    raw.send(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)).whole()
    assert raw.status == 400


@pytest.mark.parametrize("part", [b"", b"POST /v1", POST, POST + b"Content-Length: 50\r\n\r\n{"])
def test_a_client_that_leaves_in_the_middle_of_its_request_harms_nobody(lab: Lab, part: bytes) -> None:
    with Raw(lab.url) as leaver:
        leaver.send(part)
    with Raw(lab.url).get("/health") as other:
        assert other.whole()


def test_a_client_that_closes_only_its_sending_half_counts_as_gone(lab: Lab) -> None:
    with Raw(lab.url).ask("/v1/chat/completions", model="m,silent") as raw:
        lab.when("m,silent", lambda counts: counts.open == 1)
        raw.finish_sending()
        assert lab.settled("m,silent").cancelled == 1


def test_unchunking_knows_a_whole_body_from_a_cut_one() -> None:
    assert unchunked(b"3\r\nabc\r\n0\r\n\r\n") == (b"abc", True)
    assert unchunked(b"3\r\nab") == (b"ab", False)
    assert unchunked(b"") == (b"", False)
