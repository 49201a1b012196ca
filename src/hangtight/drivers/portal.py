"""An event loop in a thread, for a synchronous caller of something that is asynchronous by nature."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from concurrent.futures import Future

PORTAL = "hangtight-portal"


class Portal:
    """Runs coroutines one at a time for the thread that holds it."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self._thread = threading.Thread(target=lambda: asyncio.run(self._stay()), name=PORTAL, daemon=True)
        self._thread.start()
        self._ready.wait()

    async def _stay(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._ready.set()
        await self._over.wait()

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result. Ctrl-C in the waiting thread cancels the coroutine."""
        answer: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return answer.result()
        except BaseException:
            answer.cancel()
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


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
            portal.call(flowing.aclose())
    finally:
        portal.close()
