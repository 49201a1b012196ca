"""A bare model server, so cheap that what is measured is what stands in front of it.

`python -m benchmarks.gateway.upstream PORT` prints "ready" when it listens.
It speaks HTTP/1.1 with keep-alive and answers as the script in the request's `user` says (see `said.py`). It trusts
whoever calls: it is for loopback, and for as long as a measurement takes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import cache, partial
from typing import cast

import uvloop

from benchmarks.gateway.processes import more_files
from benchmarks.gateway.said import EMBEDDED, EMBEDDINGS, MODEL, WHOLE, Script, read, texts

BACKLOG = 4096
CHUNK = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(raw: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(raw), raw)


def event(delta: dict[str, str], reason: str | None, **more: float) -> bytes:
    told = {**CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}
    return b"data: %s\n\n" % json.dumps(told, separators=(",", ":")).encode()


@cache
def tokens(said: str, count: int) -> tuple[bytes, ...]:
    """All that is sent for each token; made once, so that a token costs one write."""
    return tuple(chunked(event({"content": text}, None)) for text in texts(said, count))


LAST = chunked(event({}, "stop") + b"data: [DONE]\n\n") + b"0\r\n\r\n"


def whole(body: object) -> bytes:
    raw = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(raw), raw)


MESSAGE = {"role": "assistant", "content": WHOLE}
USAGE = {"prompt_tokens": 9, "completion_tokens": 50, "total_tokens": 59}
PLAIN = whole({
    "id": "c-1", "object": "chat.completion", "created": 1, "model": MODEL, "usage": USAGE,
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
})  # fmt: skip
VECTOR = {"object": "embedding", "index": 0, "embedding": [0.0123456789] * EMBEDDED}
EMBEDDING = whole(
    {"object": "list", "data": [VECTOR], "model": MODEL, "usage": {"prompt_tokens": 9, "total_tokens": 9}}
)
MODELS = whole({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "bench"}]})
FINE = whole({"status": "ok"})


class Server(asyncio.Protocol):
    """One connection: requests in, one after the other, each answered before the next one."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.buffer = bytearray()
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has all of it, and is none

    def connection_lost(self, error: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.buffer[:end]).decode("latin-1")
            taken = self._body(head.lower(), end + 4)
            if taken is None:
                return
            method, path, _ = head.split(" ", 2)
            self._answer(method, path, taken)

    def _body(self, head: str, begin: int) -> bytes | None:
        """The body of the request, taken out of the buffer with its head; None where some of it is still to come."""
        if "transfer-encoding: chunked" in head:
            end = self.buffer.find(b"0\r\n\r\n", begin)
            if end < 0:
                return None
            body, after = joined(bytes(self.buffer[begin:end])), end + 5
        else:
            _, found, rest = head.partition("content-length:")
            after = begin + (int(rest.split("\r\n", 1)[0]) if found else 0)
            if len(self.buffer) < after:
                return None
            body = bytes(self.buffer[begin:after])
        del self.buffer[:after]
        return body

    def _answer(self, method: str, path: str, body: bytes) -> None:
        if method == "GET":
            self.transport.write(MODELS if path.endswith("/models") else FINE)
            return
        asked = json.loads(body or b"{}")
        script = read(asked.get("user") or "")
        if path == EMBEDDINGS:
            self.transport.write(EMBEDDING)
        elif script.refuses or not asked.get("stream"):
            self.transport.write(PLAIN)
        else:
            self.transport.write(HEAD)
            self._stream(script)

    def _stream(self, script: Script) -> None:
        chunks = tokens(script.said, script.tokens)
        if script.gap:
            self._step(script, chunks, 0, self.loop.time())
        else:
            self.transport.write(b"".join(chunks) + LAST)

    def _step(self, script: Script, chunks: tuple[bytes, ...], at: int, begun: float) -> None:
        """One token, each at the instant that the beginning fixed. A gap after the last one would be late with all
        others of the same turn of the loop, and have the same end: the streams would march in step before long."""
        if at == script.silent_after - 1:  # the last one, which says when
            text = texts(script.said, script.tokens)[at]
            self.transport.write(chunked(event({"content": text}, None, x_silent_since=time.monotonic())))
        elif at == len(chunks):
            self.transport.write(LAST)
        else:
            self.transport.write(chunks[at])
            then = begun + (at + 1) * script.gap
            self.timer = self.loop.call_at(then, partial(self._step, script, chunks, at + 1, begun))


def joined(raw: bytes) -> bytes:
    """The chunks of a body as one."""
    parts = []
    while raw:
        length, _, raw = raw.partition(b"\r\n")
        size = int(length, 16)
        parts.append(raw[:size])
        raw = raw[size + 2 :]
    return b"".join(parts)


async def serve(port: int) -> None:
    more_files()
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port, backlog=BACKLOG)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve(int(sys.argv[1])))
