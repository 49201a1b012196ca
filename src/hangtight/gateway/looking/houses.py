"""One model server as the gateway has it: what of ours is there, who else is, and whether it is closed for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf
from typing import Final

from hangtight.core.time import Instant
from hangtight.drivers import clock
from hangtight.gateway.looking.looker import Looker, Seen

GLANCE_EVERY: Final = 30.0
"""Seconds between two looks for strangers, while requests begin there."""
FIRST_GLANCE: Final = 0.3
"""Seconds after a request: by then it is counted where it was sent. Who has its answer earlier needs no look."""
SECOND_GLANCE: Final = 1.2
"""Seconds later: a request of ours that has just ended is not counted any more, and somebody else's is."""
CLOSED_BY_COUNT: Final = 60.0
"""Seconds for which a mere number may close a server: it may be a stranger who came after the last look."""


class House:
    """One server.

    Where it numbers its tasks, it is ours that goes on, and it is closed until that stops. Where it only counts, it is
    closed as long as nobody else was seen there, and never for longer than `CLOSED_BY_COUNT`.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.looker = Looker(base)
        self.active = 0
        """Generations of ours that were sent there, and have not ended."""
        self.ghosts = 0
        """Cancelled generations with which it was seen to go on."""
        self._counted_until: float | None = None
        """Only a number says that it goes on; None where that is certain."""
        self._glanced_at = -inf
        self._timer: asyncio.TimerHandle | None = None
        self._glance: asyncio.Task[None] | None = None

    def ours(self) -> int:
        return self.active

    # -- closed -----------------------------------------------------------------------------------------------

    def is_closed(self, now: Instant) -> bool:
        """Whether nobody shall be sent there, because it goes on with what was cancelled."""
        if not self.ghosts or self._counted_until is None:
            return self.ghosts > 0
        return now < self._counted_until and self.looker.is_alone(now)

    def goes_on(self, seen: Seen, now: Instant) -> None:
        self.ghosts += 1
        if not seen.numbered:
            self._counted_until = now + CLOSED_BY_COUNT

    def has_stopped(self) -> None:
        self.ghosts -= 1
        if not self.ghosts:
            self._counted_until = None

    # -- strangers --------------------------------------------------------------------------------------------

    def enter(self, credentials: Mapping[str, str]) -> None:
        """A generation is sent there. Who else is there is looked for soon, and nobody waits for that."""
        self.active += 1
        now = clock.now()
        if now - self._glanced_at >= GLANCE_EVERY:
            self._glanced_at = now
            self.looker.shows(credentials)
            self._timer = asyncio.get_running_loop().call_later(FIRST_GLANCE, self._look, True)

    def leave(self) -> None:
        self.active -= 1

    def _look(self, is_first: bool) -> None:
        if is_first and not self.active:
            self._glanced_at = -inf  # it was too short for a look: the next one may be longer
            return
        loop = asyncio.get_running_loop()
        self._glance = loop.create_task(self.looker.glance(self.ours, clock.now))
        self._timer = loop.call_later(SECOND_GLANCE, self._look, False) if is_first else None

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        glance, self._glance = self._glance, None
        if glance is not None and not glance.done():
            glance.cancel()
            await asyncio.wait({glance})
