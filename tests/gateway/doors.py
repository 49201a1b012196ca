"""A door of ours on a real port, and clients that speak in bytes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from hangtight.gateway.door.listening import bound
from hangtight.gateway.door.serving import Door

HELLO = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
BYE = b"GET /bye HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HEAD = 4096


class App:
    """Answers with the length of the body, and remembers what it saw. `/slow` waits until it is let go."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.left: list[str] = []
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        self.seen.append(scope)
        if scope["path"] == "/early":  # answers without waiting for the body
            await answer(send, b"early", 413)
            return
        if scope["path"] == "/deaf":  # and reads nothing before it may
            await self.go.wait()
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.append(scope["path"])
                return
            size += len(message["body"])
            if not message["more_body"]:
                break
        if scope["path"] == "/slow":
            await self.slow(receive, send)
        elif scope["path"] == "/large":
            await answer(send, b"x" * 8_000_000)
        else:
            await answer(send, b"%d" % size)

    async def slow(self, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        going = asyncio.ensure_future(self.go.wait())
        leaving = asyncio.ensure_future(receive())
        await asyncio.wait([going, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not going.done():
            self.left.append("/slow")
        going.cancel()
        leaving.cancel()
        await send({"type": "http.response.body", "body": b"ended"})


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def opened(app: Any, patience: float = 30.0, head: int = HEAD) -> AsyncIterator[tuple[Door, int]]:
    """A door and its port. At the end nobody is left in it."""
    with bound("127.0.0.1", 0) as (address, sockets):
        door = Door(app, patience, head)
        await door.open(sockets)
        try:
            yield door, int(address.rpartition(":")[2])
        finally:
            door.shut()
            await door.doorway.emptied()


async def exchanged(port: int, *pieces: bytes, ends: bool = False) -> bytes:
    """All that comes back until the server closes, after these pieces were sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if ends:
            writer.write_eof()
        return await read_all(reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    got = b""
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            got += piece
    return got


def status(answered: bytes) -> int:
    """Of the last answer that came; 0 where none did."""
    heads = re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answered)
    return int(heads[-1]) if heads else 0
