"""The only waiting that the lab does. It is a model's own time, kept on the loop that serves it."""

from __future__ import annotations

import asyncio


class Schedule:
    """When things are due, counted from one start: what came late does not make the next one later."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._start = self._due = self._loop.time()

    @property
    def elapsed(self) -> float:
        return self._loop.time() - self._start

    async def wait(self, seconds: float) -> None:
        """Wait for the instant that lies this long after the one waited for before."""
        self._due += seconds
        # always gives way: an endless answer without pauses would stop the whole server
        await asyncio.sleep(max(0.0, self._due - self._loop.time()))


async def for_ever() -> None:
    await asyncio.Event().wait()
