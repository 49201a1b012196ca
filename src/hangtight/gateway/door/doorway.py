"""What all connections to our own server share: their bounds, the line with the date, and who is still here."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

from uvicorn.server import ServerState

from hangtight.core.time import NEVER, Instant
from hangtight.drivers import clock


class Doorway(ServerState):
    """One for each door."""

    def __init__(self, patience: float, head: int) -> None:
        super().__init__()
        self.patience = patience
        self.head = head
        self.draining = False
        self._left = asyncio.Event()
        self._dated = -NEVER

    def dated(self, now: Instant) -> None:
        """Bring the date up to date, at most once a second."""
        if now - self._dated >= 1.0:
            self._dated = now
            self.default_headers = [(b"date", formatdate(clock.wall(), usegmt=True).encode())]

    def left(self) -> None:
        self._left.set()

    async def answered(self) -> None:
        """Wait until every request that is here now has been dealt with."""
        if self.tasks:
            await asyncio.wait(set(self.tasks))

    async def emptied(self) -> None:
        """Wait until every connection is closed and every request has been dealt with."""
        while self.connections or self.tasks:
            if self.tasks:
                await asyncio.wait(set(self.tasks))
            else:
                self._left.clear()
                await self._left.wait()
