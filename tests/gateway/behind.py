"""What stands behind a gateway in these tests: a server that says given bytes, and a wire without a network."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import hangtight
from hangtight.drivers.http11 import Address
from hangtight.gateway.app import Gateway
from hangtight.gateway.upstream.connection import Connection, Headers, Incoming
from hangtight.gateway.upstream.pool import Outgoing, head_of
from tests.gateway.doors import opened

LOCAL = Address(False, "127.0.0.1", 1, "/v1/chat/completions")
PATIENCE = 40.0  # seconds: a bound for what hangs, also on a busy machine


async def until(holds: Callable[[], bool]) -> None:
    """For what tells nobody when it happens."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


# -- without a network ----------------------------------------------------------------------------------------


class Cable:
    """A transport of which nothing leaves; it remembers what was asked of it."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False
        self.reads = True

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def is_reading(self) -> bool:
        return self.reads

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def abort(self) -> None:
        self.closed = True


@dataclass
class Line:
    """A connection of which this test is the network."""

    kept: list[Connection] = field(default_factory=list)
    """Given back for the next request."""
    cable: Cable = field(default_factory=Cable)

    def __post_init__(self) -> None:
        self.connection = Connection(asyncio.get_running_loop(), LOCAL, self.kept.append)
        self.connection.connection_made(self.cable)  # type: ignore[arg-type]

    def ask(self, *, bodiless: bool = False) -> Incoming:
        incoming = self.connection.begin(bodiless=bodiless)
        self.connection.write(b"?")
        self.connection.all_sent()
        return incoming

    def say(self, pieces: Iterable[bytes]) -> None:
        """What the server says, as long as anybody listens."""
        for piece in pieces:
            if self.cable.closed:
                return
            self.connection.data_received(piece)

    def close(self, error: Exception | None = None) -> None:
        self.cable.closed = True
        self.connection.connection_lost(error)


@dataclass
class Heard:
    """What a reader got of an answer."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    error: str = ""
    """The kind of it."""
    kept: bool = False
    """The connection is there for the next request."""


def heard(incoming: Incoming, line: Line) -> Heard:
    """All that has come by now, and how it ended."""
    found = Heard(kept=bool(line.kept) and not line.cable.closed)
    if incoming.head.done() and incoming.head.exception() is None:
        found.status, found.headers = incoming.head.result()
    incoming.hand_to(lambda data: setattr(found, "body", found.body + data), lambda: None)
    found.error = type(incoming.error).__name__ if incoming.error is not None else "" if incoming.over else "more"
    return found


# -- with one -------------------------------------------------------------------------------------------------

Serve = Callable[["Talk"], Awaitable[None]]


@dataclass
class Talk:
    """One connection as the server has it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    """Of the connections to this server, this one; the first is 0."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when `gone` has seen that the other side has left."""

    async def request(self) -> tuple[bytes, bytes]:
        """Head and body of the next request. Raises `IncompleteReadError` where none comes."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        fields = (line.partition(b":") for line in head.split(b"\r\n"))
        length = next((int(value) for name, _, value in fields if name.lower() == b"content-length"), 0)
        return head, await self.reader.readexactly(length)

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def gone(self) -> None:
        """Wait until the other side has left."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.left.set()


@dataclass
class Behind:
    """A server of which every connection goes through `serve`; it hangs up when that returns."""

    port: int = 0
    talks: list[Talk] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, method: str = "POST", body: bytes = b"{}", headers: Headers | None = None, **more: Any) -> Outgoing:
        address = Address(False, "127.0.0.1", self.port, "/v1/chat/completions")
        return Outgoing(address, head_of(method, address, headers or [], len(body)), body, 5.0, **more)


@asynccontextmanager
async def behind(serve: Serve, **options: Any) -> AsyncIterator[Behind]:
    found = Behind()
    tasks: list[asyncio.Task[Any]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        found.talks.append(Talk(reader, writer, len(found.talks)))
        try:
            await serve(found.talks[-1])
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side has left, or all of this is over
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, **options)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for each in found.talks:
            each.writer.transport.abort()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def answer(body: bytes, status: int = 200, *more: bytes) -> bytes:
    """A whole answer with a length."""
    fields = b"".join(b"%b\r\n" % line for line in more)
    return b"HTTP/1.1 %d Said\r\ncontent-length: %d\r\n%b\r\n" % (status, len(body), fields) + body


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def dechunked(wire: bytes) -> bytes:
    """The body of chunks that are whole."""
    body = b""
    while wire:
        size, _, rest = wire.partition(b"\r\n")
        number = int(size.split(b";")[0], 16)
        body, wire = body + rest[:number], rest[number + 2 :]
    return body


def cuttings(wire: bytes, places: Iterable[int]) -> list[bytes]:
    """These bytes, cut at these places."""
    ends = sorted({0, len(wire), *(place % (len(wire) + 1) for place in places)})
    return [wire[start:end] for start, end in pairwise(ends)]


# -- and a gateway before it ----------------------------------------------------------------------------------

HOST = b"host: localhost\r\n"


@dataclass
class Before:
    """A gateway in this loop, at a real port."""

    gateway: Gateway
    port: int

    async def open(self, request: bytes, *, window: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection on which this was asked. `window` is what the client takes without reading."""
        made = socket.socket()
        if window:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=made, limit=window or 65536)
        writer.write(request)
        return reader, writer

    async def ask(self, request: bytes) -> Got:
        """The whole answer to this."""
        reader, writer = await self.open(request)
        try:
            return await got(reader)
        finally:
            writer.close()

    async def chat(self, model: str = "m", *, headers: dict[str, str] | None = None, **more: Any) -> Got:
        return await self.ask(chat(model, headers=headers, **more))


@dataclass
class Got:
    """An answer as a client has it, its chunks taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        """Of a refusal, or of the last event of a stream."""
        last = self.body if self.body.startswith(b"{") else self.body.rpartition(b"data: ")[2]
        return json.loads(last)["error"]


async def got(reader: asyncio.StreamReader) -> Got:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif "transfer-encoding" in headers:
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
    else:
        body = await reader.read()
    return Got(int(first.split()[1]), headers, body)


def post(path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST") -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items()).encode("latin-1")
    line = f"{method} {path} HTTP/1.1\r\n".encode("latin-1")
    return line + HOST + fields + b"content-length: %d\r\n\r\n" % len(body) + body


def chat(model: str = "m", *, headers: dict[str, str] | None = None, **more: Any) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    return post("/v1/chat/completions", json.dumps(body).encode(), headers)


@asynccontextmanager
async def before(folder: Path, settings: str, patience: float = 30.0) -> AsyncIterator[Before]:
    """Under these settings, for the length of the block; afterwards nothing of it runs."""
    file = folder / "hangtight.yaml"
    file.write_text(settings)
    hangtight.configure(file, "off")
    gateway = Gateway()
    try:
        async with opened(gateway, patience) as (_, port):
            yield Before(gateway, port)
    finally:
        await gateway.shutdown()


def piece(text: str, **more: Any) -> bytes:
    """An event of a chat."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None, **more}
    return b"data: %b\n\n" % json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode()


FINISHED = b'data: {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
ANSWERED = CHUNKED + chunk(piece("hello")) + chunk(FINISHED) + LAST
