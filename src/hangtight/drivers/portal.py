"""An event loop in a thread, for a synchronous caller of something that is asynchronous by nature."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from concurrent.futures import Future

PORTAL = "hangtight-portal"
PATIENCE = 10.0  # for what was cancelled to end: a process is given its grace first


class Portal:
    """Runs coroutines one at a time for the thread that holds it."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name=PORTAL, daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def _live(self) -> None:
        try:
            asyncio.run(self._stay())
        except BaseException as failure:  # noqa: BLE001 - no loop can be had; the caller must not wait for one
            self._failure = failure
        finally:
            self._ready.set()

    async def _stay(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._ready.set()
        await self._over.wait()

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result. Ctrl-C in the waiting thread cancels the coroutine."""
        ended = threading.Event()
        answer: Future[Any] = asyncio.run_coroutine_threadsafe(_marking(coroutine, ended), self._loop)
        try:
            return answer.result()
        except BaseException:
            answer.cancel()
            ended.wait(PATIENCE)
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


async def _marking(coroutine: Coroutine[Any, Any, Any], ended: threading.Event) -> Any:
    try:
        return await coroutine
    finally:
        ended.set()


class Over(Exception):
    """StopAsyncIteration may not travel through a future."""


async def _next(flowing: AsyncGenerator[Any]) -> Any:
    try:
        return await anext(flowing)
    except StopAsyncIteration:
        raise Over from None


async def _made(begin: Callable[[], AsyncGenerator[Any]]) -> AsyncGenerator[Any]:
    return begin()


def flow(begin: Callable[[], AsyncGenerator[Any]]) -> Generator[Any]:
    """Read an async flow from a synchronous loop: each piece is asked for when it is wanted."""
    portal = Portal()
    try:
        flowing = portal.call(_made(begin))
        try:
            while True:
                yield portal.call(_next(flowing))
        except Over:
            return
        finally:
            if not sys.is_finalizing():
                portal.call(flowing.aclose())
    finally:
        if not sys.is_finalizing():  # the thread stands still then, and the sockets close with the process
            portal.close()
