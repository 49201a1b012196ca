"""What was saved today, in one line: from the journal, or where none is kept, from what this gateway has seen."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hangtight.core.phases import Outcome
from hangtight.drivers import clock
from hangtight.drivers.standing import recorder
from hangtight.errors import HangtightError
from hangtight.gateway.telling.answers import Receive, Scope, put
from hangtight.gateway.telling.summing import local, midnight
from hangtight.journal.tally import A_USUAL_TIMEOUT, SILENCES
from hangtight.journal.words import receipt_line

if TYPE_CHECKING:
    from hangtight.core.time import Instant
    from hangtight.gateway.outlet import Outlet
    from hangtight.gateway.state import State
    from hangtight.gateway.telling.shown import Ended
    from hangtight.journal.words import Saved

TODAY: Final = "Today"
SINCE_IT_BEGAN: Final = "Since this gateway began"
NO_JOURNAL: Final = "no journal is kept: this is what this gateway has seen since it began"
LASTS: Final = 1.0  # seconds for which one look into the journal will do for all who ask
PATIENCE: Final = 0.5  # seconds for what has just ended to be in the journal


@dataclass(slots=True)
class Seen:
    """What this gateway has seen end, counted as the journal counts it."""

    answers: int = 0
    would_have_died: int = 0
    hangs: int = 0
    hang_seconds: float = 0.0
    usual: float = A_USUAL_TIMEOUT

    def add(self, told: Ended) -> None:
        if told.outcome is Outcome.FINISHED:
            self.answers += 1
            self.would_have_died += told.elapsed > self.usual
        elif told.outcome is Outcome.TIMEOUT and told.broken is not None and told.broken.limit.value in SILENCES:
            self.hangs += 1
            self.hang_seconds += told.broken.waited


class Receipts:
    """The receipt of the day. Who asks while somebody looks gets what that one finds."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.scale = 1.0
        self._told: dict[str, Any] = {}
        self._looked: Instant | None = None
        self._looking = asyncio.Lock()

    def stand_for(self, scale: float) -> None:
        """One second here is so many of a real machine: of the gateway of the demo, and of no other."""
        self.scale, self.seen.usual = scale, A_USUAL_TIMEOUT / scale

    async def of_today(self, began: float) -> dict[str, Any]:
        async with self._looking:
            now = clock.now()
            if self._looked is None or now - self._looked >= LASTS:
                self._told = await self._look(began)
                self._looked = clock.now()
            return self._told

    async def _look(self, began: float) -> dict[str, Any]:
        keeping = recorder()
        if keeping is None:
            return self._in_words(self.seen, began, SINCE_IT_BEGAN, NO_JOURNAL)
        since = midnight()
        try:
            found = await asyncio.to_thread(_saved, keeping.url, since, keeping.flush, self.seen.usual)
        except HangtightError as error:
            return self._in_words(self.seen, began, SINCE_IT_BEGAN, " ".join(str(error).split()))
        return self._in_words(found, since, TODAY, "")

    def _in_words(self, saved: Saved, since: float, period: str, hint: str) -> dict[str, Any]:
        return {
            "since": local(since),
            "answers": saved.answers,
            "saved": saved.would_have_died,
            "hangs": saved.hangs,
            "words": receipt_line(saved, period, self.scale),
            "hint": hint,
        }


def _saved(url: str, since: float, flush: Any, usual: float) -> Saved:
    from hangtight.journal.reading import Reading

    flush(PATIENCE)
    return Reading(url).receipt(since, usual=usual)


async def receipt(state: State, scope: Scope, receive: Receive, outlet: Outlet) -> None:
    await put(outlet, 200, await state.receipts.of_today(state.began_at))
