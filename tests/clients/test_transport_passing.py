"""What passes through a client of ours as it is: answers that are no generations, bodies, packing, proxies."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import pytest

import hangtight
from hangtight.testing.lab import Lab
from tests.clients.kit import (
    MESSAGES,
    OPENAI,
    How,
    async_client,
    nothing_left,
    one_lab,
    sync_client,
)
from tests.clients.peer import HELLO, Peer, Said

pytestmark = pytest.mark.real

SOON = 0.2
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


VECTOR: dict[str, Any] = {
    "object": "list",
    "model": "m",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 1.5]}],
}
VECTOR |= {"usage": {"prompt_tokens": 1, "total_tokens": 1}}
FOREIGN = {
    "embeddings": ("POST", "/v1/embeddings", Said(json.dumps(VECTOR).encode())),
    "models": ("GET", "/v1/models", Said(b'{"object":"list","data":[]}')),
    "binary": ("GET", "/v1/files/f/content", Said(bytes(range(256)) * 400, kind="application/octet-stream")),
    "packed": ("GET", "/v1/files/f/content", Said(gzip.compress(b"abc" * 999), headers={"content-encoding": "gzip"})),
    "not found": ("POST", "/v1/chat/completions", Said(b"<html>404</html>", status=404, kind="text/html")),
    "page": ("POST", "/v1/chat/completions", Said(b"<html>log in</html>", kind="text/html")),
    "empty": ("GET", "/v1/models", Said(b"", status=204)),
    "assistants": ("POST", "/v1/threads/t/messages", Said(b'{"id":"1","object":"thread.message"}')),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_an_answer_that_is_not_ours_passes_byte_for_byte(library: Any, name: str, lab: Lab) -> None:
    method, path, said = FOREIGN[name]
    body = {"model": "m", "messages": MESSAGES, "stream": True} if method == "POST" else None
    with Peer(said) as peer:
        found = []
        for client in (library.Client(), hangtight.http.client(lib=library.__name__)):
            with client, client.stream(method, f"{peer.url}{path}", json=body) as answer:
                raw = b"".join(answer.iter_raw())
                headers = {key: value for key, value in answer.headers.items() if key != "date"}
                found.append((answer.status_code, headers, raw))
        assert found[0] == found[1]
        assert found[1][2] == said.body
        assert peer.asked[0].body == peer.asked[1].body


def test_embeddings_models_and_files_come_through_the_sdk(lab: Lab) -> None:
    answers = [FOREIGN[name][2] for name in ("embeddings", "models", "binary")]
    with Peer(*answers) as peer, sync_client(OPENAI, peer.url, {}) as client:
        vector = client.embeddings.create(model="m", input="hello", encoding_format="float")
        assert vector.data[0].embedding == [0.5, 1.5]
        assert list(client.models.list()) == []
        assert client.files.content("f").read() == answers[2].body


@both_ways
def test_an_upload_in_parts_reaches_the_server_whole(asynchronous: bool, lab: Lab) -> None:
    answer = Said(b'{"text":"hello"}')
    sound = ("sound.wav", bytes(range(256)) * 64, "audio/wav")
    with Peer(answer) as peer:
        if asynchronous:

            async def upload() -> None:
                async with async_client(OPENAI, peer.url, {}) as client:
                    assert (await client.audio.transcriptions.create(model="m", file=sound)).text == "hello"

            asyncio.run(upload())
        else:
            with sync_client(OPENAI, peer.url, {}) as client:
                assert client.audio.transcriptions.create(model="m", file=sound).text == "hello"
        assert peer.asked[0].headers["content-type"].startswith("multipart/form-data")
        assert sound[1] in peer.asked[0].body


def test_a_stream_of_ours_comes_through_byte_for_byte(lab: Lab) -> None:
    with Peer(HELLO) as peer, hangtight.http.client() as client:
        body = {"model": "m", "messages": MESSAGES, "stream": True}
        with client.stream("POST", f"{peer.url}/v1/chat/completions", json=body) as answer:
            assert b"".join(answer.iter_raw()) == b"".join(HELLO.pieces)
        assert json.loads(peer.asked[0].body) == body


def test_a_body_that_is_made_while_it_is_sent_is_sent(lab: Lab) -> None:
    body = json.dumps({"model": "m", "messages": MESSAGES, "stream": True}).encode()
    with Peer(HELLO) as peer, hangtight.http.client() as client:
        answer = client.post(f"{peer.url}/v1/chat/completions", content=(body[at : at + 7] for at in range(0, 999, 7)))
        assert answer.content == b"".join(HELLO.pieces)
        assert peer.asked[0].body == body


@streamed_or_not
@both_ways
def test_an_answer_that_is_packed_all_the_same_is_understood(asynchronous: bool, streamed: bool, lab: Lab) -> None:
    whole = gzip.compress(b"".join(HELLO.pieces))
    pieces = tuple(whole[at : at + 20] for at in range(0, len(whole), 20))
    said = Said(kind="text/event-stream", headers={"content-encoding": "gzip"}, pieces=pieces)
    with Peer(said) as peer:
        seen = How(OPENAI, asynchronous, streamed).call(peer.url, "m")
    assert (seen.error, seen.text) == (None, "hello")


def test_a_client_asks_for_no_packing_that_it_cannot_read(lab: Lab) -> None:
    with Peer(HELLO) as peer:
        How(OPENAI).call(peer.url, "m")
        asked = peer.asked[0].headers["accept-encoding"]
        assert set(asked.split(", ")) <= {"identity", "gzip", "deflate"}


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_proxy_of_the_environment_is_used_and_kept_under_the_limits(
    library: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Peer(HELLO, Said(after=9.0)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        body = {"model": "m", "messages": MESSAGES, "stream": True}
        with hangtight.http.client(lib=library, first_token=SOON) as client:
            answer = client.post("http://model.invalid/v1/chat/completions", json=body)
            assert answer.content == b"".join(HELLO.pieces)
            assert proxy.asked[0].path == "http://model.invalid/v1/chat/completions"
            with pytest.raises(hangtight.FirstTokenTimeout):
                client.post("http://model.invalid/v1/chat/completions", json=body)
