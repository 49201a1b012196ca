"""Servers that do not do as they say: packing, content types, paths of others, two addresses of one name."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import hangtight
from hangtight.drivers.http import memory
from hangtight.testing.lab import Lab
from tests.clients.kit import (
    APIS,
    MESSAGES,
    OLLAMA,
    OPENAI,
    SDKS,
    How,
    nothing_left,
    one_lab,
    sync_client,
)
from tests.clients.peer import HELLO, Peer, Said, chat_chunk, sse
from tests.clients.wild import JSON, LINES, LONG, WORDS, Line, Wild, hello

pytestmark = pytest.mark.real

SOON = 0.2
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


# -- packing ------------------------------------------------------------------------------------------------------

WHOLE = b"".join(HELLO.pieces)


def bare_deflate(data: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(data) + packing.flush()


def packed(encoding: str, *pieces: bytes) -> Said:
    return Said(kind=HELLO.kind, headers={"content-encoding": encoding}, pieces=pieces)


@streamed_or_not
@both_ways
def test_deflate_without_its_wrapping_is_read(asynchronous: bool, streamed: bool) -> None:
    with Peer(packed("deflate", bare_deflate(WHOLE))) as peer:
        seen = How(OPENAI, asynchronous, streamed, theirs={"max_retries": 0}).call(peer.url, "m")
    assert (seen.error, seen.text) == (None, "hello")


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "at once"])
@both_ways
def test_a_gzip_of_several_members_is_read_to_its_end(asynchronous: bool, at_once: bool) -> None:
    members = [gzip.compress(piece) for piece in HELLO.pieces]
    with Peer(packed("gzip", *([b"".join(members)] if at_once else members))) as peer:
        seen = How(OPENAI, asynchronous, False, theirs={"max_retries": 0}).call(peer.url, "m")
    assert (seen.error, seen.text) == (None, "hello")


@streamed_or_not
@both_ways
def test_each_member_of_a_gzip_is_progress(asynchronous: bool, streamed: bool) -> None:
    pieces = [gzip.compress(piece) for piece in (*sse(*[chat_chunk("x")] * 6), *HELLO.pieces[-2:])]

    def slowly(line: Line) -> None:
        line.head(content_encoding="gzip")
        for piece in pieces:
            line.say(piece)
            line.hold(SOON / 2)
        line.end()

    with Wild(slowly) as server:
        ours = {"idle": SOON, "first_token": SOON}
        seen = How(OPENAI, asynchronous, streamed, ours, {"max_retries": 0}).call(server.url, "m")
    # The client library above reads the first member only, and we hand on what came.
    assert seen.error is None
    assert seen.text == ("x" if streamed else "x" * 6)


@streamed_or_not
@both_ways
@pytest.mark.parametrize(
    "body", [b"not packed at all", gzip.compress(WHOLE)[:30] + b"\xff\xff\xff\xff"], ids=["no", "half"]
)
def test_packing_that_is_broken_is_said_plainly(body: bytes, asynchronous: bool, streamed: bool) -> None:
    with Peer(packed("gzip", body)) as peer:
        seen = How(OPENAI, asynchronous, streamed, theirs={"max_retries": 0}).call(peer.url, "m")
    assert isinstance(seen.error, hangtight.BackendError)
    assert seen.text == ""
    if body.startswith(b"not"):
        assert "compression is broken" in str(seen.error)


BOMB = gzip.compress(b"\n" * (64 * 1024 * 1024), 6)


@streamed_or_not
@both_ways
def test_a_little_packing_that_becomes_a_lot_is_refused(asynchronous: bool, streamed: bool) -> None:
    with Peer(packed("gzip", BOMB)) as peer:
        seen = How(OPENAI, asynchronous, streamed, theirs={"max_retries": 0}).call(peer.url, "m")
    assert isinstance(seen.error, hangtight.BackendError)
    assert "larger than" in str(seen.error)


# -- what is not for a model --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/agents/7/messages", {"to": "bob", "text": "hi"}), ("/crm/api/chat", {"text": "hi"})]
)
def test_a_path_like_that_of_a_model_without_a_prompt_passes_untouched(path: str, body: dict[str, str]) -> None:
    async def post(url: str) -> None:
        async with hangtight.http.async_client(fallback=["b"]) as client:
            assert (await client.post(url, json=body)).status_code == 500

    with Peer(Said(b"{}", status=500)) as peer:
        with hangtight.http.client(fallback=["b"]) as client:
            assert client.post(f"{peer.url}{path}", json=body).status_code == 500
        asyncio.run(post(f"{peer.url}{path}"))
        assert [json.loads(asked.body) for asked in peer.asked] == [body, body]


@streamed_or_not
@both_ways
def test_half_a_character_in_a_prompt_arrives_as_it_was_sent(asynchronous: bool, streamed: bool) -> None:
    body = rb'{"model":"m","messages":[{"role":"user","content":"a\udfffb"}],"stream":%s}'
    sent = body % (b"true" if streamed else b"false")

    async def post(url: str) -> bytes:
        async with hangtight.http.async_client() as client:
            return bytes((await client.post(url, content=sent)).content)

    with Peer(HELLO) as peer:
        url = f"{peer.url}/v1/chat/completions"
        if asynchronous:
            assert b"lo" in asyncio.run(post(url))
        else:
            with hangtight.http.client() as client:
                assert b"lo" in client.post(url, content=sent).content
        arrived = peer.asked[0].body
        assert json.loads(arrived)["messages"][0]["content"] == "a\udfffb"
        assert rb"a\udfffb" in arrived
        assert json.loads(arrived)["stream"] is True


# -- an answer of another kind ------------------------------------------------------------------------------------


TAKEN_FOR_A_STREAM = (None, "text/event-stream")


@pytest.mark.parametrize("kind", [None, "text/plain", "Application/JSON", "text/event-stream", LINES, JSON])
@both_ways
@each_sdk
def test_json_from_a_server_that_ignores_stream_is_understood_whatever_it_is_called(
    sdk: str, asynchronous: bool, kind: str | None
) -> None:
    body = json.dumps(WORDS[sdk].whole).encode()

    def ignores_stream(line: Line) -> None:
        line.head(kind)
        line.say(body[:9], body[9:])
        line.end()

    theirs: dict[str, Any] = {} if sdk == OLLAMA else {"max_retries": 0}
    with Wild(ignores_stream) as server:
        seen = How(sdk, asynchronous, False, theirs=theirs).call(server.url, "m")
        bare = How(sdk, asynchronous, False, None, theirs).call(server.url, "m")
        if bare.error is None or kind in TAKEN_FOR_A_STREAM:
            assert (seen.error, seen.text) == (None, "hello")
        else:  # the SDK takes this type for plain text
            assert type(seen.error) is type(bare.error)
        assert len(server.asked) == 2


# -- a name with two addresses ------------------------------------------------------------------------------------


@both_ways
def test_a_load_is_seen_at_a_name_whose_first_address_nobody_listens_at(
    asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOOK_AFTER", "LOOK_EVERY"):
        monkeypatch.setattr(memory, name, SOON / 4)
    real = socket.getaddrinfo

    def two(host: Any, port: Any, *args: Any, **named: Any) -> Any:
        found = real(host, port, *args, **named)
        if host not in ("localhost", b"localhost"):
            return found
        there = [entry for entry in found if entry[0] == socket.AF_INET][:1]
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", int(port), 0, 0)), *there]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    looked = threading.Event()

    def loads(line: Line) -> None:
        if line.asked.path.endswith("/api/ps"):
            line.connection.sendall(b'HTTP/1.0 200 OK\r\ncontent-length: 13\r\n\r\n{"models":[]}')
            line.connection.shutdown(socket.SHUT_WR)
            looked.set()
            return
        looked.wait(LONG)
        line.hold(5 * SOON)
        hello(line, OLLAMA)

    with Wild(loads) as server:
        ours = {"first_token": 5 * SOON, "cold": None}
        seen = How(OLLAMA, asynchronous, False, ours).call(f"http://localhost:{server.port}", "m")
        assert (seen.error, seen.text) == (None, "hello")


# -- one client, many threads -------------------------------------------------------------------------------------


def test_no_text_is_mixed_among_twenty_threads_with_one_client() -> None:
    def repeats_its_name(line: Line) -> None:
        line.head()
        for count in range(8):
            line.say(*sse(chat_chunk(line.model + ",")))
            if line.model.endswith("silent") and count == 4:
                line.hold()
            time.sleep(0.005)
        line.say(*sse(chat_chunk("", "stop"), "[DONE]"))
        line.end()

    seen: Counter[str] = Counter()
    wrong: list[Any] = []

    def ask(client: Any, thread: int) -> None:
        for call in range(4):
            streamed, silent = call % 2 == 0, call == 3 or (thread % 4 == 0 and call == 2)
            model = f"{thread}.{call}" + ("silent" if silent else "")
            try:
                answer = client.chat.completions.create(model=model, messages=MESSAGES, stream=streamed)
                text = "".join(map(APIS[OPENAI].piece, answer)) if streamed else APIS[OPENAI].whole(answer)
                expected = text == 8 * f"{model}," and not silent
            except hangtight.IdleTimeout as late:
                text = late.partial
                expected = text == 5 * f"{model}," and silent
            except Exception as error:
                text, expected = repr(error), False
            seen["silent" if silent else "well"] += 1
            wrong.extend([] if expected else [(model, text)])

    ours = {"idle": 1, "first_token": LONG}
    with Wild(repeats_its_name) as server, sync_client(OPENAI, server.url, ours, max_retries=0) as client:
        threads = [threading.Thread(target=ask, args=(client, number)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert seen == {"well": 55, "silent": 25}
