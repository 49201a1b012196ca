"""One connection to a model server: HTTP/1.1 in a protocol of the loop, bytes handed on in the turn in which they came.

Who reads an answer either asks for the next piece, or gives a function that is called with each. The second way costs
no future and no change of tasks per token, which is most of what a relay costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import httptools

from hangtight.drivers.http11 import HEAD_LIMIT, Address, BrokenBody, BrokenHead

ENOUGH: Final = 256 * 1024  # bytes of an answer that wait unread before the server is made to wait
FIRST_FINAL: Final = 200
LAST_FINAL: Final = 599
SWITCHES: Final = 101

Headers = list[tuple[bytes, bytes]]
Taker = Callable[[bytes], None]
Quick = Callable[[bytes], bool]


class Head(NamedTuple):
    """The beginning of an answer."""

    status: int
    headers: Headers


class Incoming:
    """One answer that arrives. `async for` waits for the next bytes; `hand_to` has each given to a function instead."""

    __slots__ = (
        "_bodiless",
        "_connection",
        "_pieces",
        "_size",
        "_waiter",
        "error",
        "head",
        "on_end",
        "over",
        "quick",
        "taker",
    )

    def __init__(self, connection: Connection, bodiless: bool) -> None:
        self._connection: Connection | None = connection
        self._bodiless = bodiless
        self.head: asyncio.Future[Head] = connection.loop.create_future()
        self._pieces: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self.taker: Taker | None = None
        self.quick: Quick | None = None
        """Offered whole chunks with their frames, before they are parsed; true where that was enough."""
        self.on_end: Callable[[], None] | None = None
        self.over = False
        """Nothing more comes: the body was whole, or `error` says why not."""
        self.error: OSError | None = None

    @property
    def has_no_body(self) -> bool:
        return self._bodiless

    @property
    def is_whole(self) -> bool:
        """Nothing is missing, and nothing waits."""
        return self.over and self.error is None and not self._pieces

    # -- the connection's side --------------------------------------------------------------------------------

    def arrived(self, data: bytes) -> None:
        if self.taker is not None:
            self.taker(data)
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > ENOUGH and self._connection is not None:
            self._connection.pause()
        self._wake()

    def ended(self, error: OSError | None = None) -> None:
        if self.over:
            return
        self.over, self.error, self._connection = True, error, None
        if not self.head.done():
            self.head.set_exception(error or BrokenHead("the answer ended before its head"))
            self.head.exception()  # whoever waits for it gets it; nobody is to be warned of it
        self._wake()
        if self.on_end is not None:
            self.on_end()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- the reader's side ------------------------------------------------------------------------------------

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self.error is not None:
                raise self.error
            if self.over:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._taken()

    def _taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        if self._size > ENOUGH and self._connection is not None:
            self._connection.resume()
        self._size = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def hand_to(self, taker: Taker, on_end: Callable[[], None]) -> None:
        """From now on call `taker` with what comes, and `on_end` once. What waits already is given at once."""
        if self._pieces:
            taker(self._taken())
        self.taker, self.on_end = taker, on_end
        if self.over:
            on_end()

    def pause(self) -> None:
        """Who reads on is slow: the server has to wait."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    def let_go(self) -> None:
        """Whoever was given the pieces has all that there is."""
        self.taker = self.quick = self.on_end = None

    async def aclose(self) -> None:
        """Nobody wants the rest. A connection whose answer is not whole cannot be used again: it is closed at once."""
        self.taker = None
        if self._connection is not None:
            self._connection.abort()


class Connection(asyncio.Protocol):
    """A connection, for one exchange after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: Address, idle: Callable[[Connection], None]) -> None:
        self.loop = loop
        self.address = address
        self._idle = idle
        self.transport: asyncio.Transport | None = None
        self.incoming: Incoming | None = None
        self.served = 0
        """Exchanges before this one: a server may close a used connection just when we write on it."""
        self.idle_since = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._headers: Headers = []
        self._bare = 0
        """Bytes since the last of a body: heads, trailers and what may stand beside the size of a chunk have no end."""
        self._in_head = True
        self._body: list[bytes] = []
        self._is_whole = False
        self._needs_eof = False
        self._between = False
        """The parser stands between two chunks, and has seen nothing of the next."""
        self._sent = True
        self._keeps = False
        self._may_write: asyncio.Future[None] | None = None

    # -- an exchange ------------------------------------------------------------------------------------------

    def begin(self, *, bodiless: bool = False) -> Incoming:
        """What comes from now on is the answer to what is written now."""
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._bare, self._in_head = [], 0, True
        self._is_whole, self._needs_eof, self._between, self._sent = False, False, False, False
        self.incoming = Incoming(self, bodiless)
        return self.incoming

    def write(self, data: bytes) -> None:
        assert self.transport is not None, "a connection that was made has a transport"
        self.transport.write(data)

    def all_sent(self) -> None:
        self._sent = True

    async def drained(self) -> None:
        """The server takes what was written."""
        if self._may_write is not None:
            await asyncio.shield(self._may_write)

    @property
    def has_heard(self) -> bool:
        """Something came for the exchange under way."""
        return self._bare > 0 or not self._in_head

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def pause(self) -> None:
        if self.is_open and self.transport is not None and self.transport.is_reading():
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.is_open and self.transport is not None and not self.transport.is_reading():
            self.transport.resume_reading()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    # -- the loop's side --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "pause_reading")
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        incoming = self.incoming
        if self._between and incoming is not None and incoming.quick is not None and incoming.quick(data):
            return
        if incoming is None:  # it speaks without being asked: whatever that is, it is not for the next one
            self.abort()
            return
        self._bare += len(data)
        if self._bare > HEAD_LIMIT + len(data):
            self._broken(f"more than {HEAD_LIMIT} bytes of an answer without any of its body")
            return
        self._between = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._hand_on(incoming)
            if self._is_whole:  # what follows it is nobody's, and nobody is asked on such a connection again
                self._keeps = False
                self._whole(incoming)
            else:
                self._broken(f"not an HTTP/1.1 answer that we understand ({error})")
            return
        self._between = self._between and data.endswith(b"\r\n")
        self._hand_on(incoming)
        if self._is_whole:
            self._whole(incoming)

    def _hand_on(self, incoming: Incoming) -> None:
        body = self._body
        if body:
            data = body[0] if len(body) == 1 else b"".join(body)
            body.clear()
            self._bare = 0
            incoming.arrived(data)

    def _whole(self, incoming: Incoming) -> None:
        self.incoming = None
        reusable = self._sent and self._keeps and self.is_open
        incoming.ended()
        if reusable:
            self.resume()
            self.served += 1
            self._idle(self)
        else:
            self.abort()

    def _broken(self, why: str) -> None:
        incoming, self.incoming = self.incoming, None
        if incoming is not None:
            incoming.ended(self._error(why))
        self.abort()

    def _error(self, why: str) -> OSError:
        return (BrokenHead if self._in_head else BrokenBody)(f"{self.address.authority}: {why}")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        self.resume_writing()
        incoming, self.incoming = self.incoming, None
        if incoming is None:
            return
        if not self._in_head and self._needs_eof and error is None:
            incoming.ended()
        else:
            where = "without an answer" if self._in_head else "inside of its answer"
            incoming.ended(self._error(f"closed the connection {where}{_why(error)}"))

    def pause_writing(self) -> None:
        self._may_write = self.loop.create_future()

    def resume_writing(self) -> None:
        waiter, self._may_write = self._may_write, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- the parser's side ------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_whole:
            raise BrokenBody("it goes on behind its end")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # nobody reads what stands behind a body
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == SWITCHES:
            raise BrokenHead("it switches to another protocol, which nobody asked for")
        if status > LAST_FINAL:
            raise BrokenHead(f"{status} is no status of HTTP")
        if status < FIRST_FINAL:
            return
        self._in_head = False
        self.resume_writing()  # who still writes a long body shall see that it is answered
        names = {name for name, _ in self._headers}
        self._needs_eof = b"content-length" not in names and b"transfer-encoding" not in names
        incoming = self.incoming
        if incoming is None:
            return
        if not incoming.head.done():
            incoming.head.set_result(Head(status, self._headers))
        if incoming.has_no_body:  # the parser does not know what was asked, and would wait for a body
            self._is_whole, self._sent = True, False
            raise BrokenBody("whatever follows is no body")

    def on_chunk_header(self) -> None:
        self._between = False

    def on_chunk_complete(self) -> None:
        self._between = True

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._in_head:  # an informational answer before the final one
            self._headers = []
        else:
            self._is_whole, self._keeps = True, self._parser.should_keep_alive()


def _why(error: Exception | None) -> str:
    return f" ({error})" if error is not None and str(error) else ""
