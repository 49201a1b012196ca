"""A run that another process does: that it is waited for, and what the journal tells of it meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from hangtight.drivers import clock
from hangtight.drivers.standing import recorder
from hangtight.errors import HangtightError
from hangtight.flows.events import Event, EventType

if TYPE_CHECKING:
    from hangtight.cli.following import Face
    from hangtight.flows.port import Ended
    from hangtight.journal.run_reading import RunEvent, ToldRun

PATIENCE = 1.0  # seconds without an event of ours: what nobody does goes on here in less
LOOK_EVERY = 0.5
LAST_WORDS = 2.0  # for the end of a run to come into the journal
WAITING = "done by another process: waiting for its end; Ctrl-C ends only the waiting"


class Elsewhere:
    """Hears a run that is asked for here. As long as it says nothing, another process may be doing it."""

    def __init__(self, run: str, flow: str, face: Face) -> None:
        self._run, self._flow, self._face = run, flow, face
        self._here = threading.Event()
        self._seen: set[tuple[float, str, str]] = set()
        self._ended = asyncio.Event()

    def hear(self, event: Event) -> None:
        """It goes on here."""
        self._here.set()
        self._face.hear(event)

    @asynccontextmanager
    async def waited_for(self) -> AsyncIterator[None]:
        looking = asyncio.ensure_future(self._look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait({looking})

    async def over(self, ended: Ended) -> None:
        """It has ended, wherever that was: its last event is told, too."""
        if self._here.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._ended.wait()
                return
        told = {"outcome": ended.outcome, "elapsed": ended.elapsed}
        told |= {"error": ended.error, "step": ended.step} if ended.error else {}
        payload = ended.error.partition("\n")[0]
        self._face.hear(Event(EventType.RUN_FINISHED, self._run, self._flow, clock.wall(), "", payload, told))

    async def _look(self) -> None:
        before = await asyncio.to_thread(self._noted)
        self._seen.update(map(_key, before))
        await asyncio.sleep(PATIENCE)
        if self._here.is_set():
            return
        self._face.waits(self._run, WAITING, [found for each in before if (found := self._event(each))])
        while not self._here.is_set():
            for each in await asyncio.to_thread(self._noted):
                if not self._here.is_set() and _key(each) not in self._seen and (event := self._event(each)):
                    self._face.hear(event)
                    if event.type is EventType.RUN_FINISHED:
                        self._ended.set()
                self._seen.add(_key(each))
            await asyncio.sleep(LOOK_EVERY)

    def _noted(self) -> tuple[RunEvent, ...]:
        """What the journal knows; nothing where there is none, or it is another one than that of who does the run."""
        from hangtight.journal.reading import Reading

        keeping = recorder()
        if keeping is None:
            return ()
        try:
            told: ToldRun | None = Reading(keeping.url).find_run(self._run)
        except HangtightError:  # it is only a help: the run itself is asked for elsewhere
            return ()
        return () if told is None else told.events

    def _event(self, noted: RunEvent) -> Event | None:
        """None for a kind that a newer version writes."""
        if noted.kind not in set(EventType):
            return None
        told = noted.told if isinstance(noted.told, Mapping) else {}
        return Event(EventType(noted.kind), self._run, self._flow, noted.at, noted.step, noted.payload, told)


def _key(noted: RunEvent) -> tuple[float, str, str]:
    return noted.at, noted.kind, noted.step
