"""One model server as the gateway has it: what of ours is there, who else is, and whether it is closed for a while."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from math import inf
from typing import Final

from hangtight.core.time import Instant
from hangtight.drivers import clock
from hangtight.gateway.looking.evidence import Range
from hangtight.gateway.looking.looker import Looker

GLANCE_EVERY: Final = 30.0
"""Seconds between two looks for strangers, while requests begin there."""
FIRST_GLANCE: Final = 0.3
"""Seconds after a request: by then it is counted where it was sent. Who has its answer earlier needs no look."""
SECOND_GLANCE: Final = 1.2
"""Seconds later: a request of ours that has just ended is not counted any more, and somebody else's is."""
CLOSED_FOR: Final = 60.0
"""Seconds for which a server may be closed: what goes on there may be a stranger's, who came after the last glance."""
LINGERS: Final = 60.0
"""Seconds for which one that was passed through, and was left by its client, may still be what a server works on."""
MOST_LINGERING: Final = 1000


class House:
    """One server.

    That it goes on with what was cancelled is what its numbers say, and never a proof. So it is closed as long as
    nobody else was seen there, and never for longer than `CLOSED_FOR`.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.looker = Looker(base, on_doubt=self._open)
        self.active = 0
        """Generations of ours that were sent there, and have not ended."""
        self.passing = 0
        """Of what was passed through: whether the server counts it depends on what it is."""
        self._lingering: deque[Instant] = deque(maxlen=MOST_LINGERING)
        """When one of those was left before it had its whole answer."""
        self.ghosts = 0
        """Cancelled generations with which it was seen to go on."""
        self._closed_until = -inf
        self._opening: asyncio.TimerHandle | None = None
        self._when_open: list[Callable[[], object]] = []
        self._glanced_at = -inf
        self._timer: asyncio.TimerHandle | None = None
        self._glance: asyncio.Task[None] | None = None

    def ours(self) -> Range:
        """What the server may have of us: at least its generations, at most all that was sent there."""
        now = clock.now()
        while self._lingering and now - self._lingering[0] >= LINGERS:
            self._lingering.popleft()
        return Range(self.active, self.active + self.passing + len(self._lingering))

    # -- closed -----------------------------------------------------------------------------------------------

    def is_closed(self, now: Instant) -> bool:
        """Whether nobody shall be sent there, because it goes on with what was cancelled."""
        return now < self._closed_until

    def goes_on(self, opened: Callable[[], object]) -> None:
        """With one more. `opened` is called when requests may be sent there again, whatever became of it."""
        self.ghosts += 1
        self._when_open.append(opened)
        self._closed_until = clock.now() + CLOSED_FOR
        if self._opening is not None:
            self._opening.cancel()
        self._opening = asyncio.get_running_loop().call_later(CLOSED_FOR, self._open)

    def has_stopped(self) -> None:
        self.ghosts -= 1
        if not self.ghosts:
            self._open()

    def _open(self) -> None:
        """It stopped, somebody else was seen there, or it has been closed for long enough."""
        self._closed_until = -inf
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        opened, self._when_open = self._when_open, []
        for call in opened:
            call()

    # -- ours, and strangers ----------------------------------------------------------------------------------

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

    def pass_through(self) -> None:
        """Something that is no generation, as far as we can read, is sent there."""
        self.passing += 1

    def passed(self, *, is_left: bool) -> None:
        """It has ended. `is_left`: without its whole answer, so that the server may go on with it."""
        self.passing -= 1
        if is_left:
            self._lingering.append(clock.now())

    def _look(self, is_first: bool) -> None:
        if is_first and not self.active:
            self._glanced_at = -inf  # it was too short for a look: the next one may be longer
            return
        loop = asyncio.get_running_loop()
        self._glance = loop.create_task(self.looker.glance(self.ours, clock.now))
        self._timer = loop.call_later(SECOND_GLANCE, self._look, False) if is_first else None

    async def close(self) -> None:
        for timer in (self._timer, self._opening):
            if timer is not None:
                timer.cancel()
        glance, self._glance = self._glance, None
        if glance is not None and not glance.done():
            glance.cancel()
            await asyncio.wait({glance})
