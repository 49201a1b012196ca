"""What a row of looks at a server shows about one request that we cancelled there. Pure: no clock, no I/O.

A server tells how much it works on, hardly ever on what. So the verdict is arithmetic: what it works on, less what is
still ours, is what we cancelled, or somebody else's. Where it numbers its tasks, those that ran at the first look are
told from those that came later; but that look comes after the cancel, so a number is no proof that a task was ours.
"It goes on" is a heavy word: it is said only where nobody else is known to use that server. Where neither can be shown,
the answer is that we do not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

IN_A_ROW = 2
"""Looks that must agree: a request of ours on its way to the server, or back, hides one that goes on for a moment."""


class Found(StrEnum):
    """Whether the server stopped working on what we cancelled."""

    STOPPED = "stopped"
    RUNNING = "running"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Look:
    """What a server said about its work at one moment."""

    kind: str
    """The way of looking; empty where there is none."""
    busy: int | None
    """How many requests it works on. None: it cannot be asked, now or later."""
    waiting: int | None = 0
    """How many stand in its own queue. None: there may be some, and it does not say."""
    full: bool = False
    """It works on as many as it can: some of ours may wait where it does not count them, before its queue."""
    tasks: frozenset[int] | None = None
    """The numbers that it gave to those it works on, if it numbers them."""
    work: float | None = None
    """Something that grows while it works; None where its number of requests is never out of date."""

    @property
    def present(self) -> int:
        """How many requests it has, as far as it says."""
        return (self.busy or 0) + (self.waiting or 0)


@dataclass(frozen=True, slots=True)
class Range:
    """How many requests of ours were under way while a look was taken.

    It changes meanwhile; and what was passed through may count where it was sent, or may not.
    """

    fewest: int
    most: int

    def joined(self, other: Range) -> Range:
        """Between these two moments."""
        return Range(min(self.fewest, other.fewest), max(self.most, other.most))


class Evidence:
    """What is known about one cancelled request."""

    __slots__ = ("_agreed", "_before", "_first", "_goes_on", "_was_explained", "stopped", "was_running")

    def __init__(self) -> None:
        self.stopped = False
        self.was_running = False
        """It was said to go on."""
        self._first: Look | None = None
        self._before: Look | None = None
        self._agreed = 0
        """How many looks in a row showed nothing but what is ours."""
        self._was_explained = False
        self._goes_on = False
        """The latest look showed more than what is ours."""

    def add(self, look: Look, ours: Range) -> None:
        """One look more, all of it after the cancel."""
        first = self._first = self._first or look
        explained = _is_explained(look, ours)
        self._was_explained = self._was_explained or explained
        self._agreed = self._agreed + 1 if explained else 0
        self._goes_on = _exceeds(first, look, ours) and _moves(self._before, look)
        self._before = look
        self.stopped = (
            self.stopped or _is_idle(look) or _is_replaced(first, look) or (explained and self._agreed >= IN_A_ROW)
        )

    def missed(self) -> None:
        """It was asked and did not answer: what it said before is no longer what it does."""
        self._agreed = 0
        self._goes_on = False

    def verdict(self, *, alone: bool) -> Found:
        """What may be said now. `alone`: nobody else is known to use that server."""
        if self.stopped:
            return Found.STOPPED
        if self._goes_on and alone and not self._was_explained:
            return Found.RUNNING
        return Found.UNKNOWN


def _is_idle(look: Look) -> bool:
    return look.present == 0 and look.waiting is not None


def _is_replaced(first: Look, look: Look) -> bool:
    """Not one of those that ran at the cancel is left, whoever else keeps the server busy now.

    Nothing follows from it where one may have waited in the queue, and have begun since.
    """
    if first.tasks is None or look.tasks is None or first.waiting != 0 or first.full:
        return False
    return not first.tasks & look.tasks


def _is_explained(look: Look, ours: Range) -> bool:
    """All that the server has can be ours."""
    if look.waiting is None:
        return False
    return look.present == ours.fewest if look.full else look.present <= ours.fewest


def _exceeds(first: Look, look: Look, ours: Range) -> bool:
    """The server has more than what is ours; where it numbers its tasks, what came after the cancel does not count."""
    if first.tasks is None or look.tasks is None:
        return look.present > ours.most
    return len(first.tasks & look.tasks) > ours.most


def _moves(before: Look | None, look: Look) -> bool:
    """The number is not left over from before: some servers bring it up to date only while they work."""
    if look.work is None:
        return True
    return before is not None and before.work is not None and look.work != before.work
