"""How long there was no progress while somebody waited for it: one instant that is moved, no time that is added up."""

from __future__ import annotations

from hangtight.core.pauses import Pauses
from hangtight.core.time import Instant, Seconds, between


class Silence:
    """Silence counts from `since`. What was no silence is taken out by moving it."""

    __slots__ = ("counted_from", "halted_at", "longest", "pauses", "since", "waiting")

    def __init__(self, now: Instant) -> None:
        self.since = now
        self.waiting = False
        """Somebody waits for the next piece."""
        self.longest: float = 0.0
        """The longest silence between two tokens."""
        self.halted_at = self.counted_from = now
        """From when to when silence last did not count: the reader had a piece without content, or a pause was open."""
        self.pauses = Pauses()

    def quiet_until(self, now: Instant) -> Instant:
        """Silence has been counted from `since` until then."""
        return now if self._counts() else max(self.since, self.halted_at)

    def _counts(self) -> bool:
        return self.waiting and not self.pauses

    def _halt(self, now: Instant) -> None:
        if self._counts():
            self.halted_at = now

    def _count_on(self, now: Instant) -> None:
        """The time in which nobody waited for the model was no silence: it is taken out, once."""
        if self.pauses:
            return
        if self.halted_at <= self.since:
            self.since = now
        else:
            self.since = Instant(self.since + (now - self.halted_at))
            self.counted_from = now

    def _slept(self, late: Seconds, now: Instant) -> None:
        """What was counted as silence while we slept is taken out; what was not counted is not taken out again."""
        until = self.quiet_until(now)
        slept_from = now - late
        uncounted = between(max(self.halted_at, Instant(slept_from)), self.counted_from)
        excused = max(0.0, until - slept_from - uncounted)
        self.since = Instant(min(until, self.since + excused))
