"""What a process has failed at, and for how long nobody may start it therefore."""

from __future__ import annotations

from math import inf

from hangtight.core.process.terms import Terms
from hangtight.core.time import Instant, Seconds, after, between

LONG_AGO = Instant(-inf)


class Failures:
    """Those in a row. One end of a process is one failure, however many things were wrong with it."""

    __slots__ = ("pause", "pending", "retry_at", "row", "why")

    def __init__(self) -> None:
        self.row = 0
        self.why = ""
        """The last thing that went wrong; it stays when it is forgiven."""
        self.pause = Seconds(0.0)
        self.retry_at = LONG_AGO
        self.pending = False
        """It has failed, and is not gone yet."""

    def blame(self, why: str, terms: Terms, *, had_worked: bool) -> None:
        """It ends for this. The first failure of one that was ready is free: it starts with the next request."""
        self.why = why
        self.row += not self.pending
        self.pending = True
        self.pause = Seconds(0.0) if had_worked and self.row == 1 else terms.pause(self.row)

    def rested(self, now: Instant) -> bool:
        """It is gone, or will not go. Whether it failed, now or before: then a pause begins, or one goes on."""
        failed, self.pending = self.pending, False
        if failed:
            self.retry_at = after(now, self.pause)
        return failed or now < self.retry_at

    def begun(self) -> None:
        """It is started; an operator did not wait for the end of the pause."""
        self.retry_at = LONG_AGO

    def forgive(self) -> None:
        self.row, self.retry_at = 0, LONG_AGO

    def left(self, now: Instant) -> Seconds:
        """Of the pause."""
        return between(now, self.retry_at)
