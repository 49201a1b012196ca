"""How the gateway is run: a socket, uvicorn's protocol, and an end in two steps.

The first SIGTERM or SIGINT drains: what runs may end, for so many seconds. Who connects meanwhile is heard, so that
somebody can look how it goes; the app refuses what is new, and nobody who came late is waited for. The second signal
ends at once. uvicorn's own Server is not used: it asks ten times a second whether it is to stop, takes the second
SIGTERM for the first, and raises the signal once more at the end, so that a drained server seems to have died of it.

What an app may have beside being called, all optional:

    async startup()       before the first connection is taken
    draining(seconds)     the first signal: new requests are to be refused, streams may be told
    ending()              the time for draining is over: what still runs has a moment to say why it ends
    async shutdown()      after the last request
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from uvicorn.config import Config

from hangtight.gateway.door.doorway import Doorway
from hangtight.gateway.door.listening import bound
from hangtight.gateway.door.protocol import Guarded

T = TypeVar("T")
KEPT_ALIVE = 75  # seconds; longer than SDKs keep an idle connection: who closes first cuts no request of the other's
GRACE = 2.0  # seconds for last words
PUTTING_AWAY = 10.0  # seconds for the app's `shutdown`: what is in the journal's queue
BACKLOG = 2048
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
DIED_OF = 128  # plus the number of the signal: the exit code by which shells say it


class Served(NamedTuple):
    """How it ended."""

    cut: int = 0
    """Answers that were still under way when the time was over, and were ended."""
    code: int = 0
    """The exit code: 0 after a drain, 128 and the number of the signal after a second one."""


class Stops:
    """Who asked us to stop: `first` to drain, `second` to end at once."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.code = 0
        self._listens = False

    def heard(self, number: int = 0) -> None:
        if self.first.is_set():
            self.code = DIED_OF + number if number else 1
            self.second.set()
        self.first.set()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the signals of this process, and hand them back to whoever had them. Only the main thread can.

        Who hears them already goes on.
        """
        if self._listens:
            yield
            return
        loop = asyncio.get_running_loop()
        try:
            before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
        except ValueError:
            yield
            return
        self._listens = True
        for number in SIGNALS:
            try:
                loop.add_signal_handler(number, self.heard, number)
            except NotImplementedError:  # Windows
                signal.signal(number, lambda caught, _: loop.call_soon_threadsafe(self.heard, caught))
        try:
            yield
        finally:
            self._listens = False
            for number, handler in before.items():
                with contextlib.suppress(NotImplementedError):
                    loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


async def serve(
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8383,
    uds: str | None = None,
    patience: float = 30.0,
    head: int = 64 * 1024,
    drain: float = 30.0,
    on_ready: Callable[[str], object] = lambda url: None,
    stops: Stops | None = None,
) -> Served:
    """Serve an ASGI app until a signal, or `stops.heard()`, says that it is enough. Raises `CannotListen`.

    `on_ready` is called with the address once connections are taken; port 0 is any free one.
    """
    stops = stops or Stops()
    with bound(host, port, uds) as (address, sockets), stops.listening():
        begun = await _first_of(_called(app, "startup"), stops.first.wait())
        try:
            if not begun or stops.first.is_set():
                return Served(code=stops.code)
            door = Door(app, patience, head)
            try:
                await door.open(sockets)
                on_ready(address)
                await stops.first.wait()
                return await door.drained(stops, drain)
            finally:
                door.shut()
        finally:
            await _first_of(_called(app, "shutdown"), stops.second.wait(), seconds=PUTTING_AWAY)


class Door:
    """The listening sockets and the connections that came through them."""

    def __init__(self, app: Any, patience: float, head: int) -> None:
        self.app = app
        self.doorway = Doorway(patience, head)
        self.late = Doorway(patience, head)
        """For whoever comes while it drains."""
        self.late.draining = True
        self.config = Config(
            app, http=Guarded, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, timeout_keep_alive=KEPT_ALIVE,
        )  # fmt: skip
        self.config.load()
        self.servers: list[asyncio.Server] = []

    async def open(self, sockets: Sequence[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for each in sockets:
            self.servers.append(await loop.create_server(self._protocol, sock=each, backlog=BACKLOG))

    def _protocol(self) -> Guarded:
        return Guarded(self.config, self.late if self.doorway.draining else self.doorway, {})

    async def drained(self, stops: Stops, seconds: float) -> Served:
        """Let what runs come to its end."""
        self.doorway.draining = True
        await _called(self.app, "draining", seconds)
        for connection in list(self.doorway.connections):
            connection.shutdown()
        if await _first_of(self.doorway.emptied(), stops.second.wait(), seconds=seconds):
            await _first_of(self.late.answered(), stops.second.wait(), seconds=GRACE)
            return Served()
        cut = len(self.doorway.tasks)
        if not stops.second.is_set():
            await _called(self.app, "ending")
            await _first_of(self.doorway.emptied(), stops.second.wait(), seconds=GRACE)
        self.shut()
        if self.doorway.tasks:
            await asyncio.wait(self.doorway.tasks, timeout=GRACE)
        return Served(cut, stops.code)

    def shut(self) -> None:
        """At once: every connection is cut, every request cancelled. Nothing to do after a drain."""
        for server in self.servers:
            server.close()
        for doorway in (self.doorway, self.late):
            for connection in list(doorway.connections):
                if isinstance(connection, Guarded):
                    connection.give_up()
            for task in doorway.tasks:
                task.cancel()


def run(serving: Coroutine[Any, Any, T]) -> T:
    """Run this in a loop of uvloop, where that is installed and not on Windows."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(serving)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _called(app: Any, name: str, *told: object) -> None:
    """Call what an app may have and need not."""
    hook = getattr(app, name, None)
    answer = None if hook is None else hook(*told)
    if isinstance(answer, Awaitable):
        await answer


async def _first_of(
    wanted: Coroutine[Any, Any, object], other: Coroutine[Any, Any, object], seconds: float | None = None
) -> bool:
    """Whether `wanted` was done before the other one was, and in time. Its error is raised here."""
    tasks = [asyncio.ensure_future(wanted), asyncio.ensure_future(other)]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
            return True
        return False
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=GRACE)
