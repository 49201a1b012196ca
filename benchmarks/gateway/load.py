"""Many clients at once, on bare sockets: what each got, when, and what it cost the processes in front of the model."""

from __future__ import annotations

import asyncio
import gc
import math
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, NamedTuple, TypeVar, cast

import uvloop

from benchmarks.gateway.processes import Peer, more_files
from benchmarks.gateway.said import CONTENT, Answer, Ask, right

T = TypeVar("T")
LAST_CHUNK = b"\r\n0\r\n\r\n"
"""Ends a body that comes in chunks. Inside of one it cannot stand: JSON has no bare line ends."""
GRACE = 30.0
"""Seconds that all of a load may take longer than its slowest answer has to."""
WATCHED_EACH = 0.25


class Connection(asyncio.Protocol):
    """A client's connection: one request after the other."""

    def __init__(self) -> None:
        self.waiting: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's has all of it, and is none

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionError(f"closed: {error}"))

    async def ask(self, request: bytes) -> Answer:
        if self.transport.is_closing():
            raise ConnectionError("closed before it was asked")
        self.buffer, self.begin, self.length, self.status = bytearray(), 0, 0, 0
        self.first, self.failed, self.waiting = 0.0, 0.0, asyncio.get_running_loop().create_future()
        self.sent = time.monotonic()
        self.transport.write(request)
        return await self.waiting

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.begin and not self._head():
            return
        if not self.first and (CONTENT.search(data) or self.length >= 0):
            self.first = time.monotonic()
        if b'"error"' in data:
            self.failed = time.monotonic()
        if self._whole() and self.waiting is not None and not self.waiting.done():
            body, streamed = bytes(self.buffer[self.begin :]), self.length < 0
            told = unchunked(body) if streamed else body
            self.waiting.set_result(Answer(self.status, told, streamed, self.sent, self.first, self.failed))

    def _head(self) -> bool:
        """Whether the head is there: then it is read."""
        self.begin = self.buffer.find(b"\r\n\r\n") + 4
        if self.begin == 3:
            self.begin = 0
            return False
        head = bytes(self.buffer[: self.begin]).lower()
        self.status = int(head.split(b" ", 2)[1])
        _, found, rest = head.partition(b"\r\ncontent-length:")
        self.length = int(rest.split(b"\r\n", 1)[0]) if found else -1
        return True

    def _whole(self) -> bool:
        if self.length >= 0:
            return len(self.buffer) >= self.begin + self.length
        return self.buffer.endswith(LAST_CHUNK) and len(self.buffer) > self.begin + 2


def unchunked(raw: bytes) -> bytes:
    parts, at = [], 0
    while (line := raw.find(b"\r\n", at)) >= 0 and (size := int(raw[at:line], 16)):
        parts.append(raw[line + 2 : line + 2 + size])
        at = line + 2 + size + 2
    return b"".join(parts)


class Load(NamedTuple):
    """So many clients, each asking so many times."""

    asks: tuple[Ask, ...]
    """Client number n asks the n-th of them, and begins anew where there are fewer."""
    clients: int
    times: int
    spread: float = 0.0
    """Seconds over which the clients begin."""


class Seen(NamedTuple):
    """What came of a load."""

    answers: list[tuple[Ask, Answer]]
    wrong: list[str]
    """Answers that are not what the script says, and what they ended with."""
    lost: list[str]
    """Requests without an answer, and why."""
    cpu: float = 0.0
    """Seconds that the peer's processes spent."""
    seconds: float = 0.0
    rss: float = 0.0
    """Megabytes that they had at most."""

    @property
    def tokens(self) -> int:
        return sum(ask.script.given for ask, _ in self.answers)

    @property
    def fine(self) -> bool:
        return not self.wrong and not self.lost

    @property
    def cpu_per_token(self) -> float:
        """Microseconds."""
        return self.cpu / max(self.tokens, 1) * 1e6

    @property
    def cpu_per_request(self) -> float:
        """Milliseconds."""
        return self.cpu / max(len(self.answers), 1) * 1e3

    def firsts(self) -> list[float]:
        """Milliseconds until the first content, in order."""
        return sorted((answer.first - answer.sent) * 1e3 for _, answer in self.answers if answer.first)


async def connect(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def client(port: int, ask: Ask, times: int, seen: Seen, begin: float = 0.0) -> None:
    """One after the other on one connection; a new one where the old one was closed."""
    await asyncio.sleep(begin)
    request, connection = ask.wire(port), None
    for _ in range(times):
        try:
            if connection is None or connection.transport.is_closing():
                connection = await connect(port)
            answer = await connection.ask(request)
        except (OSError, ValueError) as error:
            seen.lost.append(f"{type(error).__name__}: {error}")
            if connection is not None:
                connection.transport.abort()
            continue
        note(ask, answer, seen)
    if connection is not None:
        connection.transport.close()


def note(ask: Ask, answer: Answer, seen: Seen) -> None:
    if right(ask, answer):
        seen.answers.append((ask, answer))
    else:
        seen.wrong.append(f"{answer.status} {answer.body[-200:]!r}")


async def driven(port: int, load: Load, seen: Seen) -> None:
    each = load.spread / load.clients
    asks = (load.asks[number % len(load.asks)] for number in range(load.clients))
    clients = [client(port, ask, load.times, seen, number * each) for number, ask in enumerate(asks)]
    longest = max(ask.script.gap * ask.script.given for ask in load.asks) * load.times
    await all_of(clients, longest + load.spread + GRACE, seen)


async def all_of(clients: Iterable[Coroutine[Any, Any, None]], limit: float, seen: Seen) -> None:
    """Those that are not through by then are lost."""
    tasks = [asyncio.ensure_future(each) for each in clients]
    done, late = await asyncio.wait(tasks, timeout=limit)
    for task in late:
        task.cancel()
        seen.lost.append(f"no end within {limit:g} s")
    for task in done:
        task.result()


async def watched(peer: Peer, work: Awaitable[None], seen: Seen) -> Seen:
    """The same with what the peer spent meanwhile."""
    most = [peer.rss()]
    watch = asyncio.ensure_future(_watch(peer, most))
    cpu, begin = peer.cpu(), time.monotonic()
    await work
    watch.cancel()
    spent, took = peer.cpu() - cpu, time.monotonic() - begin
    return seen._replace(cpu=spent, seconds=took, rss=max(*most, peer.rss()))


async def _watch(peer: Peer, most: list[float]) -> None:
    while True:
        await asyncio.sleep(WATCHED_EACH)
        most.append(peer.rss())


def drive(peer: Peer, load: Load) -> Seen:
    """The whole load, from outside of any loop."""

    async def work() -> Seen:
        seen = Seen([], [], [])
        return await watched(peer, driven(peer.port, load, seen), seen)

    return run(work)


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """On uvloop, without a pause of the garbage collector in the middle."""
    more_files()
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work())
    finally:
        gc.enable()


def share(ordered: list[float], part: float) -> float:
    """The value below which this part of them is; not a number where there is none."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else math.nan


def told(what: str) -> None:
    """What goes on, for whoever waits; figures go where they are asked for."""
    print(what, file=sys.stderr, flush=True)
