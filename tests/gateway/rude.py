"""Clients and servers that mean no good: both speak in bytes, and remember all that they heard."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

PATIENCE = 20.0  # seconds: a bound for what hangs, never a measurement
PIECE = 65536
LONGEST_HEAD = 1 << 20

# -- a client -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """One whole answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    def __getitem__(self, name: bytes) -> bytes:
        return self.all(name)[0]

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self.headers)

    @property
    def told(self) -> Any:
        return json.loads(self.body)


class Caller:
    """One connection to a gateway."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        place = urlsplit(url)
        assert place.hostname is not None
        self.socket = socket.create_connection((place.hostname, place.port or 80), timeout=patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._heard.close()
        self.socket.close()

    def say(self, *pieces: bytes) -> Self:
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def hang_up(self) -> Self:
        """Nothing more is said; what comes is read on."""
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def answer(self, *, bodiless: bool = False) -> Answer:
        """The next one. Raises ConnectionError where none comes, or half of one."""
        head = self._head()
        while head.status < 200:
            head = self._head()
        return replace(head, body=b"" if bodiless or head.status in (204, 304) else self._body(head))

    def head(self) -> Answer:
        """The head of the next one, be it a preliminary one."""
        return self._head()

    def _line(self) -> bytes:
        line = self._heard.readline(LONGEST_HEAD)
        if not line.endswith(b"\n"):
            raise ConnectionError(f"closed in the middle of a line: {line[:80]!r}")
        return line.rstrip(b"\r\n")

    def _head(self) -> Answer:
        status = int(self._line().split()[1])
        headers = []
        while line := self._line():
            name, _, value = line.partition(b":")
            headers.append((name.lower(), value.strip()))
        return Answer(status, headers, b"")

    def _body(self, head: Answer) -> bytes:
        if b"transfer-encoding" in head:
            return b"".join(self._chunks())
        if b"content-length" not in head:
            return self.rest()
        length = int(head[b"content-length"])
        body = self._heard.read(length)
        if len(body) < length:
            raise ConnectionError(f"closed after {len(body)} of {length} bytes")
        return body

    def _chunks(self) -> Iterable[bytes]:
        while size := int(self._line().split(b";")[0], 16):
            data = self._heard.read(size)
            if len(data) < size or self._line():
                raise ConnectionError("closed in a chunk, or one of another length")
            yield data
        while self._line():
            pass

    def rest(self) -> bytes:
        """All that comes until the other side closes."""
        heard = b""
        with suppress(ConnectionError):
            while piece := self._heard.read1(PIECE):
                heard += piece
        return heard


def request(method: str, path: str, *fields: bytes, body: bytes | None = None, host: bytes = b"localhost") -> bytes:
    """A request in bytes; nothing of it is checked."""
    lines = [f"{method} {path} HTTP/1.1".encode("latin-1"), b"Host: " + host, *fields]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body or b""])


def asked(path: str, said: Any, *fields: bytes) -> bytes:
    """The same, with JSON in it."""
    return request("POST", path, b"Content-Type: application/json", *fields, body=json.dumps(said).encode())


def once(url: str, data: bytes, *, bodiless: bool = False) -> Answer:
    """The answer to this, on a connection of its own."""
    with Caller(url) as caller:
        return caller.say(data).answer(bodiless=bodiless)


# -- what they talk about -------------------------------------------------------------------------------------

CHAT = "/v1/chat/completions"
JSON = b"content-type: application/json"


def saying(model: str = "m", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}


def delta(text: str | None) -> bytes:
    """A chunk with this text; with None, the last one."""
    piece = {"delta": {} if text is None else {"content": text}, "finish_reason": "stop" if text is None else None}
    told = {
        "id": "x",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, **piece}],
    }
    return b"data: " + json.dumps(told).encode() + b"\n\n"


# -- a server -------------------------------------------------------------------------------------------------


class Heard(NamedTuple):
    """One request as the server had it."""

    head: bytes
    body: bytes

    @property
    def lines(self) -> list[bytes]:
        return self.head.lower().split(b"\r\n")

    @property
    def first(self) -> bytes:
        return self.head.partition(b"\r\n")[0]


Says = Callable[[Heard], AsyncIterator[bytes]]


async def nothing(_: Heard) -> AsyncIterator[bytes]:
    return
    yield b""


def always(*pieces: bytes) -> Says:
    """Say these to each request, and hang up."""

    async def says(_: Heard) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return says


def beginning(*pieces: bytes) -> Says:
    """Begin a stream with these, and be silent from then on; whoever looks what goes on finds nothing."""

    async def says(heard: Heard) -> AsyncIterator[bytes]:
        if heard.head.startswith(b"GET"):
            yield whole(b"", status=404)
            return
        yield streamed() + b"".join(pieces)
        await asyncio.sleep(PATIENCE)

    return says


class Puppet:
    """A server in a thread that says to each request what `says` gives, whatever that is, and then hangs up."""

    def __init__(self, says: Says = nothing) -> None:
        self.says = says
        self.heard: list[Heard] = []
        self.talking = 0
        """Connections on which it still has something to say."""
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, limit=LONGEST_HEAD)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._over.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=1.0)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.talking += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = (line.partition(b":") for line in head.split(b"\r\n"))
            length = next((int(value) for name, _, value in fields if name.lower() == b"content-length"), 0)
            heard = Heard(head, await reader.readexactly(length))
            self.heard.append(heard)
            async for piece in self.says(heard):
                writer.write(piece)
                await writer.drain()
                if reader.at_eof():
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side has left, or the test is over
        finally:
            self.talking -= 1
            with suppress(RuntimeError):
                writer.close()


def whole(body: bytes, *fields: bytes, status: int = 200) -> bytes:
    """A whole answer with a length."""
    lines = b"".join(b"%b\r\n" % field for field in fields)
    return b"HTTP/1.1 %d Said\r\ncontent-length: %d\r\n%b\r\n" % (status, len(body), lines) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST = b"0\r\n\r\n"


def streamed(kind: bytes = b"text/event-stream", *fields: bytes) -> bytes:
    """The head of a stream in chunks."""
    lines = b"".join(b"%b\r\n" % field for field in fields)
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n%b\r\n" % (kind, lines)


ANSWER = whole(
    b'{"id":"x","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"yes"}}]}',
    JSON,
)
