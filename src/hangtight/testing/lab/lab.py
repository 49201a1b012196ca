"""The lab in a test (`with Lab() as lab:`) and as a command that runs until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from threading import Thread
from types import TracebackType
from typing import Any, Self

from hangtight.testing.lab.counts import Counts
from hangtight.testing.lab.manners import Ending, Manners
from hangtight.testing.lab.server import MODELS, Server

HOST = "127.0.0.1"
PORT = 8399
"""Where the command listens; hangtight.cli.lab has the same, and a test holds that."""

PATIENCE = 10.0
"""How long a test waits for the lab at most; whatever takes longer on loopback is a bug."""

EXAMPLE = """curl -N {url}/v1/chat/completions -d '{{"model": "mistral-7b,mute=5", "stream": true}}'"""


class Lab:
    """A misbehaving model server on loopback, in its own thread, for the length of a `with` block.

    >>> with Lab() as lab:                                      # doctest: +SKIP
    ...     client = openai.OpenAI(base_url=lab.url + "/v1", api_key="none")
    """

    def __init__(self, models: tuple[str, ...] = MODELS, *, manners: Manners | None = None) -> None:
        self.url = ""
        self._server = Server(models, manners=manners)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._stop = asyncio.Event()

    def __enter__(self) -> Self:
        ready: Future[str] = Future()
        self._thread = Thread(target=self._run, args=(ready,), name="hangtight lab", daemon=True)
        self._thread.start()
        self.url = ready.result(PATIENCE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Stop everything; an error of the lab's own is raised here, unless the block raised one already."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(PATIENCE)
        self._loop = None
        if self._server.failure is not None and error is None:
            raise RuntimeError("the lab itself failed") from self._server.failure

    def counts(self, model: str) -> Counts:
        """What was counted for this model since the start or the last reset."""
        return self._server.books.of(model)

    def when(self, model: str, holds: Callable[[Counts], bool], timeout: float = PATIENCE) -> Counts:
        """Wait until this holds for the model's counts; blocks, so not on a loop (there: asyncio.to_thread)."""
        return self._server.books.when(model, holds, timeout)

    def settled(self, model: str, timeout: float = PATIENCE) -> Counts:
        """Wait until no request for this model is open.

        A request that was sent but not yet read is not open: where that can be, wait for `asked` first.
        """
        return self.when(model, lambda counts: counts.open == 0, timeout)

    def reset(self) -> None:
        """As if just started, on the same port: cuts every connection and brings a dead server back."""
        self._do(self._server.reset())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop is None:
            work.close()
            raise RuntimeError("the lab runs only inside its with block")
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def _run(self, ready: Future[str]) -> None:
        try:
            asyncio.run(self._main(ready))
        except BaseException as failure:  # noqa: BLE001 - it is raised again in the thread that waits
            if ready.done():
                self._server.failure = failure
            else:
                ready.set_exception(failure)

    async def _main(self, ready: Future[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            ready.set_result(await self._server.start("127.0.0.1", 0))
            await self._stop.wait()
        finally:
            await self._server.stop()


async def serve(
    host: str,
    port: int,
    say: Callable[[str], None],
    *,
    model: str | None = None,
    manners: Manners | None = None,
    ready: Callable[[], None] | None = None,
) -> int:
    """Serve until SIGINT, SIGTERM or the manners end it, on loopback only; returns the exit status.

    Loopback, for what answers anybody anything belongs nowhere else. `ready` is called once it listens.
    """
    if not is_loopback(host):
        raise ValueError(f"the lab listens on loopback only, and {host!r} is not: give 127.0.0.1, ::1 or localhost")
    manners = manners or Manners()
    server = Server((model,) if model else MODELS, only=model is not None, manners=manners, say=say)

    async def open_port() -> None:
        url = await server.start(host, port)
        say(f"The lab is at {url}; the model name is the script. Try:")
        say("  " + EXAMPLE.format(url=url))
        if ready is not None:
            ready()

    try:
        # who reads the URL may send a signal at once, so it is listened for before
        with _signals(manners.ending) as told:
            return await _lived(open_port(), told, manners.ending)
    finally:
        await server.stop()


async def _lived(opening: Coroutine[Any, Any, None], told: asyncio.Event, ending: Ending) -> int:
    """Open, then stay until told to stop or for as long as the manners say; returns the exit status."""
    opened, stopped = asyncio.create_task(opening), asyncio.create_task(told.wait())
    try:
        async with asyncio.timeout(ending.exit_after) as life:
            await asyncio.wait({opened, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if opened.done():
                await opened
                await stopped
    except TimeoutError:
        if life.expired():
            return ending.code
        raise
    finally:
        opened.cancel()
        stopped.cancel()
        await asyncio.wait({opened, stopped})
    return 0


def is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


@contextmanager
def _signals(ending: Ending) -> Iterator[asyncio.Event]:
    """Set once SIGINT or SIGTERM comes, within the block."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    taken: list[signal.Signals] = []
    for number in (signal.SIGINT,) if ending.ignore_sigterm else (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: there Ctrl-C arrives as KeyboardInterrupt
            loop.add_signal_handler(number, told.set)
            taken.append(number)
    try:
        yield told
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
