"""The answer on its way to a client, over ASGI: pieces go out in the turn of the loop in which they came.

Served by ourselves, `send` is driven by hand: uvicorn's takes a piece without waiting unless the client is slow. Under
any other server, or behind a middleware, a task of our own writes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hangtight.gateway.door.protocol import Line

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Framed = Callable[[bytes], bool]
Leaving = Callable[[Callable[[], None]], None]

EXTENSION: Final = "hangtight"
"""The key in `scope["extensions"]` of a request that comes straight from our own server, to a dictionary with

    direct   True: `send` never waits unless writing is paused, so it may be driven without a task: `coro.send(None)`
    flow     uvicorn's FlowControl of the connection: `flow.write_paused` is True while the client reads too slowly,
             and `await flow.drain()` waits until it has read. `send` waits then, and at no other time
    leaving  takes a function, to be called when the client of the request under way leaves, in place of a task that
             waits in `receive` for that alone
    framed   writes a chunk of the answer that has its frame already (`1f\\r\\n...\\r\\n`), past `send`; False where
             that cannot be: the client is slow or gone, or the answer is not in chunks
    line     a `Line`
"""
ENOUGH: Final = 64 * 1024
"""Bytes that wait for a slow client before its server is made to wait."""


def _nothing() -> None:
    """Nobody has to slow down."""


async def _to_nobody(message: Message) -> None:
    """The client is gone."""


class Outlet:
    """One response."""

    __slots__ = (
        "_direct",
        "_loop",
        "_send",
        "_size",
        "_task",
        "_waiting",
        "finished",
        "framed",
        "is_slow",
        "leaving",
        "line",
        "on_free",
        "on_slow",
        "own",
        "started",
    )

    def __init__(
        self, send: Send, loop: asyncio.AbstractEventLoop, *, direct: bool, framed: Framed | None = None
    ) -> None:
        self._send = send
        self._loop = loop
        self._direct = direct
        self.framed = framed
        """Our own server's way past `send`."""
        self.leaving: Leaving | None = None
        """Our own server's way to tell that the client leaves: no task has to wait for that."""
        self.line: Line | None = None
        """Our own server's connection."""
        self._waiting: deque[Message] = deque()
        self._size = 0
        self._task: asyncio.Task[None] | None = None
        self.own: Headers = []
        """Headers of each answer to this request, whatever it is."""
        self.started = False
        """The status has gone out: nothing can become a 504 any more."""
        self.finished = False
        self.is_slow = False
        self.on_slow: Callable[[], None] = _nothing
        self.on_free: Callable[[], None] = _nothing

    def start(self, status: int, headers: Headers) -> None:
        if not self.started:
            self.started = True
            self._put({"type": "http.response.start", "status": status, "headers": headers + self.own})

    def push(self, data: bytes) -> None:
        """A piece of the body."""
        self._put({"type": "http.response.body", "body": data, "more_body": True})

    @property
    def past(self) -> Framed | None:
        """The way for pieces that have their frame already; only until `on_slow` is called. None: they are pushed."""
        return self.framed if self._task is None and self.started else None

    def end(self, data: bytes) -> None:
        """The last piece."""
        if not self.finished:
            self.finished = True
            self._put({"type": "http.response.body", "body": data})

    async def finish(self, data: bytes = b"") -> None:
        """The last piece. Returns when the server of this app has taken all of it."""
        self.end(data)
        await self.settled()

    async def settled(self) -> None:
        """All is written. A client that takes nothing of it any more is cut off, where we can see that."""
        line = self.line
        unsent = None if line is None else line.unsent()
        while self._task is not None:
            done, _ = await asyncio.wait({self._task}, timeout=None if line is None else line.patience)
            if line is None or done:
                continue
            before, unsent = unsent, line.unsent()
            if before is not None and unsent >= before:
                self.cut()
                return

    def cut(self) -> None:
        """End the connection where it stands: half a body cannot say that it is one."""
        self.close()
        if self.line is not None:
            self.line.cut()

    def let_go(self) -> None:
        """Nobody is to be told any more."""
        self.on_slow = self.on_free = _nothing

    def close(self) -> None:
        """The client is gone."""
        self.finished = True
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    # -- writing ----------------------------------------------------------------------------------------------

    def _put(self, message: Message) -> None:
        if self._task is None and self._direct:
            step: Any = self._send(message)
            try:
                waits_for = step.send(None)
            except StopIteration:
                return
            self._write(self._go_on(step, waits_for))
            self._slow()
            return
        self._waiting.append(message)
        self._size += len(message.get("body", b""))
        if self._task is None:
            self._write(self._write_on())
        elif self._size > ENOUGH:
            self._slow()

    def _slow(self) -> None:
        if not self.is_slow:
            self.is_slow = True
            self.on_slow()

    def _write(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled() or task.exception() is not None:  # the server of this app says by itself who is gone
            self._waiting.clear()
            self._send, self.framed = _to_nobody, None  # and until it does, nothing goes out behind the gap
        if self._waiting:  # put there between the last look of that task and now
            self._write(self._write_on())
        elif self.is_slow:
            self.is_slow = False
            self.on_free()

    async def _go_on(self, step: Any, waits_for: Any) -> None:
        await _Begun(step, waits_for)
        await self._write_on()

    async def _write_on(self) -> None:
        while self._waiting:
            message = self._waiting.popleft()
            if message.get("more_body"):
                pieces = [message["body"]]
                while self._waiting and self._waiting[0].get("more_body"):
                    pieces.append(self._waiting.popleft()["body"])
                message = {**message, "body": b"".join(pieces)}
            self._size = sum(len(waiting.get("body", b"")) for waiting in self._waiting)
            await self._send(message)


class _Begun:
    """What is left of a coroutine that was driven by hand to its first wait."""

    def __init__(self, step: Any, waits_for: Any) -> None:
        self._step = step
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        while True:
            try:
                told = yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is for the coroutine within
                move = partial(self._step.throw, error)
            else:
                move = partial(self._step.send, told)
            try:
                waits_for = move()
            except StopIteration:
                return
