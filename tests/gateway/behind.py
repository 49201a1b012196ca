"""What stands behind a gateway in these tests: a server that says given bytes, and a wire without a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from hangtight.drivers.http11 import Address
from hangtight.gateway.connection import Connection, Headers, Incoming
from hangtight.gateway.upstream import Outgoing, head_of

LOCAL = Address(False, "127.0.0.1", 1, "/v1/chat/completions")
PATIENCE = 10.0  # seconds: a bound for what hangs


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

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.talks.append(Talk(reader, writer, len(found.talks)))
        try:
            await serve(found.talks[-1])
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side has left
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
    return [wire[start:end] for start, end in zip(ends, ends[1:], strict=False)]
