"""A run that is done here: by what right, and whether that still holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hangtight.flows.port import Hold

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hangtight.flows.durable.liveness import Pulse
    from hangtight.flows.port import Body, Ended


@dataclass(slots=True)
class Place:
    """Where a run is done: whose loop, which body, and what came out that the database could not keep."""

    loop: asyncio.AbstractEventLoop
    body: Body
    begun: bool = False
    """By `begin`, and nobody waits for its end yet."""
    ended: Ended | None = None
    raised: BaseException | None = None


@dataclass(slots=True)
class Running(Hold):
    """A run that is done here now."""

    task: asyncio.Task[Any]
    loop: asyncio.AbstractEventLoop
    epoch: int
    pulse: Callable[[], Pulse | None]
    look: Callable[[], Awaitable[None]]
    """Ask now what should stop."""
    why: str = ""
    """Why it was stopped: `cancelled`, `taken`, `left`."""

    def stop(self, why: str) -> None:
        """From any thread. The first reason counts."""
        if not self.why:
            self.why = why
            self.loop.call_soon_threadsafe(self.task.cancel)

    def stopped(self) -> str:
        return {"cancelled": "cancelled", "taken": ""}.get(self.why, "interrupted")

    def sure(self) -> bool:
        pulse = self.pulse()
        return self.why != "taken" and not (pulse is not None and pulse.slept())

    async def ours(self) -> bool:
        pulse = self.pulse()
        if not self.why and pulse is not None and pulse.is_blind():
            await self.look()
        return self.why != "taken"
