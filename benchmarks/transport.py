"""What a transport of ours adds to a call and to a chunk, beneath httpx2 and above a server that costs nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import httpcore2
import httpx2

import hangtight
from benchmarks.row import Row
from hangtight.testing.lab.healthy import said_of_code

CALLS = 2_000
CHUNKS = 20_000
TOKEN = 4
"""Characters of a usual token."""
ROUNDS = 7
MICRO = 1e6

URL = "http://127.0.0.1:1/v1/chat/completions"
ASKED = {"model": "qwen3:1.7b", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "stream": True}
HEADERS = {"content-type": "text/event-stream"}
TOLD: dict[str, Any] = {
    "id": "chatcmpl-123",
    "object": "chat.completion.chunk",
    "created": 1_750_000_000,
    "model": "qwen3:1.7b",
    "system_fingerprint": "fp",
    "choices": [{"index": 0, "delta": {"content": " token"}, "logprobs": None, "finish_reason": None}],
}


def chunk_of(text: str) -> bytes:
    told = {**TOLD, "choices": [{**TOLD["choices"][0], "delta": {"content": text}}]}
    return b"data: " + json.dumps(told).encode() + b"\n\n"


CHUNK = chunk_of(" token")
LAST = CHUNK.replace(b'"finish_reason": null', b'"finish_reason": "stop"')
DONE = b"data: [DONE]\n\n"


class Answer(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """These chunks, at once."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self.chunks
        yield LAST
        yield DONE

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


class Server(httpx2.HTTPTransport, httpx2.AsyncBaseTransport):
    """No network at all; the pool is there because the synchronous transport looks for one."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._pool = httpcore2.ConnectionPool()
        self.chunks = chunks

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers=HEADERS, stream=Answer(self.chunks))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers=HEADERS, stream=Answer(self.chunks))


class Cost(NamedTuple):
    """Seconds of CPU: until the heads of the answers were there, and in all."""

    head: float
    whole: float

    def over(self, other: Cost) -> Cost:
        return Cost(self.head - other.head, self.whole - other.whole)


def synchronous(transport: httpx2.BaseTransport, calls: int) -> Cost:
    """So many calls, each read to its end."""
    head = 0.0
    with httpx2.Client(transport=transport, timeout=None) as client:
        start = time.process_time()
        for _ in range(calls):
            request = client.build_request("POST", URL, json=ASKED)
            sent = time.process_time()
            response = client.send(request, stream=True)
            head += time.process_time() - sent
            for _ in response.iter_raw():
                pass
            response.close()
        return Cost(head, time.process_time() - start)


async def asynchronous(transport: httpx2.AsyncBaseTransport, calls: int) -> Cost:
    head = 0.0
    async with httpx2.AsyncClient(transport=transport, timeout=None) as client:
        start = time.process_time()
        for _ in range(calls):
            request = client.build_request("POST", URL, json=ASKED)
            sent = time.process_time()
            response = await client.send(request, stream=True)
            head += time.process_time() - sent
            async for _ in response.aiter_raw():
                pass
            await response.aclose()
        return Cost(head, time.process_time() - start)


Settings = dict[str, Any] | None
"""What a transport of ours is made with; None is a bare one."""


def cost(kind: str, chunks: list[bytes], calls: int, settings: Settings) -> Cost:
    server = Server(chunks)
    http = hangtight.http
    if kind == "sync":
        used = server if settings is None else http.transport(lib="httpx2", inner=server, **settings)
        return synchronous(used, calls)
    used = server if settings is None else http.async_transport(lib="httpx2", inner=server, **settings)
    return asyncio.run(asynchronous(used, calls))


def added(kind: str, chunks: list[bytes], calls: int, settings: Settings, than: Settings = None) -> Cost:
    """What a transport with these settings costs more than another: the least of several rounds of each."""
    other: list[Cost] = []
    ours: list[Cost] = []
    for _ in range(ROUNDS):
        gc.collect()
        other.append(cost(kind, chunks, calls, than))
        ours.append(cost(kind, chunks, calls, settings))
    return _least(ours).over(_least(other))


def _least(costs: list[Cost]) -> Cost:
    return Cost(min(cost.head for cost in costs), min(cost.whole for cost in costs))


def rows() -> list[Row]:
    found = []
    text = "".join(map(said_of_code, range(CHUNKS)))  # no loop, which would be cut
    code = [chunk_of(text[at : at + TOKEN]) for at in range(0, TOKEN * CHUNKS, TOKEN)]
    for kind in ("sync", "async"):
        call = added(kind, [], CALLS, {})
        chunk = (added(kind, [CHUNK] * CHUNKS, 1, {}).whole - call.whole / CALLS) / CHUNKS
        found.append(
            Row(f"transport, {kind}: added to a call, to the head of its answer", call.head / CALLS * MICRO, "µs", 60)
        )
        end = (call.whole - call.head) / CALLS * MICRO
        found.append(Row(f"transport, {kind}: added by its last two chunks and its end", end, "µs", float("inf")))
        found.append(Row(f"transport, {kind}: added to a chunk, its bytes read", chunk * MICRO, "µs", 6))
        found.append(_read_along(kind, code))
    return found


def _read_along(kind: str, code: list[bytes]) -> Row:
    """What it costs that the text moves the deadline."""
    more = added(kind, code, 1, {"mode": "deep"}, than={}).whole
    return Row(f"transport, {kind}: added to a token of code that is read along", more / len(code) * MICRO, "µs", 2)
