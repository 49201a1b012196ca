"""Cancellation that is verified: when we have closed a request's connection, does the server stop working on it?

One `Looker` for each upstream. Requests that are cancelled together share its looks, of which there is never more than
one at a time. How a server is asked stands in `look_ways`, what the answers prove in `look_evidence`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from hangtight.gateway.looking.evidence import Evidence, Found, Look, Range
from hangtight.gateway.looking.ways import Eyes

__all__ = ["Found", "Looker", "Seen"]

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
SURE = 1.0
"""For so long there must be more than we know of: a request of ours that has just ended may still be counted there."""
SHARED = 600.0
"""So long after a look that showed somebody else's work, a server is taken to be used by others."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a cancelled request."""

    found: Found
    busy: int | None
    """How many requests the server had at the last look, its queue included; None where that could not be seen."""
    ours: int
    """How many of them could be ours, still under way."""
    kind: str
    """The way of looking: `llama.cpp /slots`; empty where there is none."""
    took: float


Ours = Callable[[], Range]
"""How many requests of ours are under way at a server, without the cancelled ones."""


class _Wait:
    """One cancelled request, and when to look for it next."""

    __slots__ = ("_began", "_due", "_last", "_latest", "_pause", "evidence", "now", "ours", "seen")

    def __init__(self, ours: Ours, within: float | None, now: Callable[[], float], evidence: Evidence) -> None:
        self.ours = ours
        self.now = now
        self.seen: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        self.evidence = evidence
        self._began = now()
        self._latest = inf if within is None else self._began + within
        self._pause = FIRST_PAUSE
        self._due = min(self._began + FIRST_PAUSE, self._latest)
        self._last: Look | None = None

    def pause_left(self) -> float:
        return self._due - self.now()

    def is_over(self, now: float) -> bool:
        return now >= self._latest

    def go_on(self, look: Look | None, now: float) -> None:
        """Look again, later than the last time; once more at the very end."""
        self._last = look or self._last
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        self._due = min(now + self._pause, self._latest)

    def answer(self, found: Found, look: Look | None, ours: int, now: float) -> None:
        last = look or self._last
        busy = None if last is None or last.busy is None else last.present
        self.seen.set_result(Seen(found, busy, ours, last.kind if last else "", now - self._began))


class Looker:
    """Looks at one server after a cancel until it has stopped, or until the time for that is over.

    `base` is the server's URL, with or without /v1; `headers` carry its key where it needs one. What it cannot promise:
    where other clients use the server too, RUNNING may be theirs until a look has shown them. `glance`, now and then
    while nothing is cancelled, finds them earlier: the first one makes it doubtful, the second one certain.
    `on_doubt` is called by each look after which we are not known to be alone there.
    """

    def __init__(
        self, base: str, headers: Mapping[str, str] | None = None, on_doubt: Callable[[], object] = lambda: None
    ) -> None:
        self._eyes = Eyes(base, headers)
        self._on_doubt = on_doubt
        self._loop: asyncio.AbstractEventLoop | None = None
        """What these four belong to."""
        self._waits: list[_Wait] = []
        self._came = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()
        self._ghosts = 0
        """Cancelled requests that were last seen running."""
        self._strange = 0
        """So many more than we know of were there, when that was first seen; fewer would be some that just ended."""
        self._strange_since: float | None = None
        """Since then each look has shown as many."""
        self._shared_until = 0.0

    def shows(self, headers: Mapping[str, str]) -> None:
        """What the next looks carry. Where models of one server have several keys, that of the one asked last."""
        self._eyes.shows(headers)

    def is_alone(self, now: float) -> bool:
        """Nobody else is known to use that server, and nothing that was seen there makes it doubtful."""
        doubtful = self._strange_since is not None and now - self._strange_since < SHARED
        return now >= self._shared_until and not doubtful

    def _runs_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """One loop at a time: an app under test has one for each request, and what waited in the former is over."""
        if loop is not self._loop:
            self._loop, self._looking = loop, None
            self._waits, self._came, self._one = [], asyncio.Event(), asyncio.Lock()

    async def freed(
        self, ours: Ours, within: float | None, now: Callable[[], float], evidence: Evidence | None = None
    ) -> Seen:
        """Look until what was just cancelled has stopped, at most `within` seconds; None is no limit.

        A look that is under way at the end is waited for. Where the server cannot be asked, the answer comes at once.
        Who looks on for what was seen to go on hands in the `evidence` of the first time.
        """
        self._runs_in(asyncio.get_running_loop())
        wait = _Wait(ours, within, now, evidence or Evidence())
        waits = self._waits
        waits.append(wait)
        self._came.set()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())
        try:
            return await wait.seen
        finally:
            waits.remove(wait)
            if not waits and waits is self._waits:
                await self._rest()

    async def glance(self, ours: Ours, now: Callable[[], float]) -> None:
        """One look while nothing was cancelled, to learn how this server is asked and whether others use it."""
        self._runs_in(asyncio.get_running_loop())
        if self._waits:
            return
        before = ours()
        look = await self._look(now())
        if look is not None and look.busy is not None and not self._waits:
            self._note(look, before.joined(ours()), 0, now())

    async def _rest(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None and not looking.done():
            looking.cancel()
            await asyncio.wait({looking})

    async def _look_on(self) -> None:
        """The looks, one after the other, while anybody waits for what they show."""
        try:
            while waits := self._unanswered():
                left = min(wait.pause_left() for wait in waits)
                if left > 0:
                    await self._pause(left)
                else:
                    await self._look_for(waits)
        except Exception as wrong:  # noqa: BLE001 - it is raised again where somebody waits
            for wait in self._unanswered():
                wait.seen.set_exception(wrong)
        finally:
            if self._looking is asyncio.current_task():
                self._looking = None

    def _unanswered(self) -> list[_Wait]:
        return [wait for wait in self._waits if not wait.seen.done()]

    async def _pause(self, seconds: float) -> None:
        """Until the next look is due, or somebody comes whose first one may be due earlier."""
        self._came.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._came.wait()
        except TimeoutError:
            return

    async def _look_for(self, waits: list[_Wait]) -> None:
        before = [wait.ours() for wait in waits]
        look = await self._look(waits[0].now())
        for wait, earlier in zip(waits, before, strict=True):
            if not wait.seen.done():
                self._tell(wait, look, earlier)

    async def _look(self, now: float) -> Look | None:
        async with self._one:
            return await self._eyes.look(now)

    def _tell(self, wait: _Wait, look: Look | None, earlier: Range) -> None:
        """What this look means for one request."""
        now, later = wait.now(), wait.ours()
        ours = earlier.joined(later)
        if look is not None and look.busy is None:
            wait.answer(Found.UNKNOWN, look, later.most, now)
            return
        if look is None:
            wait.evidence.missed()
        else:
            self._note(look, ours, self._cancelled(), now)
            wait.evidence.add(look, ours)
        found = wait.evidence.verdict(alone=self.is_alone(now))
        if found is Found.STOPPED or wait.is_over(now):
            if found is Found.RUNNING and not wait.evidence.was_running:
                wait.evidence.was_running = True
                self._ghosts += 1
            wait.answer(found, look, later.most, now)
        else:
            wait.go_on(look, now)

    def _cancelled(self) -> int:
        """Those of which nothing is known yet: what was seen running is among the ghosts."""
        return sum(not wait.evidence.was_running for wait in self._waits)

    def _note(self, look: Look, ours: Range, cancelled: int, now: float) -> None:
        """Learn who else is there: more than what is ours, and what we cancelled, is somebody else's.

        What was seen before a cancel stays in doubt after it: one who stopped and a stranger look like one who goes on.
        """
        rest = look.present - ours.most - self._ghosts
        if rest < self._strange:
            self._strange, self._strange_since = 0, None
        if rest > cancelled:
            if self._strange_since is None:
                self._strange, self._strange_since = rest - cancelled, now
            elif now - self._strange_since >= SURE:
                self._shared_until = now + SHARED
        self._ghosts = min(self._ghosts, max(0, look.present - ours.fewest))
        if not self.is_alone(now):
            self._on_doubt()
