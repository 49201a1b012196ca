"""The slots of one model, and the queue for them: who runs, who waits, who goes next. Pure, like all of the core.

The higher priority goes first, and inside a priority who came first. Nobody starves: for each `AGING` seconds that
somebody waited they count one priority higher, and among the highest who came first goes first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hangtight.core.budget import Priority
from hangtight.core.time import Instant, Seconds, between

AGING = Seconds(30.0)  # the lowest is among the highest after three of them, well within a `queue` of 300

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Admitted:
    """It has a slot."""


@dataclass(frozen=True, slots=True)
class Queued:
    """It waits. Some `leave` or `resize` will name it."""

    position: int
    """1 is the next to go, as things stand: a higher priority that comes later may pass."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Every slot and every place is taken; nothing is kept of it."""


@dataclass(frozen=True, slots=True)
class Waiting(Generic[T]):
    ticket: T
    priority: Priority
    since: Instant
    number: int
    """Who came first."""

    def turn(self, now: Instant, aging: Seconds) -> tuple[float, int]:
        """The smallest goes next. In a line of one priority it only ever grows from the first to the last."""
        risen = self.priority + between(self.since, now) // aging
        return -min(risen, Priority.CRITICAL), self.number


class Admission(Generic[T]):
    """`slots` may run at once (None: all who come), `places` may wait. A ticket is whatever tells one request apart."""

    __slots__ = ("_aging", "_lines", "_number", "_running", "_waiting", "places", "slots")

    def __init__(self, slots: int | None, places: int, *, aging: Seconds = AGING) -> None:
        self.slots = slots
        self.places = places
        self._aging = aging
        self._running: set[T] = set()
        self._waiting: dict[T, Waiting[T]] = {}
        # Plain lists: to close the gap of one among 10,000 is a few µs, and bisect finds a position in any of them.
        self._lines: dict[Priority, list[Waiting[T]]] = {priority: [] for priority in Priority}
        self._number = 0

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def arrive(self, ticket: T, priority: Priority, now: Instant) -> Admitted | Queued | Refused:
        """Somebody wants a slot. Raises ValueError for a ticket that runs or waits already."""
        if ticket in self._running or ticket in self._waiting:
            raise ValueError(f"{ticket!r} is here already")
        if self._has_a_slot:  # then nobody waits: whoever could go has gone
            self._running.add(ticket)
            return Admitted()
        if self.waiting >= self.places:
            return Refused()
        self._number += 1
        waiting = Waiting(ticket, priority, now, self._number)
        self._waiting[ticket] = waiting
        self._lines[priority].append(waiting)
        return Queued(self._place(waiting, now))

    def leave(self, ticket: T, now: Instant) -> tuple[T, ...]:
        """It has ended, or waits no longer. Returns who has a slot now. One that is not here changes nothing."""
        if ticket in self._waiting:
            self._forget(self._waiting[ticket])
        self._running.discard(ticket)
        return self._fill(now)

    def resize(self, slots: int | None, places: int, now: Instant) -> tuple[T, ...]:
        """Other numbers hold from now on; who runs or waits may stay. Returns who has a slot now."""
        self.slots, self.places = slots, places
        return self._fill(now)

    def position(self, ticket: T, now: Instant) -> int | None:
        """1 is the next to go; None for one that does not wait."""
        waiting = self._waiting.get(ticket)
        return None if waiting is None else self._place(waiting, now)

    @property
    def _has_a_slot(self) -> bool:
        return self.slots is None or self.running < self.slots

    def _fill(self, now: Instant) -> tuple[T, ...]:
        admitted = []
        while self._waiting and self._has_a_slot:
            heads = (line[0] for line in self._lines.values() if line)
            following = min(heads, key=lambda waiting: waiting.turn(now, self._aging))
            self._forget(following)
            self._running.add(following.ticket)
            admitted.append(following.ticket)
        return tuple(admitted)

    def _forget(self, waiting: Waiting[T]) -> None:
        line = self._lines[waiting.priority]
        del line[bisect_left(line, waiting.number, key=lambda other: other.number)]
        del self._waiting[waiting.ticket]

    def _place(self, waiting: Waiting[T], now: Instant) -> int:
        turn = waiting.turn(now, self._aging)
        before = (
            bisect_left(line, turn, key=lambda other: other.turn(now, self._aging)) for line in self._lines.values()
        )
        return 1 + sum(before)
