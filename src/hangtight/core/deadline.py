"""When `total` ends: what it counts from, and by how much the text of the answer has moved it.

Its instants are on a clock that stands while a person is waited for: who asks takes that time into account.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hangtight.core.orders import Moved
from hangtight.core.time import FOREVER, NEVER, Instant, Seconds, after, between
from hangtight.core.timers import Clocks, TotalFrom
from hangtight.intent.findings import NOTHING, STEP, STEP_OF_TOTAL, Act, Finding

NOTHING_MORE: Final = Seconds(0.0)
LEAST: Final = Seconds(0.001)
"""Less than that is what arithmetic leaves over."""


class Deadline:
    """The end of `total`. Nothing moves it past `extend_to`, nor past what a parent has left."""

    __slots__ = ("_short", "_start", "advice", "born", "moved", "untold")

    def __init__(self, clocks: Clocks, born: Instant) -> None:
        self.born = born
        self.advice = NOTHING
        """What the text so far says."""
        self.moved = Seconds(0.0)
        """By how much that has moved it up."""
        self._short = NEVER
        """Where it lies at the latest while the model may be stuck, if that was asked."""
        self.untold: Moved | None = None
        """How it was moved since the last heartbeat."""
        self._start = NEVER
        self.restart(clocks)

    def restart(self, clocks: Clocks) -> None:
        """Count as these clocks say, from the beginning of the call. Where they have less room, less was given."""
        self._keep_within(clocks)
        self._short = NEVER
        match clocks.total_from:
            case TotalFrom.CALL:
                self._start = self.born
            case TotalFrom.FIRST_PROGRESS:
                self._start = after(self.born, clocks.late)
            case TotalFrom.READY:  # pragma: no branch - mypy holds that there is no other
                self._start = NEVER

    def go_on_from(self, other: Deadline, clocks: Clocks) -> None:
        """What was given to the call of which this one is a part, is given to it, too."""
        self.moved = max(self.moved, other.moved)
        self._keep_within(clocks)

    def start(self, at: Instant) -> None:
        """It counts from here."""
        self._start = at

    def at(self, clocks: Clocks) -> Instant:
        return min(self._own(clocks), self._ceiling(clocks), self._short)

    def from_the_call(self, clocks: Clocks) -> Instant:
        """Where it would be with nothing allowed for a load."""
        return min(after(self.born, Seconds(clocks.total + self.moved)), self._ceiling(clocks), self._short)

    def length(self, clocks: Clocks) -> Seconds:
        """How long `total` is now; a parent's where that one ends first."""
        if self._short < min(self._own(clocks), self._ceiling(clocks)):
            return between(self.born, self._short)
        of_parent = self._own(clocks) >= self._ceiling(clocks) != NEVER
        return clocks.ceiling if of_parent else Seconds(clocks.total + self.moved)

    @property
    def is_short(self) -> bool:
        """Half of what remained was taken away."""
        return self._short != NEVER

    # -- what the text says -----------------------------------------------------------------------------------

    def advised(self, finding: Finding) -> bool:
        """Keep the newest advice. True where it says for the first time that the model may be stuck."""
        before, self.advice = self.advice, finding
        return finding.act is Act.HOLD and before.act is not Act.HOLD

    def hold(self, clocks: Clocks, now: Instant, *, shorten: bool) -> tuple[Moved, ...]:
        """It may be stuck: what was extended is taken back, and half of what then remains is enough, if asked.

        Where `total` has passed already, half a step remains, in which it may show that it is getting on after all:
        suspicion alone ends nothing.
        """
        moves = []
        left = between(now, self.at(clocks))
        spare = min(self.moved, left - STEP / 2, left - STEP_OF_TOTAL * clocks.total / 2)
        if spare > LEAST:
            moves.append(self._move(clocks, by=Seconds(-spare)))
            left = between(now, self.at(clocks))
        if shorten and LEAST < left < NEVER:
            moves.append(self._move(clocks, short=after(now, Seconds(left / 2))))
        return tuple(moves)

    def extend(self, clocks: Clocks, now: Instant) -> tuple[Moved, ...]:
        """For a model that is getting on: step by step until it lies ahead again, as far as there is room.

        Without a total of its own it ends where its parent does, and no text moves that.
        """
        if clocks.total == FOREVER:
            return ()
        moves: list[Moved] = []
        step = self.advice.by(clocks.total)
        while step and self.at(clocks) <= now:
            room = min(clocks.extend_to - clocks.total - self.moved, self._ceiling(clocks) - self.at(clocks))
            if room <= LEAST:
                break
            moves.append(self._move(clocks, by=Seconds(min(step, room))))
        return tuple(moves)

    def recover(self, clocks: Clocks) -> tuple[Moved, ...]:
        """It is getting on after all: what was taken of its own time is given back."""
        return (self._move(clocks),) if self._short != NEVER else ()

    def tell(self) -> Moved | None:
        """What the heartbeat that goes out now has to tell; what came back to where it was is no news."""
        told, self.untold = self.untold, None
        return None if told is not None and told.before == told.after else told

    def _move(self, clocks: Clocks, *, by: Seconds = NOTHING_MORE, short: Instant = NEVER) -> Moved:
        before = self.length(clocks)
        self.moved, self._short = Seconds(self.moved + by), short
        moved = Moved(before, self.length(clocks), replace(self.advice, unit=""))  # it is told to many
        self.untold = Moved(self.untold.before if self.untold else before, moved.after, moved.why)
        return moved

    def _keep_within(self, clocks: Clocks) -> None:
        room = 0.0 if clocks.total == FOREVER else clocks.extend_to - clocks.total
        self.moved = Seconds(min(self.moved, max(0.0, room)))

    def _own(self, clocks: Clocks) -> Instant:
        return after(self._start, Seconds(clocks.total + self.moved))

    def _ceiling(self, clocks: Clocks) -> Instant:
        return after(self.born, clocks.ceiling)
