"""Requests to model servers, over connections that are kept for the next request.

Only one thing is tried twice: a connection that was used before, and that the server closes in the very moment in which
we write on it. Everything else is for the call to judge.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Final, NamedTuple

from hangtight.core.time import Instant
from hangtight.drivers import clock
from hangtight.drivers.http11 import Address, BrokenHead, ConnectFailed
from hangtight.gateway.upstream.connection import Connection, Headers, Incoming

KEPT: Final = 256  # connections to one server that wait for their next request
KEPT_FOR: Final = 4.0  # seconds: uvicorn and llama.cpp close after 5
SWEEP_EVERY: Final = 5.0
JUST_NOW: Final = 0.25  # seconds within which a used connection that ends was closed before our request came
PIECE: Final = 64 * 1024

CR, LF, NUL = b"\r\n\0"  # as numbers, which Python finds in bytes ten times as fast

Key = tuple[bool, str, int]


class Outgoing(NamedTuple):
    """A request, ready to be written."""

    address: Address
    head: bytes
    body: bytes | AsyncIterator[bytes] = b""
    connect: float | None = None
    """Seconds for name look-up, TCP and TLS."""
    bodiless: bool = False
    """The answer has no body, whatever its head says."""
    taken: Callable[[], None] | None = None
    """Called when the server has taken one more piece of a long body."""
    sent: Callable[[], None] | None = None
    """Called when the connection is there, before the first of it is written."""


class Upstream:
    """The connections of one gateway, for one loop at a time.

    Where another loop asks (an app under test has one for each request), those of the former are let go: nothing comes
    through a connection whose loop has ended.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._idle: dict[Key, list[Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, asked: Outgoing) -> Incoming:
        """Write the request; the answer arrives in what is returned, whose `head` is there already."""
        self._runs_in(asyncio.get_running_loop())
        connection = self._kept(asked.address)
        if connection is not None:
            sent_at = clock.now()
            try:
                return await self._exchange(connection, asked)
            except BrokenHead:
                late = clock.now() - sent_at > JUST_NOW
                if late or connection.has_heard or not isinstance(asked.body, bytes):
                    raise
        return await self._exchange(await self._connect(asked), asked)

    async def nowhere(self, asked: Outgoing) -> Incoming:
        """Where an exchange that is over sends."""
        raise BrokenHead("this exchange is over")

    async def _exchange(self, connection: Connection, asked: Outgoing) -> Incoming:
        incoming = connection.begin(bodiless=asked.bodiless)
        if asked.sent is not None:
            asked.sent()
        try:
            await _write(connection, asked, incoming)
            await incoming.head
        except BaseException:
            await incoming.aclose()
            raise
        return incoming

    # -- connections ------------------------------------------------------------------------------------------

    def _runs_in(self, loop: asyncio.AbstractEventLoop) -> None:
        former, self._loop = self._loop, loop
        if former is not None and former is not loop:
            with suppress(RuntimeError):  # it is closed: what is forgotten here is closed with its socket
                former.call_soon_threadsafe(_let_go, self._sweeper, self._idle)
            self._sweeper, self._idle = None, {}

    async def _connect(self, asked: Outgoing) -> Connection:
        address, loop = asked.address, asyncio.get_running_loop()
        context = (self._tls or _system_tls()) if address.tls else None
        try:
            async with asyncio.timeout(asked.connect) as limit:
                _, made = await loop.create_connection(
                    lambda: Connection(loop, address, self._keep), address.host, address.port, ssl=context
                )
        except OSError as error:
            seconds = f"connecting timed out after {asked.connect:g}s" if limit.expired() else ""
            why = seconds or str(error) or type(error).__name__
            raise ConnectFailed(f"no connection to {address.authority}: {why}") from error
        return made

    def _kept(self, address: Address) -> Connection | None:
        waiting = self._idle.get(_key(address))
        oldest = clock.now() - KEPT_FOR
        while waiting:
            connection = waiting.pop()
            if connection.is_open and connection.idle_since >= oldest:
                return connection
            connection.abort()
        return None

    def _keep(self, connection: Connection) -> None:
        waiting = self._idle.setdefault(_key(connection.address), [])
        if len(waiting) >= KEPT or connection.loop is not self._loop:
            connection.abort()
            return
        connection.idle_since = clock.now()
        waiting.append(connection)
        if self._sweeper is None:
            self._sweeper = connection.loop.call_later(SWEEP_EVERY, self._sweep, connection.loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            return
        oldest = Instant(clock.now() - KEPT_FOR)
        for key, waiting in list(self._idle.items()):
            for connection in [each for each in waiting if not each.is_open or each.idle_since < oldest]:
                waiting.remove(connection)
                connection.abort()
            if not waiting:
                del self._idle[key]
        self._sweeper = loop.call_later(SWEEP_EVERY, self._sweep, loop) if self._idle else None

    def close(self) -> None:
        """Let go of what waits. What is in use ends with its request."""
        self._runs_in(asyncio.get_running_loop())
        _let_go(self._sweeper, self._idle)
        self._sweeper, self._idle = None, {}


def _let_go(sweeper: asyncio.TimerHandle | None, idle: Mapping[Key, Iterable[Connection]]) -> None:
    """In the loop of these."""
    if sweeper is not None:
        sweeper.cancel()
    for waiting in idle.values():
        for connection in waiting:
            connection.abort()


async def _write(connection: Connection, asked: Outgoing, incoming: Incoming) -> None:
    """A long body goes out in pieces, as the server takes them; one that is answered early is not sent to its end."""
    body = asked.body
    if isinstance(body, bytes):
        if len(body) <= PIECE:
            connection.write(asked.head + body)
            connection.all_sent()
            return
        pieces: AsyncIterator[bytes] = _pieces(body)
    else:
        pieces = body
    connection.write(asked.head)
    async for piece in pieces:
        if incoming.head.done() or not connection.is_open:
            return
        connection.write(piece)
        await connection.drained()
        if asked.taken is not None:
            asked.taken()
    connection.all_sent()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]


def _key(address: Address) -> Key:
    return address.tls, address.host, address.port


@cache
def _system_tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def head_of(method: str, address: Address, headers: Headers, length: int | None) -> bytes:
    """The head of a request; a header that would become another one is left out."""
    lines = [f"{method} {address.target} HTTP/1.1\r\nhost: {address.host_header}\r\n".encode("latin-1")]
    for name, value in headers:
        if CR not in value and LF not in value and NUL not in value:
            lines.append(b"%b: %b\r\n" % (name, value))
    if length is not None:
        lines.append(b"content-length: %d\r\n" % length)
    lines.append(b"\r\n")
    return b"".join(lines)
