"""How a request at a server ends before its time: its connection is left at once, or its server is put away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from hangtight.drivers import aio
from hangtight.gateway.upstream.connection import Incoming
from hangtight.gateway.upstream.steward import PutAway

T = TypeVar("T")


class Life(aio.Life):
    """Its source is a connection of ours, which is left at once: no clock has to run meanwhile."""

    async def _close(self) -> None:
        try:
            if isinstance(self.source, Incoming):
                await self.source.aclose()
        finally:
            self.session.close()


class Break:
    """Whatever of one request is awaited, it ends when its server is put away, and with that reason."""

    __slots__ = ("_step", "why")

    def __init__(self) -> None:
        self.why: PutAway | None = None
        self._step: asyncio.Timeout | None = None

    def now(self, why: PutAway) -> None:
        """What is awaited ends in the next turn of the loop."""
        self.why = why
        if self._step is not None:
            self._step.reschedule(asyncio.get_running_loop().time())

    async def unless(self, work: Awaitable[T]) -> T:
        """What this work gives, unless that happens."""
        try:
            async with asyncio.timeout(None if self.why is None else 0) as self._step:
                return await work
        except Exception as error:
            if self.why is None:
                raise
            raise self.why from error  # that the connection broke would be a riddle: we have ended who was there
        finally:
            self._step = None
